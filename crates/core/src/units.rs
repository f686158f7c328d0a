//! Numbers that know their unit.
//!
//! Each is written by people as text (`250ms`, `16KiB`, `50/s`) and read by one parser here, so that a setting
//! means the same in every room.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A span of time from one millisecond to 366 days, written `250ms`, `5s`, `10m`, `1h` or `30d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(u64);

/// A size in bytes up to 1 TiB, written `512B`, `16KiB`, `1MiB` or `2GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

/// How many events in how long, written `50/s`, `3/min`, `1000/h` or `5/10s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    count: u32,
    per: Millis,
}

/// Why a text is not a number with a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitFault {
    wanted: &'static str,
}

impl fmt::Display for UnitFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}", self.wanted)
    }
}

impl std::error::Error for UnitFault {}

const SPAN: UnitFault =
    UnitFault { wanted: "a span of time such as `250ms`, `5s`, `10m`, `1h` or `30d` (1ms to 366d)" };
const SIZE: UnitFault =
    UnitFault { wanted: "a size such as `512B`, `16KiB`, `1MiB` or `2GiB` (up to 1024GiB)" };
const RATE: UnitFault = UnitFault { wanted: "a rate such as `50/s`, `3/min`, `1000/h` or `5/10s`" };

/// Splits `250ms` into `250` and `ms`; no sign, no fraction, no space, no leading zero.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let canonical = number == "0" || !number.starts_with('0');
    canonical.then(|| number.parse().ok().map(|n| (n, unit))).flatten()
}

fn unit_in_millis(unit: &str) -> Option<u64> {
    Some(match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    })
}

impl Millis {
    /// One second.
    pub const SECOND: Self = Self(1_000);
    /// Longer than this is a typing mistake.
    pub const LONGEST: Self = Self(366 * 86_400_000);

    /// A span of `ms` milliseconds, unless it is out of range.
    #[must_use]
    pub fn new(ms: u64) -> Option<Self> {
        (1..=Self::LONGEST.0).contains(&ms).then_some(Self(ms))
    }

    /// A span of whole seconds, held within the range: for constants in code.
    #[must_use]
    pub const fn from_secs(seconds: u32) -> Self {
        let ms = seconds as u64 * 1_000;
        Self(if ms == 0 {
            1
        } else if ms > Self::LONGEST.0 {
            Self::LONGEST.0
        } else {
            ms
        })
    }

    /// Reads `250ms`, `5s`, `10m`, `1h`, `30d`.
    ///
    /// # Errors
    /// The text has no unit, another form, or is out of range.
    pub fn parse(text: &str) -> Result<Self, UnitFault> {
        number_and_unit(text)
            .and_then(|(n, unit)| n.checked_mul(unit_in_millis(unit)?))
            .and_then(Self::new)
            .ok_or(SPAN)
    }

    /// As the standard library's type.
    #[must_use]
    pub fn as_duration(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// The bare number of milliseconds.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

impl ByteSize {
    /// Larger than this is a typing mistake.
    pub const LARGEST: Self = Self(1 << 40);

    /// A size of `bytes`, unless it is out of range.
    #[must_use]
    pub fn new(bytes: u64) -> Option<Self> {
        (bytes <= Self::LARGEST.0).then_some(Self(bytes))
    }

    /// A size of `kib` KiB: for constants in code.
    #[must_use]
    pub const fn kib(kib: u32) -> Self {
        Self(kib as u64 * 1024)
    }

    /// Reads `512B`, `16KiB`, `1MiB`, `2GiB`.
    ///
    /// # Errors
    /// The text has no unit, another form, or is out of range.
    pub fn parse(text: &str) -> Result<Self, UnitFault> {
        let (number, unit) = number_and_unit(text).ok_or(SIZE)?;
        let factor: u64 = match unit {
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(SIZE),
        };
        number.checked_mul(factor).and_then(Self::new).ok_or(SIZE)
    }

    /// The bare number of bytes.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }

    /// For comparing with lengths in memory; held at the end of the address space.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Rate {
    /// `count` events in each span of `per`, unless `count` is zero.
    #[must_use]
    pub fn new(count: u32, per: Millis) -> Option<Self> {
        (count > 0).then_some(Self { count, per })
    }

    /// Reads `50/s`, `3/min`, `5/10s`.
    ///
    /// # Errors
    /// The text has another form, or one of its numbers is zero or out of range.
    pub fn parse(text: &str) -> Result<Self, UnitFault> {
        let (count, per) = text.split_once('/').ok_or(RATE)?;
        let count = number_and_unit(count).filter(|(_, rest)| rest.is_empty()).ok_or(RATE)?.0;
        let per = match unit_in_millis(per) {
            Some(ms) => Millis::new(ms),
            None => Millis::parse(per).ok(),
        };
        let count = u32::try_from(count).map_err(|_| RATE)?;
        per.and_then(|per| Self::new(count, per)).ok_or(RATE)
    }

    /// How many.
    #[must_use]
    pub fn count(self) -> u32 {
        self.count
    }

    /// In how long.
    #[must_use]
    pub fn per(self) -> Millis {
        self.per
    }
}

/// Picks the largest unit that divides the number, so that what is printed reads back as the same value.
fn with_unit(f: &mut fmt::Formatter<'_>, value: u64, units: &[(u64, &str)]) -> fmt::Result {
    let fits = units.iter().find(|(size, _)| value.is_multiple_of(*size) && value > 0);
    let (size, unit) = fits.or(units.last()).copied().unwrap_or((1, ""));
    write!(f, "{}{unit}", value / size)
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        with_unit(f, self.0, &[(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")])
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        with_unit(f, self.0, &[(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")])
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per.get() {
            1_000 => "s",
            60_000 => "min",
            3_600_000 => "h",
            86_400_000 => "d",
            _ => return write!(f, "{}/{}", self.count, self.per),
        };
        write!(f, "{}/{unit}", self.count)
    }
}

/// Serialises through the written form, so that a file, a schema and a generation on the wire agree.
macro_rules! as_text {
    ($($unit:ty),*) => {$(
        impl Serialize for $unit {
            fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $unit {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    )*};
}
as_text!(Millis, ByteSize, Rate);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_without_a_unit_is_refused() {
        for bad in ["", "5", "5 s", "-5s", "05s", "1.5s", "s", "5S", "0s", "367d", "99999999999999999999d"] {
            assert!(Millis::parse(bad).is_err(), "{bad:?}");
        }
        for bad in ["16", "16KB", "16kib", "1025GiB", "99999999999999999999B"] {
            assert!(ByteSize::parse(bad).is_err(), "{bad:?}");
        }
        for bad in ["50", "50/", "0/s", "/s", "5/0s", "4294967296/s", "5x/s", "-1/s"] {
            assert!(Rate::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_people_write_is_understood() {
        assert_eq!(Millis::parse("10m").map(Millis::get), Ok(600_000));
        assert_eq!(ByteSize::parse("16KiB").map(ByteSize::get), Ok(16_384));
        assert_eq!(Rate::parse("3/min").map(|r| (r.count(), r.per().get())), Ok((3, 60_000)));
        assert_eq!(Rate::parse("5/10s").map(|r| (r.count(), r.per().get())), Ok((5, 10_000)));
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(ms in 1..=Millis::LONGEST.0, bytes in 0..=ByteSize::LARGEST.0, n in 1u32..) {
            let span = Millis(ms);
            prop_assert_eq!(Millis::parse(&span.to_string()), Ok(span));
            prop_assert_eq!(ByteSize::parse(&ByteSize(bytes).to_string()), Ok(ByteSize(bytes)));
            let rate = Rate { count: n, per: span };
            prop_assert_eq!(Rate::parse(&rate.to_string()), Ok(rate));
        }

        #[test]
        fn no_text_makes_a_parser_panic(text in ".{0,40}") {
            let _ = (Millis::parse(&text), ByteSize::parse(&text), Rate::parse(&text));
        }
    }
}
