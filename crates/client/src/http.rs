//! One call over HTTP: what is sent, when it may be sent again, and what an answer must look like.

use std::fmt;
use std::time::Duration;

use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, RETRY_AFTER,
};
use reqwest::redirect::Policy;
use reqwest::{Method, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::error::{Error, Problem};
use crate::secret::Secret;
use crate::write::{Answer, Enforced, WriteOptions, Written};
use crate::{IdempotencyKeys, Options};

/// No answer of this API is larger.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long an answer may take that is read as it comes.
#[cfg(feature = "embedded")]
const OPEN_MAX: Duration = Duration::from_hours(1);
/// How long to wait before a call is made again; doubled each time.
const BACKOFF: Duration = Duration::from_millis(100);

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENT_REPLAYED: &str = "idempotent-replayed";
const KEYWRIGHT_ORG: HeaderName = HeaderName::from_static("keywright-org");
const KEYWRIGHT_AT_LEAST: HeaderName = HeaderName::from_static("keywright-at-least");
const KEYWRIGHT_ENFORCED: &str = "keywright-enforced";
const KEYWRIGHT_REVISION: &str = "keywright-revision";
const PREFER: HeaderName = HeaderName::from_static("prefer");

pub(crate) struct Transport {
    http: reqwest::Client,
    base: Url,
    server: String,
    headers: HeaderMap,
    attempts: u32,
    idempotency_keys: Option<IdempotencyKeys>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Transport").field(&self.server).finish()
    }
}

/// A body and its type.
pub(crate) struct Body {
    pub(crate) content_type: &'static str,
    pub(crate) json: Zeroizing<Vec<u8>>,
}

impl Body {
    pub(crate) fn json(value: &impl Serialize) -> Result<Self, Error> {
        Self::of("application/json", value)
    }

    pub(crate) fn of(content_type: &'static str, value: &impl Serialize) -> Result<Self, Error> {
        let json = serde_json::to_vec(value).map_err(Error::Body)?;
        Ok(Self { content_type, json: Zeroizing::new(json) })
    }
}

/// One call, ready to be made as often as it may be.
struct Call {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Option<Body>,
    /// Whether making it twice is as good as once.
    repeatable: bool,
}

impl Transport {
    pub(crate) fn new(server: &str, key: Option<Secret>, options: Options) -> Result<Self, Error> {
        let base =
            Url::parse(server).ok().filter(is_server).ok_or_else(|| Error::Server(server.to_owned()))?;
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, application/problem+json"));
        if let Some(key) = key {
            let bearer = Zeroizing::new(format!("Bearer {}", key.expose()));
            let mut value = HeaderValue::from_str(&bearer).map_err(|_| Error::Header("the key"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        for (name, value) in [(KEYWRIGHT_ORG, options.org), (KEYWRIGHT_AT_LEAST, options.at_least)] {
            if let Some(value) = value {
                headers.insert(
                    name,
                    HeaderValue::from_str(&value).map_err(|_| Error::Header("the organization"))?,
                );
            }
        }
        let mut builder = reqwest::Client::builder()
            // A credential must not follow a redirect to another place.
            .redirect(Policy::none())
            .connect_timeout(options.connect_timeout)
            .timeout(options.timeout)
            .user_agent(concat!("keywright/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&base) {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(Error::Setup)?;
        let server = server.trim_end_matches('/').to_owned();
        let (attempts, idempotency_keys) = (options.attempts.max(1), options.idempotency_keys);
        Ok(Self { http, base, server, headers, attempts, idempotency_keys })
    }

    /// Reads something.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(String, String)],
    ) -> Result<T, Error> {
        let url = self.url(path, query)?;
        let call = Call { method: Method::GET, url, headers: HeaderMap::new(), body: None, repeatable: true };
        let (_, _, bytes) = self.make(&call).await?;
        self.parse(StatusCode::OK, &bytes)
    }

    /// Asks something with a body that changes no noun. A verification consumes limits, so it is not made twice.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, path: &[&str], body: Body) -> Result<T, Error> {
        let url = self.url(path, &[])?;
        let call = Call {
            method: Method::POST,
            url,
            headers: HeaderMap::new(),
            body: Some(body),
            repeatable: false,
        };
        let (_, _, bytes) = self.make(&call).await?;
        self.parse(StatusCode::OK, &bytes)
    }

    /// Writes something.
    pub(crate) async fn write<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        body: Option<Body>,
        options: &WriteOptions,
    ) -> Result<Answer<T>, Error> {
        let query =
            if options.dry_run { vec![("dry_run".to_owned(), "true".to_owned())] } else { Vec::new() };
        let mut headers = HeaderMap::new();
        if let Some(tag) = &options.if_match {
            headers.insert(IF_MATCH, HeaderValue::from_str(tag).map_err(|_| Error::Header("If-Match"))?);
        }
        if let Some(seconds) = options.wait {
            let wait =
                HeaderValue::from_str(&format!("wait={seconds}")).map_err(|_| Error::Header("Prefer"))?;
            headers.insert(PREFER, wait);
        }
        let fresh = || self.idempotency_keys.as_ref().filter(|_| !options.dry_run).map(|fresh| fresh());
        let name = options.idempotency_key.clone().or_else(fresh);
        let repeatable = options.dry_run || name.is_some();
        if let Some(name) = name {
            let value = HeaderValue::from_str(&name).map_err(|_| Error::Header("Idempotency-Key"))?;
            headers.insert(IDEMPOTENCY_KEY, value);
        }
        let call = Call { method, url: self.url(path, &query)?, headers, body, repeatable };
        let (status, headers, bytes) = self.make(&call).await?;
        if options.dry_run {
            return self.parse(status, &bytes).map(|plan| Answer::DryRun(Box::new(plan)));
        }
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let pending =
            text(KEYWRIGHT_ENFORCED).is_some_and(|said| said == "pending") || status == StatusCode::ACCEPTED;
        let bytes: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
        Ok(Answer::Written(Box::new(Written {
            value: self.parse(status, bytes)?,
            revision: text(KEYWRIGHT_REVISION),
            enforced: if pending { Enforced::Pending } else { Enforced::All },
            etag: text(ETAG.as_str()),
            replayed: text(IDEMPOTENT_REPLAYED).is_some_and(|said| said == "true"),
        })))
    }

    fn url(&self, path: &[&str], query: &[(String, String)]) -> Result<Url, Error> {
        let mut url = self.base.clone();
        let segments = url.path_segments_mut().map(|mut segments| {
            segments.pop_if_empty().push("v1").extend(path);
        });
        segments.map_err(|()| Error::Server(self.server.clone()))?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    /// Makes a call, again if it may be.
    async fn make(&self, call: &Call) -> Result<(StatusCode, HeaderMap, Zeroizing<Vec<u8>>), Error> {
        let mut backoff = BACKOFF;
        let mut attempt = 1;
        loop {
            let outcome = self.make_once(call).await;
            let last = attempt >= self.attempts;
            match outcome {
                Err(error) if !last && may_repeat(&error, call.repeatable, attempt) => {}
                outcome => return outcome,
            }
            tokio::time::sleep(backoff).await;
            backoff *= 4;
            attempt += 1;
        }
    }

    async fn make_once(&self, call: &Call) -> Result<(StatusCode, HeaderMap, Zeroizing<Vec<u8>>), Error> {
        let mut request = self.http.request(call.method.clone(), call.url.clone());
        request = request.headers(self.headers.clone()).headers(call.headers.clone());
        if let Some(body) = &call.body {
            request = request.header(CONTENT_TYPE, body.content_type).body(body.json.to_vec());
        }
        let mut response = request.send().await.map_err(|error| self.network(error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = self.body(&mut response).await?;
        if status.is_success() {
            return Ok((status, headers, bytes));
        }
        Err(self.refusal(status, &headers, &bytes))
    }

    /// What a refusal says.
    fn refusal(&self, status: StatusCode, headers: &HeaderMap, bytes: &[u8]) -> Error {
        let retry_after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        self.parse(status, bytes).map_or_else(
            |foreign| foreign,
            |problem: Problem| Error::Problem(Box::new(Problem { retry_after, ..problem })),
        )
    }

    /// The same server with the same key over connections of its own, for a thread that shares nothing with others. A call
    /// is made once, in a bounded time.
    #[cfg(feature = "embedded")]
    pub(crate) fn apart(&self, timeout: Duration) -> Result<Self, Error> {
        let mut builder = reqwest::Client::builder().redirect(Policy::none()).timeout(timeout);
        if is_loopback(&self.base) {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(Error::Setup)?;
        let (base, server, headers) = (self.base.clone(), self.server.clone(), self.headers.clone());
        Ok(Self { http, base, server, headers, attempts: 1, idempotency_keys: None })
    }

    /// Makes a call that is no write of a noun. `None` is an answer without a body.
    #[cfg(feature = "embedded")]
    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        body: Option<Body>,
    ) -> Result<Option<T>, Error> {
        let (url, headers) = (self.url(path, &[])?, HeaderMap::new());
        let call = Call { method, url, headers, body, repeatable: false };
        let (status, _, bytes) = self.make(&call).await?;
        if bytes.is_empty() { Ok(None) } else { self.parse(status, &bytes).map(Some) }
    }

    /// Asks something whose answer is read as it comes. Its head must come within a time; the whole may take long.
    #[cfg(feature = "embedded")]
    pub(crate) async fn open(&self, path: &[&str], body: &Body, head: Duration) -> Result<Response, Error> {
        let request = self.http.post(self.url(path, &[])?).headers(self.headers.clone());
        let request = request.header(CONTENT_TYPE, body.content_type).body(body.json.to_vec());
        let sent = tokio::time::timeout(head, request.timeout(OPEN_MAX).send()).await;
        let late = |_| Error::Timeout { server: self.server.clone() };
        let mut response = sent.map_err(late)?.map_err(|error| self.network(error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = self.body(&mut response).await?;
        Err(self.refusal(status, &headers, &bytes))
    }

    /// The next piece of such an answer; `None` at its end.
    #[cfg(feature = "embedded")]
    pub(crate) async fn piece(
        &self,
        of: &mut Response,
        within: Duration,
    ) -> Result<Option<bytes::Bytes>, Error> {
        let late = |_| Error::Timeout { server: self.server.clone() };
        let piece = tokio::time::timeout(within, of.chunk()).await.map_err(late)?;
        piece.map_err(|error| self.network(error))
    }

    /// The server's address.
    #[cfg(feature = "embedded")]
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// Makes a call as somebody else, and gives back what came, refusals too.
    #[cfg(feature = "embedded")]
    pub(crate) async fn pass_on(
        &self,
        path: &[&str],
        headers: HeaderMap,
        body: bytes::Bytes,
    ) -> Result<(StatusCode, Zeroizing<Vec<u8>>), Error> {
        let request = self.http.post(self.url(path, &[])?).headers(headers).body(body);
        let mut response = request.send().await.map_err(|error| self.network(error))?;
        let bytes = self.body(&mut response).await?;
        Ok((response.status(), bytes))
    }

    async fn body(&self, response: &mut Response) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut bytes = Zeroizing::new(Vec::new());
        while let Some(chunk) = response.chunk().await.map_err(|error| self.network(error))? {
            if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(self.foreign(response.status()));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    fn parse<T: DeserializeOwned>(&self, status: StatusCode, bytes: &[u8]) -> Result<T, Error> {
        serde_json::from_slice(bytes).map_err(|_| self.foreign(status))
    }

    pub(crate) fn foreign(&self, status: StatusCode) -> Error {
        Error::Foreign { server: self.server.clone(), status: status.as_u16() }
    }

    fn network(&self, error: reqwest::Error) -> Error {
        let server = self.server.clone();
        let source = error.without_url();
        if source.is_connect() {
            Error::Connect { server, source }
        } else if source.is_timeout() {
            Error::Timeout { server }
        } else {
            Error::Transport { server, source }
        }
    }
}

/// A call that never reached the server may always be made again; one that may have, only if twice is as good as once.
/// After such a repetition the first one may still be running: that too passes.
fn may_repeat(error: &Error, repeatable: bool, attempt: u32) -> bool {
    match error {
        Error::Connect { .. } => true,
        Error::Transport { .. } => repeatable,
        Error::Problem(problem) => attempt > 1 && problem.code == "idempotency_in_progress",
        _ => false,
    }
}

fn is_server(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
        && url.host_str().is_some()
        && url.username().is_empty()
        && url.query().is_none()
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transport(server: &str) -> Result<Transport, Error> {
        Transport::new(server, Some(Secret::new("kw_hidden")), Options::default())
    }

    #[test]
    fn paths_are_escaped_below_the_base() {
        let query = [("label.team".to_owned(), "a&b".to_owned())];
        let url = transport("http://127.0.0.1:7700/kw/").unwrap().url(&["keys", "../x y"], &query).unwrap();
        assert_eq!(url.as_str(), "http://127.0.0.1:7700/kw/v1/keys/..%2Fx%20y?label.team=a%26b");
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for server in ["", "127.0.0.1:7700", "ftp://x", "http://user@x", "http://x?y", "http://"] {
            assert!(matches!(transport(server), Err(Error::Server(_))), "{server}");
        }
    }

    #[test]
    fn the_key_is_never_printed() {
        let transport = transport("http://[::1]:1").unwrap();
        assert_eq!(
            format!("{transport:?} {:?}", transport.headers.get(AUTHORIZATION)),
            "Transport(\"http://[::1]:1\") Some(Sensitive)"
        );
        assert!(is_loopback(&transport.base));
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_named() {
        let options = Options { attempts: 1, ..Options::default() };
        let transport = Transport::new("http://127.0.0.1:1", None, options).unwrap();
        let error = transport.get::<serde_json::Value>(&["whoami"], &[]).await.unwrap_err();
        assert_eq!(error.to_string(), "cannot connect to http://127.0.0.1:1");
    }

    #[test]
    fn only_what_cannot_harm_is_made_again() {
        let timeout = Error::Timeout { server: String::new() };
        assert!(!may_repeat(&timeout, true, 1));
        let busy = serde_json::from_str(r#"{"status":409,"code":"idempotency_in_progress"}"#).unwrap();
        let busy = Error::Problem(Box::new(busy));
        assert!(may_repeat(&busy, true, 2) && !may_repeat(&busy, true, 1));
    }
}
