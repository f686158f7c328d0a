//! How many frames of which kind are too many.
//!
//! Kinds that a peer sends in answer to our work (acknowledging it, giving room for more) have an allowance that
//! grows with that work; without work they have the base alone.
//!
//! INVARIANT: every limit here ends the connection with a [`Flaw`] of its own, and its word is its metric label.
//!
//! Sources: RFC 9113 §4.3, §5.4, §10.5; CVE-2023-44487 (E1), CVE-2024-27316 (E2), CVE-2025-8671 (E3),
//! CVE-2019-9512, -9514, -9515, -9518 (E4); threats E1-E4, E15.

use std::time::Duration;

use tokio::time::Instant;

use super::super::fault::{Flaw, Leg};
use super::super::limits::MinRate;
use super::frames::{Event, FrameHead, kind};

/// The settings of the meter. Counts are for each [`window`](Self::window) unless they say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeterLimits {
    /// The span over which frames are counted.
    pub window: Duration,
    /// RST_STREAM frames from the peer (E1).
    pub resets: u32,
    /// The same in the life of a connection.
    pub resets_life: u32,
    /// The same before we answered anything at all.
    pub resets_before_answer: u32,
    /// RST_STREAM frames that a caller makes us send, in the life of a connection (E3).
    pub emitted_resets: u32,
    /// PING frames, beyond one for each DATA frame of ours.
    pub pings: u32,
    /// SETTINGS frames.
    pub settings: u32,
    /// PRIORITY and PRIORITY_UPDATE frames.
    pub priorities: u32,
    /// DATA frames that carry nothing and end nothing.
    pub empty_data: u32,
    /// WINDOW_UPDATE frames, beyond four for each DATA frame of ours.
    pub window_updates: u32,
    /// Frames of unknown kinds, GOAWAY included.
    pub unknown: u32,
    /// CONTINUATION frames of one header block (E2).
    pub continuations: u32,
    /// Bytes of one header block, before decompression.
    pub header_block: u32,
    /// Bytes of one frame: our SETTINGS_MAX_FRAME_SIZE.
    pub frame: u32,
    /// Streams open at once, as the meter sees them; well above SETTINGS_MAX_CONCURRENT_STREAMS.
    pub streams: usize,
    /// The slowest coming of a frame or header block that has begun (E8).
    pub incoming: MinRate,
    /// The slowest going of bodies while a stream has no window (E5).
    pub stall: MinRate,
    /// The slowest taking of our bytes by the socket.
    pub write: MinRate,
    /// How long a connection may stay without a stream.
    pub idle: Duration,
}

impl Default for MeterLimits {
    fn default() -> Self {
        let rate = |seconds| MinRate::new(500, Duration::from_secs(seconds));
        Self {
            window: Duration::from_secs(10),
            resets: 100,
            resets_life: 10_000,
            resets_before_answer: 50,
            emitted_resets: 500,
            pings: 100,
            settings: 32,
            priorities: 200,
            empty_data: 100,
            window_updates: 1_000,
            unknown: 100,
            continuations: 20,
            header_block: 64 * 1024,
            frame: 16 * 1024,
            streams: 1_024,
            incoming: rate(20),
            stall: rate(60),
            write: rate(30),
            idle: Duration::from_secs(300),
        }
    }
}

/// What has been counted.
#[derive(Debug)]
pub(super) struct Counts {
    limits: MeterLimits,
    leg: Leg,
    since: Instant,
    now: Window,
    resets_life: u32,
    emitted_resets: u32,
    has_answered: bool,
    block: Option<Block>,
}

/// Counts that start again with every window.
#[derive(Debug, Default)]
struct Window {
    resets: u32,
    pings: u32,
    settings: u32,
    priorities: u32,
    empty_data: u32,
    window_updates: u32,
    unknown: u32,
    /// DATA frames that we sent.
    sent: u32,
}

/// A header block that has not ended.
#[derive(Debug)]
struct Block {
    stream: u32,
    frames: u32,
    bytes: u32,
}

/// Adds one to `count` and compares.
fn bump(count: &mut u32, limit: u32, flaw: Flaw) -> Result<(), Flaw> {
    *count = count.saturating_add(1);
    if *count > limit { Err(flaw) } else { Ok(()) }
}

impl Counts {
    pub(super) fn new(limits: MeterLimits, leg: Leg, now: Instant) -> Self {
        Self {
            limits,
            leg,
            since: now,
            now: Window::default(),
            resets_life: 0,
            emitted_resets: 0,
            has_answered: false,
            block: None,
        }
    }

    /// Whether the peer is inside a header block.
    pub(super) fn is_in_block(&self) -> bool {
        self.block.is_some()
    }

    /// Counts what the peer sent.
    pub(super) fn received(&mut self, event: Event, now: impl FnOnce() -> Instant) -> Result<(), Flaw> {
        match event {
            Event::Frame(head) => self.received_frame(head, now),
            Event::OnlyPadding(head) => self.received_nothing(head),
            // RFC 9113 §6.9: never sent by a conforming peer, and free of cost to one that is not.
            Event::Increment { by: 0, .. } => Err(Flaw::WindowUpdates),
            Event::Increment { .. } | Event::Setting { .. } => Ok(()),
        }
    }

    fn received_frame(&mut self, head: FrameHead, now: impl FnOnce() -> Instant) -> Result<(), Flaw> {
        if head.length > self.limits.frame {
            return Err(Flaw::FrameTooLarge);
        }
        self.header_block(head)?;
        if head.kind == kind::HEADERS || head.kind == kind::CONTINUATION {
            return Ok(());
        }
        if head.kind == kind::DATA && head.length > 0 {
            return Ok(());
        }
        self.turn(now());
        let (limits, count) = (self.limits, &mut self.now);
        match head.kind {
            kind::DATA => self.received_nothing(head),
            kind::RST_STREAM => self.received_reset(),
            kind::PING => bump(&mut count.pings, limits.pings.saturating_add(count.sent), Flaw::Pings),
            kind::SETTINGS => bump(&mut count.settings, limits.settings, Flaw::SettingsFlood),
            kind::PRIORITY | kind::PRIORITY_UPDATE => {
                bump(&mut count.priorities, limits.priorities, Flaw::Priorities)
            }
            kind::WINDOW_UPDATE => {
                let limit = limits.window_updates.saturating_add(count.sent.saturating_mul(4));
                bump(&mut count.window_updates, limit, Flaw::WindowUpdates)
            }
            _ => bump(&mut count.unknown, limits.unknown, Flaw::UnknownFrames),
        }
    }

    /// Starts the counts again when their window is over.
    fn turn(&mut self, now: Instant) {
        if now.saturating_duration_since(self.since) >= self.limits.window {
            self.since = now;
            self.now = Window::default();
        }
    }

    fn received_nothing(&mut self, head: FrameHead) -> Result<(), Flaw> {
        if head.ends_stream() {
            return Ok(());
        }
        bump(&mut self.now.empty_data, self.limits.empty_data, Flaw::EmptyData)
    }

    fn received_reset(&mut self) -> Result<(), Flaw> {
        bump(&mut self.resets_life, self.limits.resets_life, Flaw::RapidReset)?;
        let is_early = self.leg == Leg::Downstream && !self.has_answered;
        if is_early && self.resets_life > self.limits.resets_before_answer {
            return Err(Flaw::RapidReset);
        }
        bump(&mut self.now.resets, self.limits.resets, Flaw::RapidReset)
    }

    /// SECURITY: a header block is one unit (RFC 9113 §4.3); its pieces are counted before anything decodes them.
    fn header_block(&mut self, head: FrameHead) -> Result<(), Flaw> {
        let mut block = match (head.kind, self.block.take()) {
            (kind::HEADERS, None) => Block { stream: head.stream, frames: 0, bytes: head.length },
            (kind::CONTINUATION, Some(mut block)) if block.stream == head.stream => {
                bump(&mut block.frames, self.limits.continuations, Flaw::Continuations)?;
                block.bytes = block.bytes.saturating_add(head.length);
                block
            }
            (kind::CONTINUATION, _) | (_, Some(_)) => return Err(Flaw::FrameOrder),
            (_, None) => return Ok(()),
        };
        if block.bytes > self.limits.header_block {
            return Err(Flaw::HeaderBlock);
        }
        block.stream = head.stream;
        self.block = (!head.ends_headers()).then_some(block);
        Ok(())
    }

    /// Counts what we sent.
    pub(super) fn sent(&mut self, event: Event) -> Result<(), Flaw> {
        let Event::Frame(head) = event else { return Ok(()) };
        match head.kind {
            kind::HEADERS => self.has_answered = true,
            kind::DATA => self.now.sent = self.now.sent.saturating_add(1),
            // Towards an upstream a reset is our own choice: a caller left.
            kind::RST_STREAM if self.leg == Leg::Downstream => {
                return bump(&mut self.emitted_resets, self.limits.emitted_resets, Flaw::EmittedResets);
            }
            _ => {}
        }
        Ok(())
    }
}
