//! Moments: `2027-01-01T00:00:00Z`, `2027-01-01`, `30d` from now, `never`.

use keywright_model::time::Timestamp;

use super::duration::parse_duration;

/// Reads a moment; `None` is never.
pub(crate) fn parse_moment(text: &str, now: Timestamp) -> Result<Option<Timestamp>, String> {
    if matches!(text, "never" | "none") {
        return Ok(None);
    }
    if let Ok(at) = text.parse() {
        return Ok(Some(at));
    }
    if let Ok(at) = format!("{text}T00:00:00Z").parse() {
        return Ok(Some(at));
    }
    let duration = parse_duration(text).map_err(|_| {
        format!("`{text}` is no moment: write 2027-01-01T00:00:00Z, 2027-01-01, 30d (from now) or never")
    })?;
    let ms = i64::try_from(duration.as_millis()).map_err(|_| format!("`{text}` is too far away"))?;
    // Whole seconds: nobody means the milliseconds of the moment at which they pressed return.
    Ok(Some(Timestamp::from_unix_ms(now.unix_seconds().saturating_mul(1000)).plus_ms(ms)))
}

/// Reads a moment for a filter: `30d` is 30 days from now for `--expires-before`, and ago for what lies in the past.
pub(crate) fn parse_past(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let at = parse_moment(text, now)?.ok_or_else(|| format!("`{text}` is no moment"))?;
    let relative = parse_duration(text).is_ok();
    let whole = Timestamp::from_unix_ms(now.unix_seconds().saturating_mul(1000));
    Ok(if relative { whole.plus_ms(whole.unix_ms() - at.unix_ms()) } else { at })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-22T10:00:00.5Z".parse().unwrap()
    }

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let at = parse_moment(text, now()).unwrap();
        assert_eq!(at.map(|at| at.to_string()).as_deref(), expected);
    }

    #[test]
    fn a_moment_is_a_time_a_day_a_length_from_now_or_never() {
        check("2027-01-01T02:00:00+02:00", Some("2027-01-01T00:00:00Z"));
        check("2027-01-01", Some("2027-01-01T00:00:00Z"));
        check("30d", Some("2026-12-22T10:00:00Z"));
        check("1h30m", Some("2026-11-22T11:30:00Z"));
        check("never", None);
    }

    #[test]
    fn what_is_no_moment_is_refused_with_examples() {
        for text in ["", "tomorrow", "2027-02-30", "2027", "-1d"] {
            assert!(parse_moment(text, now()).unwrap_err().contains("30d (from now)"), "{text}");
        }
    }

    #[test]
    fn a_length_in_the_past_is_ago() {
        assert_eq!(parse_past("90d", now()).unwrap().to_string(), "2026-08-24T10:00:00Z");
        assert_eq!(parse_past("2026-01-01", now()).unwrap().to_string(), "2026-01-01T00:00:00Z");
        assert!(parse_past("never", now()).is_err());
    }
}
