//! What the guard costs, printed and not asserted: `cargo test -p portcullis-net price -- --nocapture`.
//!
//! The ordinary profile does not optimise our code, so its figures are some forty times those of a release.

use std::hint::black_box;

use tokio::time::Instant;

use super::super::h1::{ExpectedAnswer, RequestFramer, ResponseFramer, Step};
use super::super::limits::Limits;

const ROUNDS: u32 = 5_000;

/// A request as an application sends it: a dozen fields, one of them a token of 700 bytes.
fn api_request() -> String {
    let token = "eyJhbGciOiJFUzI1NiIs".repeat(35);
    format!(
        "GET /orders/7f3b2c1a?expand=lines&page=2 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: curl/8.5.0\r\n\
         Accept: application/json\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: en-GB,en;q=0.9\r\n\
         Authorization: Bearer {token}\r\nCookie: session=0123456789abcdef; theme=dark\r\n\
         traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nX-Request-Id: 0123456789\r\n\
         Origin: https://shop.example\r\nReferer: https://shop.example/orders\r\nConnection: keep-alive\r\n\r\n"
    )
}

fn nanoseconds_each(mut work: impl FnMut()) -> u128 {
    work();
    let start = Instant::now();
    (0..ROUNDS).for_each(|_| work());
    start.elapsed().as_nanos() / u128::from(ROUNDS)
}

#[test]
fn price_of_a_head() {
    let small = "GET /a HTTP/1.1\r\nHost: a.example\r\nAccept: */*\r\n\r\n".to_owned();
    for (name, wire) in [("small request", small), ("api request", api_request())] {
        let mut framer = RequestFramer::new(Limits::default());
        let mut out = Vec::new();
        let price = nanoseconds_each(|| {
            let mut input = black_box(wire.as_bytes());
            assert_eq!(framer.feed(&mut input, &mut out), Ok(Step::Head));
            out.clear();
        });
        println!("{name}: {} bytes, {price} ns", wire.len());
    }
    let wire = b"HTTP/1.1 200 OK\r\nServer: x\r\nDate: Sat, 07 Nov 2026 10:00:00 GMT\r\nContent-Type: application/json\r\n\
        Content-Length: 0\r\nCache-Control: no-store\r\nX-Request-Id: 0123456789\r\n\r\n";
    let mut framer = ResponseFramer::new(Limits::default());
    let mut out = Vec::new();
    let price = nanoseconds_each(|| {
        framer.expect(ExpectedAnswer::Plain);
        let mut input = black_box(&wire[..]);
        assert_eq!(framer.feed(&mut input, &mut out), Ok(Step::Head));
        out.clear();
    });
    println!("answer: {} bytes, {price} ns", wire.len());
}

#[test]
fn an_idle_connection_holds_little() {
    use super::super::{Downstream, Meter, Upstream};
    let sizes = [size_of::<Downstream<()>>(), size_of::<Upstream<()>>(), size_of::<Meter<()>>()];
    println!("downstream, upstream, meter: {sizes:?} bytes beside the stream");
    assert!(sizes.iter().all(|size| *size <= 1_024), "{sizes:?}");
}
