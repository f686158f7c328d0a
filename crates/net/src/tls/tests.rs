//! Handshakes between our two sides, and with clients that we would not build.

use std::sync::Arc;
use std::time::Duration;

use portcullis_core::Clock;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind, NamedGroup};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, join, simplex};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::provider::{provider, versions};
use super::testing::{Authority, Pair, Stopped, at, clock};
use super::*;
use crate::Protocol;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

fn server_with(pairs: &[&Pair], client_auth: ClientAuth<'_>, versions: TlsVersions) -> ServerTls {
    let certificates = pairs.iter().map(|pair| pair.source()).collect();
    ServerTls::build(&ServerTlsSource { certificates, client_auth, versions }, &clock()).unwrap()
}

fn server(pairs: &[&Pair], client_auth: ClientAuth<'_>) -> ServerTls {
    server_with(pairs, client_auth, TlsVersions::Tls12And13)
}

fn client(roots: Roots, expect: Expected, identity: Option<&Pair>) -> ClientTls {
    client_at(roots, expect, identity, &clock()).unwrap()
}

fn client_at(
    roots: Roots,
    expect: Expected,
    identity: Option<&Pair>,
    clock: &Arc<dyn Clock>,
) -> Result<ClientTls, TlsError> {
    let identity = identity.map(Pair::source);
    let source = ClientTlsSource {
        roots,
        identity,
        expect,
        versions: TlsVersions::Tls13Only,
        protocol: Protocol::Http2,
    };
    ClientTls::build(source, clock)
}

fn named(name: &str) -> Expected {
    Expected::DnsName(name.into())
}

type ServerSide = Result<Accepted<DuplexStream>, HandshakeFault>;
type ClientSide = Result<Connected<DuplexStream>, HandshakeFault>;

async fn shake(server: &ServerTls, client: &ClientTls) -> (ServerSide, ClientSide) {
    let (near, far) = duplex(16 * 1024);
    let side = async {
        let accepted = server.accept(near, soon()).await;
        // A byte each way, so that an alert that comes late is seen.
        match accepted {
            Ok(mut accepted) => {
                let _ = accepted.stream.write_all(b"!").await;
                let _ = accepted.stream.flush().await;
                Ok(accepted)
            }
            refused => refused,
        }
    };
    tokio::join!(side, client.connect(far, soon()))
}

/// A client with settings of its own.
fn raw(ca: &Authority, change: impl FnOnce(&mut ClientConfig)) -> TlsConnector {
    let verifier = WebPkiServerVerifier::builder_with_provider(ca.roots().0, provider()).build().unwrap();
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions(TlsVersions::Tls12And13))
        .unwrap()
        .with_webpki_verifier(verifier)
        .with_no_client_auth();
    change(&mut config);
    TlsConnector::from(Arc::new(config))
}

async fn shake_raw(
    server: &ServerTls,
    client: &TlsConnector,
    name: &str,
) -> (ServerSide, std::io::Result<tokio_rustls::client::TlsStream<DuplexStream>>) {
    let (near, far) = duplex(65_536);
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let both = async { tokio::join!(server.accept(near, soon()), client.connect(name, far)) };
    both.await
}

#[tokio::test]
async fn both_sides_agree_on_the_hybrid_group_tls13_and_h2() {
    let ca = Authority::new("ca");
    let own = ca.server(&["a.example"]);
    let server = server(&[&own], ClientAuth::Off);
    let (accepted, connected) = shake(&server, &client(ca.roots(), named("a.example"), None)).await;
    let (accepted, connected) = (accepted.unwrap(), connected.unwrap());
    assert_eq!(accepted.facts.version(), TlsVersion::Tls13);
    assert_eq!(accepted.facts.protocol(), Protocol::Http2);
    assert_eq!(accepted.facts.sni(), Some("a.example"));
    assert_eq!(accepted.facts.peer_leaf(), None);
    let group = connected.stream.get_ref().1.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), NamedGroup::X25519MLKEM768);
    assert!(connected.ends.unwrap() > clock().now().wall);
}

#[test]
fn d8_every_build_has_no_early_data_no_compression_and_the_right_sessions() {
    let ca = Authority::new("ca");
    let own = ca.server(&["a.example"]);
    let authorities: &[&[u8]] = &[ca.root_pem.as_slice()];
    let table = [
        (ClientAuth::Off, true),
        (ClientAuth::Optional { authorities }, false),
        (ClientAuth::Required { authorities }, false),
    ];
    for (auth, sessions) in table {
        for versions in [TlsVersions::Tls13Only, TlsVersions::Tls12And13] {
            let config = server_with(&[&own], auth, versions).config;
            assert_eq!(config.max_early_data_size, 0);
            assert!(!config.send_half_rtt_data);
            assert!(config.cert_compressors.is_empty() && config.cert_decompressors.is_empty());
            assert!(!config.ticketer.enabled(), "a ticket would outlive this configuration (D2)");
            assert_eq!(config.session_storage.can_cache(), sessions, "{auth:?}");
            assert_eq!(config.send_tls13_tickets, usize::from(sessions), "{auth:?}");
            assert_eq!(config.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
        }
    }
    let config = client(ca.roots(), named("a.example"), None).connector;
    assert!(!config.enable_early_data);
    assert!(config.cert_compressors.is_empty() && config.cert_decompressors.is_empty());
}

#[tokio::test]
async fn d2_nobody_with_a_certificate_comes_back_by_resumption() {
    let ca = Authority::new("ca");
    let own = ca.server(&["a.example"]);
    let authorities: &[&[u8]] = &[ca.root_pem.as_slice()];
    let resuming = |only: &'static [&'static rustls::SupportedProtocolVersion]| {
        let verifier = WebPkiServerVerifier::builder_with_provider(ca.roots().0, provider()).build().unwrap();
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(only)
            .unwrap()
            .with_webpki_verifier(verifier)
            .with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(8);
        TlsConnector::from(Arc::new(config))
    };
    let kinds = async |auth: ClientAuth<'_>, only| {
        let (server, client) = (server(&[&own], auth), resuming(only));
        let mut last = None;
        for _ in 0..3 {
            let (accepted, connected) = shake_raw(&server, &client, "a.example").await;
            let (mut near, mut far) = (accepted.unwrap().stream, connected.unwrap());
            last = near.get_ref().1.handshake_kind();
            near.write_all(b"!").await.unwrap();
            far.read_exact(&mut [0; 1]).await.unwrap();
        }
        last.unwrap()
    };
    static TLS13: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];
    static TLS12: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];
    for only in [TLS13, TLS12] {
        assert_eq!(kinds(ClientAuth::Optional { authorities }, only).await, HandshakeKind::Full);
        // The same client does resume where nothing hangs on a certificate: the test can tell.
        assert_eq!(kinds(ClientAuth::Off, only).await, HandshakeKind::Resumed);
    }
}

#[tokio::test]
async fn d1_a_name_without_a_certificate_is_refused_with_its_own_alert() {
    let ca = Authority::new("ca");
    let own = ca.server(&["a.example", "*.b.example"]);
    let server = server(&[&own], ClientAuth::Off);
    let connector = raw(&ca, |_| {});
    for (name, served) in
        [("a.example", true), ("A.Example", true), ("x.b.example", true), ("b.example", false)]
    {
        let (accepted, connected) = shake_raw(&server, &connector, name).await;
        if served {
            let facts = accepted.unwrap().facts;
            assert_eq!(facts.sni(), Some(name.to_ascii_lowercase().as_str()));
            continue;
        }
        let refused = accepted.unwrap_err();
        assert_eq!(refused.word(), "unrecognised-name");
        assert!(refused.to_string().contains("`b.example`"), "{refused}");
        let text = connected.unwrap_err().to_string();
        assert!(text.contains("UnrecognisedName") || text.contains("UnrecognizedName"), "{text}");
    }
}

#[tokio::test]
async fn d1_a_hello_in_as_many_pieces_as_it_has_bytes_is_the_same_hello() {
    let ca = Authority::new("ca");
    let (first, second) = (ca.server(&["a.example"]), ca.server(&["b.example"]));
    let authorities: &[&[u8]] = &[ca.root_pem.as_slice()];
    let server = server(&[&first, &second], ClientAuth::Required { authorities });
    let (from_client, to_server) = simplex(1);
    let (from_server, to_client) = simplex(65_536);
    let (near, far) = (join(from_client, to_client), join(from_server, to_server));
    let name = ServerName::try_from("b.example").unwrap();
    let (accepted, _client) = tokio::join!(server.accept(near, soon()), raw(&ca, |_| {}).connect(name, far));
    assert_eq!(accepted.unwrap_err().word(), "certificate-missing");
}

#[tokio::test]
async fn d1_without_a_name_the_first_certificate_answers_and_only_its_names_may_be_asked_for() {
    let ca = Authority::new("ca");
    let (first, second) = (ca.server(&["a.example"]), ca.server(&["b.example"]));
    let server = server(&[&first, &second], ClientAuth::Off);
    let connector = raw(&ca, |config| config.enable_sni = false);
    let (accepted, _client) = shake_raw(&server, &connector, "a.example").await;
    let facts = accepted.unwrap().facts;
    assert_eq!(facts.sni(), None);
    assert!(facts.serves_authority("a.example") && !facts.serves_authority("b.example"));
}

#[tokio::test]
async fn d1_a_connection_serves_no_other_name_where_certificates_are_asked_for() {
    let ca = Authority::new("ca");
    let own = ca.server(&["a.example", "b.example", "*.c.example"]);
    let authorities: &[&[u8]] = &[ca.root_pem.as_slice()];
    let facts = async |auth| {
        let connector = raw(&ca, |_| {});
        let (accepted, _client) = shake_raw(&server(&[&own], auth), &connector, "a.example").await;
        accepted.unwrap().facts
    };
    let table = [("a.example", true, true), ("A.EXAMPLE", true, true), ("b.example", true, false)];
    let (open, asked) = (facts(ClientAuth::Off).await, facts(ClientAuth::Optional { authorities }).await);
    for (host, by_cover, by_name) in table {
        assert_eq!(open.serves_authority(host), by_cover, "{host}");
        assert_eq!(asked.serves_authority(host), by_name, "{host}");
    }
    assert!(open.serves_authority("x.c.example") && !open.serves_authority("x.y.c.example"));
    assert!(!open.serves_authority("other.example") && !open.serves_authority(""));
}

#[tokio::test]
async fn d1_a_required_certificate_cannot_be_gone_without() {
    let (ca, other) = (Authority::new("ca"), Authority::new("other"));
    let own = ca.server(&["a.example"]);
    let (mine, theirs, server_only) = (ca.client(), other.client(), ca.server(&["client.example"]));
    let authorities: &[&[u8]] = &[ca.root_pem.as_slice()];
    let required = server(&[&own], ClientAuth::Required { authorities });
    let optional = server(&[&own], ClientAuth::Optional { authorities });
    let table = [
        (None, Err("certificate-missing"), Ok(0)),
        (Some(&mine), Ok(1), Ok(1)),
        (Some(&theirs), Err("certificate-unknown-issuer"), Err("certificate-unknown-issuer")),
        (Some(&server_only), Err("certificate-purpose"), Err("certificate-purpose")),
    ];
    for (identity, strict, lax) in table {
        for (server, want) in [(&required, strict), (&optional, lax)] {
            let (accepted, _client) = shake(server, &client(ca.roots(), named("a.example"), identity)).await;
            let got = accepted.map(|a| a.facts.peer_chain().count()).map_err(|fault| fault.word());
            assert_eq!(got, want);
        }
    }
}

#[tokio::test]
async fn d1_d3_of_several_authorities_exactly_one_vouches_for_a_client() {
    let (ca, other, stranger) = (Authority::new("ca"), Authority::new("other"), Authority::new("stranger"));
    let own = ca.server(&["a.example"]);
    let (mine, theirs, nobodys) = (ca.client(), other.client(), stranger.client());
    let wrong = other.server(&["client.example"]);
    let both = [ca.root_pem.as_slice(), b"\n", other.root_pem.as_slice()].concat();
    let apart: &[&[u8]] = &[&ca.root_pem, &other.root_pem];
    let shared: &[&[u8]] = &[&ca.root_pem, &both];
    let table = [
        (apart, None, Ok(None)),
        (apart, Some(&mine), Ok(Some(0))),
        (apart, Some(&theirs), Ok(Some(1))),
        (apart, Some(&nobodys), Err("certificate-unknown-issuer")),
        (apart, Some(&wrong), Err("certificate-purpose")),
        (shared, Some(&theirs), Ok(Some(1))),
        (shared, Some(&mine), Err("certificate-two-authorities")),
    ];
    for (authorities, identity, want) in table {
        let server = server(&[&own], ClientAuth::Optional { authorities });
        let (accepted, _client) = shake(&server, &client(ca.roots(), named("a.example"), identity)).await;
        assert_eq!(accepted.map(|a| a.facts.peer_authority()).map_err(|fault| fault.word()), want);
    }
}

#[tokio::test]
async fn a_listener_may_speak_one_protocol_alone() {
    let ca = Authority::new("ca");
    let own = ca.server(&["a.example"]);
    let server = server(&[&own], ClientAuth::Off).speaking_only(Protocol::Http1);
    let (accepted, _client) = shake(&server, &client(ca.roots(), named("a.example"), None)).await;
    assert_eq!(accepted.unwrap_err().word(), "no-application-protocol");
}

#[tokio::test]
async fn d7_a_server_that_is_not_the_expected_one_is_refused() {
    let (ca, other) = (Authority::new("ca"), Authority::new("mallory"));
    let table = [
        (other.server(&["a.example"]), "certificate-unknown-issuer"),
        (ca.server(&["b.example"]), "certificate-name"),
        (ca.server(&["*.example"]), "certificate-name"),
        (ca.server(&["*.a.example"]), "certificate-name"),
        (ca.client(), "certificate-purpose"),
        (ca.workload(&["spiffe://shop.example/orders"]), "certificate-name"),
    ];
    for (pair, want) in table {
        // The server answers whatever name is asked for, as a man in the middle would.
        let server = lying_server(&pair);
        let (near, far) = duplex(16 * 1024);
        let client = client(ca.roots(), named("a.example"), None);
        let (_near, connected) = tokio::join!(server.accept(near), client.connect(far, soon()));
        let word = connected.map_or_else(|fault| fault.word(), |_| "");
        assert_eq!(word, want);
    }
}

/// Serves `pair` to everybody.
fn lying_server(pair: &Pair) -> tokio_rustls::TlsAcceptor {
    let material = pair.material(0, clock().now().wall);
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions(TlsVersions::Tls12And13))
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(material.key.as_ref().clone())));
    config.alpn_protocols = vec![b"h2".to_vec()];
    tokio_rustls::TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn d7_a_workload_is_known_by_its_only_uri() {
    let (ca, other) = (Authority::new("ca"), Authority::new("mallory"));
    let orders = "spiffe://shop.example/orders";
    let table = [
        (ca.workload(&[orders]), ""),
        (ca.workload(&["spiffe://shop.example/payments"]), "certificate-name"),
        (ca.workload(&["spiffe://shop.example/orders2"]), "certificate-name"),
        (ca.workload(&["spiffe://shop.example/payments", orders]), "certificate-name"),
        (ca.workload(&[orders, "spiffe://shop.example/payments"]), "certificate-name"),
        (ca.workload(&[]), "certificate-name"),
        (ca.server(&["spiffe.invalid"]), "certificate-name"),
        (other.workload(&[orders]), "certificate-unknown-issuer"),
    ];
    for (pair, want) in table {
        let server = lying_server(&pair);
        let (near, far) = duplex(16 * 1024);
        let client = client(ca.roots(), Expected::Spiffe(orders.into()), None);
        let (_near, connected) = tokio::join!(server.accept(near), client.connect(far, soon()));
        assert_eq!(connected.map_or_else(|fault| fault.word(), |_| ""), want);
    }
}

#[tokio::test]
async fn d7_time_is_the_given_clocks() {
    let ca = Authority::new("ca");
    let own = ca.server_between(&["a.example"], 2020, 2100);
    let server = server(&[&own], ClientAuth::Off);
    for (year, want) in [(2026, ""), (2101, "certificate-expired"), (2019, "certificate-not-yet-valid")] {
        let stopped: Arc<dyn Clock> = Arc::new(Stopped(at(year)));
        let client = client_at(ca.roots(), named("a.example"), None, &stopped).unwrap();
        let (_near, connected) = shake(&server, &client).await;
        assert_eq!(connected.map_or_else(|fault| fault.word(), |_| ""), want, "{year}");
    }
}

#[test]
fn d7_nobody_can_be_expected_without_a_name() {
    let ca = Authority::new("ca");
    let spiffe = |id: &str| Expected::Spiffe(id.into());
    for expect in
        [named(""), named("*.example"), named("a b"), named("127.0.0.1"), spiffe(""), spiffe("spiffe://")]
    {
        assert!(client_at(ca.roots(), expect.clone(), None, &clock()).is_err(), "{expect:?}");
    }
    for roots in [&b""[..], b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert!(matches!(Roots::from_pem(roots), Err(TlsError::Roots)));
    }
}

#[test]
fn a_listener_needs_a_certificate_and_roots_that_can_be_read() {
    let ca = Authority::new("ca");
    let own = ca.server(&["a.example"]);
    let build = |certificates, client_auth| {
        let source = ServerTlsSource { certificates, client_auth, versions: TlsVersions::Tls13Only };
        ServerTls::build(&source, &clock()).map(drop)
    };
    assert!(matches!(build(vec![], ClientAuth::Off), Err(TlsError::NoCertificate)));
    let no_roots = ClientAuth::Required { authorities: &[b""] };
    assert!(matches!(build(vec![own.source()], no_roots), Err(TlsError::Roots)));
    let nobody = ClientAuth::Required { authorities: &[] };
    assert!(matches!(build(vec![own.source()], nobody), Err(TlsError::Roots)));
}

#[tokio::test]
async fn a_peer_without_a_common_version_protocol_or_any_tls_is_refused() {
    let ca = Authority::new("ca");
    let own = ca.server(&["a.example"]);
    let inside = server_with(&[&own], ClientAuth::Off, TlsVersions::Tls13Only);
    static TLS12: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];
    let old = {
        let verifier = WebPkiServerVerifier::builder_with_provider(ca.roots().0, provider()).build().unwrap();
        ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(TLS12)
            .unwrap()
            .with_webpki_verifier(verifier)
    };
    let old = TlsConnector::from(Arc::new(old.with_no_client_auth()));
    let (accepted, _) = shake_raw(&inside, &old, "a.example").await;
    assert_eq!(accepted.unwrap_err().word(), "tls-incompatible");

    let strange = raw(&ca, |config| config.alpn_protocols = vec![b"spdy/3".to_vec()]);
    let (accepted, _) = shake_raw(&inside, &strange, "a.example").await;
    assert_eq!(accepted.unwrap_err().word(), "no-application-protocol");

    for (bytes, want) in [(&b"GET / HTTP/1.1\r\n\r\n"[..], "not-tls"), (b"", "handshake-cut")] {
        let (near, mut far) = duplex(1024);
        far.write_all(bytes).await.unwrap();
        drop(far);
        assert_eq!(inside.accept(near, soon()).await.unwrap_err().word(), want);
    }
}

#[tokio::test]
async fn an_upstream_that_does_not_choose_h2_is_not_spoken_h2_to() {
    let ca = Authority::new("ca");
    let pair = ca.server(&["a.example"]);
    let material = pair.material(0, clock().now().wall);
    let config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions(TlsVersions::Tls13Only))
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(material.key.as_ref().clone())));
    let server = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let (near, far) = duplex(16 * 1024);
    let client = client(ca.roots(), named("a.example"), None);
    let (_near, connected) = tokio::join!(server.accept(near), client.connect(far, soon()));
    assert_eq!(connected.unwrap_err().word(), "no-application-protocol");
}

#[tokio::test(start_paused = true)]
async fn d8_e8_a_stalled_or_trickling_handshake_ends_at_its_deadline() {
    let ca = Authority::new("ca");
    let own = ca.server(&["a.example"]);
    let server = server(&[&own], ClientAuth::Off);
    let started = Instant::now();
    let (near, _silent) = duplex(1024);
    assert_eq!(server.accept(near, soon()).await.unwrap_err().word(), "handshake-timeout");
    assert_eq!(started.elapsed(), Duration::from_secs(5));

    // A byte of a good hello each second buys no time.
    let (near, mut far) = duplex(1024);
    let trickle = tokio::spawn(async move {
        let record = [&[0x16, 0x03, 0x01, 0x01, 0x00][..], &[0; 64]].concat();
        for byte in record {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let _ = far.write_all(&[byte]).await;
        }
        far
    });
    let started = Instant::now();
    assert_eq!(server.accept(near, soon()).await.unwrap_err().word(), "handshake-timeout");
    assert_eq!(started.elapsed(), Duration::from_secs(5));
    trickle.abort();

    let (_silent, far) = duplex(1024);
    let client = client(ca.roots(), named("a.example"), None);
    assert_eq!(client.connect(far, soon()).await.unwrap_err().word(), "handshake-timeout");
}

#[tokio::test]
async fn a_reload_changes_new_handshakes_and_leaves_open_connections_alone() {
    let ca = Authority::new("ca");
    let (old, new) = (ca.server(&["a.example"]), ca.server(&["a.example"]));
    let current = arc_swap::ArcSwap::from_pointee(server(&[&old], ClientAuth::Off));
    let client = client(ca.roots(), named("a.example"), None);
    let (first, first_client) = shake(&current.load(), &client).await;
    current.store(Arc::new(server(&[&new], ClientAuth::Off)));
    let (second, _second_client) = shake(&current.load(), &client).await;
    let (mut first, mut first_client) = (first.unwrap(), first_client.unwrap());
    assert_ne!(first.facts.served().serial(), second.unwrap().facts.served().serial());
    first.stream.write_all(b"still here").await.unwrap();
    let mut got = [0; 11];
    first_client.stream.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"!still here");
}
