//! Who can do what: one table to look at in a review, and to keep as a golden file.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use portcullis_core::{Principal, UnixMillis};

use crate::book::Slice;
use crate::{Answer, Book, Method, Question, SliceId};

impl Book {
    /// One line for each method of each route, one column for each named caller: `yes`, `no` or `broken`. Every
    /// path parameter is `-`, the source 192.0.2.1; a rule that compares those shows its answer for just that.
    #[must_use]
    pub fn matrix(&self, callers: &[(&str, &Principal)], now: UnixMillis) -> String {
        let mut out = String::new();
        let _ = write!(out, "{:<48}", "");
        callers.iter().for_each(|(name, _)| _ = write!(out, " {name:<12}"));
        out.truncate(out.trim_end().len());
        out.push('\n');
        for (service, index) in self.names.iter().flat_map(|(s, routes)| routes.iter().map(move |r| (s, r.1)))
        {
            let Some(slice) = self.slices.get(*index as usize) else { continue };
            for (method, _) in &slice.doors {
                let _ = write!(out, "{:<48}", format!("{service}/{} {method}", slice.route));
                for (_, caller) in callers {
                    let word = self.cell(*index, slice, (*method, caller, now));
                    let _ = write!(out, " {word:<12}");
                }
                out.truncate(out.trim_end().len());
                out.push('\n');
            }
        }
        out
    }

    fn cell(
        &self,
        index: u32,
        slice: &Slice,
        (method, principal, now): (Method, &Principal, UnixMillis),
    ) -> &'static str {
        let path: Vec<(&str, &str)> = slice.parameters.iter().map(|name| (&**name, "-")).collect();
        let source = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let question = Question { principal, method, path: &path, source, now };
        match self.decide(SliceId { stamp: self.stamp, index }, &question) {
            Answer::Allow { .. } => "yes",
            Answer::Deny { .. } => "no",
            Answer::Broken { .. } => "broken",
        }
    }
}
