//! Read-only fields that come back: are they what was shown?

use serde_json::{Map, Number, Value};

use crate::time::Timestamp;

/// Whether a read-only field is what it was, as far as a client can know.
///
/// Time and use change some fields without a new version. For those, what was shown earlier is accepted too, but
/// nothing that could be meant as a change: `"state": "revoked"` revokes nothing, and is not ignored either.
pub(super) fn is_unchanged(field: &str, now: &Value, sent: &Value) -> bool {
    match field {
        "state" => now == sent || can_turn_into(sent, now),
        "last_used_at" => is_last_use(sent),
        "secrets" => match (now, sent) {
            (Value::Array(now), Value::Array(sent)) => {
                now.len() == sent.len() && now.iter().zip(sent).all(|(now, sent)| same_secret(now, sent))
            }
            _ => false,
        },
        _ => alike(now, sent, same_moment),
    }
}

/// Whether a key's state becomes another one by waiting.
fn can_turn_into(earlier: &Value, later: &Value) -> bool {
    let (Some(earlier), Some(later)) = (earlier.as_str(), later.as_str()) else { return false };
    match earlier {
        "scheduled" => matches!(later, "disabled" | "active" | "expired"),
        "active" | "disabled" => later == "expired",
        _ => false,
    }
}

fn is_last_use(sent: &Value) -> bool {
    sent.is_null() || sent.as_str().is_some_and(|text| text.parse::<Timestamp>().is_ok())
}

fn same_secret(now: &Value, sent: &Value) -> bool {
    let (Value::Object(now), Value::Object(sent)) = (now, sent) else { return false };
    now.len() == sent.len()
        && now.iter().all(|(name, now)| {
            sent.get(name).is_some_and(|sent| match name.as_str() {
                "status" => now == sent || (now == "ended" && (sent == "current" || sent == "overlapping")),
                "last_used_at" => is_last_use(sent),
                _ => alike(now, sent, same_moment),
            })
        })
}

/// Typed clients read times and write them in their own way.
fn same_moment(now: &str, sent: &str) -> bool {
    now == sent
        || now.parse::<Timestamp>().is_ok_and(|now| sent.parse::<Timestamp>().is_ok_and(|sent| now == sent))
}

/// Equality of RFC 6902 §4.6: numbers by value, objects without order.
pub(super) fn equal(a: &Value, b: &Value) -> bool {
    alike(a, b, |a, b| a == b)
}

fn alike(a: &Value, b: &Value, texts: fn(&str, &str) -> bool) -> bool {
    let same_maps = |a: &Map<String, Value>, b: &Map<String, Value>| {
        a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| alike(a, b, texts)))
    };
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => same_number(a, b),
        (Value::String(a), Value::String(b)) => texts(a, b),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b, texts))
        }
        (Value::Object(a), Value::Object(b)) => same_maps(a, b),
        _ => a == b,
    }
}

fn same_number(a: &Number, b: &Number) -> bool {
    a == b || ((a.is_f64() || b.is_f64()) && a.as_f64() == b.as_f64())
}
