//! The schemas of what followers ask and hear.

use serde_json::json;

use super::shapes::{Schemas, list, named, object, open, text, time};

/// Every schema of the feed.
pub(super) fn schemas() -> Schemas {
    let told = [
        (
            "changes",
            list(json!({"type": "object", "description": "A noun as it is now, or that it is gone."})),
        ),
        (
            "digests",
            json!({
                "type": "object", "additionalProperties": {"type": "string"},
                "description": "For each generated secret HMAC-SHA-256(digest_key, SHA-256(secret)), in base64 without padding.",
            }),
        ),
    ];
    let [changes, digests] = told.clone();
    let write = [("revision", text()), ("at", time()), changes, digests];
    let end =
        [("revision", text()), ("more", json!({"type": "boolean"})), ("age_ms", json!({"type": "integer"}))];
    let scope = || json!({"type": "object"});
    let snapshot = [("revision", text()), ("scope", scope()), ("history", text())];
    let since = [("scope", scope()), ("history", text())];
    named([
        (
            "FeedRequest",
            object(
                &["digest_key"],
                [
                    (
                        "digest_key",
                        json!({"type": "string", "pattern": "^[0-9a-fA-F]{64}$",
                               "description": "32 random bytes of the follower's own, under which it hears digests."}),
                    ),
                    (
                        "keyspaces",
                        json!({"type": "array", "minItems": 1, "maxItems": 100, "items": {"type": "string"}}),
                    ),
                    (
                        "after",
                        json!({"type": "string", "description": "The revision to go on from; without it, everything is told."}),
                    ),
                    ("history", history()),
                    ("wait_seconds", json!({"type": "integer", "minimum": 1, "maximum": 5})),
                ],
            ),
        ),
        (
            "FeedLine",
            json!({
                "description": "One line of the answer: `snapshot`, `nouns` … `end`, or `since`, `write` … `end`. An answer without `end` was cut off.",
                "oneOf": [
                    tagged("snapshot", open(object(&["revision", "scope", "history"], snapshot))),
                    tagged("nouns", open(object(&["changes"], told))),
                    tagged("since", open(object(&["scope", "history"], since))),
                    tagged("write", open(object(&["revision", "at", "changes"], write))),
                    tagged("end", open(object(&["revision", "more", "age_ms"], end))),
                ],
            }),
        ),
    ])
}

/// Every schema of leases.
pub(super) fn leases() -> Schemas {
    named([
        (
            "LeaseRequest",
            object(
                &["lease_seconds"],
                [
                    ("lease_seconds", json!({"type": "integer", "minimum": 1, "maximum": 60})),
                    (
                        "keyspaces",
                        json!({"type": "array", "minItems": 1, "maxItems": 100, "items": {"type": "string"}}),
                    ),
                    (
                        "name",
                        json!({"type": "string", "maxLength": 100,
                        "description": "A supervisor's slot: whoever ran in it before with this key is dead."}),
                    ),
                    ("version", json!({"type": "string", "maxLength": 100})),
                ],
            ),
        ),
        ("Lease", open(object(&["id", "scope"], [("id", text()), ("scope", json!({"type": "object"}))]))),
        ("LeaseApplied", object(&["applied", "history"], [("applied", text()), ("history", history())])),
        ("LeaseRevision", open(object(&["revision"], [("revision", text())]))),
    ])
}

/// What is sent back as it was told.
fn history() -> serde_json::Value {
    json!({
        "type": "string", "maxLength": 100,
        "description": "Which history of the database the revision is of, as the snapshot said; needed with a revision.",
    })
}

fn tagged(tag: &str, of: serde_json::Value) -> serde_json::Value {
    object(&[tag], [(tag, of)])
}

/// The type of an answer that is made of one line of JSON each.
pub(super) fn media_type(reply: &str) -> &'static str {
    if reply == "FeedLine" { crate::rest::feed::NDJSON } else { "application/json" }
}
