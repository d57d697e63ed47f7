//! Lengths of time: `500ms`, `2s`, `1h`, `1h30m`, `30d`.

use std::fmt::Write as _;
use std::time::Duration;

const UNITS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 604_800_000)];

/// A hundred years: what is longer is a slip of the finger.
const MAX_MS: u64 = 100 * 366 * 86_400_000;

/// Reads a length of time.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let fault = || format!("`{text}` is no length of time: write 500ms, 2s, 15m, 1h, 30d or 1h30m");
    let mut rest = text;
    let mut total: u64 = 0;
    if rest.is_empty() {
        return Err(fault());
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(letters);
        let number: u64 = number.parse().map_err(|_| fault())?;
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(fault)?;
        let ms = number.checked_mul(*factor).and_then(|ms| total.checked_add(ms)).filter(|ms| *ms <= MAX_MS);
        total = ms.ok_or_else(|| format!("`{text}` is longer than a hundred years"))?;
        rest = after;
    }
    Ok(Duration::from_millis(total))
}

/// Reads a length of time in whole seconds.
pub(crate) fn parse_seconds(text: &str) -> Result<u64, String> {
    let duration = parse_duration(text)?;
    if duration.subsec_millis() == 0 {
        Ok(duration.as_secs())
    } else {
        Err(format!("`{text}` is not whole seconds"))
    }
}

/// Whole seconds, as short as can be: `1s`, `15m`, `1h30m`, `30d`.
pub(crate) fn show_seconds(seconds: u64) -> String {
    let mut shown = String::new();
    let mut rest = seconds;
    for (unit, length) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] {
        if rest >= length || (unit == "s" && shown.is_empty()) {
            let _ = write!(shown, "{}{unit}", rest / length);
            rest %= length;
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_numbers_with_units() {
        for (text, ms) in [
            ("500ms", 500),
            ("2s", 2_000),
            ("0s", 0),
            ("15m", 900_000),
            ("1h", 3_600_000),
            ("1h30m", 5_400_000),
            ("30d", 2_592_000_000),
            ("2w", 1_209_600_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in
            ["", "5", "s", "1.5h", "-1s", "1 h", "1y", "1H", "99999999999999999999s", "s1", "1h 2m", "é"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_duration("36600d").is_ok() && parse_duration("36601d").is_err());
    }

    #[test]
    fn seconds_are_whole_and_read_back() {
        assert_eq!((parse_seconds("1500ms").is_err(), parse_seconds("2000ms")), (true, Ok(2)));
        for (seconds, shown) in [(0, "0s"), (1, "1s"), (90, "1m30s"), (3_600, "1h"), (2_592_000, "30d")] {
            assert_eq!(show_seconds(seconds), shown);
            assert_eq!(parse_seconds(shown), Ok(seconds));
        }
    }
}
