//! Calling a node over REST: an answer, or none.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::{Value, json};

/// How far a write has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Enforced {
    All,
    Pending,
}

/// What a node answered.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// `Keywright-Revision`, as it was given.
    pub(crate) token: Option<String>,
    pub(crate) enforced: Option<Enforced>,
    pub(crate) replayed: bool,
    /// `Null` when there was no JSON.
    pub(crate) body: Value,
}

impl Reply {
    /// The problem's or the verdict's code.
    pub(crate) fn code(&self) -> &str {
        self.body.get("code").and_then(Value::as_str).unwrap_or_default()
    }

    /// The number inside a revision in the answer to a verification.
    pub(crate) fn revision(&self) -> Option<u64> {
        number_of(self.body.get("revision")?.as_str()?)
    }
}

/// No answer came: the process is dead, held or slow. A write may still have been done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoAnswer;

/// The client.
#[derive(Debug)]
pub(crate) struct Rest {
    http: reqwest::Client,
    root: String,
    /// A management key that may ask about keys and nothing else.
    asker: OnceLock<String>,
}

impl Rest {
    pub(super) fn new(root: String) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().build().context("no HTTP client")?;
        Ok(Self { http, root, asker: OnceLock::new() })
    }

    pub(crate) async fn get(&self, node: SocketAddr, path: &str, wait: Duration) -> Result<Reply, NoAnswer> {
        self.call(&self.root, (Method::GET, node, path), None, &[], wait).await
    }

    /// Makes the key that [`Self::verify`] asks with.
    ///
    /// Gateways ask with such a key, which a node knows from memory. The root key's organization it looks up in the
    /// database: a node that is cut off could never answer root, stale or not.
    pub(crate) async fn make_asker(&self, node: SocketAddr, wait: Duration) -> anyhow::Result<()> {
        let secret = self.make_management_key(node, "asker", &["keys.verify"], wait).await?;
        self.asker.set(secret).ok().context("the asker was made before")
    }

    /// Makes a management key for every keyspace, and returns its secret once all who verify know it.
    pub(super) async fn make_management_key(
        &self,
        node: SocketAddr,
        name: &str,
        actions: &[&str],
        wait: Duration,
    ) -> anyhow::Result<String> {
        let admin = json!({"actions": actions, "orgs": ["default"], "keyspaces": ["*"]});
        let body = json!({"kind": "management", "name": name, "admin": admin, "grantable": []});
        let made = self.send(Method::POST, node, "/v1/keys", &body, &[], wait).await;
        let made = made.ok().context("nobody answered")?;
        let secret = made.body.get("secret").and_then(Value::as_str);
        let secret = secret.with_context(|| format!("the {name}'s key was answered {}", made.status))?;
        if made.enforced != Some(Enforced::All) {
            bail!("not every verifier knows the {name}'s key");
        }
        Ok(secret.to_owned())
    }

    /// The key that [`Self::verify`] asks with.
    pub(crate) fn asker(&self) -> Option<&str> {
        self.asker.get().map(String::as_str)
    }

    /// Asks about a secret, as a gateway does.
    pub(crate) async fn verify(
        &self,
        node: SocketAddr,
        body: &Value,
        headers: &[(&str, &str)],
        wait: Duration,
    ) -> Result<Reply, NoAnswer> {
        let asker = self.asker.get().unwrap_or(&self.root);
        self.call(asker, (Method::POST, node, "/v1/verify"), Some(body), headers, wait).await
    }

    /// A write, or a question, with a JSON body.
    pub(crate) async fn send(
        &self,
        method: Method,
        node: SocketAddr,
        path: &str,
        body: &Value,
        headers: &[(&str, &str)],
        wait: Duration,
    ) -> Result<Reply, NoAnswer> {
        self.call(&self.root, (method, node, path), Some(body), headers, wait).await
    }

    async fn call(
        &self,
        bearer: &str,
        (method, node, path): (Method, SocketAddr, &str),
        body: Option<&Value>,
        headers: &[(&str, &str)],
        wait: Duration,
    ) -> Result<Reply, NoAnswer> {
        let merges = method == Method::PATCH;
        let mut request = self.http.request(method, format!("http://{node}{path}"));
        request = request.bearer_auth(bearer).timeout(wait);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            let form = if merges { "application/merge-patch+json" } else { "application/json" };
            request = request.header("content-type", form).body(body.to_string());
        }
        let response = request.send().await.map_err(|_| NoAnswer)?;
        let text = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let (token, replayed) = (text("keywright-revision"), text("idempotent-replayed").is_some());
        let enforced = match text("keywright-enforced").as_deref() {
            Some("all") => Some(Enforced::All),
            Some(_) => Some(Enforced::Pending),
            None => None,
        };
        let status = response.status().as_u16();
        let bytes = response.bytes().await.map_err(|_| NoAnswer)?;
        let body = serde_json::from_slice(&bytes).unwrap_or_default();
        Ok(Reply { status, token, enforced, replayed, body })
    }
}

/// The number inside a revision. Clients need not know it; whoever checks an order does.
pub(crate) fn number_of(token: &str) -> Option<u64> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (_incarnation, number) = bytes.split_first_chunk::<8>()?;
    Some(u64::from_be_bytes(number.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_has_its_number_in_the_second_half() {
        let mut bytes = [9; 16];
        bytes[8..].copy_from_slice(&77_u64.to_be_bytes());
        assert_eq!(number_of(&URL_SAFE_NO_PAD.encode(bytes)), Some(77));
        assert_eq!(number_of("77"), None);
        assert_eq!(number_of(&URL_SAFE_NO_PAD.encode([0; 17])), None);
    }
}
