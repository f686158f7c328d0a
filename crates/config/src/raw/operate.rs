//! Keys of `state`, `ca`, `admin`, `alerts`, `audit` and `metrics`.

use std::net::SocketAddr;

use portcullis_core::{ByteSize, Millis, Rate};

use super::gateway::RawCertificate;
use super::values::SocketPath;
use super::{FilePath, SecretSource};
use crate::plan::{CertificateName, Url};
use crate::yaml::{Many, Text, section};

section! {
    /// Where state is kept.
    RawState {
        /// A directory that only our user can read. Cannot be reloaded.
        directory: FilePath [= "state"],
    }
}

section! {
    /// The authority that certifies workloads. Cannot be reloaded.
    RawCa {
        /// The secret that seals its private keys, at least 32 bytes, by reference; never in the state directory, which
        /// holds what it seals.
        seal: SecretSource [required "SS028-11.2.10c"],
    }
}

section! {
    /// How the product itself is administered. Cannot be reloaded.
    RawAdmin {
        /// The unix socket. Left out, `admin.sock` in the state directory.
        socket: SocketPath [],
        /// User ids that may use the socket beside our own.
        uids: Many<u32> [],
        /// A listener with mutual TLS. Left out, there is none.
        listener: RawAdminListener [],
    }
}

section! {
    /// Administration over mutual TLS.
    RawAdminListener {
        /// Where to listen.
        address: SocketAddr [required],
        /// Our certificate.
        certificate: RawCertificate [required "SS028-11.3.3a"],
        /// Root certificates of the administrators' authority, PEM.
        roots: FilePath [required "SS028-11.3.3b"],
        /// The SPIFFE ids or DNS names of administrators.
        names: Many<CertificateName> [required "SS028-11.3.3b"],
    }
}

section! {
    /// Where alerts go, and when.
    RawAlerts {
        /// Addresses of Alertmanagers (v2 API).
        alertmanager: Many<Url> [],
        /// A webhook.
        webhook: RawWebhook [],
        /// Root certificates for both, PEM. Left out, those of the system.
        roots: FilePath [],
        /// Thresholds.
        rules: RawAlertRules [section],
    }
}

section! {
    /// A webhook that is told of alerts.
    RawWebhook {
        /// Where.
        url: Url [required],
        /// A bearer token to send, by reference.
        token: SecretSource [],
    }
}

section! {
    /// Thresholds.
    RawAlertRules {
        /// More failed authentications than this.
        authentication_failures: Rate [= "100/min"],
        /// More refusals than this.
        refusals: Rate [= "1000/min"],
        /// More refusals by the head guard than this.
        guard_refusals: Rate [= "50/min"],
        /// A sink that is this far behind.
        sink_behind: Millis [= "30s"],
        /// A certificate that ends within this time.
        certificate_expiry: Millis [= "14d"],
        /// A clock that is off by this much.
        clock_offset: Millis [= "2s"],
    }
}

section! {
    /// The audit log.
    RawAudit {
        /// Records older than this are deleted; their proofs stay.
        keep_for: Millis [= "90d"],
        /// Beyond this size the oldest segments go.
        keep_size: ByteSize [= "20GiB"],
        /// A segment is sealed at this size.
        segment: ByteSize [= "64MiB"],
        /// The secret from which the keys that seal and sign the record are derived, at least 32 bytes, by reference. Left out, one
        /// is drawn in the state directory.
        key: SecretSource [],
        /// When records are on disk: `each` decision before its effect, or all at least this often, at most `50ms`.
        sync: Text [= "50ms"],
    }
}

section! {
    /// Where metrics are offered, beside the admin socket.
    RawMetrics {
        /// A loopback address such as `127.0.0.1:9400`. Left out, there is none.
        listen: SocketAddr [],
    }
}
