//! The component schemas, as api.md §2 to §4 has the nouns and answers.

use serde_json::{Map, Value, json};

use super::shapes::{Schemas, joined, list, named, object, open, or_null, text, time};
use super::{problem_codes, reference};

/// Every schema by name.
pub(super) fn all() -> Map<String, Value> {
    let groups = [
        simple(),
        grants(),
        keys(),
        nouns(),
        verifying(),
        super::feed::schemas(),
        super::feed::leases(),
        answers(),
    ];
    groups.into_iter().flatten().collect()
}

fn simple() -> Schemas {
    named([
        ("OpenApi", json!({"type": "object", "description": "An OpenAPI 3.1 document."})),
        ("Health", open(object(&["status"], [("status", text())]))),
        ("Nothing", object(&[], [])),
        (
            "JsonPatch",
            json!({
                "type": "array", "maxItems": 100, "description": "RFC 6902.",
                "items": open(object(&["op", "path"], [
                    ("op", json!({"type": "string", "enum": ["add", "remove", "replace", "move", "copy", "test"]})),
                    ("path", text()), ("from", text()), ("value", json!({})),
                ])),
            }),
        ),
        (
            "Problem",
            open(object(
                &["type", "title", "status", "code", "request_id"],
                [
                    ("type", json!({"type": "string", "format": "uri"})),
                    ("title", text()),
                    ("status", json!({"type": "integer"})),
                    ("code", json!({"type": "string", "examples": problem_codes()})),
                    ("detail", text()),
                    (
                        "errors",
                        list(open(object(
                            &["code", "detail"],
                            [
                                (
                                    "pointer",
                                    json!({"type": "string", "description": "A JSON Pointer into the body."}),
                                ),
                                ("parameter", text()),
                                ("header", text()),
                                ("code", text()),
                                ("detail", text()),
                            ],
                        ))),
                    ),
                    ("request_id", text()),
                ],
            )),
        ),
    ])
}

fn grants() -> Schemas {
    named([
        (
            "Grant",
            object(
                &["effect", "actions", "resources"],
                [
                    ("effect", json!({"type": "string", "enum": ["allow", "deny"]})),
                    (
                        "actions",
                        json!({"type": "array", "minItems": 1, "items": {"type": "string", "examples": ["get", "orders.*", "*"]}}),
                    ),
                    (
                        "resources",
                        json!({"type": "array", "minItems": 1, "items": {"type": "string", "examples": ["devices/7/**", "*", "**"]}}),
                    ),
                ],
            ),
        ),
        (
            "Limit",
            object(
                &["name", "max", "per_seconds"],
                [
                    ("name", text()),
                    (
                        "max",
                        json!({"type": "integer", "minimum": 1, "maximum": keywright_model::limit::LIMIT_MAX}),
                    ),
                    (
                        "per_seconds",
                        json!({"type": "integer", "minimum": 1, "maximum": keywright_model::limit::PER_SECONDS_MAX}),
                    ),
                ],
            ),
        ),
        (
            "Quota",
            object(
                &["max", "period"],
                [
                    (
                        "max",
                        json!({"type": "integer", "minimum": 1, "maximum": keywright_model::limit::LIMIT_MAX}),
                    ),
                    ("period", json!({"type": "string", "enum": ["none", "day", "week", "month"]})),
                    ("time_zone", json!({"type": "string", "default": "UTC"})),
                ],
            ),
        ),
        (
            "Admin",
            object(
                &["actions", "orgs", "keyspaces"],
                [("actions", list(text())), ("orgs", list(text())), ("keyspaces", list(text()))],
            ),
        ),
        (
            "AccessRegion",
            json!({"type": "object", "description": "Requests that are allowed on one side and not on the other."}),
        ),
    ])
}

/// What every noun has besides its own fields.
fn meta() -> Value {
    object(
        &[],
        [
            ("created_at", time()),
            ("created_by", text()),
            ("updated_at", time()),
            ("updated_by", text()),
            ("version", json!({"type": "integer", "minimum": 1})),
            ("etag", text()),
        ],
    )
}

fn key_write() -> Value {
    object(
        &[],
        [
            ("name", json!({"type": "string", "minLength": 1, "maxLength": 200})),
            ("description", or_null(json!({"type": "string", "maxLength": 1000}))),
            (
                "owner",
                json!({"oneOf": [
                    {"type": ["string", "null"]}, {"type": "object", "required": ["external_id"], "properties": {"external_id": {"type": "string"}}},
                ]}),
            ),
            ("roles", list(text())),
            ("scope", or_null(list(text()))),
            ("enabled", json!({"type": "boolean", "default": true})),
            ("not_before", or_null(time())),
            ("expires_at", or_null(time())),
            (
                "ip_allowlist",
                or_null(
                    json!({"type": "array", "minItems": 1, "maxItems": 1000, "items": {"type": "string"}}),
                ),
            ),
            ("grants", or_null(list(reference("Grant")))),
            ("admin", reference("Admin")),
            ("grantable", list(reference("Grant"))),
            ("limits", json!({"type": "array", "maxItems": 16, "items": reference("Limit")})),
            ("quota", or_null(reference("Quota"))),
            ("plans", json!({"type": "array", "maxItems": 16, "items": {"type": "string"}})),
            (
                "labels",
                json!({"type": "object", "maxProperties": 32, "additionalProperties": {"type": "string", "maxLength": 255}}),
            ),
            ("metadata", json!({"type": "object"})),
        ],
    )
}

fn keys() -> Schemas {
    let secret = open(object(
        &["id", "status"],
        [
            ("id", text()),
            ("hint", or_null(text())),
            ("status", json!({"type": "string", "enum": ["current", "overlapping", "ended"]})),
            ("recoverable", json!({"type": "boolean"})),
            ("created_at", time()),
            ("expires_at", or_null(time())),
            ("last_used_at", or_null(time())),
        ],
    ));
    let creation = object(
        &[],
        [
            ("kind", json!({"type": "string", "enum": ["api", "management"], "default": "api"})),
            ("keyspace", text()),
            ("access_id", json!({"type": ["string", "null"], "pattern": "^[A-Za-z0-9_-]{5,50}$"})),
            ("external_id", or_null(text())),
        ],
    );
    let custom = object(&[], [("secret", json!({"type": "string", "pattern": "^[A-Za-z0-9_]{10,50}$"}))]);
    let mut create = joined(&joined(&creation, &key_write()), &custom);
    if let Value::Object(create) = &mut create {
        create.insert("required".to_owned(), json!(["name"]));
    }
    let shown = object(
        &[],
        [
            ("id", text()),
            ("number", json!({"type": "integer", "minimum": 1})),
            ("org", text()),
            (
                "state",
                json!({"type": "string", "enum": ["active", "disabled", "scheduled", "expired", "revoked"]}),
            ),
            ("secrets", list(reference("KeySecret"))),
            ("revoked_at", or_null(time())),
            ("revoked_by", or_null(text())),
            ("revocation_reason", or_null(text())),
            ("last_used_at", or_null(time())),
        ],
    );
    let key = joined(&joined(&shown, &creation), &joined(&key_write(), &meta()));
    named([
        ("KeySecret", secret),
        ("KeyCreate", create),
        ("KeyWrite", key_write()),
        ("Key", open(key)),
        ("KeyPage", page("Key")),
        (
            "KeyWithSecret",
            open(object(&["key", "secret"], [("key", reference("Key")), ("secret", or_null(text()))])),
        ),
        ("KeyLookup", object(&["secret"], [("secret", text())])),
        (
            "Rotation",
            object(
                &["overlap_seconds"],
                [
                    ("overlap_seconds", json!({"type": "integer", "minimum": 0, "maximum": 2_592_000})),
                    ("secret", json!({"type": "string", "pattern": "^[A-Za-z0-9_]{10,50}$"})),
                ],
            ),
        ),
        ("Revocation", object(&[], [("reason", json!({"type": "string", "maxLength": 1000}))])),
        ("RevealedSecret", open(object(&["id", "secret"], [("id", text()), ("secret", text())]))),
    ])
}

fn page(of: &str) -> Value {
    open(object(
        &["items", "next_cursor"],
        [("items", list(reference(of))), ("next_cursor", or_null(text()))],
    ))
}

/// The writable fields of every noun but the key.
fn noun_writes() -> [(&'static str, Value); 5] {
    let slug = || json!({"type": "string", "pattern": "^[a-z][a-z0-9_-]{0,62}$"});
    let flag = || json!({"type": "boolean", "default": false});
    let policy = object(
        &[],
        [
            ("require_expiry", flag()),
            ("max_lifetime_seconds", or_null(json!({"type": "integer", "minimum": 1}))),
            ("forbid_wildcards", flag()),
        ],
    );
    [
        ("Org", object(&["name"], [("name", slug())])),
        (
            "Keyspace",
            object(
                &["name"],
                [
                    ("name", slug()),
                    (
                        "secret_prefix",
                        json!({"type": "string", "pattern": "^[a-z][a-z0-9_]{0,10}$", "default": "kw"}),
                    ),
                    ("recoverable_secrets", flag()),
                    ("allow_custom_secrets", flag()),
                    ("require_if_match", flag()),
                    (
                        "max_staleness_seconds",
                        or_null(json!({"type": "integer", "minimum": 1, "maximum": 86_400})),
                    ),
                    ("key_policy", policy),
                ],
            ),
        ),
        (
            "Principal",
            object(
                &[],
                [
                    ("external_id", or_null(text())),
                    ("kind", json!({"type": "string", "enum": ["user", "bot"], "default": "user"})),
                    ("name", or_null(text())),
                    ("roles", list(text())),
                    ("enabled", json!({"type": "boolean", "default": true})),
                    ("limits", list(reference("Limit"))),
                    ("quota", or_null(reference("Quota"))),
                    ("metadata", json!({"type": "object"})),
                ],
            ),
        ),
        ("Role", object(&["name"], [("name", text()), ("grants", list(reference("Grant")))])),
        (
            "Plan",
            object(
                &["name"],
                [
                    ("name", text()),
                    ("limits", list(reference("Limit"))),
                    ("quota", or_null(reference("Quota"))),
                ],
            ),
        ),
    ]
}

fn nouns() -> Schemas {
    let mut schemas = Vec::new();
    for (name, write) in noun_writes() {
        let mut identity =
            object(&[], [("id", text()), ("org", text()), ("number", json!({"type": "integer"}))]);
        if let Some(properties) = identity.get_mut("properties").and_then(Value::as_object_mut) {
            properties.retain(|field, _| match field.as_str() {
                "org" => name != "Org",
                "number" => name == "Role",
                _ => true,
            });
        }
        schemas.push((name.to_owned(), open(joined(&joined(&identity, &write), &meta()))));
        schemas.push((format!("{name}Write"), write));
        schemas.push((format!("{name}Page"), page(name)));
    }
    schemas
}

fn signed_request() -> Value {
    object(
        &["method", "host", "target", "headers", "body_sha256"],
        [
            ("method", text()),
            ("host", text()),
            ("target", text()),
            ("headers", json!({"type": "object", "additionalProperties": {"type": "string"}})),
            ("body_sha256", text()),
        ],
    )
}

fn verifying() -> Schemas {
    let check = object(&["action"], [("action", text()), ("resource", text())]);
    let size = || json!({"type": "integer", "minimum": 0});
    let limit = open(object(
        &["name", "max", "remaining", "reset_ms"],
        [("name", text()), ("max", size()), ("remaining", size()), ("reset_ms", size()), ("scope", text())],
    ));
    let quota = open(object(
        &["max", "remaining"],
        [("max", size()), ("remaining", size()), ("reset_at", or_null(time()))],
    ));
    named([
        ("SignedRequest", signed_request()),
        ("Check", check),
        (
            "VerifyRequest",
            object(
                &[],
                [
                    ("secret", text()),
                    ("access_id", text()),
                    ("signed", reference("SignedRequest")),
                    ("map_request", json!({"type": "boolean"})),
                    ("keyspace", text()),
                    ("action", text()),
                    ("resource", text()),
                    ("checks", list(reference("Check"))),
                    ("ip", text()),
                    ("cost", size()),
                ],
            ),
        ),
        ("VerifyBatch", json!({"type": "array", "maxItems": 1000, "items": reference("VerifyRequest")})),
        ("VerifyLimit", limit),
        ("VerifyQuota", quota),
        (
            "VerifyAnswer",
            open(object(
                &["allowed", "code", "authorized", "revision", "current", "age_ms"],
                [
                    ("allowed", json!({"type": "boolean"})),
                    ("code", json!({"type": "string", "examples": codes()})),
                    ("detail", or_null(text())),
                    ("authorized", json!({"type": ["boolean", "null"]})),
                    ("key_id", text()),
                    ("org", text()),
                    ("keyspace", text()),
                    ("owner", or_null(json!({"type": "object"}))),
                    ("expires_at", or_null(time())),
                    ("secret_status", text()),
                    ("labels", json!({"type": "object"})),
                    ("metadata", json!({"type": "object"})),
                    ("limits", list(reference("VerifyLimit"))),
                    ("quota", or_null(reference("VerifyQuota"))),
                    ("revision", text()),
                    ("current", json!({"type": "boolean"})),
                    ("age_ms", size()),
                ],
            )),
        ),
        ("VerifyBatchAnswer", list(reference("VerifyAnswer"))),
    ])
}

/// What a verification can answer; an unknown one is a refusal.
fn codes() -> Vec<&'static str> {
    use keywright_model::denial::Denial;
    let denials = [
        Denial::Malformed,
        Denial::NotFound,
        Denial::SignatureInvalid,
        Denial::SignatureExpired,
        Denial::Revoked,
        Denial::Superseded,
        Denial::Disabled,
        Denial::OwnerDisabled,
        Denial::Expired,
        Denial::NotYetValid,
        Denial::IpNotAllowed,
        Denial::InsufficientPermission,
        Denial::RateLimited,
        Denial::QuotaExceeded,
    ];
    denials.into_iter().map(Denial::code).chain(["allowed"]).collect()
}

fn answers() -> Schemas {
    let entry = open(object(
        &["number", "at", "actor", "wire", "verb", "subject"],
        [
            ("number", json!({"type": "integer"})),
            ("at", time()),
            ("actor", text()),
            ("wire", text()),
            ("verb", text()),
            ("subject", text()),
            ("version", or_null(json!({"type": "integer"}))),
            (
                "after",
                json!({
                    "type": ["object", "null"],
                    "description": "The noun after the write, as its own calls show it.",
                }),
            ),
            ("address", or_null(text())),
            ("request_id", or_null(text())),
        ],
    ));
    let change = object(&["path", "from", "to"], [("path", text()), ("from", json!({})), ("to", json!({}))]);
    let access = object(
        &["gained", "lost"],
        [("gained", list(reference("AccessRegion"))), ("lost", list(reference("AccessRegion")))],
    );
    named([
        ("AuditEntry", entry),
        ("AuditPage", page("AuditEntry")),
        (
            "Whoami",
            open(object(
                &["kind", "org"],
                [
                    ("kind", json!({"type": "string", "enum": ["root", "management"]})),
                    ("org", text()),
                    ("key", or_null(reference("Key"))),
                ],
            )),
        ),
        (
            "RevisionStatus",
            open(object(
                &["revision", "enforced", "missing", "enforced_since", "enforced_at_latest"],
                [
                    ("revision", text()),
                    ("enforced", json!({"type": "string", "enum": ["all", "pending"]})),
                    ("missing", json!({"type": "integer"})),
                    ("enforced_since", or_null(time())),
                    ("enforced_at_latest", or_null(time())),
                ],
            )),
        ),
        (
            "DryRun",
            open(object(
                &["dry_run", "changes", "access"],
                [("dry_run", json!({"const": true})), ("changes", list(change)), ("access", access)],
            )),
        ),
    ])
}
