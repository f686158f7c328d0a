//! Routes that could both be meant by one request.
//!
//! A router takes the more specific template: at each segment a literal before a parameter before `*rest`. Two
//! templates are ambiguous when a path fits both and each is the more specific one somewhere; they are doubled
//! when a path fits both and neither is. Both are refused, since a reader could not tell which rule holds (B1,
//! B7). Templates are compared for one method and one host: a host that some service names has only the routes
//! of the services that name it, and services without hosts share all others.
//!
//! INVARIANT: walking a trie finds what comparing every pair would find (property test).

use std::collections::BTreeMap;

use super::items;
use crate::plan::{Method, RouteTemplate, Segment};
use crate::raw::service::RawService;
use crate::yaml::{Report, Site};

/// Every route that was seen, by host and method.
#[derive(Debug, Default)]
pub(crate) struct Overlaps {
    tries: BTreeMap<(Option<String>, Method), Trie>,
}

/// Templates by their segments.
#[derive(Debug, Default)]
struct Trie {
    literal: BTreeMap<String, Self>,
    param: Option<Box<Self>>,
    /// A template with `*rest` here.
    rest: Option<Entry>,
    /// A template that ends here.
    end: Option<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    template: RouteTemplate,
    line: u32,
}

/// Which of two templates was the more specific one so far.
#[derive(Clone, Copy, Debug, Default)]
struct Lead {
    ours: bool,
    theirs: bool,
}

/// Two templates that a path fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clash {
    Doubled,
    Ambiguous,
}

impl Overlaps {
    pub(crate) fn add(&mut self, service: &RawService, report: &mut Report) {
        let named = items(&service.hosts);
        let hosts: Vec<Option<String>> = if named.is_empty() {
            vec![None]
        } else {
            named.iter().map(|h| Some(h.value.to_string())).collect()
        };
        for route in super::list(&service.routes) {
            let Some(path) = route.path.get() else { continue };
            let Ok(template) = RouteTemplate::parse(&path.0) else { continue };
            let mut told = false;
            for host in &hosts {
                for method in items(&route.methods) {
                    let trie = self.tries.entry((host.clone(), method.value)).or_default();
                    told = told || trie.tell(&template, method.value, &path.site, report);
                    trie.insert(&Entry { template: template.clone(), line: path.site.line() });
                }
            }
        }
    }
}

impl Trie {
    /// Reports the first template that clashes. `true` when one does.
    fn tell(&self, template: &RouteTemplate, method: Method, site: &Site, report: &mut Report) -> bool {
        let Some((entry, clash)) = self.clash(template.segments(), Lead::default()) else { return false };
        let (method, line, other) = (method.as_str(), entry.line, &entry.template);
        report.say(
            site,
            match clash {
                Clash::Doubled => format!("`{method} {template}` is written twice, first as `{other}` at line {line}"),
                Clash::Ambiguous => format!(
                    "`{method} {template}` and `{other}` at line {line} fit one path, and neither is the more specific"
                ),
            },
        );
        true
    }

    fn insert(&mut self, entry: &Entry) {
        let mut at = self;
        for segment in entry.template.segments() {
            at = match segment {
                Segment::Literal(text) => at.literal.entry(text.to_string()).or_default(),
                Segment::Param(_) => at.param.get_or_insert_default(),
                Segment::Rest(_) => {
                    at.rest.get_or_insert(entry.clone());
                    return;
                }
            };
        }
        at.end.get_or_insert(entry.clone());
    }

    /// The first template here that clashes with `segments`. As deep as a template has segments.
    fn clash(&self, segments: &[Segment], lead: Lead) -> Option<(&Entry, Clash)> {
        let Some((first, after)) = segments.split_first() else {
            return self.end.as_ref().and_then(|e| judge(e, lead));
        };
        let (ours, theirs) = (Lead { ours: true, ..lead }, Lead { theirs: true, ..lead });
        match first {
            Segment::Literal(text) => {
                let same = self.literal.get(&**text).and_then(|t| t.clash(after, lead));
                let param =
                    || self.param.as_ref().filter(|_| !text.is_empty()).and_then(|t| t.clash(after, ours));
                same.or_else(param).or_else(|| self.rest.as_ref().and_then(|e| judge(e, ours)))
            }
            Segment::Param(_) => {
                let same = self.param.as_ref().and_then(|t| t.clash(after, lead));
                let literals = || {
                    self.literal
                        .iter()
                        .filter(|(l, _)| !l.is_empty())
                        .find_map(|(_, t)| t.clash(after, theirs))
                };
                same.or_else(literals).or_else(|| self.rest.as_ref().and_then(|e| judge(e, ours)))
            }
            Segment::Rest(_) => {
                let same = self.rest.as_ref().and_then(|e| judge(e, lead));
                // What is below is the more specific one, so it clashes only if we were that before.
                same.or_else(|| if lead.ours { self.below(theirs) } else { None })
            }
        }
    }

    /// Any template below this one.
    fn below(&self, lead: Lead) -> Option<(&Entry, Clash)> {
        let children = self.literal.values().chain(self.param.as_deref());
        children.into_iter().find_map(|child| {
            let here = child.end.as_ref().or(child.rest.as_ref()).and_then(|e| judge(e, lead));
            here.or_else(|| child.below(lead))
        })
    }
}

fn judge(entry: &Entry, lead: Lead) -> Option<(&Entry, Clash)> {
    match lead {
        Lead { ours: false, theirs: false } => Some((entry, Clash::Doubled)),
        Lead { ours: true, theirs: true } => Some((entry, Clash::Ambiguous)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn template(text: &str) -> RouteTemplate {
        RouteTemplate::parse(text).expect(text)
    }

    fn clash(first: &str, second: &str) -> Option<Clash> {
        let mut trie = Trie::default();
        trie.insert(&Entry { template: template(first), line: 1 });
        trie.clash(template(second).segments(), Lead::default()).map(|(_, clash)| clash)
    }

    #[test]
    fn b7_what_two_routes_mean_is_decided_or_refused() {
        let table = [
            ("/orders/{id}", "/orders/{number}", Some(Clash::Doubled)),
            ("/orders/new", "/orders/{id}", None),
            ("/a/{x}/c", "/{y}/b/c", Some(Clash::Ambiguous)),
            ("/a/{x}/c", "/{y}/b/d", None),
            ("/files/*rest", "/files/{name}", None),
            ("/a/*rest", "/{x}/b", Some(Clash::Ambiguous)),
            ("/{x}/b/*rest", "/a/*rest", Some(Clash::Ambiguous)),
            ("/*rest", "/", None),
            ("/orders/", "/orders/{id}", None),
            ("/a/*r", "/a/*s", Some(Clash::Doubled)),
            ("/a/{x}/", "/{y}/b/", Some(Clash::Ambiguous)),
        ];
        for (first, second, want) in table {
            assert_eq!(clash(first, second), want, "{first} {second}");
            assert_eq!(clash(second, first), want, "{second} {first}");
        }
    }

    /// The slow, obvious way: is there a path that both fit, and who leads where?
    fn oracle(a: &[Segment], b: &[Segment], lead: Lead) -> Option<Clash> {
        let rank = |s: &Segment| match s {
            Segment::Literal(_) => 0,
            Segment::Param(_) => 1,
            Segment::Rest(_) => 2,
        };
        let verdict = |lead: Lead| match (lead.ours, lead.theirs) {
            (false, false) => Some(Clash::Doubled),
            (true, true) => Some(Clash::Ambiguous),
            _ => None,
        };
        match (a.first(), b.first()) {
            (None, None) => verdict(lead),
            (None, _) | (_, None) => None,
            (Some(x), Some(y)) => {
                let fits = match (x, y) {
                    (Segment::Literal(l), Segment::Literal(m)) => l == m,
                    (Segment::Literal(l), Segment::Param(_)) | (Segment::Param(_), Segment::Literal(l)) => {
                        !l.is_empty()
                    }
                    _ => true,
                };
                let lead =
                    Lead { ours: lead.ours || rank(x) < rank(y), theirs: lead.theirs || rank(x) > rank(y) };
                match (x, y) {
                    (Segment::Rest(_), _) | (_, Segment::Rest(_)) => verdict(lead),
                    _ if fits => oracle(&a[1..], &b[1..], lead),
                    _ => None,
                }
            }
        }
    }

    fn templates() -> impl Strategy<Value = RouteTemplate> {
        let segment = prop_oneof![Just("a"), Just("b"), Just("{p}")];
        let end = prop_oneof![Just(""), Just("/"), Just("/*r")];
        (prop::collection::vec(segment, 1..4), end).prop_map(|(parts, end)| {
            let path: String = parts
                .iter()
                .enumerate()
                .map(|(i, p)| format!("/{}", p.replace('p', &format!("p{i}"))))
                .collect();
            template(&format!("{path}{end}"))
        })
    }

    proptest! {
        #[test]
        fn the_trie_finds_what_comparing_each_pair_finds(book in prop::collection::vec(templates(), 1..8), one in templates()) {
            let mut trie = Trie::default();
            for template in &book {
                trie.insert(&Entry { template: template.clone(), line: 1 });
            }
            let found = trie.clash(one.segments(), Lead::default()).is_some();
            let slow = book.iter().any(|t| oracle(one.segments(), t.segments(), Lead::default()).is_some());
            prop_assert_eq!(found, slow, "{:?} in {:?}", one, book);
        }
    }
}
