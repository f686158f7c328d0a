//! TLS upstreams: who answers decides, and nothing is shared between identities.

use super::*;
use crate::tls::testing::{Authority, Pair};
use crate::tls::{
    ClientAuth, ClientTls, ClientTlsSource, Expected, HandshakeFault, ServerTls, ServerTlsSource, TlsVersions,
};

const ORDERS: &str = "spiffe://shop.example/orders";

fn client(ca: &Authority, expected: &str, identity: &Pair, protocol: Protocol) -> Arc<ClientTls> {
    let source = ClientTlsSource {
        roots: ca.roots(),
        identity: Some(identity.source()),
        expect: Expected::Spiffe(expected.into()),
        versions: TlsVersions::Tls13Only,
        protocol,
    };
    Arc::new(ClientTls::build(source, &shared_clock()).unwrap())
}

/// A workload that wants certificates and answers every request; HTTP/1.1 only.
async fn workload(ca: &Authority, own: &Pair) -> SocketAddr {
    let source = ServerTlsSource {
        certificates: vec![own.source()],
        client_auth: ClientAuth::Required { authorities: &[&ca.root_pem] },
        versions: TlsVersions::Tls13Only,
    };
    let server = Arc::new(ServerTls::build(&source, &shared_clock()).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let server = Arc::clone(&server);
            tokio::task::spawn_local(async move {
                let deadline = Instant::now() + Duration::from_secs(5);
                let Ok(accepted) = server.accept(stream, deadline).await else { return };
                assert!(accepted.facts.peer_leaf().is_some());
                let mut stream = accepted.stream;
                while head(&mut stream).await.is_some() {
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
                    stream.flush().await.unwrap();
                }
            });
        }
    });
    at
}

#[test]
fn mutual_tls_connections_are_reused_within_one_identity_only() {
    on_a_core(async {
        let ca = Authority::new("ca");
        let at = workload(&ca, &ca.workload(&[ORDERS])).await;
        let (mine, other) =
            (ca.workload(&["spiffe://shop.example/edge"]), ca.workload(&["spiffe://shop.example/two"]));
        let tls = client(&ca, ORDERS, &mine, Protocol::Http1);
        let target = Target::secure(Address::Tcp(at), Arc::clone(&tls));
        let pool = pool();
        for _ in 0..3 {
            assert_eq!(text(pool.send(&target, get("/"), &LIMITS).await.unwrap()).await, "ok");
        }
        assert_eq!(pool.stats().opened, 1);
        // Another identity, and the same one built again (a new generation), have connections of their own.
        for tls in [client(&ca, ORDERS, &other, Protocol::Http1), client(&ca, ORDERS, &mine, Protocol::Http1)]
        {
            let target = Target::secure(Address::Tcp(at), tls);
            assert_eq!(text(pool.send(&target, get("/"), &LIMITS).await.unwrap()).await, "ok");
        }
        assert_eq!(pool.stats().opened, 3);
        pool.retire(|target| target.tls() == Some(&tls));
        assert_eq!(pool.stats().idle, 2);
    });
}

#[test]
fn d7_an_impostor_gets_no_byte_of_the_request() {
    on_a_core(async {
        let (ca, mallory) = (Authority::new("ca"), Authority::new("mallory"));
        let mine = ca.workload(&["spiffe://shop.example/edge"]);
        let payments = ca.workload(&["spiffe://shop.example/payments"]);
        for (pair, want) in
            [(&payments, "certificate-name"), (&mallory.workload(&[ORDERS]), "certificate-unknown-issuer")]
        {
            let at = workload(&ca, pair).await;
            let target = Target::secure(Address::Tcp(at), client(&ca, ORDERS, &mine, Protocol::Http1));
            let got = pool().send(&target, post(full("secret")), &LIMITS).await.err().unwrap();
            let SendError::Connect { cause, request } = got else { panic!("{got:?}") };
            assert_eq!(cause.word(), want);
            assert_eq!(request.into_body().collect().await.unwrap().to_bytes(), "secret");
        }
    });
}

#[test]
fn e8_a_handshake_that_stalls_costs_the_connect_time_and_holds_up_no_more_than_may_wait() {
    on_a_core(async {
        let ca = Authority::new("ca");
        let mine = ca.workload(&["spiffe://shop.example/edge"]);
        // Accepts by backlog alone and never speaks.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = Address::Tcp(listener.local_addr().unwrap());
        let target = Target::secure(at, client(&ca, ORDERS, &mine, Protocol::Http2));
        let pool = pool_with(|s| (s.connecting, s.waiting) = (1, 1));
        let hasty = Timeouts { connect: Duration::from_millis(50), ..LIMITS };
        let send = || async {
            match pool.send(&target, get("/"), &hasty).await.err().unwrap() {
                SendError::Connect { cause, .. } => cause,
                other => panic!("{other:?}"),
            }
        };
        let (first, second, third) = tokio::join!(send(), send(), send());
        assert!(matches!(first, ConnectFault::Tls(HandshakeFault::Timeout)), "{first:?}");
        assert!(
            matches!(second, ConnectFault::Timeout | ConnectFault::Tls(HandshakeFault::Timeout)),
            "{second:?}"
        );
        assert!(matches!(third, ConnectFault::Busy), "{third:?}");
    });
}
