//! Text to tree: a strict part of YAML in which a thing means what it says where it stands.
//!
//! Refused with a problem and a place: anchors, aliases and merge keys (a reader of a security setting must not
//! have to look elsewhere, and no bomb can be written), tags, several documents, doubled keys, keys that are not
//! text. Scalars stay text; what they mean depends on the key that they stand under, so `no` is never a boolean
//! by surprise.
//!
//! INVARIANT: a tree has at most [`MOST_NODES`] nodes and is at most [`DEEPEST`] deep (E9); nothing recurses
//! deeper than that.
//!
//! Sources: YAML 1.2.2 §3.2.2, §7.1; threat E9.

use serde_saphyr::granit_parser::{self as granit, Event, Parser, ScalarStyle, Span};

use super::site::{Advice, Mark, Report, Site, quote};

/// More is no configuration but an attack or an accident.
pub(crate) const MOST_NODES: usize = 1_000_000;
/// The model itself is 9 deep.
pub(crate) const DEEPEST: usize = 24;

/// A value and where it stands.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) mark: Mark,
    pub(crate) value: Value,
}

/// What is written.
#[derive(Debug)]
pub(crate) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// Written without quotes.
    Plain(String),
    /// Written with quotes or as a block.
    Quoted(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// Something that was refused and reported when it was read.
    Refused,
}

/// A key, where it stands, and its value.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) mark: Mark,
    pub(crate) value: Node,
}

/// Reads one document. `None` after a problem that leaves nothing to read.
pub(crate) fn parse(text: &str, site: &Site, report: &mut Report) -> Option<Node> {
    let options = granit::options! {
        disallow_directives: true,
        emit_unresolved_aliases: true,
        flow_nesting_limit: DEEPEST,
        block_nesting_limit: DEEPEST,
    };
    let mut build = Build { site, report, open: Vec::new(), done: None, nodes: 0, documents: 0 };
    for event in Parser::new_from_str_with_options(text, options) {
        let taken = match event {
            Ok((event, span)) => build.take(event, span),
            Err(fault) => {
                let mark = at(*fault.marker());
                // SECURITY: the parser's words name no text of the file, its rendered snippet might (C13).
                build.report.say(&build.here(mark), format!("is not YAML: {}", visible_fault(&fault)));
                Err(Stop)
            }
        };
        taken.ok()?;
    }
    let root = build.done.take();
    root.or(Some(Node { mark: Mark { line: 1, column: 1 }, value: Value::Null }))
}

/// The parser's description, without control characters.
fn visible_fault(fault: &granit::ScanError) -> String {
    let text = fault.info();
    quote(&text).trim_matches('`').to_owned()
}

/// Reading cannot go on.
struct Stop;

struct Build<'a> {
    site: &'a Site,
    report: &'a mut Report,
    open: Vec<Open>,
    done: Option<Node>,
    nodes: usize,
    documents: usize,
}

/// A collection that is being read.
struct Open {
    mark: Mark,
    kind: Kind,
}

enum Kind {
    List(Vec<Node>),
    /// The key that waits for its value, if one does.
    Map(Vec<Entry>, Option<(String, Mark)>),
    /// A collection where a key should be: read to its end and dropped.
    OddKey,
}

impl Build<'_> {
    fn here(&self, mark: Mark) -> Site {
        self.open
            .iter()
            .fold(self.site.clone(), |site, open| match &open.kind {
                Kind::List(items) => site.item(items.len(), mark),
                Kind::Map(_, Some((key, _))) => site.child(key, mark),
                _ => site,
            })
            .at(mark)
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        let mark = at(span.start);
        match event {
            Event::DocumentStart(..) => self.document(mark),
            Event::Scalar(text, style, anchor, tag) => {
                let odd = self.decorated(mark, anchor, tag.is_some());
                let value = if odd { Value::Refused } else { scalar(text.into_owned(), style) };
                self.node(Node { mark, value })
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.decorated(mark, anchor, tag.is_some());
                self.start(mark, Kind::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.decorated(mark, anchor, tag.is_some());
                self.start(mark, Kind::Map(Vec::new(), None))
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.refuse(mark, "is an alias", "write the value out where it is used");
                self.node(Node { mark, value: Value::Refused })
            }
            _ => Ok(()),
        }
    }

    fn document(&mut self, mark: Mark) -> Result<(), Stop> {
        self.documents += 1;
        if self.documents == 1 {
            return Ok(());
        }
        self.refuse(mark, "starts a second document", "write one document in a file");
        Err(Stop)
    }

    /// Reports an anchor or a tag. `true` when there was one.
    fn decorated(&mut self, mark: Mark, anchor: usize, tagged: bool) -> bool {
        if anchor != 0 {
            self.refuse(mark, "has an anchor", "write the value out where it is used");
        }
        if tagged {
            self.refuse(mark, "has a tag", "remove the `!`: the key says what its value is");
        }
        anchor != 0 || tagged
    }

    fn refuse(&mut self, mark: Mark, text: &str, hint: &str) {
        let site = self.here(mark);
        self.report.advise(&site, text, Advice::hint(hint));
    }

    fn count(&mut self, mark: Mark) -> Result<(), Stop> {
        self.nodes += 1;
        if self.nodes <= MOST_NODES {
            return Ok(());
        }
        self.report.say(&self.here(mark), format!("is beyond the {MOST_NODES} values that a file may have"));
        Err(Stop)
    }

    fn start(&mut self, mark: Mark, kind: Kind) -> Result<(), Stop> {
        self.count(mark)?;
        if self.open.len() >= DEEPEST {
            self.report.say(&self.here(mark), format!("is nested deeper than {DEEPEST}"));
            return Err(Stop);
        }
        let as_key = matches!(self.open.last(), Some(Open { kind: Kind::Map(_, None) | Kind::OddKey, .. }));
        if as_key && !matches!(self.open.last(), Some(Open { kind: Kind::OddKey, .. })) {
            self.refuse(mark, "is a key that is not text", "write a plain word before the colon");
        }
        self.open.push(Open { mark, kind: if as_key { Kind::OddKey } else { kind } });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Stop> {
        let Some(Open { mark, kind }) = self.open.pop() else { return Ok(()) };
        let value = match kind {
            Kind::List(items) => Value::List(items),
            Kind::Map(entries, _) => Value::Map(entries),
            Kind::OddKey => return self.odd_key(mark),
        };
        self.place(Node { mark, value })
    }

    /// The value that follows an odd key is dropped with it.
    fn odd_key(&mut self, mark: Mark) -> Result<(), Stop> {
        if let Some(Open { kind: Kind::Map(_, waiting), .. }) = self.open.last_mut() {
            *waiting = Some((String::new(), mark));
        }
        Ok(())
    }

    fn node(&mut self, node: Node) -> Result<(), Stop> {
        self.count(node.mark)?;
        self.place(node)
    }

    fn place(&mut self, node: Node) -> Result<(), Stop> {
        let Some(top) = self.open.last_mut() else {
            self.done = Some(node);
            return Ok(());
        };
        match &mut top.kind {
            Kind::OddKey => {}
            Kind::List(items) => items.push(node),
            Kind::Map(entries, waiting) => match waiting.take() {
                Some((key, mark)) if !key.is_empty() => entries.push(Entry { key, mark, value: node }),
                Some(_) => {}
                None => self.key(node),
            },
        }
        Ok(())
    }

    /// Takes a scalar as the next key of the innermost map.
    fn key(&mut self, node: Node) {
        let mark = node.mark;
        let key = match node.value {
            Value::Plain(text) | Value::Quoted(text) if !text.is_empty() => text,
            Value::Refused => String::new(),
            _ => {
                self.refuse(mark, "is an empty key", "write a word before the colon");
                String::new()
            }
        };
        let key = if key == "<<" {
            self.refuse(mark, "is a merge key", "write the keys out where they are used");
            String::new()
        } else {
            key
        };
        if let Some(Open { kind: Kind::Map(_, waiting), .. }) = self.open.last_mut() {
            *waiting = Some((key, mark));
        }
    }
}

fn at(marker: granit::Marker) -> Mark {
    let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Mark { line: small(marker.line()), column: small(marker.col()).saturating_add(1) }
}

fn scalar(text: String, style: ScalarStyle) -> Value {
    match style {
        ScalarStyle::Plain if matches!(text.as_str(), "" | "~" | "null") => Value::Null,
        ScalarStyle::Plain => Value::Plain(text),
        _ => Value::Quoted(text),
    }
}
