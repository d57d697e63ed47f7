//! The feed of followers: what is theirs, whole and resumable; nothing of anybody else's, and nothing that opens anything.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use keywright_model::digest::{Pepper, SecretHash};
use keywright_model::revision::{Incarnation, Revision, RevisionToken};
use keywright_store::Store as _;
use keywright_testkit::{ROOT, Reply, TestApp};
use serde_json::{Value, json};

use super::{Made, api_key, check, items, made, manager, other_org};

/// A follower's own key.
const KEY: [u8; 32] = [0x11; 32];

fn asking(more: Value) -> Value {
    let mut body = json!({"digest_key": hex::encode(KEY)});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

async fn ask(app: &TestApp, bearer: &str, more: Value) -> Reply {
    app.call(bearer, "POST", "/v1/feed", &[], asking(more)).await
}

#[track_caller]
fn lines(reply: &Reply) -> Vec<Value> {
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
fn since(reply: &Reply) -> Vec<Value> {
    let mut lines = lines(reply);
    assert!(lines.remove(0)["since"]["scope"].is_object());
    lines
}

/// The revision of the last line, which says that all was told.
#[track_caller]
fn end(lines: &[Value]) -> String {
    let end = &lines.last().unwrap()["end"];
    assert_eq!(end["more"], false, "{lines:?}");
    end["revision"].as_str().unwrap().to_owned()
}

fn own_digest(secret: &str) -> String {
    STANDARD_NO_PAD.encode(Pepper::new(&KEY).digest(&SecretHash::of_text(secret)).0)
}

/// A management key that follows these keyspaces.
async fn follower(app: &TestApp, keyspaces: &[&str]) -> Made {
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
    let told = since(&writes);
    let sizes: Vec<usize> =
        told[..4].iter().map(|l| l["write"]["changes"].as_array().unwrap().len()).collect();
    assert_eq!((told.len(), sizes), (5, vec![0, 1, 0, 0]), "{told:?}");
    for reply in [&snapshot, &writes] {
        let text = std::str::from_utf8(&reply.body).unwrap();
        assert!(text.contains(&mine) && text.contains(&shown.id) || reply.body == writes.body);
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
            &ask(&app, &follower.secret, json!({"after": after, "wait_seconds": 20})).await,
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
async fn what_a_follower_asks_is_read_strictly() {
    let app = TestApp::start().await;
    let body =
        json!({"digest_key": "12", "keyspaces": [], "after": "yesterday", "wait_seconds": 21, "since": 1});
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
    let many: Vec<String> = (0..101).map(|n| format!("k{n}")).collect();
    assert_eq!(items(&ask(&app, ROOT, json!({"keyspaces": many})).await), ["/keyspaces too_many"]);
}

#[tokio::test]
async fn a_call_that_waits_ends_with_the_next_write_and_with_the_right_to_hear_it() {
    let app = TestApp::start().await;
    let (key, follower) = (api_key(&app).await, manager(&app, "default", &["feed.read"]).await);
    let at = end(&lines(&ask(&app, &follower.secret, json!({})).await));
    let waiting = || ask(&app, &follower.secret, json!({"after": at, "wait_seconds": 20}));
    let later = async |path: String| {
        tokio::time::sleep(Duration::from_millis(50)).await;
        app.root("POST", &path, json!({})).await
    };
    let both = async { tokio::join!(waiting(), later(format!("{}/disable", key.path()))) };
    let (told, written) =
        tokio::time::timeout(Duration::from_secs(10), both).await.expect("it does not wait on");
    let told = since(&told);
    assert_eq!(told[0]["write"]["revision"], written.header("keywright-revision"));
    let newest = end(&told);
    let waiting = ask(&app, &follower.secret, json!({"after": newest, "wait_seconds": 20}));
    let both = async { tokio::join!(waiting, later(format!("{}/revoke", follower.path()))) };
    let (told, _) = tokio::time::timeout(Duration::from_secs(10), both).await.expect("it does not wait on");
    check(&told, 401, "unauthenticated");
}
