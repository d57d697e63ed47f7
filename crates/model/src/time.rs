//! Moments and lengths of time. Nothing here reads a clock.

use std::fmt;
use std::str::FromStr;

/// A moment: milliseconds since 1970-01-01T00:00:00Z, between the years 0000 and 9999.
///
/// In JSON an RFC 3339 text in UTC; finer digits than a millisecond are cut off when it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

/// Why a text is not a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 time such as 2027-01-01T00:00:00Z")]
pub struct TimestampError;

/// The first and last milliseconds of the years that RFC 3339 can spell.
const RANGE_MS: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

impl Timestamp {
    /// The moment `unix_ms` milliseconds after 1970, or the nearest one that RFC 3339 can spell.
    pub fn from_unix_ms(unix_ms: i64) -> Self {
        Self(unix_ms.clamp(*RANGE_MS.start(), *RANGE_MS.end()))
    }

    /// Milliseconds since 1970.
    pub const fn unix_ms(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970, rounded down.
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The moment `ms` milliseconds later (earlier when negative).
    #[must_use]
    pub fn plus_ms(self, ms: i64) -> Self {
        Self::from_unix_ms(self.0.saturating_add(ms))
    }

    /// The moment `seconds` later.
    #[must_use]
    pub fn plus_seconds(self, seconds: u64) -> Self {
        self.plus_ms(i64::try_from(seconds).unwrap_or(i64::MAX / 1000).saturating_mul(1000))
    }

    /// The same moment for calendar arithmetic; the last day and a half of the year 9999, which jiff keeps free for time
    /// zones, is that day's beginning.
    pub fn to_jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0).unwrap_or(jiff::Timestamp::MAX)
    }
}

impl From<jiff::Timestamp> for Timestamp {
    fn from(at: jiff::Timestamp) -> Self {
        Self::from_unix_ms(at.as_millisecond())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not through `to_jiff`, which does not reach the end of the year 9999.
        let at = EPOCH.saturating_add(jiff::SignedDuration::from_millis(self.0));
        write!(f, "{at}Z")
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        // jiff also reads spaces, missing seconds and zone annotations, which RFC 3339 §5.6 does not have.
        let bytes = text.as_bytes();
        let plain = matches!(bytes.get(10), Some(b'T' | b't'))
            && bytes.get(16) == Some(&b':')
            && bytes.first().is_some_and(u8::is_ascii_digit)
            && !text.contains('[');
        let unix_ms = plain.then(|| unix_ms(text)).flatten().ok_or(TimestampError)?;
        RANGE_MS.contains(&unix_ms).then_some(Self(unix_ms)).ok_or(TimestampError)
    }
}

/// 1970-01-01T00:00:00 by a calendar without zones, whose range is all of RFC 3339's.
const EPOCH: jiff::civil::DateTime = jiff::civil::DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

fn unix_ms(text: &str) -> Option<i64> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Some(at.as_millisecond());
    }
    // jiff's moments end a day and a bit before the year 9999 does, whose last second is what people write for "never".
    let pieces = jiff::fmt::temporal::Pieces::parse(text).ok()?;
    let local = pieces.date().to_datetime(pieces.time()?);
    let ms = i64::try_from(local.duration_since(EPOCH).as_millis()).ok()?;
    Some(ms - i64::from(pieces.to_numeric_offset()?.seconds()) * 1000)
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_reads_back_and_is_shown_in_utc() {
        let at: Timestamp = "2027-01-01T02:00:00.5+02:00".parse().unwrap();
        assert_eq!(at.to_string(), "2027-01-01T00:00:00.5Z");
        assert_eq!(at.to_string().parse(), Ok(at));
    }

    #[test]
    fn every_moment_that_rfc_3339_can_spell_is_read_and_shown() {
        for text in [
            "9999-12-31T23:59:59Z",
            "9999-12-31T23:59:59.999Z",
            "9999-12-30T22:00:01Z",
            "0000-01-01T00:00:00Z",
            "1969-12-31T23:59:59.999Z",
            "2026-11-22T23:06:22.83Z",
        ] {
            assert_eq!(text.parse::<Timestamp>().map(|at| at.to_string()), Ok(text.to_owned()));
        }
        let read = |text: &str| text.parse::<Timestamp>();
        assert_eq!(read("9999-12-31T23:59:59+00:00"), read("9999-12-31T23:59:59Z"));
        assert_eq!(read("9999-12-31T23:59:59-01:00"), Err(TimestampError), "the year 10000 in UTC");
        assert_eq!(read("2027-01-01t00:00:00z"), read("2027-01-01T00:00:00Z"), "RFC 3339 has both cases");
        assert_eq!(Timestamp::from_unix_ms(i64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn what_rfc_3339_does_not_have_is_refused() {
        for text in [
            "2027-01-01",
            "2027-01-01 00:00:00Z",
            "2027-01-01T00:00:00",
            "1798761600",
            "",
            "now",
            "2027-01-01T00:00:00Z[UTC]",
            "2027-02-30T00:00:00Z",
            "-002027-01-01T00:00:00Z",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(TimestampError), "{text}");
        }
    }
}
