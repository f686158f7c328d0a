//! Which parameters of a request a record may show.
//!
//! Redaction happens before the event exists: an event takes only [`Permitted`] values, and only an
//! [`AllowList`], which is built from the operator's configuration, makes one. A parameter that nobody listed
//! cannot be recorded, not even by mistake.
//!
//! INVARIANT: a [`Permitted`] carries the allow-list's own spelling of the name, never the caller's.
//!
//! Sources: SS028-11.6.2d, threat C13.

use crate::SafeText;

/// The parameter names that may be recorded with their value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList(Box<[Box<str>]>);

/// One parameter whose value may be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permitted<'a> {
    name: &'a str,
    value: SafeText<'a>,
}

impl AllowList {
    /// A list of exactly these names; upper and lower case differ.
    #[must_use]
    pub fn new<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Self {
        let mut names: Vec<Box<str>> = names.into_iter().map(|n| n.as_ref().into()).collect();
        names.sort_unstable();
        names.dedup();
        Self(names.into())
    }

    /// Lets the value through if the name is listed.
    #[must_use]
    pub fn permit<'a>(&'a self, name: &str, value: &'a str) -> Option<Permitted<'a>> {
        let at = self.0.binary_search_by(|listed| (**listed).cmp(name)).ok()?;
        self.0.get(at).map(|name| Permitted { name, value: SafeText::name(value) })
    }

    /// Whether nothing is listed, so that nobody need look.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> Permitted<'a> {
    /// The listed name.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// The value, bounded and escaped when written.
    #[must_use]
    pub fn value(&self) -> SafeText<'a> {
        self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c13_only_a_listed_parameter_can_be_recorded() {
        let list = AllowList::new(["id", "page", "id"]);
        assert_eq!(list.permit("id", "7").map(|p| p.value().to_string()), Some("7".to_owned()));
        for other in ["ID", "i", "id ", "", "access_token", "page\n"] {
            assert_eq!(list.permit(other, "hunter2"), None, "{other:?}");
        }
        assert!(AllowList::default().is_empty());
    }
}
