//! Limits (so many in so many seconds) and quotas (so many in a calendar period).

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{RoundMode, ToSpan as _, Unit, ZonedRound};
use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// At most `max` units of cost in `per_seconds` seconds, with a burst of `max`.
///
/// **The exact bound** (a token bucket, as GCRA): in any stretch of `t` seconds at most `max × (1 + t / per_seconds)`
/// units are admitted, and whoever stays at or below `max / per_seconds` a second is never refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Names it in answers: `[a-z][a-z0-9_-]{0,62}`, once in a list.
    pub name: String,
    /// 1 to [`LIMIT_MAX`] units.
    pub max: u64,
    /// 1 to [`PER_SECONDS_MAX`] seconds.
    pub per_seconds: u32,
}

/// The largest `max` of a limit or quota: 2^53 − 1, which every JSON reader holds exactly (RFC 7493 §2.2).
pub const LIMIT_MAX: u64 = (1 << 53) - 1;

/// The longest window of a limit: 31 days. What is longer is a quota.
pub const PER_SECONDS_MAX: u32 = 31 * 86_400;

/// At most `max` units of cost in each period; with [`Period::None`] at most `max` ever.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// 1 to [`LIMIT_MAX`] units.
    pub max: u64,
    /// When the count begins anew.
    pub period: Period,
    /// The IANA zone whose midnights count. `UTC` when not given.
    #[serde(default = "utc")]
    pub time_zone: String,
}

fn utc() -> String {
    "UTC".to_owned()
}

/// When a quota's count begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// Never.
    None,
    /// At midnight.
    Day,
    /// At Monday's midnight (ISO 8601).
    Week,
    /// At midnight of the first day of the month.
    Month,
}

/// The stretch of time that a quota counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeriodBounds {
    /// Its first moment.
    pub start: Timestamp,
    /// The first moment after it; `None` when it never ends.
    pub end: Option<Timestamp>,
}

/// Whether a text names a time zone that this build knows.
pub fn is_time_zone(name: &str) -> bool {
    TimeZone::get(name).is_ok()
}

impl Quota {
    /// The period that `now` lies in. Days of 23 or 25 hours are as long as the zone makes them.
    pub fn bounds_at(&self, now: Timestamp) -> PeriodBounds {
        let never = PeriodBounds { start: Timestamp::from_unix_ms(i64::MIN), end: None };
        self.calendar_bounds(now).unwrap_or(never)
    }

    fn calendar_bounds(&self, now: Timestamp) -> Option<PeriodBounds> {
        let zone = TimeZone::get(&self.time_zone).unwrap_or(TimeZone::UTC);
        let day = now
            .to_jiff()
            .to_zoned(zone)
            .round(ZonedRound::new().smallest(Unit::Day).mode(RoundMode::Floor))
            .ok()?;
        let (start, end) = match self.period {
            Period::None => return None,
            Period::Day => (day.clone(), day.checked_add(1.day()).ok()?),
            Period::Week => {
                let into_week = i32::from(day.weekday().since(Weekday::Monday));
                let monday = day.checked_sub(into_week.days()).ok()?.start_of_day().ok()?;
                (monday.clone(), monday.checked_add(1.week()).ok()?)
            }
            Period::Month => {
                let first = day.first_of_month().ok()?.start_of_day().ok()?;
                (first.clone(), first.checked_add(1.month()).ok()?)
            }
        };
        let end = end.start_of_day().ok()?;
        Some(PeriodBounds { start: start.timestamp().into(), end: Some(end.timestamp().into()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(period: Period, zone: &str, now: &str, start: &str, end: &str) {
        let quota = Quota { max: 1, period, time_zone: zone.to_owned() };
        let bounds = quota.bounds_at(now.parse().unwrap());
        assert_eq!(
            (bounds.start.to_string().as_str(), bounds.end.unwrap().to_string().as_str()),
            (start, end)
        );
    }

    #[test]
    fn a_period_is_the_calendars_in_the_quotas_zone() {
        check(Period::Day, "UTC", "2026-11-22T23:59:59.999Z", "2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z");
        check(
            Period::Day,
            "Asia/Shanghai",
            "2026-11-22T16:00:00Z",
            "2026-11-22T16:00:00Z",
            "2026-11-23T16:00:00Z",
        );
        check(Period::Week, "UTC", "2026-11-22T12:00:00Z", "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z");
        check(Period::Month, "UTC", "2026-12-31T12:00:00Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z");
    }

    #[test]
    fn a_day_is_as_long_as_the_zone_makes_it() {
        check(
            Period::Day,
            "Europe/Berlin",
            "2026-03-29T10:00:00Z",
            "2026-03-28T23:00:00Z",
            "2026-03-29T22:00:00Z",
        );
    }

    #[test]
    fn a_quota_without_a_period_never_begins_anew() {
        let quota = Quota { max: 1, period: Period::None, time_zone: utc() };
        assert_eq!(quota.bounds_at(Timestamp::from_unix_ms(0)).end, None);
    }

    #[test]
    fn zones_are_known_by_their_iana_names() {
        assert!(is_time_zone("UTC") && is_time_zone("Europe/Berlin"));
        assert!(!is_time_zone("Europe/Atlantis") && !is_time_zone(""));
    }
}
