//! From the name that a caller asks for to the certificate that answers.
//!
//! Exact name first, then a wildcard for exactly one label; the first certificate only when no name was sent. A name that
//! no certificate carries is refused: serving some other certificate would let a caller choose the policy (D1).
//!
//! INVARIANT: upper and lower case are one.
//!
//! Sources: RFC 6066 §3, RFC 9525 §6.3, threat D1.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::material::Material;
use super::{ServedCertificate, TlsError};

/// All certificates of one listener, by name.
#[derive(Debug)]
pub(super) struct Book {
    all: Box<[Material]>,
    exact: HashMap<Box<str>, usize>,
    wild: HashMap<Box<str>, usize>,
}

impl Book {
    pub(super) fn new(all: Vec<Material>) -> Result<Self, TlsError> {
        let mut book = Self { all: Box::default(), exact: HashMap::new(), wild: HashMap::new() };
        for (position, material) in all.iter().enumerate() {
            for name in material.served.names() {
                book.enter(name, position)?;
            }
        }
        book.all = all.into();
        Ok(book)
    }

    fn enter(&mut self, name: &str, position: usize) -> Result<(), TlsError> {
        let (table, name) = match name.strip_prefix("*.") {
            Some(suffix) => (&mut self.wild, suffix),
            None => (&mut self.exact, name),
        };
        match table.insert(name.into(), position) {
            Some(earlier) if earlier != position => {
                Err(TlsError::DuplicateName { position, name: name.into() })
            }
            _ => Ok(()),
        }
    }

    /// The certificate for `name`.
    pub(super) fn find(&self, name: Option<&str>) -> Option<&Material> {
        let Some(name) = name else { return self.all.first() };
        let name = lower(name);
        let wild = || name.split_once('.').filter(|(label, _)| !label.is_empty());
        let position = self.exact.get(&*name).or_else(|| self.wild.get(wild()?.1))?;
        self.all.get(*position)
    }

    pub(super) fn certificates(&self) -> impl Iterator<Item = &Arc<ServedCertificate>> {
        self.all.iter().map(|material| &material.served)
    }
}

fn lower(name: &str) -> Cow<'_, str> {
    match name.bytes().any(|b| b.is_ascii_uppercase()) {
        true => Cow::Owned(name.to_ascii_lowercase()),
        false => Cow::Borrowed(name),
    }
}

impl ResolvesServerCert for Book {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name()).map(|material| Arc::clone(&material.key))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{Authority, SystemTime};
    use super::*;

    fn book(certificates: &[&[&str]]) -> Result<Book, TlsError> {
        let ca = Authority::new("ca");
        let read = |(at, names): (usize, &&[&str])| ca.server(names).material(at, SystemTime.now());
        Book::new(certificates.iter().enumerate().map(read).collect())
    }

    fn found(book: &Book, name: Option<&str>) -> Option<usize> {
        let found = book.find(name)?;
        book.certificates().position(|c| Arc::ptr_eq(c, &found.served))
    }

    #[test]
    fn d1_a_name_finds_its_own_certificate_or_none() {
        let book = book(&[&["a.example"], &["*.a.example", "b.example"], &["x.a.example"], &[]]).unwrap();
        let table = [
            (None, Some(0)),
            (Some("a.example"), Some(0)),
            (Some("A.EXAMPLE"), Some(0)),
            (Some("b.example"), Some(1)),
            (Some("y.a.example"), Some(1)),
            (Some("Y.a.Example"), Some(1)),
            (Some("x.a.example"), Some(2)),
            (Some("z.y.a.example"), None),
            (Some(".a.example"), None),
            (Some("*.a.example"), Some(1)),
            (Some("c.example"), None),
            (Some("example"), None),
            (Some("a.example."), None),
            (Some(""), None),
        ];
        for (name, want) in table {
            assert_eq!(found(&book, name), want, "{name:?}");
        }
    }

    #[test]
    fn one_name_has_one_certificate() {
        let refused = book(&[&["a.example"], &["b.example", "A.example"]]).unwrap_err();
        assert!(refused.to_string().starts_with("certificate 1: the name `a.example`"), "{refused}");
        assert!(book(&[&["a.example", "a.example"]]).is_ok());
    }

    /// Reads every name of every certificate, label by label.
    fn slow_find(certificates: &[Vec<String>], name: &str) -> Option<usize> {
        let labels = |text: &str| text.to_lowercase().split('.').map(str::to_owned).collect::<Vec<_>>();
        let asked = labels(name);
        let exact = |c: &Vec<String>| c.iter().any(|n| labels(n) == asked);
        let wild = |c: &Vec<String>| {
            c.iter().any(|n| {
                let have = labels(n);
                have.len() > 1
                    && have[0] == "*"
                    && have.len() == asked.len()
                    && have[1..] == asked[1..]
                    && !asked[0].is_empty()
            })
        };
        certificates.iter().position(exact).or_else(|| certificates.iter().position(wild))
    }

    fn names() -> impl Strategy<Value = String> {
        proptest::collection::vec(prop_oneof![Just("a"), Just("b"), Just("B"), Just("*")], 1..4)
            .prop_map(|l| l.join("."))
    }

    proptest! {
        #[test]
        fn d1_matching_agrees_with_the_slow_reading(
            certificates in proptest::collection::vec(proptest::collection::vec(names(), 0..3), 1..4),
            asked in names(),
        ) {
            let made = |names: &Vec<String>| Material::named(names.iter().map(String::as_str));
            if let Ok(book) = Book::new(certificates.iter().map(made).collect()) {
                // A bare `*` is no wildcard for anything, and a `*` inside is a plain label.
                prop_assert_eq!(found(&book, Some(&asked)), slow_find(&certificates, &asked));
            }
        }
    }
}
