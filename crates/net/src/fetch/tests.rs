//! Fetching from services in this process, good ones and others.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::tls::testing::{Authority, clock};
use crate::tls::{ClientAuth, HandshakeFault, ServerTls, ServerTlsSource};

const HERE: Egress = Egress { loopback: Permission::Allowed, private: Permission::Refused };
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

fn fetcher(ca: &Authority, addresses: Vec<SocketAddr>) -> Fetcher {
    let limits = FetchLimits { bytes: 1_000, whole: Duration::from_secs(5) };
    let resolver = Resolver::Fixed(addresses);
    Fetcher { resolver, ..Fetcher::new(ca.roots(), HERE, limits, clock()) }
}

/// A TLS service for `name` that gives one answer and returns the request that it read.
async fn service(
    ca: &Authority,
    name: &str,
    answer: String,
) -> (SocketAddr, tokio::task::JoinHandle<String>) {
    let own = ca.server(&[name]);
    let source = ServerTlsSource {
        certificates: vec![own.source()],
        client_auth: ClientAuth::Off,
        versions: TlsVersions::Tls12And13,
    };
    let server = ServerTls::build(&source, &clock()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let Ok(accepted) = server.accept(stream, Instant::now() + Duration::from_secs(5)).await else {
            return "refused".to_owned();
        };
        let mut stream = accepted.stream;
        let mut got = Vec::new();
        while !got.ends_with(b"\r\n\r\n") {
            got.push(stream.read_u8().await.unwrap());
        }
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
        String::from_utf8(got).unwrap()
    });
    (at, task)
}

async fn fetch(answer: &str) -> Result<Fetched, FetchError> {
    let ca = Authority::new("ca");
    let (at, _task) = service(&ca, "login.example", answer.to_owned()).await;
    let url = FetchUrl::parse(&format!("https://login.example:{}/keys?x=1", at.port()), HERE).unwrap();
    fetcher(&ca, vec![at]).get(&url).await
}

#[tokio::test]
async fn a_good_answer_is_read_whole_and_the_request_is_plain() {
    let ca = Authority::new("ca");
    let (at, task) = service(&ca, "login.example", OK.to_owned()).await;
    let url = FetchUrl::parse(&format!("https://login.example:{}/keys?x=1", at.port()), HERE).unwrap();
    let got = fetcher(&ca, vec![at]).get(&url).await.unwrap();
    assert_eq!(got.body, "{}");
    assert_eq!(got.headers["content-type"], "application/json");
    let request = task.await.unwrap();
    assert!(request.starts_with("GET /keys?x=1 HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("host: login.example:{}\r\n", at.port())), "{request}");
}

#[tokio::test]
async fn a_post_carries_its_body() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let peer = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut got = Vec::new();
        while !got.ends_with(b"[1]") {
            got.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        String::from_utf8(got).unwrap()
    });
    let url = FetchUrl::parse(&format!("http://localhost:{}/api/v2/alerts", at.port()), HERE).unwrap();
    let headers =
        HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    let sent = fetcher(&Authority::new("ca"), vec![at]).post(&url, headers, Bytes::from_static(b"[1]")).await;
    assert!(sent.unwrap().body.is_empty());
    assert!(peer.await.unwrap().contains("content-type: application/json\r\n"));
}

#[tokio::test]
async fn c12_a_redirect_is_an_error_and_goes_nowhere() {
    for status in [301, 302, 303, 307, 308] {
        let answer =
            format!("HTTP/1.1 {status} X\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n");
        let got = fetch(&answer).await;
        assert!(matches!(got, Err(FetchError::Redirect { status: s }) if s == status), "{got:?}");
    }
    for status in [400, 404, 500, 503] {
        let got = fetch(&format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n")).await;
        assert!(matches!(got, Err(FetchError::Status { status: s }) if s == status), "{got:?}");
    }
}

#[tokio::test]
async fn e10_no_more_than_the_bound_is_read() {
    let long = "x".repeat(2_000);
    let chunked = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n{long}\r\n0\r\n\r\n");
    let answers = [
        format!("HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n{long}"),
        // Announced and never sent: refused by the announcement.
        "HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n".to_owned(),
        chunked,
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{long}"),
    ];
    for answer in answers {
        let got = fetch(&answer).await;
        assert!(matches!(got, Err(FetchError::TooLarge { limit: 1_000 })), "{got:?}");
    }
    let fits = fetch(&format!("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{}", "x".repeat(1_000))).await;
    assert_eq!(fits.unwrap().body.len(), 1_000);
}

#[tokio::test]
async fn e10_an_answer_that_is_cut_or_malformed_is_not_an_answer() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        "",
    ] {
        let got = fetch(answer).await;
        assert!(matches!(got, Err(FetchError::Broken(_))), "{got:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn e10_the_whole_ends_at_one_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let url = FetchUrl::parse(&format!("http://localhost:{}/", at.port()), HERE).unwrap();
    let got = fetcher(&Authority::new("ca"), vec![at]).get(&url).await;
    assert!(matches!(got, Err(FetchError::Timeout)), "{got:?}");
}

#[tokio::test]
async fn d7_a_service_with_another_name_or_another_authority_is_refused() {
    let (ca, mallory) = (Authority::new("ca"), Authority::new("mallory"));
    for (signer, name) in [(&mallory, "login.example"), (&ca, "evil.example")] {
        let (at, _task) = service(signer, name, OK.to_owned()).await;
        let url = FetchUrl::parse(&format!("https://login.example:{}/", at.port()), HERE).unwrap();
        let got = fetcher(&ca, vec![at]).get(&url).await;
        let Err(FetchError::Connect(ConnectFault::Tls(fault))) = got else { panic!("{got:?}") };
        assert!(matches!(fault, HandshakeFault::Certificate(_) | HandshakeFault::Alert(_)), "{fault:?}");
    }
}

#[tokio::test]
async fn c12_a_name_that_resolves_to_a_forbidden_place_is_not_connected_to() {
    let ca = Authority::new("ca");
    let forbidden = ["169.254.169.254:443", "[::ffff:169.254.169.254]:443", "10.0.0.1:443", "[fe80::1]:443"];
    let forbidden: Vec<SocketAddr> = forbidden.iter().map(|a| a.parse().unwrap()).collect();
    let url = FetchUrl::parse("https://login.example/", HERE).unwrap();
    let got = fetcher(&ca, forbidden.clone()).get(&url).await;
    assert!(matches!(got, Err(FetchError::Forbidden)), "{got:?}");

    // A permitted address beside forbidden ones is the only one that is used.
    let (at, task) = service(&ca, "login.example", OK.to_owned()).await;
    let url = FetchUrl::parse(&format!("https://login.example:{}/", at.port()), HERE).unwrap();
    let mixed = [forbidden, vec![at]].concat();
    assert_eq!(fetcher(&ca, mixed).get(&url).await.unwrap().body, "{}");
    task.await.unwrap();

    // Loopback that nobody allowed, through the machine's own resolver.
    let shut = Fetcher::new(ca.roots(), Egress::default(), FetchLimits::default(), clock());
    let url = FetchUrl::parse(&format!("https://127.0.0.1:{}/", at.port()), shut.egress()).unwrap();
    assert!(matches!(shut.get(&url).await, Err(FetchError::Forbidden)));
}

#[test]
fn a_fetch_can_move_between_threads() {
    fn is_send<T: Send>(_: T) {}
    let fetcher = fetcher(&Authority::new("ca"), vec![]);
    let url = FetchUrl::parse("https://login.example/", HERE).unwrap();
    is_send(fetcher.get(&url));
}
