//! What a dialect's call costs against the equivalent call of REST: CPU time of the process a request, in one run, the two
//! taking turns. In process through the routers, so that no socket hides the difference. What checking Tencent's signature
//! takes is measured apart and taken off.
//!
//! Run with `cargo bench -p keywright-server --bench dialects`.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark prints, and ends when its set-up fails"
)]

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use http_body_util::BodyExt as _;
use keywright_model::signing::tc3::sign_tc3;
use keywright_model::signing::{self, KeyPair, SignedRequest};
use keywright_server::dialects::Dialect;
use keywright_server::listen::Peer;
use keywright_testkit::{START_MS, TestApp};
use nix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tower::ServiceExt as _;

const ADMIN_ID: &str = "AKIDbench";
/// How many keys there are, and so how many a list shows.
const KEYS: usize = 20;
/// How many calls a turn has, and how many turns each side of a pair.
const CALLS: u32 = 200;
const TURNS: u32 = 15;
const AIM: f64 = 1.25;

/// One side of a pair.
struct Side {
    router: Router,
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    /// `NNNNNNNNNN` in it is a number that no other call has.
    body: String,
    /// The action, where each call is signed.
    action: Option<&'static str>,
}

/// The node, its management key and a clock that goes on a second with each call: the vendors' limits are by the clock.
struct Bench {
    app: TestApp,
    /// One for all its calls: another would make the same secrets again, which are taken.
    tencent: Router,
    admin: String,
    seconds: i64,
    number: u64,
}

fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("the clock of the process").into()
}

impl Bench {
    async fn start() -> Self {
        let app = TestApp::start().await;
        let admin = json!({"actions": ["*"], "orgs": ["default"], "keyspaces": ["*"]});
        let all = json!([{"effect": "allow", "actions": ["*"], "resources": ["**"]}]);
        let body = json!({"name": "admin", "kind": "management", "access_id": ADMIN_ID, "admin": admin, "grantable": all});
        let made = app.root("POST", "/v1/keys", body).await.json();
        let admin = made["secret"].as_str().expect("a secret").to_owned();
        for key in 0..KEYS {
            let grants =
                json!([{"effect": "allow", "actions": ["get", "put"], "resources": ["devices/7/**"]}]);
            let body =
                json!({"name": format!("key {key}"), "grants": grants, "access_id": format!("AKIDkey{key}")});
            assert_eq!(app.root("POST", "/v1/keys", body).await.status, 201);
        }
        let tencent = app.dialect(Dialect::Tencent);
        Self { app, tencent, admin, seconds: START_MS / 1000, number: 0 }
    }

    /// The calls of a turn, made and signed before the clock is read.
    fn requests(&mut self, side: &Side) -> Vec<Request> {
        let mut seconds = self.seconds;
        (0..CALLS)
            .map(|_| {
                seconds += 1;
                self.number += 1;
                let body = side.body.replace("NNNNNNNNNN", &format!("{:010}", self.number));
                let signed = side.action.map(|action| signed(&self.admin, seconds, action, &body));
                let mut request = Request::builder().method(side.method).uri(&side.path);
                for (name, value) in side.headers.iter().chain(signed.iter().flatten()) {
                    request = request.header(*name, value);
                }
                let mut request = request.body(Body::from(body)).expect("a request");
                request.extensions_mut().insert(Peer(([127, 0, 0, 1], 40_000).into()));
                request
            })
            .collect()
    }

    /// CPU time of a turn.
    async fn turn(&mut self, side: &Side) -> Duration {
        let requests = self.requests(side);
        let began = cpu();
        for request in requests {
            self.seconds += 1;
            self.app.node.clock.advance_seconds(1);
            let response = side.router.clone().oneshot(request).await.expect("an answer");
            let status = response.status();
            let body = response.into_body().collect().await.expect("a body").to_bytes();
            let is_error =
                body.windows(8).any(|part| part == b"\"Error\":") || body.starts_with(b"{\"errno\":3");
            assert!(status.is_success() && !is_error, "{status} {}", String::from_utf8_lossy(&body));
        }
        cpu().saturating_sub(began)
    }

    /// Prints what both sides take, less `apart` for each call of the dialect.
    async fn pair(&mut self, what: &str, dialect: &Side, rest: &Side, apart: Duration) {
        let (mut theirs, mut ours) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..TURNS {
            ours += self.turn(rest).await;
            theirs += self.turn(dialect).await;
        }
        let calls = CALLS * TURNS;
        let (theirs, ours) = ((theirs / calls).saturating_sub(apart), ours / calls);
        let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
        println!(
            "{what:<34} {:>7.1} us, REST {:>7.1} us, ratio {ratio:.2} (aim {AIM})",
            theirs.as_secs_f64() * 1e6,
            ours.as_secs_f64() * 1e6,
        );
    }

    /// What checking one signature of the vendor's takes.
    fn signature(&self) -> Duration {
        let body = json!({"AccessKeyId": "AKIDkey0"}).to_string();
        let headers = signed(&self.admin, self.seconds, "DescribeApiKey", &body);
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let began = cpu();
        for _ in 0..CALLS * TURNS {
            let body_sha256 = Some(Sha256::digest(&body).into());
            let request = SignedRequest {
                method: "POST",
                host: HOST,
                target: "/",
                headers: &headers,
                parameters: &[],
                body_sha256,
            };
            let parsed = signing::parse(&request).expect("it is signed");
            parsed.check(&request, self.admin.as_bytes(), self.seconds).expect("it is right");
        }
        let each = cpu().saturating_sub(began) / (CALLS * TURNS);
        println!("{:<34} {:>7.1} us", "a TC3 check", each.as_secs_f64() * 1e6);
        each
    }

    fn rest(&self, method: &'static str, path: String, body: &Value) -> Side {
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        Side {
            router: keywright_server::router(self.app.state().clone()),
            method,
            path,
            headers: vec![
                ("authorization", format!("Bearer {}", self.admin)),
                ("content-type", kind.to_owned()),
            ],
            body: text(body),
            action: None,
        }
    }

    fn wire(&self, dialect: Dialect, method: &'static str, path: &str, body: &Value) -> Side {
        let credential = dialect.key_header().expect("a wire whose callers send a key");
        Side {
            router: self.app.dialect(dialect),
            method,
            path: path.to_owned(),
            headers: vec![(credential, self.admin.clone()), ("content-type", "application/json".to_owned())],
            body: text(body),
            action: None,
        }
    }

    fn tencent(&self, action: &'static str, body: &Value) -> Side {
        Side {
            router: self.tencent.clone(),
            method: "POST",
            path: "/".to_owned(),
            headers: Vec::new(),
            body: text(body),
            action: Some(action),
        }
    }
}

const HOST: &str = "127.0.0.1:7711";

fn signed(secret: &str, seconds: i64, action: &str, body: &str) -> Vec<(&'static str, String)> {
    let timestamp = seconds.to_string();
    let headers = [("content-type", "application/json"), ("x-tc-timestamp", timestamp.as_str())];
    let body_sha256 = Some(Sha256::digest(body).into());
    let request = SignedRequest {
        method: "POST",
        host: HOST,
        target: "/",
        headers: &headers,
        parameters: &[],
        body_sha256,
    };
    let pair = KeyPair { access_id: ADMIN_ID, secret: secret.as_bytes() };
    let authorization = sign_tc3(&request, pair, "apigateway", seconds).expect("it can be signed");
    [
        ("host", HOST),
        ("content-type", "application/json"),
        ("x-tc-timestamp", &timestamp),
        ("x-tc-action", action),
        ("x-tc-version", "2018-08-08"),
        ("authorization", &authorization),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .to_vec()
}

fn text(body: &Value) -> String {
    if body.is_null() { String::new() } else { body.to_string() }
}

#[tokio::main]
async fn main() {
    let mut bench = Bench::start().await;
    let found = bench.app.root("GET", "/v1/keys?access_id=AKIDkey0", Value::Null).await.json();
    let (id, number) = (found["items"][0]["id"].clone(), found["items"][0]["number"].clone());
    let path = format!("/v1/keys/{}", id.as_str().expect("an id"));
    let name = id.as_str().unwrap_or_default();
    let check = bench.signature();
    let none = Duration::ZERO;

    let read = bench.rest("GET", path.clone(), &Value::Null);
    let onenet = bench.wire(Dialect::Onenet, "GET", &format!("/keys/{name}"), &Value::Null);
    bench.pair("OneNET GET /keys/{key}", &onenet, &read, none).await;
    let partoo = bench.wire(Dialect::Partoo, "GET", &format!("/v2/api_keys/{number}"), &Value::Null);
    bench.pair("Partoo GET /v2/api_keys/{id}", &partoo, &read, none).await;
    let tencent = bench.tencent("DescribeApiKey", &json!({"AccessKeyId": "AKIDkey0"}));
    bench.pair("Tencent DescribeApiKey", &tencent, &read, check).await;

    let list = bench.rest("GET", format!("/v1/keys?limit={KEYS}&kind=api&keyspace=default"), &Value::Null);
    let onenet = bench.wire(Dialect::Onenet, "GET", &format!("/keys?per_page={KEYS}"), &Value::Null);
    bench.pair("OneNET GET /keys", &onenet, &list, none).await;
    let gjirafa = bench.wire(Dialect::Gjirafa, "GET", "/api/organizations/default/api-keys", &Value::Null);
    bench.pair("Gjirafa GET api-keys", &gjirafa, &list, none).await;
    let partoo = bench.wire(Dialect::Partoo, "GET", &format!("/v2/api_keys?per_page={KEYS}"), &Value::Null);
    bench.pair("Partoo GET /v2/api_keys", &partoo, &list, none).await;
    let tencent = bench.tencent("DescribeApiKeysStatus", &json!({"Limit": KEYS}));
    bench.pair("Tencent DescribeApiKeysStatus", &tencent, &list, check).await;

    let grants = json!([{"effect": "allow", "actions": ["get", "put"], "resources": ["devices/7/**"]}]);
    let update = bench.rest("PATCH", path.clone(), &json!({"name": "n NNNNNNNNNN", "grants": grants}));
    let permissions = json!([{"resources": [{"dev_id": "7"}], "access_methods": ["get", "put"]}]);
    let body = json!({"title": "t NNNNNNNNNN", "permissions": permissions});
    let onenet = bench.wire(Dialect::Onenet, "PUT", &format!("/keys/{name}"), &body);
    bench.pair("OneNET PUT /keys/{key}", &onenet, &update, none).await;
    let update = bench.rest("PATCH", path.clone(), &json!({"name": "n NNNNNNNNNN"}));
    let body = json!({"id": number, "name": "g NNNNNNNNNN"});
    let gjirafa = bench.wire(Dialect::Gjirafa, "PUT", "/api/organizations/default/api-keys", &body);
    bench.pair("Gjirafa PUT api-keys", &gjirafa, &update, none).await;
    let body = json!({"label": "p NNNNNNNNNN"});
    let partoo = bench.wire(Dialect::Partoo, "PUT", &format!("/v2/api_keys/{number}"), &body);
    bench.pair("Partoo PUT /v2/api_keys/{id}", &partoo, &update, none).await;
    let rotate = bench.rest("POST", format!("{path}/rotate"), &json!({"overlap_seconds": 0}));
    let tencent = bench.tencent("UpdateApiKey", &json!({"AccessKeyId": "AKIDkey0"}));
    bench.pair("Tencent UpdateApiKey", &tencent, &rotate, check).await;
    creates(&mut bench, check).await;
}

/// Last, since each leaves a key behind.
async fn creates(bench: &mut Bench, check: Duration) {
    let none = Duration::ZERO;
    let grants = json!([{"effect": "allow", "actions": ["get", "put"], "resources": ["devices/7/**"]}]);
    let create =
        bench.rest("POST", "/v1/keys".to_owned(), &json!({"name": "n NNNNNNNNNN", "grants": grants}));
    let permissions = json!([{"resources": [{"dev_id": "7"}], "access_methods": ["get", "put"]}]);
    let body = json!({"title": "t NNNNNNNNNN", "permissions": permissions});
    let onenet = bench.wire(Dialect::Onenet, "POST", "/keys", &body);
    bench.pair("OneNET POST /keys", &onenet, &create, none).await;
    let scoped = json!({"name": "n NNNNNNNNNN", "scope": ["projects/p/**"], "grants": []});
    let create = bench.rest("POST", "/v1/keys".to_owned(), &scoped);
    let body =
        json!({"listProjectsId": ["p"], "userApiKey": {"apiName": "g NNNNNNNNNN", "hasExpireTime": false}});
    let gjirafa = bench.wire(Dialect::Gjirafa, "POST", "/api/organizations/default/api-keys", &body);
    bench.pair("Gjirafa POST api-keys", &gjirafa, &create, none).await;
    let grants = json!([{"effect": "allow", "actions": ["business_edit"], "resources": ["**"]}]);
    let create =
        bench.rest("POST", "/v1/keys".to_owned(), &json!({"name": "n NNNNNNNNNN", "grants": grants}));
    let body = json!({"label": "p NNNNNNNNNN", "has_restricted_permissions": true, "permissions": ["business_edit"]});
    let partoo = bench.wire(Dialect::Partoo, "POST", "/v2/api_keys", &body);
    bench.pair("Partoo POST /v2/api_keys", &partoo, &create, none).await;
    // A key with an access id has a secret that is kept, to check signatures with.
    let signs = json!({"name": "n NNNNNNNNNN", "access_id": "AKIDrNNNNNNNNNN", "grants": []});
    let create = bench.rest("POST", "/v1/keys".to_owned(), &signs);
    let tencent = bench.tencent("CreateApiKey", &json!({"SecretName": "t_NNNNNNNNNN"}));
    bench.pair("Tencent CreateApiKey", &tencent, &create, check).await;
}
