//! The table itself.

use super::{Access, Body, Parameter, Route, Values, Verb};
use crate::rest::{audit, feed, keys, leases, nouns, revisions, verify, whoami};
use crate::service;
use keywright_control::NounKind;
use keywright_model::admin::AdminAction;

/// What every list takes.
const PAGE: &[Parameter] = &[
    Parameter::new("limit", Values::Whole(1, 200), "How many items at most; 50 unless said otherwise."),
    Parameter::text("cursor", "`next_cursor` of the page before, with the same filters."),
];

/// What every write takes.
pub(super) const WRITE: &[Parameter] = &[Parameter::new(
    "dry_run",
    Values::Flag,
    "Write nothing; say what would change, and the access gained and lost.",
)];

/// The filters of the list of keys. Each one that is given must hold.
const KEY_FILTERS: &[Parameter] = &[
    Parameter::text("keyspace", "In this keyspace, by name or id."),
    Parameter::new(
        "state",
        Values::Words(&["active", "disabled", "scheduled", "expired", "revoked"]),
        "In this state now.",
    ),
    Parameter::new("kind", Values::Words(&["api", "management"]), "Of this kind."),
    Parameter::text("owner", "Owned by this principal."),
    Parameter::text("role", "With this role of its own."),
    Parameter::text("plan", "Bound to this plan."),
    Parameter::new("number", Values::Whole(1, 2_147_483_647), "With this number."),
    Parameter::text("access_id", "With this access id."),
    Parameter::text("external_id", "With this external id."),
    Parameter::text("q", "Whose name begins so, whose id is this, or one of whose hints holds this."),
    Parameter::text("label.", "With this label: `label.team=fleet`."),
    Parameter::new("expires_before", Values::Time, "With an expiry before this."),
    Parameter::new("last_used_before", Values::Time, "Used last before this, or never."),
    Parameter::new("updated_since", Values::Time, "Changed at or after this."),
    Parameter::text("created_by", "Made by this key, `root` or `system`."),
    Parameter::text("can_action", "That can do this now."),
    Parameter::text("can_resource", "With `can_action`: on this resource; the root when left out."),
    Parameter::text("can_ip", "That can be used from this address."),
];

const AUDIT_FILTERS: &[Parameter] = &[
    Parameter::text("subject", "About this noun, by id."),
    Parameter::text("actor", "By this key, `root` or `system`."),
    Parameter::text("verb", "With this verb, such as `key.update`."),
    Parameter::new("since", Values::Time, "At or after this."),
    Parameter::new("until", Values::Time, "Before this."),
];

macro_rules! access {
    (open $handler:path) => {
        Access::Open(|call| Box::pin($handler(call)))
    };
    (any $handler:path) => {
        Access::Authenticated(|call| Box::pin($handler(call)))
    };
    (itself $handler:path) => {
        Access::KeyItself(|call| Box::pin($handler(call)))
    };
    (verify $handler:path) => {
        Access::Verify(|call| Box::pin($handler(call)))
    };
    ($action:ident $handler:path) => {
        Access::Management(AdminAction::$action, |call| Box::pin($handler(call)))
    };
}

macro_rules! routes {
    ($(#[$doc:meta])* $name:ident $tag:literal: $(
        $verb:ident $path:literal $id:literal $summary:literal
        ($access:ident $handler:path) $body:expr, $status:literal $reply:literal $query:tt;
    )*) => {
        $(#[$doc])*
        const $name: &[Route] = &[$(Route {
            verb: Verb::$verb, path: $path, id: $id, tag: $tag, summary: $summary,
            access: access!($access $handler), body: $body, status: $status, reply: $reply, query: &$query,
        },)*];
    };
}

routes! {
    /// What needs no key.
    SERVICE "service":
    Get "/openapi.json" "openapi" "This document" (open service::openapi) Body::None, 200 "OpenApi" [];
    Get "/docs" "docs" "Pages that show this document" (open service::docs_page) Body::None, 200 "" [];
    Get "/docs/{file}" "docsFile" "What those pages are made of" (open service::docs_file) Body::None, 200 "" [];
    Get "/healthz" "healthz" "Whether the process runs" (open service::healthz) Body::None, 200 "Health" [];
    Get "/readyz" "readyz" "Whether it can answer" (open service::readyz) Body::None, 200 "Health" [];
    Get "/metrics" "metrics" "Figures for Prometheus" (open service::metrics) Body::None, 200 "" [];
}

routes! {
    KEYS "keys":
    Post "/v1/keys" "createKey" "Make a key; the answer carries its secret, once"
        (KeysCreate keys::create) Body::Json("KeyCreate"), 201 "KeyWithSecret" [WRITE];
    Get "/v1/keys" "listKeys" "List keys, newest first"
        (KeysRead keys::list) Body::None, 200 "KeyPage" [PAGE, KEY_FILTERS];
    Post "/v1/keys/lookup" "lookupKey" "Find the key that a secret belongs to"
        (KeysRead keys::lookup) Body::Json("KeyLookup"), 200 "Key" [];
    Post "/v1/keys/self/revoke" "revokeSelf" "End the key that makes the call"
        (itself keys::self_revoke) Body::Optional("Revocation"), 200 "Key" [WRITE];
    Get "/v1/keys/{id}" "getKey" "Show a key"
        (KeysRead keys::show) Body::None, 200 "Key" [];
    Put "/v1/keys/{id}" "replaceKey" "Replace every writable field of a key"
        (KeysUpdate keys::replace) Body::Json("KeyWrite"), 200 "Key" [WRITE];
    Patch "/v1/keys/{id}" "updateKey" "Change some fields of a key"
        (KeysUpdate keys::patch) Body::Patch("KeyWrite"), 200 "Key" [WRITE];
    Delete "/v1/keys/{id}" "deleteKey" "End a key and hide it"
        (KeysDelete keys::delete) Body::None, 204 "" [WRITE];
    Post "/v1/keys/{id}/undelete" "undeleteKey" "Bring the record of a deleted key back, revoked"
        (KeysDelete keys::undelete) Body::Optional("Nothing"), 200 "Key" [WRITE];
    Post "/v1/keys/{id}/rotate" "rotateKey" "Give a key a new secret; the answer carries it, once"
        (KeysRotate keys::rotate) Body::Json("Rotation"), 200 "KeyWithSecret" [WRITE];
    Post "/v1/keys/{id}/secrets/{sid}/expire" "expireSecret" "End one secret of a key now"
        (KeysRotate keys::expire_secret) Body::Optional("Nothing"), 200 "Key" [WRITE];
    Post "/v1/keys/{id}/secrets/{sid}/reveal" "revealSecret" "Show a recoverable secret again"
        (KeysReveal keys::reveal) Body::Optional("Nothing"), 200 "RevealedSecret" [];
    Post "/v1/keys/{id}/revoke" "revokeKey" "End a key for ever"
        (KeysRevoke keys::revoke) Body::Optional("Revocation"), 200 "Key" [WRITE];
    Post "/v1/keys/{id}/enable" "enableKey" "Switch a key on"
        (KeysDisable keys::enable) Body::Optional("Nothing"), 200 "Key" [WRITE];
    Post "/v1/keys/{id}/disable" "disableKey" "Switch a key off"
        (KeysDisable keys::disable) Body::Optional("Nothing"), 200 "Key" [WRITE];
}

routes! {
    VERIFY "verify":
    Post "/v1/verify" "verify" "Ask whether a credential may do something"
        (verify verify::one) Body::Verify("VerifyRequest"), 200 "VerifyAnswer" [];
    Post "/v1/verify/batch" "verifyBatch" "Ask up to 1,000 such questions, answered in order"
        (verify verify::batch) Body::Batch("VerifyBatch"), 200 "VerifyBatchAnswer" [];
}

routes! {
    LEASES "leases":
    Post "/v1/feed/leases" "registerFollower" "Register a follower that is to hold a lease"
        (FeedLease leases::register) Body::Json("LeaseRequest"), 201 "Lease" [];
    Post "/v1/feed/leases/{id}/live" "followerGoesLive" "Have writers wait for it from now on"
        (FeedLease leases::go_live) Body::Json("LeaseApplied"), 200 "LeaseRevision" [];
    Post "/v1/feed/leases/{id}/renew" "renewFollower" "Let its lease run on from before this call"
        (FeedLease leases::renew) Body::Json("LeaseApplied"), 200 "LeaseRevision" [];
    Post "/v1/feed/leases/{id}/report" "followerApplied" "Say which revision it answers by"
        (FeedLease leases::report) Body::Json("LeaseApplied"), 204 "" [];
    Delete "/v1/feed/leases/{id}" "endFollower" "Say that it answers nothing any more"
        (FeedLease leases::end) Body::None, 204 "" [];
}

routes! {
    REST "installation":
    Get "/v1/audit" "listAudit" "List who did what, newest first"
        (AuditRead audit::list) Body::None, 200 "AuditPage" [PAGE, AUDIT_FILTERS];
    Post "/v1/feed" "feed" "Follow what changes: everything, or what came after a revision"
        (FeedRead feed::follow) Body::Json("FeedRequest"), 200 "FeedLine" [];
    Get "/v1/whoami" "whoami" "Show the calling key"
        (any whoami::show) Body::None, 200 "Whoami" [];
    Get "/v1/revisions/{revision}" "getRevision" "Show how far a write has come"
        (any revisions::show) Body::None, 200 "RevisionStatus" [];
}

macro_rules! noun_routes {
    ($name:ident $tag:literal $one:literal $schema:literal $kind:ident $read:ident $write:ident) => {
        const $name: &[Route] = &[
            Route {
                verb: Verb::Post,
                path: concat!("/v1/", $tag),
                id: concat!("create", $schema),
                tag: $tag,
                summary: concat!("Make ", $one),
                access: Access::Management(AdminAction::$write, |call| {
                    Box::pin(nouns::create(call, NounKind::$kind))
                }),
                body: Body::Json(concat!($schema, "Write")),
                status: 201,
                reply: $schema,
                query: &[WRITE],
            },
            Route {
                verb: Verb::Get,
                path: concat!("/v1/", $tag),
                id: concat!("list", $schema, "s"),
                tag: $tag,
                summary: concat!("List ", $tag, ", oldest first"),
                access: Access::Management(AdminAction::$read, |call| {
                    Box::pin(nouns::list(call, NounKind::$kind))
                }),
                body: Body::None,
                status: 200,
                reply: concat!($schema, "Page"),
                query: &[PAGE],
            },
            Route {
                verb: Verb::Get,
                path: concat!("/v1/", $tag, "/{id}"),
                id: concat!("get", $schema),
                tag: $tag,
                summary: concat!("Show ", $one, ", by id or name"),
                access: Access::Management(AdminAction::$read, |call| {
                    Box::pin(nouns::show(call, NounKind::$kind))
                }),
                body: Body::None,
                status: 200,
                reply: $schema,
                query: &[],
            },
            Route {
                verb: Verb::Put,
                path: concat!("/v1/", $tag, "/{id}"),
                id: concat!("replace", $schema),
                tag: $tag,
                summary: concat!("Replace every writable field of ", $one),
                access: Access::Management(AdminAction::$write, |call| {
                    Box::pin(nouns::replace(call, NounKind::$kind))
                }),
                body: Body::Json(concat!($schema, "Write")),
                status: 200,
                reply: $schema,
                query: &[WRITE],
            },
            Route {
                verb: Verb::Patch,
                path: concat!("/v1/", $tag, "/{id}"),
                id: concat!("update", $schema),
                tag: $tag,
                summary: concat!("Change some fields of ", $one),
                access: Access::Management(AdminAction::$write, |call| {
                    Box::pin(nouns::patch(call, NounKind::$kind))
                }),
                body: Body::Patch(concat!($schema, "Write")),
                status: 200,
                reply: $schema,
                query: &[WRITE],
            },
            Route {
                verb: Verb::Delete,
                path: concat!("/v1/", $tag, "/{id}"),
                id: concat!("delete", $schema),
                tag: $tag,
                summary: concat!("Delete ", $one, " that nothing refers to"),
                access: Access::Management(AdminAction::$write, |call| {
                    Box::pin(nouns::delete(call, NounKind::$kind))
                }),
                body: Body::None,
                status: 204,
                reply: "",
                query: &[WRITE],
            },
        ];
    };
}

noun_routes!(ORGS "orgs" "an organization" "Org" Org OrgsRead OrgsWrite);
noun_routes!(KEYSPACES "keyspaces" "a keyspace" "Keyspace" Keyspace KeyspacesRead KeyspacesWrite);
noun_routes!(PRINCIPALS "principals" "a principal" "Principal" Principal PrincipalsRead PrincipalsWrite);
noun_routes!(ROLES "roles" "a role" "Role" Role RolesRead RolesWrite);
noun_routes!(PLANS "plans" "a plan" "Plan" Plan PlansRead PlansWrite);

/// Every route, by what it is about.
pub(super) const TABLE: &[&[Route]] =
    &[SERVICE, KEYS, VERIFY, ORGS, KEYSPACES, PRINCIPALS, ROLES, PLANS, LEASES, REST];
