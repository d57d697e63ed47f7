//! One set of keys: what is made through any wire is listed, read, updated, verified and ended through every other, and
//! what a wire cannot show survives an update through it. Every ordered pair of the five, by one table of steps.

mod gjirafa;
mod onenet;
mod partoo;
mod rest;
mod tencent;

use axum::Router;
use keywright_server::dialects::Dialect;
use keywright_testkit::Reply;
use serde_json::{Map, Value, json};

use self::gjirafa::Gjirafa;
use self::onenet::Onenet;
use self::partoo::Partoo;
use self::rest::Rest;
use self::tencent::Tencent;
use super::Wired;

/// A wire as one of its clients uses it. A key is named by what the wire's own list calls it.
trait WireDriver {
    /// Its name.
    const NAME: &'static str;
    /// The fields of a key that an update through it may change.
    const CHANGES: &'static [&'static str];

    /// Makes a key that may `get` the device 7.
    async fn create(world: &World, title: &str) -> Secret;
    /// What its list calls the key of this title, if it lists one that is good.
    async fn find(world: &World, title: &str) -> Option<String>;
    /// The title that it shows for a key that it is asked for by name.
    async fn title(world: &World, name: &str) -> String;
    /// Its update, with a new title if it has one.
    async fn update(world: &World, name: &str, title: &str) -> Updated;
    /// Revokes or deletes a key.
    async fn end(world: &World, name: &str);
    /// Presents a key to the product as its clients do: the status that a gateway is told.
    async fn present(world: &World, secret: &Secret) -> u16;
}

/// What proves that somebody has a key.
#[derive(Clone, Debug)]
struct Secret {
    secret: String,
    access_id: Option<String>,
}

impl Secret {
    fn bearer(secret: &Value) -> Self {
        Self { secret: secret.as_str().unwrap().to_owned(), access_id: None }
    }
}

/// What an update has set.
#[derive(Debug, Default)]
struct Updated {
    title: bool,
    secret: Option<String>,
}

impl Updated {
    fn title() -> Self {
        Self { title: true, secret: None }
    }
}

/// Every wire of one node, and a management key that may do everything.
struct World {
    /// REST, and Tencent's wire.
    wired: Wired,
    onenet: Router,
    gjirafa: Router,
    partoo: Router,
    /// The number of a role that gives what the keys need.
    role: Value,
}

impl World {
    async fn start() -> Self {
        let wired = Wired::start(Dialect::Tencent).await;
        wired.set_keyspace(json!({"recoverable_secrets": true})).await;
        let role = wired.role("reader", "get").await;
        let router = |dialect| wired.app.dialect(dialect);
        let (onenet, gjirafa, partoo) =
            (router(Dialect::Onenet), router(Dialect::Gjirafa), router(Dialect::Partoo));
        Self { wired, onenet, gjirafa, partoo, role }
    }

    /// Asks as a gateway does, for a client at 203.0.113.9 that wants `GET /devices/7`.
    async fn gateway(&self, headers: &[(&str, &str)]) -> u16 {
        let said = [
            ("x-original-method", "GET"),
            ("x-original-uri", "/devices/7"),
            ("x-forwarded-for", "203.0.113.9"),
            ("host", "api.example"),
        ];
        self.wired.app.raw("GET", "/gateway/auth", &[&said[..], headers].concat(), "").await.status
    }

    /// The key of a title as REST shows it, but for what every use and every write changes.
    async fn key(&self, title: &str) -> (Value, Map<String, Value>) {
        let listed = self.wired.app.root("GET", &format!("/v1/keys?q={title}"), Value::Null).await.json();
        let Value::Object(mut key) = listed["items"][0].clone() else { panic!("{title}: {listed}") };
        let id = key["id"].clone();
        for name in ["updated_at", "updated_by", "version", "etag", "last_used_at"] {
            key.remove(name);
        }
        for secret in key["secrets"].as_array_mut().unwrap() {
            secret.as_object_mut().unwrap().remove("last_used_at");
        }
        (id, key)
    }
}

#[track_caller]
fn ok(reply: &Reply, status: u16) -> Value {
    assert_eq!(reply.status, status, "{:?}", reply.body);
    reply.json()
}

/// What no other wire than REST can show whole.
fn extras(own: &Value) -> Value {
    let mut grants = own.as_array().cloned().unwrap_or_default();
    grants.push(json!({"effect": "deny", "actions": ["delete"], "resources": ["devices/9/**"]}));
    grants.push(json!({"effect": "allow", "actions": ["orders.read"], "resources": ["orders/**"]}));
    json!({
        "grants": grants, "description": "a note", "labels": {"team": "fleet"}, "metadata": {"n": [1, {"x": null}]},
        "ip_allowlist": ["203.0.113.0/24"], "expires_at": "2030-01-02T03:04:05Z",
        "limits": [{"name": "burst", "max": 100, "per_seconds": 1}], "quota": {"max": 1000, "period": "month"},
    })
}

/// One pair: `M` makes a key, `U` does everything else with it, `M` sees what came of it.
async fn pair<M: WireDriver, U: WireDriver>(world: &World) {
    let pair = format!("{}-{}", M::NAME, U::NAME);
    let title = format!("made-{pair}");
    let mut secret = M::create(world, &title).await;
    assert_eq!(M::present(world, &secret).await, 200, "{pair}: its maker's client uses it");
    assert_eq!(U::present(world, &secret).await, 200, "{pair}: verified");
    let name = U::find(world, &title).await.unwrap_or_else(|| panic!("{pair}: listed"));
    assert_eq!(U::title(world, &name).await, title, "{pair}: read");

    let (id, plain) = world.key(&title).await;
    world.wired.patch(&id, extras(&plain["grants"])).await;
    let (_, before) = world.key(&title).await;
    let renamed = format!("changed-{pair}");
    let updated = U::update(world, &name, &renamed).await;
    let title = if updated.title { renamed } else { title };
    let (_, after) = world.key(&title).await;
    for (field, was) in before.iter().filter(|(field, _)| !U::CHANGES.contains(&field.as_str())) {
        assert_eq!(&after[field], was, "{pair}: {field} survives");
    }
    for grant in extras(&json!([]))["grants"].as_array().unwrap() {
        assert!(after["grants"].as_array().unwrap().contains(grant), "{pair}: {grant} survives");
    }
    if let Some(new) = updated.secret {
        assert_eq!(M::present(world, &secret).await, 401, "{pair}: the old secret is over");
        secret.secret = new;
    }
    assert!(M::find(world, &title).await.is_some(), "{pair}: its maker sees the update");
    assert_eq!(M::present(world, &secret).await, 200, "{pair}: it is still good");

    // Its name may have changed with its secret.
    let name = U::find(world, &title).await.unwrap_or_else(|| panic!("{pair}: listed under its new name"));
    U::end(world, &name).await;
    assert_eq!(U::find(world, &title).await, None, "{pair}: over");
    assert_eq!(M::find(world, &title).await, None, "{pair}: its maker sees the end");
    for status in [M::present(world, &secret).await, U::present(world, &secret).await] {
        assert_eq!(status, 401, "{pair}: it opens nothing any more");
    }
}

async fn all_pairs_of<M: WireDriver>() {
    let world = World::start().await;
    pair::<M, Rest>(&world).await;
    pair::<M, Onenet>(&world).await;
    pair::<M, Gjirafa>(&world).await;
    pair::<M, Tencent>(&world).await;
    pair::<M, Partoo>(&world).await;
}

#[tokio::test]
async fn a_key_made_through_rest_lives_and_dies_through_every_wire() {
    all_pairs_of::<Rest>().await;
}

#[tokio::test]
async fn a_key_made_through_onenet_lives_and_dies_through_every_wire() {
    all_pairs_of::<Onenet>().await;
}

#[tokio::test]
async fn a_key_made_through_gjirafa_lives_and_dies_through_every_wire() {
    all_pairs_of::<Gjirafa>().await;
}

#[tokio::test]
async fn a_key_made_through_tencent_lives_and_dies_through_every_wire() {
    all_pairs_of::<Tencent>().await;
}

#[tokio::test]
async fn a_key_made_through_partoo_lives_and_dies_through_every_wire() {
    all_pairs_of::<Partoo>().await;
}
