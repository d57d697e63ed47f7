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

    /// The same moment for calendar arithmetic.
    pub fn to_jiff(self) -> jiff::Timestamp {
        // `RANGE_MS` lies inside jiff's own range, which covers the years -9999 to 9999.
        jiff::Timestamp::from_millisecond(self.0).unwrap_or_default()
    }
}

impl From<jiff::Timestamp> for Timestamp {
    fn from(at: jiff::Timestamp) -> Self {
        Self::from_unix_ms(at.as_millisecond())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.to_jiff(), f)
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        // jiff also reads spaces, missing seconds and zone annotations, which RFC 3339 §5.6 does not have.
        let bytes = text.as_bytes();
        let plain = bytes.get(10) == Some(&b'T')
            && bytes.get(16) == Some(&b':')
            && bytes.first().is_some_and(u8::is_ascii_digit)
            && !text.contains('[');
        let at: jiff::Timestamp = plain.then(|| text.parse().ok()).flatten().ok_or(TimestampError)?;
        RANGE_MS.contains(&at.as_millisecond()).then(|| at.into()).ok_or(TimestampError)
    }
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
