//! From authority, normal path and method to one route.
//!
//! A tree of path segments per authority. At each level a literal beats a parameter and a parameter beats a rest
//! (`/*rest`); the tree is searched in that order and the first full match wins, so the answer never depends on
//! the order of the file. What is matched are the bytes of the [`NormalPath`]; captured values are handed out
//! decoded, which cannot create a slash, a dot segment or a control byte, since the normal form refuses those.
//!
//! INVARIANT: literals compare byte for byte, case included (threat B4); there are no patterns (threat B7).
//! INVARIANT: the search visits each node at most once for a given depth of the path: work is bounded by
//! `MOST_STEPS`, and a search that would go on is "nothing" (fail closed).
//!
//! Not here: what a route demands (`routes`), whether the caller may use it (`portcullis-policy`).

use std::borrow::Cow;
use std::collections::HashMap;

use percent_encoding::percent_decode_str;
use portcullis_core::NormalPath;

/// One part of a route's template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// These bytes, in normal form.
    Literal(Box<str>),
    /// Any one segment that is not empty.
    Param,
    /// All that is left, one segment or more, of which the last may be empty; only as the last part.
    Rest,
}

/// The place of a route in the list that the router was built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteIndex(pub u32);

/// What one path and method lead to.
#[derive(Debug, PartialEq, Eq)]
pub enum Match<'p> {
    /// One route, with the captured values in the order of its template, still encoded.
    Route(RouteIndex, Vec<&'p str>),
    /// The path is known, with other methods.
    WrongMethod(Vec<http::Method>),
    /// Nothing is known under this authority and path.
    Nothing,
}

/// More nodes than this are not visited for one path.
const MOST_STEPS: u32 = 2_048;

#[derive(Debug, Default)]
struct Node {
    literals: HashMap<Box<str>, Node>,
    param: Option<Box<Node>>,
    rest: Vec<(http::Method, RouteIndex)>,
    here: Vec<(http::Method, RouteIndex)>,
}

/// Routes of all services, by authority.
#[derive(Debug, Default)]
pub struct Router {
    by_host: HashMap<Box<str>, Node>,
    any_host: Node,
}

/// A second route with the same authority, template and method.
#[derive(Debug, PartialEq, Eq)]
pub struct Doubled {
    /// The one that was there first.
    pub first: RouteIndex,
}

impl Router {
    /// Adds a route; `host` is lower case without a port, `None` stands for every authority.
    ///
    /// # Errors
    /// The same authority, template and method already lead elsewhere.
    pub fn add(
        &mut self,
        host: Option<&str>,
        template: &[Segment],
        methods: &[http::Method],
        route: RouteIndex,
    ) -> Result<(), Doubled> {
        let root = match host {
            Some(host) => self.by_host.entry(host.into()).or_default(),
            None => &mut self.any_host,
        };
        let leaf = root.leaf(template);
        for method in methods {
            if let Some((_, first)) = leaf.iter().find(|(m, _)| m == method) {
                return Err(Doubled { first: *first });
            }
            leaf.push((method.clone(), route));
        }
        Ok(())
    }

    /// Finds the route: in the authority's own tree if any service names it, else in the one for every other authority.
    #[must_use]
    pub fn find<'p>(&self, host: &str, path: &'p NormalPath, method: &http::Method) -> Match<'p> {
        let mut search = Search { method, steps: MOST_STEPS, allowed: Vec::new() };
        let text = path.as_str().strip_prefix('/').unwrap_or_default();
        let root = self.by_host.get(host).unwrap_or(&self.any_host);
        let mut captured = Vec::new();
        if let Some(route) = search.walk(root, Some(text), &mut captured) {
            return Match::Route(route, captured);
        }
        if search.allowed.is_empty() { Match::Nothing } else { Match::WrongMethod(search.allowed) }
    }
}

/// Decodes a captured value. UTF-8 was checked when the path was normalised.
#[must_use]
pub fn decode(captured: &str) -> Cow<'_, str> {
    percent_decode_str(captured).decode_utf8_lossy()
}

impl Node {
    fn leaf(&mut self, template: &[Segment]) -> &mut Vec<(http::Method, RouteIndex)> {
        match template.split_first() {
            None => &mut self.here,
            Some((Segment::Rest, _)) => &mut self.rest,
            Some((Segment::Param, others)) => self.param.get_or_insert_default().leaf(others),
            Some((Segment::Literal(text), others)) => {
                self.literals.entry(text.clone()).or_default().leaf(others)
            }
        }
    }
}

struct Search<'m> {
    method: &'m http::Method,
    steps: u32,
    allowed: Vec<http::Method>,
}

impl Search<'_> {
    /// `text` is what is left of the path after the slash before it; `None` when the path is used up.
    fn walk<'p>(
        &mut self,
        node: &Node,
        text: Option<&'p str>,
        captured: &mut Vec<&'p str>,
    ) -> Option<RouteIndex> {
        self.steps = self.steps.checked_sub(1)?;
        let Some(text) = text else { return self.choose(&node.here) };
        let (segment, left) = match text.split_once('/') {
            Some((segment, left)) => (segment, Some(left)),
            None => (text, None),
        };
        if let Some(child) = node.literals.get(segment)
            && let Some(found) = self.walk(child, left, captured)
        {
            return Some(found);
        }
        if let Some(child) = node.param.as_deref().filter(|_| !segment.is_empty()) {
            captured.push(segment);
            if let Some(found) = self.walk(child, left, captured) {
                return Some(found);
            }
            captured.pop();
        }
        let found = self.choose(&node.rest)?;
        captured.push(text);
        Some(found)
    }

    /// `HEAD` is served wherever `GET` is (RFC 9110 §9.3.2).
    fn choose(&mut self, leaf: &[(http::Method, RouteIndex)]) -> Option<RouteIndex> {
        let exact = leaf.iter().find(|(m, _)| m == self.method);
        let as_get =
            || leaf.iter().find(|(m, _)| self.method == http::Method::HEAD && m == http::Method::GET);
        let found = exact.or_else(as_get).map(|(_, route)| *route);
        if found.is_none() {
            self.allowed.extend(leaf.iter().map(|(m, _)| m.clone()));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use proptest::prelude::*;

    use super::*;

    fn template(text: &str) -> Vec<Segment> {
        let part = |s: &str| match s {
            "{}" => Segment::Param,
            "*" => Segment::Rest,
            literal => Segment::Literal(literal.into()),
        };
        text.strip_prefix('/').unwrap_or(text).split('/').map(part).collect()
    }

    fn router(routes: &[(Option<&str>, &str, Method)]) -> Router {
        let mut router = Router::default();
        for (index, (host, text, method)) in (0..).zip(routes) {
            let methods = std::slice::from_ref(method);
            router.add(*host, &template(text), methods, RouteIndex(index)).expect("no doubles");
        }
        router
    }

    fn path(text: &str) -> NormalPath {
        NormalPath::parse(text).expect("a normal path")
    }

    #[test]
    fn a_literal_beats_a_parameter_beats_a_rest_in_any_order_of_the_file() {
        let mut routes = [
            (None, "/a/*", Method::GET),
            (None, "/a/{}", Method::GET),
            (None, "/a/b", Method::GET),
            (None, "/a/{}/c", Method::GET),
        ];
        for _ in 0..routes.len() {
            routes.rotate_left(1);
            let router = router(&routes);
            let hit = |p: &str| match router.find("x", &path(p), &Method::GET) {
                Match::Route(i, _) => routes[i.0 as usize].1,
                _ => "nothing",
            };
            assert_eq!(
                [hit("/a/b"), hit("/a/x"), hit("/a/b/c"), hit("/a/b/d"), hit("/b")],
                ["/a/b", "/a/{}", "/a/{}/c", "/a/*", "nothing"]
            );
        }
    }

    #[test]
    fn b4_another_case_is_another_path_and_another_authority_another_tree() {
        let router = router(&[(Some("shop.example"), "/admin", Method::GET), (None, "/open", Method::GET)]);
        assert!(matches!(router.find("shop.example", &path("/admin"), &Method::GET), Match::Route(..)));
        assert_eq!(router.find("shop.example", &path("/Admin"), &Method::GET), Match::Nothing);
        assert_eq!(router.find("other.example", &path("/admin"), &Method::GET), Match::Nothing);
        assert_eq!(router.find("shop.example", &path("/open"), &Method::GET), Match::Nothing);
        assert!(matches!(router.find("other.example", &path("/open"), &Method::GET), Match::Route(..)));
    }

    #[test]
    fn b7_a_parameter_takes_one_whole_segment_and_never_an_empty_one() {
        let router = router(&[(None, "/a/{}", Method::GET), (None, "/f/*", Method::GET)]);
        assert_eq!(router.find("x", &path("/a/"), &Method::GET), Match::Nothing);
        assert_eq!(router.find("x", &path("/a/b/c"), &Method::GET), Match::Nothing);
        assert_eq!(router.find("x", &path("/f"), &Method::GET), Match::Nothing);
        let folder = path("/f/");
        assert_eq!(router.find("x", &folder, &Method::GET), Match::Route(RouteIndex(1), vec![""]));
        let rest = path("/f/b/c");
        assert_eq!(router.find("x", &rest, &Method::GET), Match::Route(RouteIndex(1), vec!["b/c"]));
    }

    #[test]
    fn a_known_path_with_another_method_names_the_methods() {
        let router = router(&[(None, "/a", Method::GET), (None, "/a", Method::PUT)]);
        let known = path("/a");
        let found = router.find("x", &known, &Method::DELETE);
        assert_eq!(found, Match::WrongMethod(vec![Method::GET, Method::PUT]));
        assert!(matches!(router.find("x", &path("/a"), &Method::HEAD), Match::Route(RouteIndex(0), _)));
    }

    #[test]
    fn captured_values_are_decoded_once() {
        assert_eq!(decode("caf%C3%A9"), "café");
        assert_eq!(decode("100%25"), "100%");
    }

    #[test]
    fn e9_a_tree_made_to_be_searched_forever_is_given_up() {
        let mut router = Router::default();
        // Each level offers `a` and `{}`: 2^20 ways to the bottom, none of which ends in `z`.
        for mask in 0..1_u32 << 11 {
            let parts = (0..20).map(|bit| match bit < 11 && mask >> bit & 1 == 1 {
                true => Segment::Param,
                false => Segment::Literal("a".into()),
            });
            router
                .add(None, &parts.collect::<Vec<_>>(), &[Method::GET], RouteIndex(mask))
                .expect("no doubles");
        }
        let long = path(&format!("{}/z", "/a".repeat(20)));
        assert_eq!(router.find("x", &long, &Method::GET), Match::Nothing);
    }

    /// The slow, obvious reading: try every template, keep the best by the rule of precedence.
    fn oracle(routes: &[Vec<Segment>], path: &NormalPath) -> Option<usize> {
        let rank = |t: &Vec<Segment>| -> Option<Vec<u8>> {
            let mut parts = path.segments().peekable();
            let mut ranks = Vec::new();
            for segment in t {
                match segment {
                    Segment::Literal(text) => (parts.next()? == &**text).then(|| ranks.push(0))?,
                    Segment::Param => (!parts.next()?.is_empty()).then(|| ranks.push(1))?,
                    Segment::Rest => {
                        let left: Vec<_> = parts.by_ref().collect();
                        (!left.is_empty()).then(|| ranks.push(2))?;
                    }
                }
            }
            parts.peek().is_none().then_some(ranks)
        };
        let ranked = routes.iter().enumerate().filter_map(|(i, t)| rank(t).map(|r| (r, i)));
        ranked.min().map(|(_, i)| i)
    }

    proptest! {
        #[test]
        fn the_tree_agrees_with_trying_every_template(
            templates in proptest::collection::btree_set("(/(a|b|\\{\\})){1,3}(/\\*)?", 1..8),
            given in "(/(a|b|c)){1,4}/?",
        ) {
            let templates: Vec<Vec<Segment>> = templates.iter().map(|t| template(t)).collect();
            let mut router = Router::default();
            for (i, t) in (0..).zip(&templates) {
                router.add(None, t, &[Method::GET], RouteIndex(i)).expect("no doubles");
            }
            let given = path(&given);
            let found = match router.find("x", &given, &Method::GET) {
                Match::Route(i, _) => Some(i.0 as usize),
                _ => None,
            };
            prop_assert_eq!(found, oracle(&templates, &given));
        }
    }
}
