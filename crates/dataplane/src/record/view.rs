//! What an event borrows of a record.
//!
//! INVARIANT: parameters pass through the route's allow-lists here, before any event exists (11.6.2d).

use http::Version;
use portcullis_evidence::event::Tls;
use portcullis_evidence::request::{
    Caller, Close, Decided, Ended, Finding, Mode, Outcome, Protocol, Request, Upstream,
};
use portcullis_evidence::{Permitted, SafeText, Source, SourceForm};

use super::{End, Record};

/// The borrowed form that events are made of.
pub(super) struct View<'r> {
    record: &'r Record,
    permitted: Vec<Permitted<'r>>,
    findings: Vec<Finding<'r>>,
}

impl<'r> View<'r> {
    pub(super) fn of(record: &'r Record) -> Self {
        let mut permitted = Vec::new();
        if let Some(route) = &record.route {
            permitted.extend(record.params.iter().filter_map(|(n, v)| route.recorded_params.permit(n, v)));
            permitted.extend(record.query.iter().filter_map(|(n, v)| route.recorded_query.permit(n, v)));
        }
        let finding = |(class, at, mode): &'r (&'static str, String, Mode)| Finding {
            class,
            at: SafeText::name(at),
            mode: *mode,
        };
        Self { record, permitted, findings: record.findings.iter().map(finding).collect() }
    }

    fn request(&self) -> Request<'_> {
        let record = self.record;
        Request {
            source: Source::of(record.source(), SourceForm::Full),
            via: record.via().map(|via| Source::of(via, SourceForm::Full)),
            protocol: if record.version == Version::HTTP_2 { Protocol::Http2 } else { Protocol::Http1 },
            tls: record
                .connection
                .tls_version()
                .map(|version| Tls { version, client: record.connection.certificate().copied() }),
            method: SafeText::name(record.method.as_str()),
            service: record.route.as_ref().map(|r| &r.service.name),
            route: record.route.as_ref().map(|r| &*r.template),
            params: &self.permitted,
            trace: record.trace,
        }
    }

    pub(super) fn decided(&self) -> Decided<'_> {
        let record = self.record;
        Decided {
            request: self.request(),
            caller: record.principal.as_deref().map(Caller::of),
            rules: &record.rules,
            generations: record.generations,
            limit: record.limited,
            findings: &self.findings,
        }
    }

    pub(super) fn ended(&self, close: Close) -> Ended<'_> {
        let record = self.record;
        let outcome = match &record.outcome {
            Some(End::Served(status)) => Outcome::Served { status: *status },
            Some(End::Refused(reason, stage, private)) => {
                Outcome::Refused { reason: *reason, stage: *stage, private: SafeText::new(private) }
            }
            None => Outcome::UpstreamUnknown,
        };
        Ended {
            decided: (!record.decided_apart).then(|| self.decided()),
            outcome,
            close,
            phases: record.phases,
            bytes_in: record.bytes_in.as_ref().map_or(0, |passed| passed.bytes()),
            bytes_out: record.bytes_out,
            upstream: record.upstream.as_ref().map(|(endpoint, attempts)| Upstream {
                endpoint: SafeText::new(endpoint),
                attempts: *attempts,
            }),
        }
    }
}
