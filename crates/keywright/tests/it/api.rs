//! REST as a client sees it. Every secret that is answered is noted for the leak sweep.

use std::time::Duration;

use keywright_testkit::canary;
use reqwest::header::HeaderMap;
use reqwest::{Certificate, Client, Method};
use serde_json::{Value, json};

use super::installation::note;

/// Calls a server with one key.
#[derive(Clone)]
pub(crate) struct Api {
    http: Client,
    url: String,
    key: String,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) json: Value,
}

impl Reply {
    /// A header's text, empty when it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Fails unless the status is this one.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.json);
        self.json
    }

    /// Fails unless it is this problem.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str) {
        assert_eq!((self.status, &self.json["code"]), (status, &json!(code)), "{}", self.json);
    }

    /// The revision inside the token, as SQLite counts.
    pub(crate) fn revision(&self) -> i64 {
        let token: keywright_model::revision::RevisionToken =
            self.header("keywright-revision").parse().unwrap_or_else(|error| panic!("{error}: {self:?}"));
        i64::try_from(token.revision.0).unwrap()
    }
}

impl Api {
    pub(crate) fn new(url: &str, key: &str) -> Self {
        Self::of(Client::builder().tls_built_in_root_certs(false), url, key)
    }

    /// The same, trusting one certificate.
    pub(crate) fn trusting(certificate: &str, url: &str, key: &str) -> Self {
        let certificate = Certificate::from_pem(certificate.as_bytes()).unwrap();
        let trusting = Client::builder().tls_built_in_root_certs(false).add_root_certificate(certificate);
        Self::of(trusting, url, key)
    }

    fn of(builder: reqwest::ClientBuilder, url: &str, key: &str) -> Self {
        let http = builder.no_proxy().timeout(Duration::from_mins(1)).build().unwrap();
        Self { http, url: url.to_owned(), key: key.to_owned() }
    }

    /// Makes a call; an error is a server that is gone.
    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Result<Reply, reqwest::Error> {
        let method: Method = method.parse().unwrap();
        let media = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let mut request = self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.key);
        if let Some(body) = body {
            request = request.header("Content-Type", media).body(body.to_string());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await?;
        let json: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if let Some(secret) = json["secret"].as_str() {
            canary::note_secret(secret);
        } else {
            note(&text);
        }
        Ok(Reply { status, headers, json })
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.call("GET", path, None, &[]).await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Reply {
        self.call("POST", path, Some(&body), &[]).await.unwrap()
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Reply {
        self.call("PATCH", path, Some(&body), &[]).await.unwrap()
    }

    /// Makes a key that may do `get` and `put` below its own name; answers its id and its secret.
    pub(crate) async fn make(&self, name: &str) -> (String, String) {
        let made = self.post("/v1/keys", body(name)).await.expect(201);
        (text(&made["key"]["id"]), text(&made["secret"]))
    }

    /// The code of a verification.
    pub(crate) async fn verdict(&self, secret: &str, action: &str, resource: &str) -> String {
        let ask = json!({"secret": secret, "action": action, "resource": resource});
        text(&self.post("/v1/verify", ask).await.expect(200)["code"])
    }

    /// Hands the metrics to the leak sweep.
    pub(crate) async fn keep_metrics(&self) {
        if let Ok(response) = self.http.get(format!("{}/metrics", self.url)).send().await {
            let text = response.text().await.unwrap();
            assert!(text.contains("# HELP"), "{text}");
            canary::keep_text(&text, "metrics.txt");
        }
    }
}

/// What makes such a key.
pub(crate) fn body(name: &str) -> Value {
    let grants = json!([{"effect": "allow", "actions": ["get", "put"], "resources": [format!("{name}/**")]}]);
    json!({"name": name, "grants": grants})
}

/// A JSON text.
#[track_caller]
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}
