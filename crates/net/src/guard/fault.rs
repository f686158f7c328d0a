//! What the guard found wrong, in one word each.
//!
//! A [`Flaw`] is the finding, a [`Fault`] is the finding and the leg it was found on: the same bare line feed is the
//! caller's fault on the way in and the upstream's on the way back. The words are stable: records, metrics and tests
//! use them. Nothing of what was sent is in a fault, so it can be logged anywhere.
//!
//! Sources: threats.md (the id behind each flaw).

use std::error::Error;
use std::{fmt, io};

use portcullis_core::Reason;

/// Which side of us sent the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leg {
    /// The one who calls us.
    Downstream,
    /// The one whom we call.
    Upstream,
}

/// One row a flaw: variant, word, threat id, reason when a caller sent it, text.
macro_rules! flaws {
    ($($variant:ident = $word:literal, $threat:literal, $reason:ident, $text:literal;)*) => {
        /// What is wrong with the bytes, or with their pace.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Flaw { $(#[doc = $text] $variant),* }

        impl Flaw {
            /// Every flaw there is, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The stable word.
            #[must_use]
            pub fn word(self) -> &'static str { match self { $(Self::$variant => $word),* } }

            /// The threat class that it belongs to, such as `A1`.
            #[must_use]
            pub fn threat(self) -> &'static str { match self { $(Self::$variant => $threat),* } }

            /// What is wrong, for the record.
            #[must_use]
            pub fn text(self) -> &'static str { match self { $(Self::$variant => $text),* } }

            fn reason_of_caller(self) -> Reason { match self { $(Self::$variant => Reason::$reason),* } }
        }
    };
}

flaws! {
    NotHttp = "not-http", "A10", MalformedRequest, "the first byte cannot start an HTTP message";
    BareLf = "bare-lf", "A7", MalformedRequest, "a line ends in LF without CR";
    BareCr = "bare-cr", "A7", MalformedRequest, "a CR stands inside a line";
    ControlByte = "control-byte", "A10", MalformedRequest, "a control byte stands in a line";
    ObsText = "obs-text", "B7", MalformedRequest, "a byte above 0x7f stands in a line";
    ObsFold = "obs-fold", "A7", MalformedRequest, "a field line starts with a space or a tab";
    SpaceBeforeColon = "space-before-colon", "A1", MalformedRequest, "a space stands between field name and colon";
    EmptyName = "empty-field-name", "A6", MalformedRequest, "a field line has no name";
    FieldName = "field-name", "A1", MalformedRequest, "a field name is not a token";
    NoColon = "no-colon", "A1", MalformedRequest, "a field line has no colon";
    RequestLine = "request-line", "A1", MalformedRequest, "the request line is not three parts with one space between";
    MethodSyntax = "method-syntax", "A10", MalformedRequest, "the method is not a token";
    MethodRefused = "method-refused", "A3", MethodNotAllowed, "the method is CONNECT, TRACE or not listed";
    Version = "version", "A2", MalformedRequest, "the version is neither HTTP/1.1 nor HTTP/1.0";
    TargetForm = "target-form", "B5", MalformedRequest, "the target has no form that the method permits";
    TargetByte = "target-byte", "A10", MalformedRequest, "the target holds a byte that must be encoded";
    Fragment = "fragment", "B2", MalformedRequest, "the target holds a fragment";
    TargetTooLong = "target-too-long", "E5", UriTooLong, "the target is longer than the limit";
    AuthorityMismatch = "authority-mismatch", "B5", MalformedRequest, "the target's authority is not the Host";
    HostMissing = "host-missing", "A1", MalformedRequest, "there is no Host";
    HostRepeated = "host-repeated", "A1", MalformedRequest, "there is more than one Host";
    HostSyntax = "host-syntax", "A1", MalformedRequest, "the Host is not a host with an optional port";
    LengthSyntax = "length-syntax", "A1", MalformedRequest, "Content-Length is not digits alone";
    LengthRepeated = "length-repeated", "A1", MalformedRequest, "there is more than one Content-Length";
    LengthOverflow = "length-overflow", "E15", MalformedRequest, "Content-Length does not fit in 63 bits";
    CodingSyntax = "coding-syntax", "A1", MalformedRequest, "Transfer-Encoding is not exactly `chunked`";
    CodingRepeated = "coding-repeated", "A1", MalformedRequest, "there is more than one Transfer-Encoding";
    CodingOnOld = "coding-on-http10", "A2", MalformedRequest, "HTTP/1.0 has no Transfer-Encoding";
    LengthAndCoding = "length-and-coding", "A1", MalformedRequest, "both Content-Length and Transfer-Encoding stand";
    FramingAlias = "framing-alias", "B9", MalformedRequest, "a field name differs from a framing field by `_` or `.` only";
    ConnectionNames = "connection-names", "A8", MalformedRequest, "Connection names a field that is not hop-by-hop";
    BadUpgrade = "bad-upgrade", "A3", MalformedRequest, "an upgrade to WebSocket is not a GET without a body";
    FieldRepeated = "field-repeated", "A1", MalformedRequest, "Expect or Upgrade stands more than once";
    Expectation = "expectation", "A4", ExpectationFailed, "Expect is not `100-continue`";
    TooManyFields = "too-many-fields", "E5", HeadersTooLarge, "there are more field lines than the limit";
    TooManyCrumbs = "too-many-crumbs", "E5", HeadersTooLarge, "there are more cookies than the limit";
    LineTooLong = "line-too-long", "E5", HeadersTooLarge, "a field line is longer than the limit";
    HeadTooLarge = "head-too-large", "E5", HeadersTooLarge, "the head is larger than the limit";
    ChunkSize = "chunk-size", "A1", MalformedRequest, "a chunk size is not hexadecimal digits alone";
    ChunkOverflow = "chunk-overflow", "E15", MalformedRequest, "a chunk size does not fit in 63 bits";
    ChunkExtension = "chunk-extension", "A7", MalformedRequest, "a chunk has an extension";
    ChunkEnd = "chunk-end", "A7", MalformedRequest, "a chunk is not followed by CRLF";
    TrailerName = "trailer-name", "A7", MalformedRequest, "a trailer has a name that may only stand in a head";
    TruncatedHead = "truncated-head", "A4", MalformedRequest, "the connection ended inside a head";
    TruncatedBody = "truncated-body", "A4", MalformedRequest, "the connection ended inside a body";
    SlowHead = "slow-head", "E8", RequestTimeout, "the head was not complete in time";
    SlowBody = "slow-body", "E8", RequestTimeout, "the body came more slowly than the minimum rate";
    SlowReader = "slow-reader", "E8", RequestTimeout, "our bytes were taken more slowly than the minimum rate";
    StatusLine = "status-line", "A1", MalformedRequest, "the status line is not well formed";
    UnaskedSwitch = "unasked-switch", "A3", MalformedRequest, "protocols were switched without a request to";
    TooManyInterim = "too-many-interim", "E4", MalformedRequest, "there are more interim answers than the limit";
    BodyNotAllowed = "body-not-allowed", "A1", MalformedRequest, "a status that has no body frames one";
    Unsolicited = "unsolicited", "A4", MalformedRequest, "bytes came that belong to no request";
    Preface = "h2-preface", "A10", MalformedRequest, "the HTTP/2 preface is wrong";
    FrameTooLarge = "h2-frame-too-large", "E15", MalformedRequest, "a frame is larger than our setting permits";
    FrameOrder = "h2-frame-order", "E2", MalformedRequest, "another frame stands inside a header block";
    RapidReset = "h2-rapid-reset", "E1", RateLimited, "too many streams were opened and reset";
    EmittedResets = "h2-emitted-resets", "E3", RateLimited, "too many streams had to be reset by us";
    Pings = "h2-ping-flood", "E4", RateLimited, "too many PING frames";
    SettingsFlood = "h2-settings-flood", "E4", RateLimited, "too many SETTINGS frames";
    Priorities = "h2-priority-flood", "E4", RateLimited, "too many PRIORITY frames";
    EmptyData = "h2-empty-data-flood", "E4", RateLimited, "too many empty DATA frames";
    WindowUpdates = "h2-window-update-flood", "E4", RateLimited, "too many WINDOW_UPDATE frames for what was sent";
    UnknownFrames = "h2-unknown-flood", "E4", RateLimited, "too many frames of an unknown or useless kind";
    Continuations = "h2-continuation-flood", "E2", HeadersTooLarge, "a header block has too many CONTINUATION frames";
    HeaderBlock = "h2-header-block", "E2", HeadersTooLarge, "a header block is larger than the limit";
    StalledStreams = "h2-stalled-streams", "E5", RequestTimeout, "streams are open whose window does not move";
}

/// A flaw, and who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fault {
    flaw: Flaw,
    leg: Leg,
}

impl Fault {
    /// `flaw`, found in what came over `leg`.
    #[must_use]
    pub fn new(flaw: Flaw, leg: Leg) -> Self {
        Self { flaw, leg }
    }

    /// What is wrong.
    #[must_use]
    pub fn flaw(self) -> Flaw {
        self.flaw
    }

    /// Who sent it.
    #[must_use]
    pub fn leg(self) -> Leg {
        self.leg
    }

    /// The stable word of the class, for metrics and records.
    #[must_use]
    pub fn class(self) -> &'static str {
        self.flaw.word()
    }

    /// The threat id, such as `A1`.
    #[must_use]
    pub fn threat(self) -> &'static str {
        self.flaw.threat()
    }

    /// Why the request is refused.
    #[must_use]
    pub fn reason(self) -> Reason {
        match (self.leg, self.flaw) {
            (Leg::Downstream, flaw) => flaw.reason_of_caller(),
            (Leg::Upstream, Flaw::SlowHead | Flaw::SlowBody | Flaw::SlowReader | Flaw::StalledStreams) => {
                Reason::UpstreamTimeout
            }
            (Leg::Upstream, Flaw::TruncatedHead | Flaw::TruncatedBody) => Reason::UpstreamBroken,
            (Leg::Upstream, _) => Reason::UpstreamMalformed,
        }
    }

    /// The fault behind `error`, if the guard caused it: the way from a hyper error back to the class.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(fault) = error.downcast_ref::<Self>() {
                return Some(*fault);
            }
            // `io::Error` hides what it holds from `source`, which starts one step further down.
            next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
                Some(inner) => Some(inner),
                None => error.source(),
            };
        }
        None
    }

    pub(crate) fn into_io(self) -> io::Error {
        let kind = match self.flaw {
            Flaw::TruncatedHead | Flaw::TruncatedBody => io::ErrorKind::UnexpectedEof,
            Flaw::SlowHead | Flaw::SlowBody | Flaw::SlowReader | Flaw::StalledStreams => {
                io::ErrorKind::TimedOut
            }
            _ => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, self)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.class(), self.threat(), self.flaw.text())
    }
}

impl Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flaw_has_its_own_word_a_threat_id_and_its_number() {
        let mut words: Vec<_> = Flaw::ALL.iter().map(|f| f.word()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Flaw::ALL.len());
        for (number, flaw) in Flaw::ALL.iter().enumerate() {
            assert_eq!(*flaw as usize, number);
            let (letter, digits) = flaw.threat().split_at(1);
            assert!("ABE".contains(letter) && digits.parse::<u8>().is_ok(), "{flaw:?}");
        }
    }

    #[test]
    fn the_same_flaw_is_blamed_on_the_leg_that_sent_it() {
        let at = |leg| Fault::new(Flaw::BareLf, leg).reason();
        assert_eq!(at(Leg::Downstream), Reason::MalformedRequest);
        assert_eq!(at(Leg::Upstream), Reason::UpstreamMalformed);
        assert_eq!(Fault::new(Flaw::SlowBody, Leg::Upstream).reason(), Reason::UpstreamTimeout);
        assert_eq!(Fault::new(Flaw::TargetTooLong, Leg::Downstream).reason(), Reason::UriTooLong);
    }

    #[test]
    fn a_fault_is_found_again_under_layers_of_errors() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] io::Error);
        let fault = Fault::new(Flaw::ChunkSize, Leg::Downstream);
        assert_eq!(Fault::of(&Outer(fault.into_io())), Some(fault));
        assert_eq!(Fault::of(&io::Error::other(Outer(fault.into_io()))), Some(fault));
        assert_eq!(Fault::of(&io::Error::other("else")), None);
    }
}
