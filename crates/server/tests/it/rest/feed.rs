//! The feed of followers: what is theirs, whole and resumable; nothing of anybody else's, and nothing that opens anything.

use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use keywright_model::digest::{Pepper, SecretHash};
use keywright_model::revision::{Incarnation, Revision, RevisionToken};
use keywright_store::Store as _;
use keywright_testkit::{HISTORY, ROOT, Reply, TestApp};
use serde_json::{Value, json};

use super::{Made, api_key, check, items, made, manager, other_org};

/// A follower's own key.
const KEY: [u8; 32] = [0x11; 32];

/// The body of a call, with more in it.
pub(super) fn asking(more: Value) -> Value {
    let mut body = json!({"digest_key": hex::encode(KEY)});
    let Value::Object(more) = more else { panic!("{more}") };
    if more.contains_key("after") {
        body["history"] = HISTORY.into();
    }
    body.as_object_mut().unwrap().extend(more);
    body
}

/// The body of a call that says what a follower has applied.
fn applied(revision: &str) -> Value {
    json!({"applied": revision, "history": HISTORY})
}

pub(super) async fn ask(app: &TestApp, bearer: &str, more: Value) -> Reply {
    app.call(bearer, "POST", "/v1/feed", &[], asking(more)).await
}

#[track_caller]
pub(super) fn lines(reply: &Reply) -> Vec<Value> {
    assert_eq!(
        (reply.status, reply.header("content-type")),
        (200, "application/x-ndjson"),
        "{:?}",
        reply.body
    );
    assert_eq!(reply.header("cache-control"), "no-store");
    let text = std::str::from_utf8(&reply.body).unwrap();
    assert!(text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The lines after the first, which says what is shown.
#[track_caller]
pub(super) fn since(reply: &Reply) -> Vec<Value> {
    let mut lines = lines(reply);
    assert!(lines.remove(0)["since"]["scope"].is_object());
    lines
}

/// The revision of the last line, which says that all was told.
#[track_caller]
pub(super) fn end(lines: &[Value]) -> String {
    let end = &lines.last().unwrap()["end"];
    assert_eq!(end["more"], false, "{lines:?}");
    end["revision"].as_str().unwrap().to_owned()
}

fn own_digest(secret: &str) -> String {
    STANDARD_NO_PAD.encode(Pepper::new(&KEY).digest(&SecretHash::of_text(secret)).0)
}

/// A management key that follows these keyspaces.
pub(super) async fn follower(app: &TestApp, keyspaces: &[&str]) -> Made {
    let admin = json!({"actions": ["feed.read"], "orgs": ["default"], "keyspaces": keyspaces});
    made(app, json!({"kind": "management", "name": "f", "admin": admin, "grantable": []})).await
}

async fn keyspace(app: &TestApp, name: &str) -> String {
    app.root("POST", "/v1/keyspaces", json!({"name": name})).await.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_follower_hears_everything_and_then_each_write() {
    let app = TestApp::start().await;
    let key = api_key(&app).await;
    let follower = follower(&app, &["*"]).await;
    let snapshot = lines(&ask(&app, &follower.secret, json!({})).await);
    let at = end(&snapshot);
    assert_eq!(snapshot[0]["snapshot"]["revision"], at.as_str());
    let digests = &snapshot[1]["nouns"]["digests"];
    let secret = key.view["secrets"][0]["id"].as_str().unwrap();
    assert_eq!(digests[secret], own_digest(&key.secret));
    assert_eq!(since(&ask(&app, &follower.secret, json!({"after": at})).await).len(), 1, "nothing since");
    app.root("POST", &format!("{}/revoke", key.path()), json!({})).await;
    let later = api_key(&app).await;
    let told = since(&ask(&app, &follower.secret, json!({"after": at})).await);
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0]["write"]["changes"][0]["key_changed"]["revocation"].is_object(), "{told:?}");
    let secret = later.view["secrets"][0]["id"].as_str().unwrap();
    assert_eq!(told[1]["write"]["digests"][secret], own_digest(&later.secret));
    assert_eq!(end(&told), told[1]["write"]["revision"].as_str().unwrap());
}

#[tokio::test]
async fn of_another_keyspace_a_follower_hears_only_that_something_was_written() {
    let app = TestApp::start().await;
    let (mine, other) = (keyspace(&app, "mine").await, keyspace(&app, "zebra").await);
    let body = |keyspace: &str| json!({"name": "zebra", "keyspace": keyspace, "labels": {"of": keyspace}});
    let hidden = made(&app, body("zebra")).await;
    let shown = made(&app, body("mine")).await;
    let follower = follower(&app, &["mine"]).await;
    let snapshot = ask(&app, &follower.secret, json!({})).await;
    let after = end(&lines(&snapshot));
    app.root("PATCH", &hidden.path(), json!({"description": "zebra"})).await;
    app.root("PATCH", &shown.path(), json!({"enabled": false})).await;
    app.root("PATCH", "/v1/keyspaces/zebra", json!({"max_staleness_seconds": 7})).await;
    app.root("DELETE", &hidden.path(), Value::Null).await;
    let writes = ask(&app, &follower.secret, json!({"after": after})).await;
    assert!(lines(&snapshot).iter().any(|line| line.to_string().contains(&mine)));
    let told = since(&writes);
    let sizes: Vec<usize> =
        told[..4].iter().map(|l| l["write"]["changes"].as_array().unwrap().len()).collect();
    assert_eq!((told.len(), sizes), (5, vec![0, 1, 0, 0]), "{told:?}");
    let ats: Vec<bool> = told[..4].iter().map(|l| l["write"]["at"] == "1970-01-01T00:00:00Z").collect();
    assert_eq!(ats, [true, false, true, true], "nor when: {told:?}");
    for reply in [&snapshot, &writes] {
        let text = std::str::from_utf8(&reply.body).unwrap();
        assert!(text.contains(&shown.id), "{text}");
        for foreign in [&other, &hidden.id, "zebra", &own_digest(&hidden.secret)] {
            assert!(!text.contains(foreign), "{foreign} is told: {text}");
        }
    }
    // Naming some of what the key reaches is following less.
    let all = manager(&app, "default", &["feed.read"]).await;
    let some = ask(&app, &all.secret, json!({"keyspaces": ["mine"]})).await;
    assert_eq!(lines(&some)[1], lines(&ask(&app, &follower.secret, json!({})).await)[1]);
}

#[tokio::test]
async fn nothing_on_the_wire_is_a_secret_or_a_digest_of_the_installations() {
    let app = TestApp::start().await;
    let open = json!({"recoverable_secrets": true, "allow_custom_secrets": true});
    app.root("PATCH", "/v1/keyspaces/default", open).await;
    let custom = json!({"name": "c", "access_id": "access_id_1", "secret": "chosen_by_somebody_1"});
    let secrets = [
        api_key(&app).await.secret,
        made(&app, json!({"name": "signs", "access_id": "access_id_2"})).await.secret,
        app.root("POST", "/v1/keys", custom).await.json()["secret"]
            .as_str()
            .unwrap_or("chosen_by_somebody_1")
            .to_owned(),
        ROOT.to_owned(),
    ];
    let mut hidden: Vec<Vec<u8>> = secrets.iter().map(|secret| secret.as_bytes().to_vec()).collect();
    hidden.extend(secrets.iter().map(|secret| SecretHash::of_text(secret).as_bytes().to_vec()));
    let mut materials = 0;
    for change in app.node.store.snapshot().await.unwrap().changes {
        let keywright_model::change::Change::KeyChanged(key) = change else { continue };
        for material in key.secrets.iter().filter_map(|secret| secret.material.as_ref()) {
            materials += 1;
            hidden.extend(material.digest.map(|digest| digest.0.to_vec()));
            hidden.push(material.hash_sealed.bytes.clone());
            hidden.extend(material.secret_sealed.as_ref().map(|sealed| sealed.bytes.clone()));
            hidden.extend(material.argon2.as_ref().map(|phc| phc.clone().into_bytes()));
        }
    }
    assert_eq!(materials, 3);
    let follower = manager(&app, "default", &["feed.read"]).await;
    let wire = ask(&app, &follower.secret, json!({})).await;
    assert_eq!(
        lines(&wire)[1]["nouns"]["digests"].as_object().unwrap().len(),
        3,
        "two keys and the follower's"
    );
    let text = std::str::from_utf8(&wire.body).unwrap();
    for bytes in &hidden {
        let forms = [
            hex::encode(bytes),
            STANDARD.encode(bytes),
            STANDARD_NO_PAD.encode(bytes),
            json!(bytes).to_string(),
        ];
        let plain = std::str::from_utf8(bytes).is_ok_and(|plain| text.contains(plain));
        assert!(!plain && !forms.iter().any(|form| text.contains(form)), "{text}");
    }
    assert!(!text.contains("argon2") && !text.contains("kw_"), "{text}");
}

#[tokio::test]
async fn who_may_not_follow_is_told_so() {
    let app = TestApp::start().await;
    other_org(&app, "acme").await;
    keyspace(&app, "mine").await;
    let theirs =
        app.call(ROOT, "GET", "/v1/keyspaces/default", &[("keywright-org", "acme")], Value::Null).await;
    let theirs = theirs.json()["id"].as_str().unwrap().to_owned();
    let follower = follower(&app, &["mine"]).await;
    for named in ["default", "nowhere", &theirs] {
        check(&ask(&app, &follower.secret, json!({"keyspaces": [named]})).await, 404, "not_found");
        check(&ask(&app, &follower.secret, json!({"keyspaces": ["mine", named]})).await, 404, "not_found");
    }
    let acme = [("keywright-org", "acme")];
    check(&app.call(&follower.secret, "POST", "/v1/feed", &acme, asking(json!({}))).await, 404, "not_found");
    let reader = manager(&app, "default", &["keys.read", "keys.verify", "feed.lease"]).await;
    check(&ask(&app, &reader.secret, json!({})).await, 403, "forbidden");
    let api = api_key(&app).await;
    check(&ask(&app, &api.secret, json!({})).await, 401, "unauthenticated");
}

#[tokio::test]
async fn a_revision_that_the_feed_does_not_reach_is_gone() {
    let app = TestApp::start().await;
    let follower = manager(&app, "default", &["feed.read"]).await;
    let at: RevisionToken = end(&lines(&ask(&app, &follower.secret, json!({})).await)).parse().unwrap();
    let head = at.revision.0;
    let other = Incarnation(at.incarnation.0 ^ 1);
    for (incarnation, revision) in [
        (at.incarnation, head + 1),
        (at.incarnation, u64::MAX),
        (other, head),
        (other, 0),
        (Incarnation(0), u64::MAX),
    ] {
        let after = RevisionToken { incarnation, revision: Revision(revision) }.to_string();
        check(
            &ask(&app, &follower.secret, json!({"after": after, "wait_seconds": 5})).await,
            410,
            "feed_gone",
        );
    }
    let first = RevisionToken { revision: Revision(1), ..at }.to_string();
    assert!(since(&ask(&app, &follower.secret, json!({"after": first})).await).len() > 1);
    app.node.clock.advance_ms(1_000);
    let now = keywright_control::Clock::now(&*app.node.clock);
    app.node.control.sweep(now).await.unwrap();
    check(&ask(&app, &follower.secret, json!({"after": first})).await, 410, "feed_gone");
}

#[tokio::test]
async fn a_follower_of_another_history_loads_anew_and_is_given_no_lease() {
    let app = TestApp::start().await;
    let holder = manager(&app, "default", &["feed.read", "feed.lease"]).await;
    let snapshot = lines(&ask(&app, &holder.secret, json!({})).await);
    assert_eq!(snapshot[0]["snapshot"]["history"], HISTORY);
    let at = end(&snapshot);
    let told = lines(&ask(&app, &holder.secret, json!({"after": at})).await);
    assert_eq!(told[0]["since"]["history"], HISTORY);
    // Nothing is new after that revision, and yet it is not current: there it was another write.
    let elsewhere = json!({"after": at, "history": "2"});
    check(&ask(&app, &holder.secret, elsewhere).await, 410, "feed_gone");
    let elsewhere = json!({"applied": at, "history": "2"});
    let joining = path(&life(&app, &holder.secret, json!({})).await);
    let call = async |path: &str, verb: &str, body: Value| {
        app.call(&holder.secret, "POST", &format!("{path}/{verb}"), &[], body).await
    };
    check(&call(&joining, "live", elsewhere.clone()).await, 409, "lease_ended");
    let live = live(&app, &holder.secret, json!({})).await;
    let key = api_key(&app).await;
    let now = [("prefer", "wait=0")];
    let written = app.call(ROOT, "POST", &format!("{}/revoke", key.path()), &now, json!({})).await;
    let other = json!({"applied": written.header("keywright-revision"), "history": "2"});
    check(&call(&live, "report", other.clone()).await, 409, "lease_ended");
    let monitor = format!("/v1/revisions/{}", written.header("keywright-revision"));
    assert_eq!(app.root("GET", &monitor, Value::Null).await.json()["enforced"], "pending");
    check(&call(&live, "renew", other).await, 409, "lease_ended");
    assert_eq!(app.root("GET", &monitor, Value::Null).await.json()["enforced"], "pending");
    // A renewal says how far it has come too, for a server that has forgotten or has never heard.
    let applied = applied(written.header("keywright-revision"));
    assert_eq!(call(&live, "renew", applied).await.status, 200);
    assert_eq!(app.root("GET", &monitor, Value::Null).await.json()["enforced"], "all");
}

#[tokio::test]
async fn what_a_follower_asks_is_read_strictly() {
    let app = TestApp::start().await;
    let body = json!({"digest_key": "12", "keyspaces": [], "after": "yesterday", "history": "1", "wait_seconds": 6, "since": 1});
    let reply = app.root("POST", "/v1/feed", body).await;
    check(&reply, 422, "invalid_body");
    let mut found = items(&reply);
    found.sort();
    assert_eq!(
        found,
        [
            "/after invalid_revision",
            "/digest_key invalid_key",
            "/keyspaces empty",
            "/since unknown_field",
            "/wait_seconds out_of_range"
        ]
    );
    let reply = app.root("POST", "/v1/feed", json!({})).await;
    assert_eq!(items(&reply), ["/digest_key missing_field"]);
    let at = end(&lines(&ask(&app, ROOT, json!({})).await));
    let reply = ask(&app, ROOT, json!({"after": at, "history": null})).await;
    assert_eq!(items(&reply), ["/history missing_field"], "what a revision is says its history");
    let many: Vec<String> = (0..101).map(|n| format!("k{n}")).collect();
    assert_eq!(items(&ask(&app, ROOT, json!({"keyspaces": many})).await), ["/keyspaces too_many"]);
}

#[tokio::test]
async fn a_call_that_waits_ends_with_the_next_write_and_with_the_right_to_hear_it() {
    let app = TestApp::start().await;
    let (key, follower) = (api_key(&app).await, manager(&app, "default", &["feed.read"]).await);
    let at = end(&lines(&ask(&app, &follower.secret, json!({})).await));
    let waiting = || ask(&app, &follower.secret, json!({"after": at, "wait_seconds": 5}));
    let later = async |path: String| {
        tokio::time::sleep(Duration::from_millis(50)).await;
        app.root("POST", &path, json!({})).await
    };
    let both = async { tokio::join!(waiting(), later(format!("{}/disable", key.path()))) };
    let (told, written) =
        tokio::time::timeout(Duration::from_secs(3), both).await.expect("it does not wait on");
    let told = since(&told);
    assert_eq!(told[0]["write"]["revision"], written.header("keywright-revision"));
    let newest = end(&told);
    let waiting = ask(&app, &follower.secret, json!({"after": newest, "wait_seconds": 5}));
    let both = async { tokio::join!(waiting, later(format!("{}/revoke", follower.path()))) };
    let (told, _) = tokio::time::timeout(Duration::from_secs(3), both).await.expect("it does not wait on");
    check(&told, 401, "unauthenticated");
}

async fn life(app: &TestApp, bearer: &str, more: Value) -> Reply {
    let mut body = json!({"lease_seconds": 5});
    let Value::Object(more) = more else { panic!("{more}") };
    body.as_object_mut().unwrap().extend(more);
    app.call(bearer, "POST", "/v1/feed/leases", &[], body).await
}

/// The path of a life that was registered.
#[track_caller]
fn path(reply: &Reply) -> String {
    assert_eq!(reply.status, 201, "{:?}", reply.body);
    format!("/v1/feed/leases/{}", reply.json()["id"].as_str().unwrap())
}

/// A life that is live and answers by everything.
async fn live(app: &TestApp, bearer: &str, keyspaces: Value) -> String {
    let path = path(&life(app, bearer, keyspaces).await);
    let head = app.root("PATCH", "/v1/keyspaces/default", json!({"max_staleness_seconds": 9})).await;
    let applied = applied(head.header("keywright-revision"));
    let reply = app.call(bearer, "POST", &format!("{path}/live"), &[], applied).await;
    assert_eq!(reply.json()["revision"], head.header("keywright-revision"), "{:?}", reply.body);
    path
}

#[tokio::test]
async fn writers_wait_for_a_lease_of_the_keyspaces_that_they_touch_and_for_no_other() {
    let app = TestApp::start().await;
    other_org(&app, "acme").await;
    keyspace(&app, "mine").await;
    let holder = manager(&app, "default", &["feed.read", "feed.lease"]).await;
    let here = made(&app, json!({"name": "k", "keyspace": "mine"})).await;
    let there = api_key(&app).await;
    let path = live(&app, &holder.secret, json!({"keyspaces": ["mine"]})).await;
    let now = [("prefer", "wait=0")];
    let disable = |key: &Made| format!("{}/disable", key.path());
    let elsewhere = app.call(ROOT, "POST", &disable(&there), &[], json!({})).await;
    assert_eq!((elsewhere.status, elsewhere.header("keywright-enforced")), (200, "all"));
    let acme = [("keywright-org", "acme")];
    let role = json!({"name": "r", "grants": []});
    assert_eq!(
        app.call(ROOT, "POST", "/v1/roles", &acme, role.clone()).await.header("keywright-enforced"),
        "all"
    );
    let touched = app.call(ROOT, "POST", &disable(&here), &now, json!({})).await;
    assert_eq!((touched.status, touched.header("keywright-enforced")), (202, "pending"));
    let monitor = format!("/v1/revisions/{}", touched.header("keywright-revision"));
    assert_eq!(app.root("GET", &monitor, Value::Null).await.json()["missing"], 1);
    // Roles are the whole organization's.
    let role = app.call(ROOT, "POST", "/v1/roles", &now, role).await;
    assert_eq!((role.status, role.header("keywright-enforced")), (201, "pending"));
    let applied = applied(role.header("keywright-revision"));
    let reported = app.call(&holder.secret, "POST", &format!("{path}/report"), &[], applied.clone()).await;
    assert_eq!(reported.status, 204);
    assert_eq!(app.root("GET", &monitor, Value::Null).await.json()["enforced"], "all");
    let again = app.call(ROOT, "POST", &format!("{}/enable", here.path()), &now, json!({})).await;
    assert_eq!(again.header("keywright-enforced"), "pending");
    assert_eq!(app.call(&holder.secret, "DELETE", &path, &[], Value::Null).await.status, 204);
    let monitor = format!("/v1/revisions/{}", again.header("keywright-revision"));
    assert_eq!(app.root("GET", &monitor, Value::Null).await.json()["enforced"], "all", "it has left");
    let renewed = app.call(&holder.secret, "POST", &format!("{path}/renew"), &[], applied).await;
    check(&renewed, 404, "not_found");
}

#[tokio::test]
async fn a_lease_is_its_holders_and_ends_with_the_right_to_it() {
    let app = TestApp::start().await;
    keyspace(&app, "mine").await;
    let admin = |actions: Value| json!({"actions": actions, "orgs": ["default"], "keyspaces": ["mine"]});
    let both = json!(["feed.read", "feed.lease"]);
    let body = json!({"kind": "management", "name": "f", "admin": admin(both.clone()), "grantable": []});
    let (holder, other) = (made(&app, body.clone()).await, made(&app, body).await);
    let path = live(&app, &holder.secret, json!({})).await;
    let at = end(&lines(&ask(&app, &holder.secret, json!({})).await));
    let call = |bearer: &str, verb: &'static str| {
        let (bearer, path, at) = (bearer.to_owned(), format!("{path}/{verb}"), applied(&at));
        let app = &app;
        async move { app.call(&bearer, "POST", &path, &[], at).await }
    };
    assert_eq!(call(&holder.secret, "renew").await.status, 200);
    check(&call(&other.secret, "renew").await, 404, "not_found");
    check(&app.call(&other.secret, "DELETE", &path, &[], Value::Null).await, 404, "not_found");
    check(&app.root("DELETE", &path, Value::Null).await, 404, "not_found");
    check(&life(&app, &holder.secret, json!({"keyspaces": ["default"]})).await, 404, "not_found");
    for far in [u64::MAX, 1_000_000] {
        let at: RevisionToken = end(&lines(&ask(&app, &holder.secret, json!({})).await)).parse().unwrap();
        let far = applied(&RevisionToken { revision: Revision(far), ..at }.to_string());
        check(&app.call(&holder.secret, "POST", &format!("{path}/report"), &[], far).await, 404, "not_found");
    }
    for (seconds, code) in
        [(json!(0), "out_of_range"), (json!(61), "out_of_range"), (Value::Null, "missing_field")]
    {
        let reply = life(&app, &holder.secret, json!({"lease_seconds": seconds})).await;
        assert_eq!(items(&reply), [format!("/lease_seconds {code}")]);
    }
    // What it answers for is out of its reach now, so that it would hear of nothing there any more.
    let narrowed = json!({"admin": {"actions": both, "orgs": ["default"], "keyspaces": ["default"]}});
    app.root("PATCH", &holder.path(), narrowed).await;
    check(&call(&holder.secret, "renew").await, 403, "forbidden");
    app.root("PATCH", &holder.path(), json!({"admin": admin(json!(["feed.read"]))})).await;
    check(&call(&holder.secret, "renew").await, 403, "forbidden");
    check(&life(&app, &holder.secret, json!({})).await, 403, "forbidden");
    let lease_alone = made(
        &app,
        json!({"kind": "management", "name": "f", "admin": admin(json!(["feed.lease"])), "grantable": []}),
    )
    .await;
    check(&life(&app, &lease_alone.secret, json!({})).await, 403, "forbidden");
}

#[tokio::test]
async fn sixteen_followers_hold_a_lease_and_no_more() {
    let app = TestApp::start().await;
    let holder = manager(&app, "default", &["feed.read", "feed.lease"]).await;
    let mut paths = Vec::new();
    for _ in 0..16 {
        paths.push(path(&life(&app, &holder.secret, json!({})).await));
    }
    check(&life(&app, &holder.secret, json!({})).await, 409, "too_many_followers");
    check(&app.root("POST", "/v1/feed/leases", json!({"lease_seconds": 5})).await, 409, "too_many_followers");
    assert_eq!(app.call(&holder.secret, "DELETE", &paths[3], &[], Value::Null).await.status, 204);
    path(&life(&app, &holder.secret, json!({"name": "slot"})).await);
    check(&life(&app, &holder.secret, json!({})).await, 409, "too_many_followers");
    path(&life(&app, &holder.secret, json!({"name": "slot"})).await);
}

#[tokio::test]
async fn a_follower_that_is_silent_holds_a_write_up_for_its_lease_and_no_longer() {
    let app = TestApp::start().await;
    let holder = manager(&app, "default", &["feed.read", "feed.lease"]).await;
    let key = api_key(&app).await;
    let path = live(&app, &holder.secret, json!({})).await;
    let before = applied(&end(&lines(&ask(&app, &holder.secret, json!({})).await)));
    let written =
        app.call(ROOT, "POST", &format!("{}/revoke", key.path()), &[("prefer", "wait=0")], json!({})).await;
    assert_eq!((written.status, written.header("keywright-enforced")), (202, "pending"));
    let monitor = format!("/v1/revisions/{}", written.header("keywright-revision"));
    let until = async |enforced: &str| {
        for _ in 0..2_000 {
            if app.root("GET", &monitor, Value::Null).await.json()["enforced"] == enforced {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it is not {enforced}");
    };
    // Patience is over: it is given no lease any more.
    app.node.clock.advance_ms(2_100);
    // The wait for its lease begins when the fence is durable, so the clock stands still until then.
    let fences = || app.node.control.barrier().figures().fences.load(Ordering::Relaxed);
    for _ in 0..2_000 {
        if fences() > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let refused = app.call(&holder.secret, "POST", &format!("{path}/renew"), &[], before).await;
    check(&refused, 409, "lease_ended");
    app.node.clock.advance_ms(5_000);
    until("pending").await;
    // Five seconds by a clock that may run 10 % slow, counted by one that may run 10 % fast.
    app.node.clock.advance_ms(1_300);
    until("all").await;
}

#[tokio::test]
async fn a_node_whose_lease_is_not_renewed_tells_no_follower_that_it_is_current() {
    let app = TestApp::start().await;
    let at = end(&lines(&ask(&app, ROOT, json!({})).await));
    let told = since(&ask(&app, ROOT, json!({"after": at})).await);
    assert_eq!(told.last().unwrap()["end"]["age_ms"], 0, "its store is its own");
    app.node.verifier.lease().drop_now();
    check(&ask(&app, ROOT, json!({"after": at})).await, 503, "store_unavailable");
    check(&ask(&app, ROOT, json!({})).await, 503, "store_unavailable");
}

#[tokio::test]
async fn a_keyspace_that_is_gone_makes_what_is_followed_another_scope_and_stops_nothing_else() {
    let app = TestApp::start().await;
    let (mine, _) = (keyspace(&app, "mine").await, keyspace(&app, "other").await);
    let both = json!({"keyspaces": ["mine", "other"]});
    let at = end(&lines(&ask(&app, ROOT, both).await));
    app.root("DELETE", "/v1/keyspaces/other", Value::Null).await;
    let asked = json!({"keyspaces": ["mine", "other"], "after": at});
    let told = lines(&ask(&app, ROOT, asked).await);
    assert_eq!(told[0]["since"]["scope"]["keyspaces"], json!([mine]), "{told:?}");
    check(&ask(&app, ROOT, json!({"keyspaces": ["mine", "other"]})).await, 404, "not_found");
}
