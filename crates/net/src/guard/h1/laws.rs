//! What the framers must do: tables by threat, and laws that hold for any bytes.

use proptest::prelude::*;

use super::super::fault::{Fault, Flaw};
use super::super::limits::Limits;
use super::{ExpectedAnswer, RequestFramer, ResponseFramer, Step};

/// Everything that `wire` becomes, and the fault that ended it: also one at the end of the connection.
fn request(wire: &[u8]) -> (String, Option<Flaw>) {
    request_with(Limits::default(), wire)
}

fn request_with(limits: Limits, wire: &[u8]) -> (String, Option<Flaw>) {
    let mut framer = RequestFramer::new(limits);
    run(wire, |input, out| framer.feed(input, out)).map_or_else(
        |(out, fault)| (out, Some(fault.flaw())),
        |(out, rest)| (out, framer.finish(rest).err().map(Fault::flaw)),
    )
}

fn answer(due: ExpectedAnswer, wire: &[u8]) -> (String, Option<Flaw>) {
    let mut framer = ResponseFramer::new(Limits::default());
    framer.expect(due);
    run(wire, |input, out| framer.feed(input, out)).map_or_else(
        |(out, fault)| (out, Some(fault.flaw())),
        |(out, rest)| (out, framer.finish(rest).err().map(Fault::flaw)),
    )
}

type Ran<'a> = Result<(String, &'a [u8]), (String, Fault)>;

fn run<'a>(
    mut input: &'a [u8],
    mut feed: impl FnMut(&mut &'a [u8], &mut Vec<u8>) -> Result<Step, Fault>,
) -> Ran<'a> {
    let mut out = Vec::new();
    loop {
        let step = feed(&mut input, &mut out);
        let text = || String::from_utf8(out.clone()).expect("only ASCII in these tests");
        match step {
            Ok(Step::Head) => {}
            Ok(_) => return Ok((text(), input)),
            Err(fault) => return Err((text(), fault)),
        }
    }
}

/// A head with `host` and one more line.
fn with(line: &str) -> String {
    format!("POST /a HTTP/1.1\r\nHost: a.example\r\n{line}\r\n\r\n")
}

fn refused(table: &[(&str, Flaw)]) {
    for (wire, flaw) in table {
        assert_eq!(request(wire.as_bytes()), (String::new(), Some(*flaw)), "{wire:?}");
    }
}

fn lines_refused(table: &[(&str, Flaw)]) {
    for (line, flaw) in table {
        assert_eq!(request(with(line).as_bytes()), (String::new(), Some(*flaw)), "{line:?}");
    }
}

fn written(table: &[(&str, &str)]) {
    for (wire, want) in table {
        assert_eq!(request(wire.as_bytes()), ((*want).to_owned(), None), "{wire:?}");
        assert_eq!(request(want.as_bytes()), ((*want).to_owned(), None), "not a fixed point: {want:?}");
    }
}

#[test]
fn a_request_is_written_in_its_one_form() {
    written(&[
        (
            "GET /a?b=1 HTTP/1.1\r\nHOST:  A.example:80\t\r\nX-Y:z\r\n\r\n",
            "GET /a?b=1 HTTP/1.1\r\nhost: A.example:80\r\nx-y: z\r\n\r\n",
        ),
        (
            "POST / HTTP/1.1\r\nContent-Length: 003\r\nHost: a\r\n\r\nabc",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc",
        ),
        (
            "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n00A\r\n0123456789\r\n000\r\nGrpc-Status:0\r\n\r\n",
            "PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\ngrpc-status: 0\r\n\r\n",
        ),
        (
            "\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
        (
            "GET HTTPS://A.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n",
            "GET /x HTTP/1.1\r\nhost: a.example\r\n\r\n",
        ),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n"),
        (
            "PUT / HTTP/1.1\r\nExpect: 100-Continue\r\nHost: a\r\nContent-Length: 1\r\nTE: trailers, deflate;q=0.5\r\nConnection: TE\r\n\r\nx",
            "PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\nte: trailers\r\nexpect: 100-continue\r\n\r\nx",
        ),
    ]);
}

#[test]
fn a1_a_length_that_could_be_read_twice_is_refused() {
    use Flaw::{
        CodingRepeated, CodingSyntax, LengthAndCoding, LengthRepeated, LengthSyntax, NoColon,
        SpaceBeforeColon,
    };
    lines_refused(&[
        ("Content-Length: 5\r\nContent-Length: 5", LengthRepeated),
        ("Content-Length: 5\r\nContent-Length: 6", LengthRepeated),
        ("Content-Length: 5, 5", LengthSyntax),
        ("Content-Length: +6", LengthSyntax),
        ("Content-Length: -1", LengthSyntax),
        ("Content-Length: 1 2", LengthSyntax),
        ("Content-Length: 0x6", LengthSyntax),
        ("Content-Length:", LengthSyntax),
        ("Content-Length: 1_0", LengthSyntax),
        ("Content-Length : 6", SpaceBeforeColon),
        ("Content-Length 6", NoColon),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", LengthAndCoding),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", LengthAndCoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", CodingRepeated),
        ("Transfer-Encoding: gzip, chunked", CodingSyntax),
        ("Transfer-Encoding: chunked, identity", CodingSyntax),
        ("Transfer-Encoding: xchunked", CodingSyntax),
        ("Transfer-Encoding: identity", CodingSyntax),
        ("Transfer-Encoding: \"chunked\"", CodingSyntax),
        ("Transfer-Encoding:", CodingSyntax),
        ("Transfer-Encoding: chunked;q=1", CodingSyntax),
    ]);
}

#[test]
fn a1_a_request_line_or_host_that_could_be_read_twice_is_refused() {
    refused(&[
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::RequestLine),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", Flaw::RequestLine),
        ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::ControlByte),
        ("GET / x HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::RequestLine),
        ("GET /\r\n\r\n", Flaw::RequestLine),
        ("GET: / HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::MethodSyntax),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::RequestLine),
        ("GET / HTTP/1.1\r\n\r\n", Flaw::HostMissing),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Flaw::HostRepeated),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", Flaw::HostSyntax),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Flaw::HostSyntax),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", Flaw::HostSyntax),
        ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", Flaw::HostSyntax),
    ]);
}

#[test]
fn a2_old_and_unknown_versions_frame_nothing_new() {
    refused(&[
        ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Flaw::CodingOnOld),
        ("GET / HTTP/1.0\r\n\r\n", Flaw::HostMissing),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", Flaw::Version),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", Flaw::Version),
        ("GET / http/1.1\r\nHost: a\r\n\r\n", Flaw::Version),
        ("GET / HTTP/1.1\x0b\r\nHost: a\r\n\r\n", Flaw::ControlByte),
    ]);
    // One request, and nothing behind it: not a body up to the end, not another request.
    let wire = "POST /old HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let want = "POST /old HTTP/1.0\r\nhost: a\r\nconnection: close\r\n\r\n";
    assert_eq!(request(wire.as_bytes()), (want.to_owned(), None));
}

#[test]
fn a3_only_a_websocket_upgrade_without_a_body_is_one() {
    let ws = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let want = "GET /ws HTTP/1.1\r\nhost: a\r\nsec-websocket-version: 13\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let early = format!("{ws}\x01\x02GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(request(ws.as_bytes()), (want.to_owned(), None));
    assert_eq!(request(early.as_bytes()), (want.to_owned(), None), "bytes behind it are held");
    for line in ["Upgrade: h2c", "Upgrade: websocket, h2c", "Upgrade: TLS/1.0", "X: y"] {
        let wire = format!(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n{line}\r\n\r\n"
        );
        let (out, flaw) = request(wire.as_bytes());
        assert!(flaw.is_none() && !out.contains("upgrade") && !out.contains("settings"), "{out}");
    }
    let bad = "Connection: upgrade\r\nUpgrade: websocket";
    lines_refused(&[
        (bad, Flaw::BadUpgrade),
        (&format!("{bad}\r\nContent-Length: 1"), Flaw::BadUpgrade),
        (&format!("{bad}\r\nTransfer-Encoding: chunked"), Flaw::BadUpgrade),
        (&format!("{bad}\r\nUpgrade: websocket"), Flaw::FieldRepeated),
    ]);
    refused(&[
        ("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n", Flaw::MethodRefused),
        ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::MethodRefused),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Flaw::Version),
    ]);
    let old = "GET /ws HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert!(!request(old.as_bytes()).0.contains("upgrade"), "HTTP/1.0 has no upgrade");
}

#[test]
fn a3_what_is_held_is_read_again_when_the_upgrade_did_not_happen() {
    let wire = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut framer = RequestFramer::new(Limits::default());
    let (mut input, mut out) = (wire.as_bytes(), Vec::new());
    assert_eq!(framer.feed(&mut input, &mut out), Ok(Step::Head));
    for _ in 0..3 {
        assert_eq!(framer.feed(&mut input, &mut out), Ok(Step::Held));
    }
    assert!(input.starts_with(b"GET /2"), "nothing was taken");
    framer.resume();
    assert_eq!(framer.feed(&mut input, &mut out), Ok(Step::Head));
    assert!(out.ends_with(b"GET /2 HTTP/1.1\r\nhost: a\r\n\r\n"));
}

#[test]
fn a4_a_message_that_is_cut_short_is_a_fault_and_a_clean_end_is_not() {
    let table = [
        ("", None),
        ("\r\n", None),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", None),
        ("GET / HT", Some(Flaw::TruncatedHead)),
        ("GET / HTTP/1.1\r\nHost: a\r\n", Some(Flaw::TruncatedHead)),
        ("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcd", Some(Flaw::TruncatedBody)),
        (
            "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n",
            Some(Flaw::TruncatedBody),
        ),
        ("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", Some(Flaw::TruncatedBody)),
    ];
    for (wire, flaw) in table {
        assert_eq!(request(wire.as_bytes()).1, flaw, "{wire:?}");
    }
    lines_refused(&[
        ("Expect: 200-maybe", Flaw::Expectation),
        ("Expect: 100-continue, x", Flaw::Expectation),
        ("Expect: 100-continue\r\nExpect: 100-continue", Flaw::FieldRepeated),
    ]);
}

#[test]
fn a6_a7_b9_b7_fields_that_some_reader_drops_folds_or_renames_are_refused() {
    lines_refused(&[
        (": x", Flaw::EmptyName),
        (" folded", Flaw::ObsFold),
        ("\tX: y", Flaw::ObsFold),
        ("X: a\nContent-Length: 3", Flaw::BareLf),
        ("X: a\rContent-Length: 3", Flaw::BareCr),
        ("X\r: a", Flaw::BareCr),
        ("X@: a", Flaw::FieldName),
        ("(X): a", Flaw::FieldName),
        ("Transfer_Encoding: chunked", Flaw::FramingAlias),
        ("Content_Length: 3", Flaw::FramingAlias),
        ("Content.Length: 3", Flaw::FramingAlias),
        ("TRANSFER.encoding: chunked", Flaw::FramingAlias),
        ("X: caf\u{e9}", Flaw::ObsText),
        ("X\u{e9}: a", Flaw::ObsText),
    ]);
    refused(&[
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", Flaw::BareLf),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", Flaw::BareLf),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", Flaw::BareLf),
        ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::BareLf),
    ]);
}

#[test]
fn a1_a7_e15_chunks_have_a_size_a_crlf_and_nothing_else() {
    let table = [
        ("5;x=y\r\nabcde\r\n", Flaw::ChunkExtension),
        ("5;\r\nabcde\r\n", Flaw::ChunkExtension),
        ("5; some=very-long-extension\r\nabcde\r\n", Flaw::ChunkExtension),
        ("5 \r\nabcde\r\n", Flaw::ChunkSize),
        (" 5\r\nabcde\r\n", Flaw::ChunkSize),
        ("+5\r\nabcde\r\n", Flaw::ChunkSize),
        ("-5\r\nabcde\r\n", Flaw::ChunkSize),
        ("0x5\r\nabcde\r\n", Flaw::ChunkSize),
        ("5_\r\nabcde\r\n", Flaw::ChunkSize),
        ("\r\n", Flaw::ChunkSize),
        ("5\nabcde\r\n", Flaw::BareLf),
        ("5\r\r\nabcde\r\n", Flaw::ChunkSize),
        ("5\r\nabcdeX\r\n", Flaw::ChunkEnd),
        ("5\r\nabcde\n", Flaw::ChunkEnd),
        ("5\r\nabcde\rX", Flaw::ChunkEnd),
        ("8000000000000000\r\n", Flaw::ChunkOverflow),
        ("ffffffffffffffff\r\n", Flaw::ChunkOverflow),
        ("10000000000000000\r\n", Flaw::ChunkSize),
        ("00000000000000005\r\n", Flaw::ChunkSize),
        ("0\r\nX: y\n\r\n", Flaw::BareLf),
        ("0\r\n folded\r\n\r\n", Flaw::ObsFold),
        ("0\r\nno colon\r\n\r\n", Flaw::NoColon),
        ("0\r\n\n", Flaw::BareLf),
    ];
    for (body, flaw) in table {
        let head = with("Transfer-Encoding: chunked");
        let (out, found) = request(format!("{head}{body}").as_bytes());
        assert_eq!(found, Some(flaw), "{body:?}");
        assert!(!out.contains("X: y") && !out.contains("x: y"), "{body:?}");
    }
}

#[test]
fn a7_b9_a_trailer_cannot_take_part_in_what_the_head_decided() {
    let forbidden = [
        "Content-Length",
        "Transfer-Encoding",
        "Host",
        "Authorization",
        "Cookie",
        "Set-Cookie",
        "Content-Type",
        "Content-Encoding",
        "Connection",
        "Trailer",
        "X-Forwarded-For",
        "Forwarded",
        "Expect",
        "TE",
        "Upgrade",
        "Content_Length",
        "x_forwarded_for",
        "X.Real.Ip",
        "Proxy-Authorization",
        "Sec-WebSocket-Key",
        "DPoP",
        "Range",
    ];
    for name in forbidden {
        let wire = format!("{}0\r\n{name}: 1\r\n\r\n", with("Transfer-Encoding: chunked"));
        assert_eq!(request(wire.as_bytes()).1, Some(Flaw::TrailerName), "{name}");
    }
    for name in ["Grpc-Status", "Digest", "Server-Timing", "X-Checksum", "Hosts", "ETag"] {
        let wire = format!("{}0\r\n{name}: 1\r\n\r\n", with("Transfer-Encoding: chunked"));
        assert_eq!(request(wire.as_bytes()).1, None, "{name}");
    }
}

#[test]
fn a8_connection_can_name_nothing_that_would_go_further() {
    for name in
        ["X-Real-Ip", "authorization", "Cookie", "Host", "Content-Length", "close, x", "\"close\"", "trailer"]
    {
        lines_refused(&[(&format!("Connection: {name}"), Flaw::ConnectionNames)]);
    }
    let wire = with(
        "Connection: ,close,,Keep-Alive\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\nProxy: evil\r\nProxy-Authorization: y\r\nTE: gzip",
    );
    let want = "POST /a HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n";
    assert_eq!(request(wire.as_bytes()), (want.to_owned(), None));
}

#[test]
fn a10_control_bytes_and_other_protocols_are_refused_at_once() {
    refused(&[
        ("\x16\x03\x01\x02", Flaw::NotHttp),
        ("{\"a\": 1}", Flaw::NotHttp),
        ("\0", Flaw::NotHttp),
        ("GET /a\x01 HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::ControlByte),
        ("GET /a\0 HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::ControlByte),
        ("GET /caf\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::ObsText),
        ("GET /\"x\" HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::TargetByte),
        ("GET /<x> HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::TargetByte),
    ]);
    lines_refused(&[
        ("X: a\0b", Flaw::ControlByte),
        ("X: a\x7f", Flaw::ControlByte),
        ("X\x0b: a", Flaw::ControlByte),
    ]);
}

#[test]
fn b2_b5_a_target_has_one_form() {
    refused(&[
        ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::Fragment),
        ("GET /a?b#c HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::Fragment),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::TargetForm),
        ("GET a/b HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::TargetForm),
        ("GET ?x HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::TargetForm),
        ("OPTIONS *x HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::TargetForm),
        ("GET a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n", Flaw::TargetForm),
        ("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::TargetForm),
        ("GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::TargetForm),
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::TargetForm),
        ("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::TargetForm),
        ("GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::AuthorityMismatch),
        ("GET http://a:80/x HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::AuthorityMismatch),
        ("GET http://a/x HTTP/1.1\r\n\r\n", Flaw::HostMissing),
    ]);
}

#[test]
fn b8_each_value_of_a_repeated_field_is_judged_and_kept_apart() {
    let wire = with("X: a\r\nX: b, c\r\nx: d");
    let want = "POST /a HTTP/1.1\r\nhost: a.example\r\nx: a\r\nx: b, c\r\nx: d\r\n\r\n";
    assert_eq!(request(wire.as_bytes()), (want.to_owned(), None));
    lines_refused(&[("X: a\r\nX: b\0", Flaw::ControlByte)]);
}

#[test]
fn e5_every_size_has_a_limit_and_a_word() {
    let limits = Limits { target: 20, line: 40, head: 200, fields: 5, crumbs: 3, ..Limits::default() };
    let many = |count: usize| "X: y\r\n".repeat(count);
    let head = |fields: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let table = [
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(19)), None),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(20)), Some(Flaw::TargetTooLong)),
        (format!("GET /{}", "a".repeat(90)), Some(Flaw::TargetTooLong)),
        (head(&many(4)), None),
        (head(&many(5)), Some(Flaw::TooManyFields)),
        (head(&format!("X: {}\r\n", "y".repeat(35))), None),
        (head(&format!("X: {}\r\n", "y".repeat(36))), Some(Flaw::LineTooLong)),
        (head(&format!("X: {}\r\n", "y".repeat(34)).repeat(4)), None),
        (head("Cookie: a=1; b=2; c=3\r\n"), None),
        (head(&"Cookie: a=1; b=2\r\n".repeat(2)), Some(Flaw::TooManyCrumbs)),
    ];
    for (wire, flaw) in table {
        let (_, found) = request_with(limits.clone(), wire.as_bytes());
        assert_eq!(found, flaw, "{wire:?}");
    }
    let small = Limits { head: 60, ..Limits::default() };
    let wire = head(&format!("X: {}\r\n", "y".repeat(60)));
    assert_eq!(request_with(small, wire.as_bytes()).1, Some(Flaw::HeadTooLarge));
}

#[test]
fn e5_trailers_have_limits_of_their_own() {
    let limits = Limits { trailers: 2, trailer_bytes: 64, ..Limits::default() };
    let wire = |trailers: &str| format!("{}0\r\n{trailers}\r\n", with("Transfer-Encoding: chunked"));
    let of = |trailers: &str| request_with(limits.clone(), wire(trailers).as_bytes()).1;
    assert_eq!(of("A: 1\r\nB: 2\r\n"), None);
    assert_eq!(of("A: 1\r\nB: 2\r\nC: 3\r\n"), Some(Flaw::TooManyFields));
    assert_eq!(of(&format!("A: {}\r\n", "1".repeat(64))), Some(Flaw::HeadTooLarge));
}

#[test]
fn methods_are_known_or_named_in_the_settings() {
    let wire = "REPORT /x HTTP/1.1\r\nHost: a\r\n\r\n";
    refused(&[(wire, Flaw::MethodRefused), ("get / HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::MethodRefused)]);
    let limits = Limits { methods: Some(["REPORT".into(), "CONNECT".into()].into()), ..Limits::default() };
    assert_eq!(request_with(limits.clone(), wire.as_bytes()).1, None);
    let connect = b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n";
    assert_eq!(request_with(limits, connect).1, Some(Flaw::MethodRefused), "cannot be listed");
}

#[test]
fn an_answer_is_written_in_its_one_form() {
    let table = [
        (
            "HTTP/1.1 200 Fine\r\nContent-Length: 02\r\n\r\nok",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        ),
        ("HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 299 \r\ncontent-length: 0\r\n\r\n"),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
        ),
        ("HTTP/1.1 200 OK\r\n\r\nto the end", "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nto the end"),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        ),
        (
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nConnection: Upgrade, Keep-Alive\r\nUpgrade: h2,h2c\r\n\r\n2\r\nok\r\n00\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
    ];
    for (wire, want) in table {
        assert_eq!(answer(ExpectedAnswer::Plain, wire.as_bytes()), (want.to_owned(), None), "{wire:?}");
        assert_eq!(answer(ExpectedAnswer::Plain, want.as_bytes()), (want.to_owned(), None), "{want:?}");
    }
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(answer(ExpectedAnswer::ToHead, head.as_bytes()).1, None, "no body to HEAD");
}

#[test]
fn a1_a3_a4_a7_e4_an_answer_with_two_readings_or_no_request_is_refused() {
    let table = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", Flaw::LengthRepeated),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", Flaw::LengthAndCoding),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", Flaw::CodingSyntax),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Flaw::CodingOnOld),
        ("HTTP/1.1 200 OK\r\nX: a\nY: b\r\n\r\n", Flaw::BareLf),
        ("HTTP/1.1 200 OK\r\nX : a\r\n\r\n", Flaw::SpaceBeforeColon),
        ("HTTP/1.1 200 OK\r\nConnection: Set-Cookie\r\n\r\n", Flaw::ConnectionNames),
        ("HTTP/1.1 200\r\n\r\n", Flaw::StatusLine),
        ("HTTP/1.1 099 x\r\n\r\n", Flaw::StatusLine),
        ("HTTP/1.1 600 x\r\n\r\n", Flaw::StatusLine),
        ("HTTP/1.1 2000 x\r\n\r\n", Flaw::StatusLine),
        ("HTTP/2 200 OK\r\n\r\n", Flaw::StatusLine),
        ("HTTP/1.1  200 OK\r\n\r\n", Flaw::StatusLine),
        ("HTTP/1.1 200 O\0K\r\n\r\n", Flaw::ControlByte),
        ("<html>", Flaw::NotHttp),
        ("HTTP/1.1 204 x\r\nContent-Length: 2\r\n\r\nok", Flaw::BodyNotAllowed),
        ("HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Flaw::BodyNotAllowed),
        ("HTTP/1.1 103 x\r\nContent-Length: 2\r\n\r\n", Flaw::BodyNotAllowed),
        ("HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", Flaw::UnaskedSwitch),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n", Flaw::Unsolicited),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokX", Flaw::Unsolicited),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no", Flaw::TruncatedBody),
        ("HTTP/1.1 200 OK\r\nCont", Flaw::TruncatedHead),
    ];
    for (wire, flaw) in table {
        assert_eq!(answer(ExpectedAnswer::Plain, wire.as_bytes()).1, Some(flaw), "{wire:?}");
    }
    let flood = "HTTP/1.1 103 x\r\n\r\n".repeat(9);
    assert_eq!(answer(ExpectedAnswer::Plain, flood.as_bytes()).1, Some(Flaw::TooManyInterim));
    let mut idle = ResponseFramer::new(Limits::default());
    let fault = idle.feed(&mut &b"H"[..], &mut Vec::new()).expect_err("nobody asked");
    assert_eq!(fault.flaw(), Flaw::Unsolicited);
}

#[test]
fn a3_a_switch_that_was_asked_for_is_written_and_the_rest_is_held() {
    let wire = "HTTP/1.1 101 Whatever\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n\x01\x00";
    let want = "HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    assert_eq!(answer(ExpectedAnswer::Upgrade, wire.as_bytes()), (want.to_owned(), None));
    let bare = "HTTP/1.1 101 Switching Protocols\r\n\r\n";
    assert_eq!(answer(ExpectedAnswer::Upgrade, bare.as_bytes()).1, Some(Flaw::UnaskedSwitch));
    let no = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(answer(ExpectedAnswer::Upgrade, no.as_bytes()).1, None);
}

/// Lines that mean something, and some that must not.
fn piece() -> impl Strategy<Value = String> {
    let lines = [
        "GET / HTTP/1.1\r\n",
        "POST /a?b HTTP/1.1\r\n",
        "PUT / HTTP/1.0\r\n",
        "Host: a\r\n",
        "Host: b:80\r\n",
        "Content-Length: 5\r\n",
        "content-length: 0\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Connection: close\r\n",
        "Connection: upgrade\r\n",
        "Upgrade: websocket\r\n",
        "X-A: b\r\n",
        "\r\n",
        "hello",
        "5\r\nhello\r\n",
        "0\r\n\r\n",
        "0\r\n",
        "\n",
        "\r",
        " ",
        "a;b=c\r\n",
        "Expect: 100-continue\r\n",
        "TE: trailers\r\n",
        "X: \u{7f}\r\n",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 101 S\r\n",
        "HTTP/1.0 404 No\r\n",
        "HTTP/1.1 103 E\r\n",
        "HTTP/1.1 204 N\r\n",
    ];
    prop_oneof![9 => proptest::sample::select(lines.to_vec()).prop_map(str::to_owned), 1 => "\\PC{0,8}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// The pieces do not matter, and what is written is a fixed point: see [`super::super::fuzzing`].
    #[test]
    fn framing_depends_on_the_bytes_alone_and_is_idempotent(pieces in proptest::collection::vec(piece(), 0..14)) {
        let wire = pieces.concat();
        super::super::fuzzing::request(wire.as_bytes());
        for due in [0, 1, 2] {
            let mut input = vec![due];
            input.extend_from_slice(wire.as_bytes());
            super::super::fuzzing::response(&input);
        }
    }

    #[test]
    fn a_good_head_in_any_case_and_white_space_is_written_in_one_form(
        name in "[A-Za-z][A-Za-z0-9-]{0,12}", value in "[!-~]{1,12}( [!-~]{1,9})?", pad in "[ \t]{0,3}",
    ) {
        prop_assume!(!["te", "proxy", "expect", "upgrade", "host", "cookie", "connection"].contains(&name.to_lowercase().as_str()));
        prop_assume!(!name.to_lowercase().starts_with("proxy-"));
        let wire = format!("GET / HTTP/1.1\r\nHost: a\r\n{name}:{pad}{value}{pad}\r\n\r\n");
        let want = format!("GET / HTTP/1.1\r\nhost: a\r\n{}: {value}\r\n\r\n", name.to_lowercase());
        prop_assert_eq!(request(wire.as_bytes()), (want, None));
    }
}
