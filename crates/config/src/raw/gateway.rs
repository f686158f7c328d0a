//! Keys of `gateway`.

use std::net::SocketAddr;

use ipnet::IpNet;
use portcullis_core::{Assurance, ByteSize, Millis, Name, Rate};

use super::values::{TlsVersion, Word};
use super::{FilePath, SecretSource};
use crate::plan::{CertificateName, ClientMode};
use crate::yaml::{At, Count, Many, section};

section! {
    /// The edge listener.
    RawGateway {
        /// Addresses to listen on, such as `0.0.0.0:8443`. Cannot be reloaded.
        listen: Many<SocketAddr> [required],
        /// Threads of the data plane. Left out, one per core. Cannot be reloaded.
        workers: Count [],
        /// The oldest TLS version accepted: `TLS1.2` (AEAD and ECDHE only) or `TLS1.3`.
        tls_minimum: TlsVersion [= "TLS1.2"],
        /// Server certificates, picked by SNI; the first is used where none fits.
        certificates: Many<RawCertificate> [required "SS028-11.3.3a"],
        /// Client certificates.
        client_certificates: RawClientCertificates [section],
        /// Networks of load balancers that start each connection with a PROXY protocol v2 header.
        proxy_protocol: Many<IpNet> [],
        /// Networks of proxies whose `Forwarded` header is believed. Left out, none is.
        trusted_proxies: Many<IpNet> [],
        /// Sizes of heads and bodies.
        limits: RawHttpLimits [section],
        /// Time and pace, phase by phase.
        timeouts: RawHttpTimeouts [section],
        /// Connections and failures, in all and by source.
        connections: RawConnectionLimits [section],
        /// HTTP/2 flood limits.
        http2: RawHttp2Limits [section],
        /// Long-lived answers: WebSocket, server-sent events, gRPC streams.
        streams: RawStreamLimits [section],
        /// The internal token that a service receives in place of the caller's credentials.
        internal_tokens: RawInternalTokens [section],
    }
}

section! {
    /// A certificate chain with its private key, both PEM.
    RawCertificate {
        /// The chain, leaf first.
        file: FilePath [required],
        /// The private key, by reference; its file must be readable by its owner only.
        key: SecretSource [required],
    }
}

section! {
    /// How client certificates are treated.
    RawClientCertificates {
        /// `off`, `optional` (checked when given) or `required` (no connection without one).
        mode: ClientMode [= "off"],
        /// The private authorities that may issue them.
        authorities: Vec<At<RawClientAuthority>> [],
    }
}

section! {
    /// A private certificate authority whose clients are admitted.
    RawClientAuthority {
        /// Our name for it; it is the issuer of the callers that it vouches for.
        name: Name [required],
        /// Its root certificates, PEM.
        roots: FilePath [required],
        /// How sure it is of its clients: `low`, `substantial` or `high`.
        assurance: Assurance [= "substantial"],
        /// The clients that are callers of their own right. A certificate with another name identifies nobody, but
        /// a token may still be bound to it.
        callers: Vec<At<RawClientCaller>> [],
    }
}

section! {
    /// A caller that is known by its certificate.
    RawClientCaller {
        /// The SPIFFE id or DNS name in the certificate.
        certificate: CertificateName [required],
        /// Scopes that it is given.
        scopes: Many<Word> [],
        /// Roles that it is given.
        roles: Many<Word> [],
    }
}

section! {
    /// Sizes of heads and bodies.
    RawHttpLimits {
        /// The whole head: request line and headers.
        head: ByteSize [= "32KiB"],
        /// The request target.
        target: ByteSize [= "8KiB"],
        /// Header fields, each piece of a cookie counted.
        header_count: Count [= "100"],
        /// One header field, name and value.
        header: ByteSize [= "16KiB"],
        /// A request body, where the route does not say.
        body: ByteSize [= "1MiB"],
        /// All trailers of a message together.
        trailers: ByteSize [= "8KiB"],
        /// Trailer fields of a message.
        trailer_count: Count [= "32"],
        /// Requests in flight in the whole process.
        in_flight: Count [= "10000"],
    }
}

section! {
    /// Time and pace, phase by phase.
    RawHttpTimeouts {
        /// The TLS handshake, a PROXY header included.
        handshake: Millis [= "5s"],
        /// From the first byte of a head to its last.
        head: Millis [= "5s"],
        /// Between two requests on a connection.
        idle: Millis [= "60s"],
        /// Between two reads of a body.
        body_stall: Millis [= "10s"],
        /// The least pace of a body in bytes per second, both ways.
        body_least_rate: ByteSize [= "512B"],
        /// How long a body may be slower than that.
        body_grace: Millis [= "10s"],
        /// How long a peer may take nothing of what is written.
        write_stall: Millis [= "20s"],
        /// How long open requests may go on when the process drains.
        drain: Millis [= "30s"],
    }
}

section! {
    /// Connections and failures, in all and by source (an IPv4 address or an IPv6 /64).
    RawConnectionLimits {
        /// Connections in the whole process.
        total: Count [= "20000"],
        /// Connections from one source.
        per_source: Count [= "200"],
        /// Handshakes from one source that are not finished.
        handshakes_per_source: Count [= "50"],
        /// Failed signature checks from one source before its tokens are refused unseen.
        invalid_tokens_per_source: Rate [= "20/s"],
        /// Early refusals (before the caller is known) that get a record each, in a second on a core; beyond that they are
        /// counted together, by network.
        refusals_recorded: Count [= "50"],
        /// Verified tokens that are remembered in the whole process.
        token_cache: Count [= "100000"],
    }
}

section! {
    /// HTTP/2 flood limits.
    RawHttp2Limits {
        /// Streams open at a time on a connection.
        max_streams: Count [= "128"],
        /// The span over which frames are counted.
        window: Millis [= "10s"],
        /// RST_STREAM frames received in a window.
        resets: Count [= "100"],
        /// RST_STREAM frames received in the life of a connection.
        lifetime_resets: Count [= "10000"],
        /// RST_STREAM frames that a peer may make the gateway send in the life of a connection.
        emitted_resets: Count [= "500"],
        /// CONTINUATION frames of one head.
        continuations: Count [= "16"],
        /// PING frames in a window.
        pings: Count [= "50"],
        /// SETTINGS frames in a window.
        settings: Count [= "20"],
        /// DATA frames without data in a window.
        empty_data: Count [= "50"],
        /// PRIORITY frames in a window.
        priorities: Count [= "100"],
        /// WINDOW_UPDATE frames in a window.
        window_updates: Count [= "10000"],
        /// The dynamic table of HPACK.
        header_table: ByteSize [= "4KiB"],
        /// The receive window of a stream.
        stream_window: ByteSize [= "256KiB"],
        /// The receive window of a connection.
        connection_window: ByteSize [= "1MiB"],
    }
}

section! {
    /// Long-lived answers.
    RawStreamLimits {
        /// A stream without a byte in either direction ends.
        idle: Millis [= "2m"],
        /// A stream of this age ends.
        max_age: Millis [= "1h"],
    }
}

section! {
    /// The internal token that a service receives.
    RawInternalTokens {
        /// At most 30 seconds.
        lifetime: Millis [= "30s"],
    }
}
