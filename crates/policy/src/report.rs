//! How large the slices of a book are, since the size of a slice is what a decision costs.

use std::fmt;

use portcullis_core::Name;
use serde::Serialize;

use crate::Book;
use crate::book::Slice;

/// What `check` prints about a book.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SliceReport {
    /// Rules in the book.
    pub rules: usize,
    /// Routes, each with a slice.
    pub routes: usize,
    /// Rules that fall into every slice, since neither their scope nor their file names a service or route.
    pub unscoped: usize,
    /// The largest slices, largest first, at most [`SliceReport::SHOWN`].
    pub largest: Vec<SliceSize>,
    /// Methods of routes that no permit can reach, as `service/route METHOD`; at most [`SliceReport::SHOWN`].
    pub closed: Vec<String>,
    /// How many such methods there are.
    pub closed_count: usize,
}

/// The size of one slice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SliceSize {
    /// The service.
    pub service: Name,
    /// The route.
    pub route: Name,
    /// Rules that are evaluated for its most expensive method.
    pub rules: usize,
    /// Whether each of its methods can be answered from the cache.
    pub cacheable: bool,
}

impl SliceReport {
    /// More slices than this are not listed.
    pub const SHOWN: usize = 10;
    /// A slice with more rules than this is worth a warning: each costs about a microsecond per decision.
    pub const MANY: usize = 25;

    /// Whether somebody should look at it.
    #[must_use]
    pub fn is_alarming(&self) -> bool {
        self.unscoped > Self::MANY || self.largest.first().is_some_and(|size| size.rules > Self::MANY)
    }
}

impl Book {
    /// How large the slices are.
    #[must_use]
    pub fn slice_report(&self) -> SliceReport {
        let mut sizes: Vec<SliceSize> = self.slices.iter().map(size).collect();
        sizes.sort_by(|a, b| {
            b.rules.cmp(&a.rules).then_with(|| (&a.service, &a.route).cmp(&(&b.service, &b.route)))
        });
        sizes.truncate(SliceReport::SHOWN);
        let closed: Vec<String> = self.slices.iter().flat_map(|slice| self.closed(slice)).collect();
        SliceReport {
            rules: self.rules.len(),
            routes: self.slices.len(),
            unscoped: self.unscoped,
            largest: sizes,
            closed_count: closed.len(),
            closed: closed.into_iter().take(SliceReport::SHOWN).collect(),
        }
    }

    fn closed<'b>(&'b self, slice: &'b Slice) -> impl Iterator<Item = String> + 'b {
        let without_permit = slice.doors.iter().filter(|(_, door)| {
            self.policies(door).iter().all(|(_, policy)| policy.effect() == cedar_policy::Effect::Forbid)
        });
        without_permit.map(|(method, _)| format!("{}/{} {method}", slice.service, slice.route))
    }
}

fn size(slice: &Slice) -> SliceSize {
    let rules = slice.doors.iter().map(|(_, door)| door.layers.iter().map(|l| l.rules.len()).sum());
    SliceSize {
        service: slice.service.clone(),
        route: slice.route.clone(),
        rules: rules.max().unwrap_or_default(),
        cacheable: slice.doors.iter().all(|(_, door)| door.cacheable),
    }
}

impl fmt::Display for SliceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} rules for {} routes; {} rules fall into every slice",
            self.rules, self.routes, self.unscoped
        )?;
        for SliceSize { service, route, rules, cacheable } in &self.largest {
            let note = if *cacheable { "" } else { " (never cached: reads the time)" };
            writeln!(f, "  {rules:>5}  {service}/{route}{note}")?;
        }
        if self.is_alarming() {
            writeln!(f, "warning: a slice with more than {} rules is slow; give them a scope", Self::MANY)?;
        }
        if self.closed_count > 0 {
            writeln!(f, "{} methods that no rule permits:", self.closed_count)?;
        }
        self.closed.iter().try_for_each(|door| writeln!(f, "         {door}"))
    }
}
