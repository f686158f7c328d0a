//! The meter with frames made by hand, and with h2 itself at both ends.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::{Instant, timeout};

use super::super::fault::{Fault, Flaw, Leg};
use super::frames::{PREFACE, frame, kind};
use super::{Gauge, Meter, MeterHandle, MeterLimits};

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn gauge(leg: Leg) -> Gauge {
    let mut gauge = Gauge::new(leg, MeterLimits::default(), Instant::now());
    if leg == Leg::Downstream {
        gauge.received(PREFACE).expect("the preface");
    } else {
        gauge.sent(PREFACE).expect("the preface");
    }
    gauge
}

/// The number of the frame at which `frames` are refused, and why.
fn refused_at(leg: Leg, frames: impl IntoIterator<Item = Vec<u8>>) -> Option<(usize, Flaw)> {
    let mut gauge = gauge(leg);
    let mut numbered = frames.into_iter().zip(1..);
    numbered.find_map(|(frame, number)| gauge.received(&frame).err().map(|flaw| (number, flaw)))
}

fn repeated(frame: Vec<u8>) -> impl Iterator<Item = Vec<u8>> {
    std::iter::repeat_n(frame, 20_000)
}

#[test]
fn e1_e4_each_flood_ends_at_its_limit_with_its_own_word() {
    let limits = MeterLimits::default();
    let table = [
        (frame(kind::PING, 0, 0, &[0; 8]), limits.pings, Flaw::Pings),
        (frame(kind::PING, 1, 0, &[0; 8]), limits.pings, Flaw::Pings),
        (frame(kind::SETTINGS, 0, 0, &[]), limits.settings, Flaw::SettingsFlood),
        (frame(kind::PRIORITY, 0, 1, &[0; 5]), limits.priorities, Flaw::Priorities),
        (frame(kind::PRIORITY_UPDATE, 0, 0, &[0; 4]), limits.priorities, Flaw::Priorities),
        (frame(kind::DATA, 0, 1, &[]), limits.empty_data, Flaw::EmptyData),
        (frame(kind::DATA, 8, 1, &[2, 0, 0]), limits.empty_data, Flaw::EmptyData),
        (frame(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]), limits.window_updates, Flaw::WindowUpdates),
        (frame(kind::GOAWAY, 0, 0, &[0; 8]), limits.unknown, Flaw::UnknownFrames),
        (frame(0x2a, 0, 0, &[]), limits.unknown, Flaw::UnknownFrames),
        (frame(kind::RST_STREAM, 0, 1, &[0; 4]), limits.resets_before_answer, Flaw::RapidReset),
    ];
    for (frame, limit, flaw) in table {
        let at = usize::try_from(limit).expect("small") + 1;
        assert_eq!(refused_at(Leg::Downstream, repeated(frame)), Some((at, flaw)));
    }
}

#[test]
fn e4_a_window_update_of_nothing_is_refused_at_once() {
    let frames = [frame(kind::WINDOW_UPDATE, 0, 0, &[0x80, 0, 0, 0])];
    assert_eq!(refused_at(Leg::Downstream, frames), Some((1, Flaw::WindowUpdates)));
}

#[test]
fn e4_what_our_own_work_calls_for_has_its_allowance() {
    let mut gauge = gauge(Leg::Downstream);
    let data = frame(kind::DATA, 0, 1, b"x");
    for _ in 0..2_000 {
        gauge.sent(&data).expect("ours");
        for _ in 0..4 {
            gauge.received(&frame(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])).expect("called for");
        }
        gauge.received(&frame(kind::PING, 0, 0, &[0; 8])).expect("called for");
    }
}

#[test]
fn e1_resets_count_for_the_window_and_for_life_once_we_have_answered() {
    let reset = frame(kind::RST_STREAM, 0, 1, &[0; 4]);
    let mut answered = gauge(Leg::Downstream);
    answered.sent(&frame(kind::HEADERS, END_HEADERS, 1, b"")).expect("ours");
    let refused = (1..20_000).find_map(|n| answered.received(&reset).err().map(|flaw| (n, flaw)));
    assert_eq!(refused, Some((101, Flaw::RapidReset)));
}

#[tokio::test(start_paused = true)]
async fn e1_a_slow_drip_of_resets_ends_after_ten_thousand() {
    let reset = frame(kind::RST_STREAM, 0, 1, &[0; 4]);
    let mut gauge = gauge(Leg::Downstream);
    gauge.sent(&frame(kind::HEADERS, END_HEADERS, 1, b"")).expect("ours");
    let mut count = 0;
    let flaw = loop {
        if let Err(flaw) = gauge.received(&reset) {
            break flaw;
        }
        count += 1;
        tokio::time::advance(Duration::from_millis(101)).await;
    };
    assert_eq!((count, flaw), (10_000, Flaw::RapidReset));
}

#[test]
fn e2_a_header_block_has_few_continuations_few_bytes_and_nothing_between() {
    let headers = frame(kind::HEADERS, 0, 1, &[0; 10]);
    let more = |length: usize| frame(kind::CONTINUATION, 0, 1, &vec![0; length]);
    let flood = std::iter::once(headers.clone()).chain(repeated(more(0)));
    assert_eq!(refused_at(Leg::Downstream, flood), Some((22, Flaw::Continuations)));
    let big = std::iter::once(headers.clone()).chain(repeated(more(16 * 1024)));
    assert_eq!(refused_at(Leg::Downstream, big), Some((5, Flaw::HeaderBlock)));
    let between = [
        frame(kind::DATA, 0, 1, b"x"),
        frame(kind::PING, 0, 0, &[0; 8]),
        headers.clone(),
        frame(kind::CONTINUATION, END_HEADERS, 3, b""),
    ];
    for other in between {
        assert_eq!(refused_at(Leg::Downstream, [headers.clone(), other]), Some((2, Flaw::FrameOrder)));
    }
    assert_eq!(refused_at(Leg::Downstream, [more(0)]), Some((1, Flaw::FrameOrder)));
    let good =
        [headers, frame(kind::CONTINUATION, END_HEADERS, 1, b"x"), frame(kind::DATA, END_STREAM, 1, b"")];
    assert_eq!(refused_at(Leg::Downstream, good), None);
}

#[test]
fn e3_resets_that_a_caller_makes_us_send_have_a_cap_and_our_own_do_not() {
    let reset = frame(kind::RST_STREAM, 0, 1, &[0; 4]);
    let mut made = gauge(Leg::Downstream);
    let refused = (1..1_000).find_map(|n| made.sent(&reset).err().map(|flaw| (n, flaw)));
    assert_eq!(refused, Some((501, Flaw::EmittedResets)));
    let mut ours = gauge(Leg::Upstream);
    assert!((0..1_000).all(|_| ours.sent(&reset).is_ok()));
}

#[test]
fn e15_a_frame_beyond_our_setting_is_refused_by_its_header() {
    let mut head = frame(kind::DATA, 0, 1, b"");
    head[..3].copy_from_slice(&[0, 0x40, 1]);
    assert_eq!(refused_at(Leg::Downstream, [head.clone()]), Some((1, Flaw::FrameTooLarge)));
    head[..3].copy_from_slice(&[0, 0x40, 0]);
    assert_eq!(refused_at(Leg::Downstream, [head]), None);
}

fn metered(limits: MeterLimits) -> (DuplexStream, Meter<DuplexStream>, MeterHandle) {
    let (peer, ours) = duplex(256 * 1024);
    let (meter, handle) = Meter::new(ours, Leg::Downstream, limits);
    (peer, meter, handle)
}

#[tokio::test(start_paused = true)]
async fn a_fault_sends_goaway_and_hyper_an_error_with_the_fault() {
    let (mut peer, mut meter, handle) = metered(MeterLimits::default());
    peer.write_all(PREFACE).await.expect("room");
    peer.write_all(&frame(kind::HEADERS, END_HEADERS, 7, b"")).await.expect("room");
    peer.write_all(&frame(kind::SETTINGS, 0, 0, b"").repeat(33)).await.expect("room");
    let error = meter.read_to_end(&mut Vec::new()).await.expect_err("a flood");
    assert_eq!(Fault::of(&error).map(Fault::flaw), Some(Flaw::SettingsFlood));
    assert_eq!(handle.fault().map(|f| (f.class(), f.threat())), Some(("h2-settings-flood", "E4")));
    assert!(meter.write(b"x").await.is_err(), "nothing more is written");
    let mut goaway = [0; 17];
    peer.read_exact(&mut goaway).await.expect("the farewell");
    assert_eq!(goaway, [0, 0, 8, kind::GOAWAY, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0xb]);
}

#[tokio::test(start_paused = true)]
async fn no_goaway_stands_inside_a_frame_of_ours() {
    let (mut peer, mut meter, _handle) = metered(MeterLimits::default());
    meter.write_all(&frame(kind::DATA, 0, 1, b"abcd")[..11]).await.expect("room");
    peer.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("room");
    let error = meter.read_to_end(&mut Vec::new()).await.expect_err("no preface");
    assert_eq!(Fault::of(&error).map(Fault::flaw), Some(Flaw::Preface));
    drop(meter);
    let mut read = Vec::new();
    peer.read_to_end(&mut read).await.expect("read");
    assert_eq!(read.len(), 11);
}

#[tokio::test(start_paused = true)]
async fn e2_e8_a_block_or_frame_that_does_not_go_on_is_ended() {
    let begun = frame(kind::HEADERS, 0, 1, b"abc");
    for (wire, want) in [
        (&PREFACE[..10], Flaw::SlowHead),
        (&[PREFACE, &begun].concat()[..], Flaw::SlowHead),
        (&[PREFACE, &frame(kind::DATA, 0, 1, b"abc")[..10]].concat()[..], Flaw::SlowBody),
    ] {
        let (mut peer, mut meter, _handle) = metered(MeterLimits::default());
        peer.write_all(wire).await.expect("room");
        let start = Instant::now();
        let error = meter.read_to_end(&mut Vec::new()).await.expect_err("stalled");
        assert_eq!(Fault::of(&error).map(Fault::flaw), Some(want));
        assert_eq!(start.elapsed().as_secs(), 20);
    }
}

#[tokio::test(start_paused = true)]
async fn e5_an_answer_that_gets_no_window_is_ended_and_one_that_moves_is_not() {
    for (increment, lives) in [(0u32, false), (1, false), (40_000, true)] {
        let (mut peer, mut meter, handle) = metered(MeterLimits::default());
        let mut opening = PREFACE.to_vec();
        opening.extend(frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
        opening.extend(frame(kind::HEADERS, END_HEADERS | END_STREAM, 1, b""));
        peer.write_all(&opening).await.expect("room");
        let mut part = [0; 512];
        assert!(meter.read(&mut part).await.expect("bytes") > 0);
        meter.write_all(&frame(kind::HEADERS, END_HEADERS, 1, b"")).await.expect("room");
        let mut end = None;
        for _ in 0..20 {
            if let Ok(read) = timeout(Duration::from_secs(50), meter.read(&mut part)).await
                && let Err(error) = read
            {
                end = Fault::of(&error).map(Fault::flaw);
                break;
            }
            if increment > 0 {
                let update = frame(kind::WINDOW_UPDATE, 0, 1, &increment.to_be_bytes());
                peer.write_all(&update).await.expect("room");
                assert!(meter.read(&mut part).await.expect("bytes") > 0);
                for piece in vec![b'x'; usize::try_from(increment).expect("small")].chunks(16_000) {
                    meter.write_all(&frame(kind::DATA, 0, 1, piece)).await.expect("room");
                }
                let mut sink = vec![0; 60_000];
                let _ = timeout(Duration::from_millis(1), peer.read(&mut sink)).await;
            }
        }
        assert_eq!(end, (!lives).then_some(Flaw::StalledStreams), "{increment}");
        assert_eq!(handle.streams(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_streams_ends_cleanly_after_its_idle_time() {
    let (mut peer, mut meter, handle) = metered(MeterLimits::default());
    peer.write_all(PREFACE).await.expect("room");
    let start = Instant::now();
    let mut read = Vec::new();
    meter.read_to_end(&mut read).await.expect("a clean end");
    assert_eq!((read.len(), start.elapsed().as_secs()), (PREFACE.len(), 300));
    assert_eq!(handle.fault(), None);
}

/// An h2 server behind the meter that never answers, and an h2 client that misbehaves as told.
async fn with_h2(requests: usize, cancel: bool) -> (Option<Fault>, usize) {
    let (theirs, ours) = duplex(1 << 20);
    let (meter, handle) = Meter::new(ours, Leg::Downstream, MeterLimits::default());
    let server = async {
        let mut seen = 0;
        let mut builder = h2::server::Builder::new();
        builder.max_concurrent_reset_streams(10_000).max_pending_accept_reset_streams(10_000);
        let Ok(mut connection) = builder.handshake::<_, Bytes>(meter).await else { return seen };
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            seen += 1;
            if !cancel {
                let _ = respond.send_response(Response::new(()), true);
            }
        }
        seen
    };
    let client = async {
        let (mut sender, connection) = h2::client::handshake(theirs).await.expect("handshake");
        let ask = async {
            for _ in 0..requests {
                let Ok(mut ready) = sender.ready().await else { break };
                let request = Request::builder().uri("https://a/").body(()).expect("request");
                let Ok((answer, mut stream)) = ready.send_request(request, true) else { break };
                if cancel {
                    stream.send_reset(h2::Reason::CANCEL);
                    tokio::task::yield_now().await;
                } else if answer.await.is_err() {
                    break;
                }
                sender = ready;
            }
        };
        tokio::pin!(connection);
        tokio::select! {
            _ = &mut connection => {}
            () = ask => {
                let _ = timeout(Duration::from_secs(1), connection).await;
            }
        }
    };
    let (seen, ()) = tokio::join!(server, client);
    (handle.fault(), seen)
}

#[tokio::test(start_paused = true)]
async fn e1_rapid_reset_by_a_real_client_is_ended() {
    let (fault, seen) = with_h2(5_000, true).await;
    assert_eq!(fault.map(|f| (f.flaw(), f.threat())), Some((Flaw::RapidReset, "E1")));
    assert!(seen <= 60, "{seen} reached the server");
}

#[tokio::test(start_paused = true)]
async fn a_real_client_that_behaves_is_never_noticed() {
    assert_eq!(with_h2(2_000, false).await, (None, 2_000));
}
