//! What series are told apart by. Each type is a closed set: words of the source, or names of the configuration.

use std::sync::Arc;

use portcullis_core::{Name, Reason};

use super::Labels;

/// A route, by its service and template.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteLabels {
    /// The service.
    pub service: Name,
    /// The template, as configured; never a path.
    pub route: Arc<str>,
}

/// A route and a class of status.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StatusLabels {
    /// The route.
    pub route: RouteLabels,
    /// `1xx` to `5xx`.
    pub class: &'static str,
}

/// A refusal's reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReasonLabel(pub Reason);

/// One name of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NameLabel(pub Name);

/// One word of the source code, under the label `kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Word(pub &'static str);

/// A name of the configuration and a word.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NameWord(pub Name, pub &'static str);

/// The number of a data-plane core.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CoreLabel(String);

impl CoreLabel {
    /// The label of core `number`.
    #[must_use]
    pub fn new(number: u16) -> Self {
        Self(number.to_string())
    }
}

impl Labels for RouteLabels {
    fn pairs(&self) -> Vec<(&'static str, &str)> {
        vec![("service", self.service.as_str()), ("route", &self.route)]
    }
}

impl Labels for StatusLabels {
    fn pairs(&self) -> Vec<(&'static str, &str)> {
        let mut pairs = self.route.pairs();
        pairs.push(("status", self.class));
        pairs
    }
}

impl Labels for ReasonLabel {
    fn pairs(&self) -> Vec<(&'static str, &str)> {
        vec![("reason", self.0.word())]
    }
}

impl Labels for NameLabel {
    fn pairs(&self) -> Vec<(&'static str, &str)> {
        vec![("name", self.0.as_str())]
    }
}

impl Labels for Word {
    fn pairs(&self) -> Vec<(&'static str, &str)> {
        vec![("kind", self.0)]
    }
}

impl Labels for NameWord {
    fn pairs(&self) -> Vec<(&'static str, &str)> {
        vec![("name", self.0.as_str()), ("kind", self.1)]
    }
}

impl Labels for CoreLabel {
    fn pairs(&self) -> Vec<(&'static str, &str)> {
        vec![("core", &self.0)]
    }
}
