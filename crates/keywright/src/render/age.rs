//! Moments as people say them: `3 d ago`, `in 40 d`.

use keywright_model::time::Timestamp;

const UNITS: &[(i64, &str)] =
    &[(31_557_600, "y"), (2_629_800, "mo"), (86_400, "d"), (3_600, "h"), (60, "min")];
/// Up to so many days, days are said; then months.
const DAYS_MAX: i64 = 99;

/// How long ago, or how far ahead, a moment is.
pub(crate) fn age(at: Timestamp, now: Timestamp) -> String {
    let seconds = (at.unix_ms() - now.unix_ms()) / 1000;
    if seconds.abs() < 60 {
        return if seconds > 0 { "in a minute".to_owned() } else { "just now".to_owned() };
    }
    // What was set to 30 days a moment ago is still 30 days ahead.
    let length = if seconds > 0 { (seconds + 30) / 60 * 60 } else { -seconds };
    let said = if (86_400..=DAYS_MAX * 86_400).contains(&length) {
        format!("{} d", length / 86_400)
    } else {
        let found = UNITS.iter().find(|(unit, _)| length >= *unit);
        found.map_or_else(String::new, |(unit, name)| format!("{} {name}", length / unit))
    };
    if seconds < 0 { format!("{said} ago") } else { format!("in {said}") }
}

/// The same of a text of the API; `-` where there is none, and the text itself where it is no moment.
pub(crate) fn age_of(text: Option<&str>, now: Timestamp) -> String {
    let Some(text) = text else { return "-".to_owned() };
    text.parse().map_or_else(|_| text.to_owned(), |at| age(at, now))
}

/// A moment with its age: `2027-01-01T00:00:00Z (in 40 d)`.
pub(crate) fn moment(text: Option<&str>, now: Timestamp) -> String {
    text.map_or_else(|| "-".to_owned(), |text| format!("{text} ({})", age_of(Some(text), now)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(seconds: i64, expected: &str) {
        let now = Timestamp::from_unix_ms(1_800_000_000_000);
        assert_eq!(age(now.plus_ms(seconds * 1000), now), expected, "{seconds}");
    }

    #[test]
    fn ages_are_said_in_their_largest_unit() {
        check(0, "just now");
        check(-59, "just now");
        check(59, "in a minute");
        check(-60, "1 min ago");
        check(-3_599, "59 min ago");
        check(-3_600, "1 h ago");
        check(-3 * 86_400, "3 d ago");
        check(40 * 86_400, "in 40 d");
        check(30 * 86_400 - 2, "in 30 d");
        check(3_599, "in 1 h");
        check(-99 * 86_400, "99 d ago");
        check(-101 * 86_400, "3 mo ago");
        check(800 * 86_400, "in 2 y");
    }

    #[test]
    fn what_is_missing_is_a_dash() {
        let now = Timestamp::from_unix_ms(0);
        assert_eq!((age_of(None, now), age_of(Some("soon"), now)), ("-".to_owned(), "soon".to_owned()));
        assert_eq!(moment(Some("1970-01-02T00:00:00Z"), now), "1970-01-02T00:00:00Z (in 1 d)");
    }
}
