//! What the value of a setting must look like.

use std::net::SocketAddr;
use std::time::Duration;

use keywright_limiter::RedisUrl;
use keywright_model::address::IpRange;
use keywright_server::dialects::Dialect;

use crate::parse::duration::parse_duration;

/// What a value must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Anything.
    Text,
    /// A file or folder.
    Path,
    /// `http://…` or `https://…`.
    Url,
    /// `127.0.0.1:7700`, `[::1]:0`.
    Address,
    /// `off`, or as an address.
    Signals,
    /// `500ms`, `2s`, `1h`.
    Duration,
    /// A length of time from 1 ms to 1 s.
    Timeout,
    /// `redis://…`, `rediss://…` or `unix://…`; never repeated.
    Limiter,
    /// `true` or `false`.
    Flag,
    /// One of these.
    Choice(&'static [&'static str]),
    /// Where durable state is kept.
    Database,
    /// `10.0.0.0/8` or `127.0.0.1`.
    Network,
    /// A keyspace's name or id.
    Keyspace,
    /// `onenet` or `onenet=127.0.0.1:7711`.
    Dialect,
    /// 64 hex digits.
    HexKey,
    /// 32 characters or more.
    RootKey,
}

/// The shortest and the longest time that one call may take.
const TIMEOUT_MIN: Duration = Duration::from_millis(1);
const TIMEOUT_MAX: Duration = Duration::from_secs(1);
/// The shortest root key that an operator can set.
const ROOT_KEY_CHARACTERS_MIN: usize = 32;
/// The longest; what is longer is no bearer credential.
const ROOT_KEY_CHARACTERS_MAX: usize = 256;

impl Kind {
    /// Says what is wrong with a value. Never repeats a secret.
    pub(crate) fn check(self, text: &str) -> Result<(), String> {
        match self {
            Self::Text | Self::Path | Self::Keyspace if text.is_empty() => {
                Err("must not be empty".to_owned())
            }
            Self::Text | Self::Path | Self::Keyspace => Ok(()),
            Self::Url => {
                let url = text.starts_with("http://") || text.starts_with("https://");
                url.then_some(()).ok_or_else(|| "must begin with http:// or https://".to_owned())
            }
            Self::Signals if text == "off" => Ok(()),
            Self::Signals => address(text).map(drop).map_err(|rule| format!("{rule}, or `off`")),
            Self::Address => address(text).map(drop),
            Self::Duration => parse_duration(text).map(drop),
            Self::Timeout => timeout(text),
            Self::Limiter => RedisUrl::parse(text).map(drop).map_err(|fault| fault.to_string()),
            Self::Flag => one_of(text, &["true", "false"]),
            Self::Choice(words) => one_of(text, words),
            Self::Database => database(text),
            Self::Network => text.parse::<IpRange>().map(drop).map_err(|error| error.to_string()),
            Self::Dialect => dialect(text).map(drop),
            Self::HexKey => {
                let fits = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
                fits.then_some(()).ok_or_else(|| "must be 64 hex digits".to_owned())
            }
            Self::RootKey => root_key(text),
        }
    }
}

fn root_key(text: &str) -> Result<(), String> {
    let length = text.chars().count();
    if !(ROOT_KEY_CHARACTERS_MIN..=ROOT_KEY_CHARACTERS_MAX).contains(&length) {
        return Err(format!("must have {ROOT_KEY_CHARACTERS_MIN} to {ROOT_KEY_CHARACTERS_MAX} characters"));
    }
    let fits = text.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then_some(()).ok_or_else(|| "must be printable ASCII without spaces".to_owned())
}

fn timeout(text: &str) -> Result<(), String> {
    let fits = (TIMEOUT_MIN..=TIMEOUT_MAX).contains(&parse_duration(text)?);
    fits.then_some(()).ok_or_else(|| "must be 1ms to 1s".to_owned())
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "must be an IP address and a port, such as 127.0.0.1:7700 or [::1]:7700".to_owned())
}

fn one_of(text: &str, words: &[&str]) -> Result<(), String> {
    if words.contains(&text) {
        return Ok(());
    }
    let near = keywright_model::document::nearest(text, words.iter().copied());
    let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    Err(format!("must be one of {}{hint}", words.join(", ")))
}

/// Whether a database is PostgreSQL's.
pub(crate) fn is_postgres(text: &str) -> bool {
    text.starts_with("postgres://") || text.starts_with("postgresql://")
}

fn database(text: &str) -> Result<(), String> {
    let known = text == "sqlite" || is_postgres(text);
    // The URL may hold a password, so it is not repeated.
    known.then_some(()).ok_or_else(|| "must be `sqlite` or begin with postgres://".to_owned())
}

/// Whether a database's URL holds a password.
pub(crate) fn has_password(text: &str) -> bool {
    let rest = text.split_once("://").map_or("", |(_, rest)| rest);
    let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    place.rsplit_once('@').is_some_and(|(who, _)| who.contains(':'))
        || parameters.split('&').any(|parameter| parameter.starts_with("password="))
}

/// A database's URL as it may be shown.
pub(crate) fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    // A password can also stand among the parameters, so none of them is shown.
    let (place, parameters) = rest.split_once('?').map_or((rest, ""), |(place, _)| (place, "?…"));
    let place = place.rsplit_once('@').map_or_else(
        || place.to_owned(),
        |(who, host)| format!("{}@{host}", who.split_once(':').map_or(who, |(user, _)| user)),
    );
    format!("{scheme}://{place}{parameters}")
}

/// Takes a dialect apart: its name, and the address of its own if it has one.
pub(crate) fn dialect(text: &str) -> Result<(&str, Option<SocketAddr>), String> {
    let (name, own) = text.split_once('=').map_or((text, None), |(name, own)| (name, Some(own)));
    one_of(name, Dialect::NAMES)?;
    own.map(address).transpose().map(|own| (name, own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialect_is_a_name_with_or_without_an_address() {
        assert_eq!(dialect("onenet"), Ok(("onenet", None)));
        assert_eq!(dialect("partoo=127.0.0.1:7711"), Ok(("partoo", Some("127.0.0.1:7711".parse().unwrap()))));
        assert!(dialect("onnet").unwrap_err().contains("did you mean `onenet`?"));
        assert!(dialect("onenet=localhost").is_err());
    }

    #[test]
    fn a_databases_password_is_never_repeated() {
        for (url, shown) in [
            ("sqlite", "sqlite"),
            ("postgres://kw:hidden@db/kw", "postgres://kw@db/kw"),
            ("postgres://kw:hid@den@db:5433/kw?password=hidden", "postgres://kw@db:5433/kw?…"),
            ("postgresql:///kw", "postgresql:///kw"),
        ] {
            assert_eq!((Kind::Database.check(url), without_password(url).as_str()), (Ok(()), shown));
        }
        for (url, has) in [
            ("postgres://kw:hidden@db/kw", true),
            ("postgres://db/kw?sslmode=require&password=hidden", true),
            ("postgres://kw@db:5433/kw?sslmode=require", false),
        ] {
            assert_eq!(has_password(url), has, "{url}");
        }
        let refused = Kind::Database.check("mysql://kw:hidden@db/kw").unwrap_err();
        assert!(refused.contains("postgres://") && !refused.contains("hidden"), "{refused}");
    }

    #[test]
    fn a_limiters_url_and_time_are_checked_and_its_password_is_not_repeated() {
        assert_eq!(Kind::Limiter.check("redis://:hidden@cache:6379"), Ok(()));
        let refused = Kind::Limiter.check("http://kw:hidden@cache").unwrap_err();
        assert!(refused.contains("redis://") && !refused.contains("hidden"), "{refused}");
        for (text, good) in [("0ms", false), ("1ms", true), ("1s", true), ("1001ms", false), ("x", false)] {
            assert_eq!(Kind::Timeout.check(text).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn keys_have_exact_sizes_and_are_not_repeated() {
        for (length, good) in [(63, false), (64, true), (65, false)] {
            assert_eq!(Kind::HexKey.check(&"a".repeat(length)).is_ok(), good, "{length}");
        }
        assert!(Kind::HexKey.check(&"g".repeat(64)).is_err());
        for (length, good) in [(31, false), (32, true), (256, true), (257, false)] {
            assert_eq!(Kind::RootKey.check(&"a".repeat(length)).is_ok(), good, "{length}");
        }
        assert!(!Kind::RootKey.check("short-secret").unwrap_err().contains("short-secret"));
    }

    #[test]
    fn whoever_misspells_off_is_told_how_it_is_spelled() {
        assert!(Kind::Signals.check("of").unwrap_err().ends_with("or `off`"));
    }

    #[test]
    fn values_of_the_other_kinds_are_tested() {
        for (kind, good, bad) in [
            (Kind::Url, "https://x", "x:7700"),
            (Kind::Address, "[::1]:0", "127.0.0.1"),
            (Kind::Signals, "10.0.0.5:7701", "on"),
            (Kind::Signals, "off", "10.0.0.5"),
            (Kind::Duration, "500ms", "500"),
            (Kind::Flag, "true", "yes"),
            (Kind::Choice(&["text", "json"]), "json", "jsn"),
            (Kind::Path, "x", ""),
            (Kind::Network, "10.0.0.0/8", "10.0.0.1/8"),
        ] {
            assert_eq!((kind.check(good), kind.check(bad).is_err()), (Ok(()), true), "{kind:?}");
        }
    }
}
