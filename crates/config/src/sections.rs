//! Digests of a plan: of all of it, and of the parts that are compiled apart.
//!
//! Endpoint churn flushes no decision and a new certificate recompiles no policy: whoever compiles keeps what it
//! has for each section whose digest did not change.
//!
//! INVARIANT: equal plans have equal digests on every machine. The digest of a section leaves out where things
//! are written, so that a comment recompiles nothing; [`Plan::hash`] keeps it.

use aws_lc_rs::digest::{Context, SHA256};
use serde::Serialize;

use crate::crossing;
use crate::plan::{Digest, Plan};

/// The digest of each part that is compiled apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sections {
    /// Listener, certificates, client authorities, and TLS towards services.
    pub tls: Digest,
    /// Which service and route a request belongs to, and how it is forwarded.
    pub routes: Digest,
    /// Policies and rules, and what they are about.
    pub authorisation: Digest,
    /// Issuers, API keys, client authorities and internal tokens.
    pub keys: Digest,
    /// Usage plans, procedures, and the limits of the listener.
    pub limits: Digest,
}

impl Plan {
    /// SHA-256 of the plan in its one serialised form; secrets count by their digest.
    #[must_use]
    pub fn hash(&self) -> Digest {
        digest(self)
    }

    /// The digest of each part that is compiled apart.
    #[must_use]
    pub fn sections(&self) -> Sections {
        crossing::without_places(|| Sections {
            tls: self.tls(),
            routes: digest(&(
                &self.services,
                &self.gateway.limits,
                &self.gateway.timeouts,
                &self.gateway.streams,
            )),
            authorisation: self.authorisation(),
            keys: digest(&(
                &self.issuers,
                &self.api_keys,
                &self.gateway.client_certificates,
                &self.gateway.internal_tokens,
            )),
            limits: self.limits(),
        })
    }

    fn tls(&self) -> Digest {
        let gateway = &self.gateway;
        let upstream: Vec<_> = self.services.iter().map(|s| (&s.name, &s.upstream.transport)).collect();
        digest(&(
            &gateway.listen,
            gateway.tls_minimum,
            &gateway.certificates,
            &gateway.client_certificates,
            (&gateway.proxy_protocol, &gateway.trusted_proxies),
            upstream,
        ))
    }

    fn authorisation(&self) -> Digest {
        let services = self.services.iter();
        let rules: Vec<_> = services
            .flat_map(|s| s.routes.iter().map(move |r| (s, r)))
            .map(|(s, r)| (&s.name, &s.context, &r.id, &r.template, &r.methods, r.sensitivity, &r.access))
            .collect();
        digest(&(&self.environment, &self.trust_domain, &self.policies, rules))
    }

    fn limits(&self) -> Digest {
        let routes: Vec<_> =
            self.services.iter().flat_map(|s| &s.routes).map(|r| (&r.id, &r.plan, &r.procedure)).collect();
        let gateway = &self.gateway;
        digest(&(&self.plans, routes, &gateway.limits, &gateway.connections, &gateway.http2))
    }
}

/// Feeds JSON to SHA-256 without holding it.
struct Sink(Context);

impl std::io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn digest<T: Serialize>(value: &T) -> Digest {
    let mut out = std::io::BufWriter::new(Sink(Context::new(&SHA256)));
    // Nothing in a plan can fail to serialise, and the sink takes every byte; if it ever did fail, the digest of
    // the part that was written differs from every whole one, so the section counts as changed.
    let written = serde_json::to_writer(&mut out, value).is_ok();
    let Ok(sink) = out.into_inner() else { return Digest::of(b"") };
    let mut context = sink.0;
    context.update(&[u8::from(written)]);
    Digest::from_context(context.finish())
}
