//! Much at once: thousands of reloads under load, and the share of each core.
//!
//! The whole count of reloads takes longer than CI has: `cargo xtask test reloads` runs it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use portcullis_e2e::gateway::HOST;
use portcullis_e2e::{Admin, Gateway, kernel};
use portcullis_testkit::{H2Conn, RawConn, eventually};
use serde_json::json;

use crate::ask::{request, two};

/// How many reloads, where the suite does not say.
const RELOADS: u64 = 60;
const SOCKETS: usize = 200;
const SOON: Duration = Duration::from_secs(20);
/// What the memory of a process may grow by, in KiB, after the first tenth of the reloads.
const GROWTH: u64 = 16 * 1024;

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn reloads() -> u64 {
    std::env::var("PORTCULLIS_RELOADS").map_or(RELOADS, |n| n.parse().expect("a number of reloads"))
}

fn open_socket(gateway: &Gateway, token: &str) -> RawConn {
    let mut conn = gateway.raw();
    let answer = conn.exchange(request("GET", "/socket", token, UPGRADE));
    assert_eq!(answer.status, 101, "{answer:?}");
    conn
}

/// Two bytes of text there and back, masked with zeroes.
fn echoes(socket: &mut RawConn) {
    socket.send([0x81, 0x82, 0, 0, 0, 0, b'h', b'i']);
    assert_eq!(socket.read_exactly(4), [0x81, 2, b'h', b'i']);
}

/// Asks for one thing after another on one connection until it is told to stop; the times of the answers.
fn keep_asking(stop: &AtomicBool, mut ask: impl FnMut() -> u16) -> Vec<Duration> {
    let mut times = Vec::new();
    while !stop.load(Ordering::Acquire) {
        let start = Instant::now();
        assert_eq!(ask(), 200, "request {}", times.len());
        times.push(start.elapsed());
    }
    times
}

fn by_one(gateway: &Gateway, token: &str, stop: &AtomicBool) -> Vec<Duration> {
    let (mut conn, wire) = (gateway.raw(), request("GET", "/echo/x", token, ""));
    keep_asking(stop, || conn.exchange(&wire).status)
}

fn by_two(gateway: &Gateway, token: &str, stop: &AtomicBool) -> Vec<Duration> {
    let conn = gateway.h2();
    keep_asking(stop, || conn.request(two("GET", "/echo/x", token, &[])).expect("an answer").status.as_u16())
}

/// One reload that says something new, until the edge follows it.
fn reload(gateway: &Gateway, admin: &mut Admin, round: u64) {
    gateway.rewrite(|config| config["plans"]["wide"]["burst"] = json!(10_000 + round));
    let (status, said) = admin.reload();
    assert_eq!(status, 200, "round {round}: {said}");
    eventually(SOON, "edge that follows", || (admin.plans() == [round + 1]).then_some(()));
}

/// The resident memory of both roles.
fn memory(gateway: &Gateway) -> [u64; 2] {
    ["edge", "control"].map(|role| kernel::resident_kib(gateway.role(role)))
}

#[test]
fn f7_reloads_under_load_fail_no_request_and_end_no_websocket() {
    let gateway = Gateway::builder()
        .set("/stdout_log", json!("off"))
        .set("/plans/wide", json!({ "per_user": "100000/s", "burst": 10_000 }))
        .start();
    let token =
        gateway.token("anna", "echo", &json!({ "exp": portcullis_e2e::gateway::unix_seconds() + 3_000 }));
    let mut sockets: Vec<RawConn> = (0..SOCKETS).map(|_| open_socket(&gateway, &token)).collect();
    let (rounds, mut admin, stop) = (reloads(), gateway.admin(), AtomicBool::new(false));
    let (gateway, token, stop) = (&gateway, &token, &stop);
    let (mut before, start) = (memory(gateway), Instant::now());
    let mut times = std::thread::scope(|scope| {
        let ending = Ending(stop);
        let load = [
            scope.spawn(move || by_one(gateway, token, stop)),
            scope.spawn(move || by_two(gateway, token, stop)),
        ];
        for round in 1..=rounds {
            reload(gateway, &mut admin, round);
            sockets.rotate_left(8);
            sockets.iter_mut().take(8).for_each(echoes);
            // Seen by the test, so that the upstream's memory of it does not grow.
            let _ = gateway.plain.take_seen();
            if round == rounds.div_ceil(10) {
                before = memory(gateway);
            }
        }
        drop(ending);
        load.map(|thread| thread.join().expect("no request failed"))
    })
    .concat();
    let (took, after) = (start.elapsed(), memory(gateway));
    sockets.iter_mut().for_each(echoes);
    times.sort_unstable();
    let p99 = times[times.len() * 99 / 100];
    println!(
        "{rounds} reloads in {took:.1?} ({:.1?} each) beside {} requests, p99 {p99:.1?}; memory of edge and control {before:?} -> {after:?} KiB",
        took / u32::try_from(rounds).expect("not that many"),
        times.len(),
    );
    assert!(times.len() as u64 > rounds, "{} requests are no load", times.len());
    for (before, after) in before.into_iter().zip(after) {
        assert!(after.saturating_sub(before) <= GROWTH, "from {before} KiB to {after} KiB");
    }
}

/// Ends the load however its scope ends, so that a failure does not wait for it for ever.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// The same number of requests on each connection, all connections at once.
fn share_out(conns: &[H2Conn], token: &str) {
    std::thread::scope(|scope| {
        for conn in conns {
            scope.spawn(move || {
                for _ in 0..12 {
                    let batch = (0..16).map(|_| two("GET", "/echo/x", token, &[])).collect();
                    for answer in conn.request_all(batch) {
                        assert_eq!(answer.expect("an answer").status, 200);
                    }
                }
            });
        }
    });
}

/// What each core has spent so far.
fn core_times(edge: u32) -> Vec<Duration> {
    let threads = kernel::thread_times(edge).into_iter();
    threads
        .filter(|(name, _)| name.strip_prefix("edge-").is_some_and(|n| n.parse::<u16>().is_ok()))
        .map(|(_, t)| t)
        .collect()
}

#[test]
fn eight_http2_connections_keep_no_core_busier_than_a_fifth_above_the_mean() {
    let gateway = Gateway::builder().set("/stdout_log", json!("off")).start();
    let token = gateway.anna();
    let conns: Vec<H2Conn> = (0..8).map(|_| gateway.h2()).collect();
    let open = gateway.admin().metric("portcullis_dataplane_core_connections");
    let counts: Vec<f64> = open.iter().map(|(_, count)| *count).collect();
    assert_eq!(counts, [4.0, 4.0], "{open:?}");
    let edge = gateway.role("edge");
    let before = core_times(edge);
    share_out(&conns, &token);
    let spent: Vec<f64> = core_times(edge)
        .iter()
        .zip(&before)
        .map(|(after, before)| (*after - *before).as_secs_f64())
        .collect();
    let (mean, busiest) = (spent.iter().sum::<f64>() / 2.0, spent.iter().copied().fold(0.0, f64::max));
    println!("seconds of each core: {spent:.3?}");
    assert_eq!(spent.len(), 2, "two cores");
    assert!(busiest <= mean * 1.2, "{spent:?}");
    assert_eq!(gateway.raw().exchange(format!("GET /public HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).status, 200);
}
