//! Every route × roles × tenants: what is another's does not exist, and no right is taken for granted.

use std::collections::BTreeMap;

use keywright_model::admin::AdminAction;
use keywright_server::routes::{self, Access, Body, Route};
use keywright_testkit::{Reply, TestApp};
use serde_json::{Value, json};

use super::{api_key, check, manager, other_org};

/// What a caller with every right in another organization gets.
#[derive(Clone, Copy)]
enum Elsewhere {
    /// 404: the noun in the path is not its own.
    Hidden,
    /// Its own organization, in which nothing of the other one shows.
    Own,
    /// 200 and `not_found`.
    NotFoundVerdict,
    /// It ends itself and nothing else.
    EndsItself,
}

use Elsewhere::{EndsItself, Hidden, NotFoundVerdict, Own};

/// Each route that needs a key, with the body that makes it a good call. A route without a line fails the test.
fn expectations() -> BTreeMap<&'static str, (Elsewhere, Value)> {
    let mut table = BTreeMap::from([
        ("createKey", (Own, json!({"name": "k"}))),
        ("listKeys", (Own, Value::Null)),
        ("lookupKey", (Hidden, json!({"secret": "SECRET"}))),
        ("revokeSelf", (EndsItself, json!({}))),
        ("getKey", (Hidden, Value::Null)),
        ("replaceKey", (Hidden, json!("VIEW"))),
        ("updateKey", (Hidden, json!({"name": "taken over"}))),
        ("deleteKey", (Hidden, Value::Null)),
        ("undeleteKey", (Hidden, Value::Null)),
        ("rotateKey", (Hidden, json!({"overlap_seconds": 0}))),
        ("expireSecret", (Hidden, Value::Null)),
        ("revealSecret", (Hidden, Value::Null)),
        ("revokeKey", (Hidden, Value::Null)),
        ("enableKey", (Hidden, Value::Null)),
        ("disableKey", (Hidden, Value::Null)),
        ("verify", (NotFoundVerdict, json!({"secret": "SECRET"}))),
        ("verifyBatch", (NotFoundVerdict, json!([{"secret": "SECRET"}]))),
        ("feed", (Own, json!({"digest_key": "1".repeat(64)}))),
        ("registerFollower", (Own, json!({"lease_seconds": 5}))),
        ("followerGoesLive", (Hidden, json!({"applied": "REVISION", "history": "1"}))),
        ("renewFollower", (Hidden, json!({"applied": "REVISION", "history": "1"}))),
        ("followerApplied", (Hidden, json!({"applied": "REVISION", "history": "1"}))),
        ("endFollower", (Hidden, Value::Null)),
        ("listAudit", (Own, Value::Null)),
        ("whoami", (Own, Value::Null)),
        ("getRevision", (Own, Value::Null)),
    ]);
    table.extend(noun_expectations());
    table
}

fn noun_expectations() -> BTreeMap<&'static str, (Elsewhere, Value)> {
    let mut table = BTreeMap::new();
    for (create, list, show, replace, update, delete, body) in [
        (
            "createOrg",
            "listOrgs",
            "getOrg",
            "replaceOrg",
            "updateOrg",
            "deleteOrg",
            json!({"name": "newcomer"}),
        ),
        (
            "createKeyspace",
            "listKeyspaces",
            "getKeyspace",
            "replaceKeyspace",
            "updateKeyspace",
            "deleteKeyspace",
            json!({"name": "newcomer"}),
        ),
        (
            "createPrincipal",
            "listPrincipals",
            "getPrincipal",
            "replacePrincipal",
            "updatePrincipal",
            "deletePrincipal",
            json!({"name": "newcomer"}),
        ),
        (
            "createRole",
            "listRoles",
            "getRole",
            "replaceRole",
            "updateRole",
            "deleteRole",
            json!({"name": "newcomer"}),
        ),
        (
            "createPlan",
            "listPlans",
            "getPlan",
            "replacePlan",
            "updatePlan",
            "deletePlan",
            json!({"name": "newcomer"}),
        ),
    ] {
        table.extend([
            (create, (Own, body.clone())),
            (list, (Own, Value::Null)),
            (show, (Hidden, Value::Null)),
            (replace, (Hidden, json!("VIEW"))),
            (update, (Hidden, body)),
            (delete, (Hidden, Value::Null)),
        ]);
    }
    table
}

/// What the victim has: the values for the segments of every path, and its nouns.
struct Victim {
    nouns: BTreeMap<&'static str, Value>,
    secret: String,
    revision: String,
}

async fn victim(app: &TestApp) -> Victim {
    let key = api_key(app).await;
    let mut nouns = BTreeMap::from([("keys", key.view.clone())]);
    for (tag, path) in [
        ("roles", "/v1/roles"),
        ("plans", "/v1/plans"),
        ("principals", "/v1/principals"),
        ("keyspaces", "/v1/keyspaces"),
    ] {
        nouns.insert(tag, app.root("POST", path, json!({"name": "victims"})).await.json());
    }
    nouns.insert("leases", app.root("POST", "/v1/feed/leases", json!({"lease_seconds": 5})).await.json());
    nouns.insert("orgs", app.root("GET", "/v1/orgs/default", Value::Null).await.json());
    let written = app.root("PATCH", &key.path(), json!({"description": "d"})).await;
    Victim { nouns, secret: key.secret, revision: written.header("keywright-revision").to_owned() }
}

impl Victim {
    fn path(&self, route: &Route) -> String {
        let noun = &self.nouns.get(route.tag).unwrap_or(&Value::Null);
        let secret = noun["secrets"][0]["id"].as_str().unwrap_or_default();
        route
            .path
            .replace("{id}", noun["id"].as_str().unwrap_or_default())
            .replace("{sid}", secret)
            .replace("{revision}", &self.revision)
    }

    fn body(&self, route: &Route, body: &Value) -> Value {
        if body == "VIEW" {
            return self.nouns[route.tag].clone();
        }
        let body = body.to_string().replace("SECRET", &self.secret).replace("REVISION", &self.revision);
        serde_json::from_str(&body).unwrap()
    }
}

async fn call(app: &TestApp, bearer: &str, victim: &Victim, route: &Route, body: &Value) -> Reply {
    let if_match = [("if-match", "*")];
    let headers: &[_] =
        if matches!(route.body, Body::Json(_)) && route.verb == routes::Verb::Put { &if_match } else { &[] };
    app.call(bearer, route.verb.as_str(), &victim.path(route), headers, victim.body(route, body)).await
}

fn keyed() -> impl Iterator<Item = &'static Route> {
    routes::all().filter(|route| !matches!(route.access, Access::Open(_)))
}

#[tokio::test]
async fn every_route_has_a_line_in_this_test() {
    let table = expectations();
    let missing: Vec<_> = keyed().map(|route| route.id).filter(|id| !table.contains_key(id)).collect();
    assert!(missing.is_empty(), "no expectation for {missing:?}");
    let gone: Vec<_> = table.keys().filter(|id| !keyed().any(|route| route.id == **id)).collect();
    assert!(gone.is_empty(), "no route for {gone:?}");
}

#[tokio::test]
async fn what_is_another_tenants_does_not_exist() {
    let app = TestApp::start().await;
    other_org(&app, "acme").await;
    let victim = victim(&app).await;
    let intruder = manager(&app, "acme", &["*", "feed.lease"]).await;
    let before = app.root("GET", "/v1/keys", Value::Null).await.json();
    let table = expectations();
    for route in keyed() {
        let (elsewhere, body) = &table[route.id];
        let another = manager(&app, "acme", &["*"]).await;
        let bearer = if matches!(elsewhere, EndsItself) { &another.secret } else { &intruder.secret };
        let reply = call(&app, bearer, &victim, route, body).await;
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        match elsewhere {
            Hidden => check(&reply, 404, "not_found"),
            EndsItself => assert_eq!(reply.json()["id"], another.id),
            NotFoundVerdict => {
                assert!(reply.status == 200 && text.contains("\"not_found\""), "{}: {text}", route.id);
            }
            // An intruder that is bound to its organization makes no other.
            Own if route.id == "createOrg" => check(&reply, 403, "forbidden"),
            Own => assert!(reply.status < 300, "{}: {text}", route.id),
        }
        for noun in victim.nouns.values() {
            let id = noun["id"].as_str().unwrap();
            assert!(!text.contains(id), "{} shows {id}: {text}", route.id);
        }
    }
    assert_eq!(app.root("GET", "/v1/keys", Value::Null).await.json(), before);
}

/// A noun of the same kind that nobody has: every identifier in it ends otherwise.
fn of_nobody(noun: &Value) -> Value {
    let id = noun["id"].as_str().unwrap();
    let (start, last) = id.split_at(id.len() - 1);
    let other = if last == "0" { "1" } else { "0" };
    serde_json::from_str(&noun.to_string().replace(id, &format!("{start}{other}"))).unwrap()
}

/// Time that is measured depends on the machine; what is done does not. Whether an identifier is nobody's or another
/// tenant's, the same questions are put to the store, and the answers are the same.
#[tokio::test]
async fn another_tenants_id_costs_what_nobodys_costs() {
    let app = TestApp::start().await;
    other_org(&app, "acme").await;
    let victim = victim(&app).await;
    let nobody = Victim {
        nouns: victim.nouns.iter().map(|(tag, noun)| (*tag, of_nobody(noun))).collect(),
        // In form and checksum as good as the victim's.
        secret: keywright_model::secret::Secret::generate("kw", &keywright_testkit::SeededEntropy::new(5))
            .expose()
            .to_owned(),
        revision: victim.revision.clone(),
    };
    let intruder = manager(&app, "acme", &["*", "feed.lease"]).await;
    let table = expectations();
    let mut compared = 0;
    for route in keyed() {
        let (Hidden | NotFoundVerdict, body) = &table[route.id] else { continue };
        let mut done = Vec::new();
        for owner in [&victim, &nobody] {
            app.node.watched.take_asked();
            let reply = call(&app, &intruder.secret, owner, route, body).await;
            let mut answer = reply.json();
            if let Some(answer) = answer.as_object_mut() {
                answer.remove("request_id");
            }
            done.push((reply.status, answer, app.node.watched.take_asked()));
        }
        assert_eq!(done[0], done[1], "{}", route.id);
        let from_memory = matches!(table[route.id].0, NotFoundVerdict);
        assert_eq!(done[0].2.is_empty(), from_memory, "{}: {:?}", route.id, done[0].2);
        compared += 1;
    }
    assert!(compared > 30, "{compared}");
}

#[tokio::test]
async fn no_route_is_open_to_whoever_lacks_its_right() {
    let app = TestApp::start().await;
    let victim = victim(&app).await;
    let table = expectations();
    for route in keyed() {
        let (_, body) = &table[route.id];
        // Failed authentications are counted; this test is not about that.
        app.node.clock.advance_seconds(30);
        let anonymous = app.raw(route.verb.as_str(), &victim.path(route), &[], "").await;
        check(&anonymous, 401, "unauthenticated");
        assert!(anonymous.header("www-authenticate").starts_with("Bearer"), "{}", route.id);
        let action = match route.access {
            Access::Management(action, _) => action,
            Access::Verify(_) => AdminAction::KeysVerify,
            Access::Open(_) | Access::Authenticated(_) | Access::KeyItself(_) => continue,
        };
        check(&call(&app, &victim.secret, &victim, route, body).await, 401, "unauthenticated");
        let others: Vec<_> = AdminAction::ALL
            .iter()
            .filter(|other| ![action, AdminAction::FeedLease].contains(other))
            .map(|other| other.as_str())
            .collect();
        let caller = manager(&app, "default", &others).await;
        check(&call(&app, &caller.secret, &victim, route, body).await, 403, "forbidden");
    }
}
