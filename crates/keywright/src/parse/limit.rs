//! Limits and quotas in words: `burst=100/1s`, `1000/day@Europe/Berlin`.

use keywright_client::{Limit, Quota};

use super::duration::{parse_seconds, show_seconds};

const PERIODS: &[&str] = &["none", "day", "week", "month"];

/// Reads a limit.
pub(crate) fn parse_limit(text: &str) -> Result<Limit, String> {
    let fault = || format!("`{text}` is no limit: write burst=100/1s, a name, a number and a length of time");
    let (name, rest) = text.split_once('=').ok_or_else(fault)?;
    let (max, per) = rest.split_once('/').ok_or_else(fault)?;
    let max = max.parse().map_err(|_| fault())?;
    let per_seconds = parse_seconds(per)?;
    Ok(Limit { name: name.to_owned(), max, per_seconds })
}

/// Reads a quota.
pub(crate) fn parse_quota(text: &str) -> Result<Quota, String> {
    let fault =
        || format!("`{text}` is no quota: write 1000/day, 1000/month@Europe/Berlin, or 1000/none for ever");
    let (rest, time_zone) = text.split_once('@').unwrap_or((text, "UTC"));
    let (max, period) = rest.split_once('/').ok_or_else(fault)?;
    let max = max.parse().map_err(|_| fault())?;
    if !PERIODS.contains(&period) || time_zone.is_empty() {
        return Err(fault());
    }
    Ok(Quota { max, period: period.to_owned(), time_zone: time_zone.to_owned() })
}

/// A limit in the words that [`parse_limit`] reads.
pub(crate) fn show_limit(limit: &Limit) -> String {
    format!("{}={}/{}", limit.name, limit.max, show_seconds(limit.per_seconds))
}

/// A quota in the words that [`parse_quota`] reads.
pub(crate) fn show_quota(quota: &Quota) -> String {
    let zone = if matches!(quota.time_zone.as_str(), "" | "UTC") {
        String::new()
    } else {
        format!("@{}", quota.time_zone)
    };
    format!("{}/{}{zone}", quota.max, quota.period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_read_back_as_they_were_written() {
        for text in ["burst=100/1s", "hourly=5000/1h", "x=1/1m30s"] {
            assert_eq!(show_limit(&parse_limit(text).unwrap()), text);
        }
        for text in
            ["", "burst", "burst=100", "100/1s", "burst=x/1s", "burst=-1/1s", "burst=1/1", "burst=1/500ms"]
        {
            assert!(parse_limit(text).is_err(), "{text}");
        }
    }

    #[test]
    fn quotas_read_back_as_they_were_written() {
        for text in ["1000/day", "5/none", "7/month@Europe/Berlin"] {
            assert_eq!(show_quota(&parse_quota(text).unwrap()), text);
        }
        assert_eq!(parse_quota("1/day").unwrap().time_zone, "UTC");
        for text in ["", "1000", "1000/year", "x/day", "1/day@", "/day"] {
            assert!(parse_quota(text).unwrap_err().contains("1000/day"), "{text}");
        }
    }
}
