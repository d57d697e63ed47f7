//! Replays the exchanges of `fixtures/dialects/<vendor>/*.http`.
//!
//! A file holds comments (`#`), then one exchange after another, each begun by a line `### what it shows`: a request, and
//! the answer after a line `HTTP/1.1 …`. In a request `{{name}}` stands for what an earlier answer had there; in an answer
//! `"{{name}}"` keeps what stands there, or must be what was kept before (`"{{#name}}"` says that it is no text).
//! `{{admin}}` is the caller's secret, `{{reader}}` that of one who may only read, `{{role}}` the number of a role. An
//! answer's body is compared as JSON; of its headers those that the file has. `{{tc3}}` signs a request as Tencent's
//! clients do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use keywright_server::dialects::Dialect;
use serde_json::{Value, json};

use super::tencent::{Tc3, now};
use super::{ADMIN_ID, Wired};

struct Message {
    /// The first line, then the headers.
    head: Vec<String>,
    body: String,
}

struct Exchange {
    title: String,
    request: Message,
    answer: Message,
}

type Kept = BTreeMap<String, Value>;

fn exchanges(text: &str) -> Vec<Exchange> {
    let sections = text.split("\n### ").skip(1);
    sections.map(exchange).collect()
}

fn exchange(section: &str) -> Exchange {
    let (title, rest) = section.split_once('\n').unwrap();
    let split = rest.find("\nHTTP/1.1 ").expect("an exchange has an answer");
    let (request, answer) = rest.split_at(split);
    Exchange { title: title.to_owned(), request: message(request), answer: message(answer) }
}

fn message(text: &str) -> Message {
    let (head, body) = text.trim_start().split_once("\n\n").unwrap_or((text.trim(), ""));
    Message { head: head.lines().map(str::to_owned).collect(), body: body.trim().to_owned() }
}

fn filled(text: &str, kept: &Kept) -> String {
    kept.iter().fold(text.to_owned(), |text, (name, value)| {
        let plain = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        text.replace(&format!("{{{{{name}}}}}"), &plain)
    })
}

/// Compares, keeping what placeholders stand for.
fn check(at: &str, expected: &Value, given: &Value, kept: &mut Kept) {
    let name = expected.as_str().and_then(|text| text.strip_prefix("{{")?.strip_suffix("}}"));
    match (expected, given) {
        _ if name.is_some() => {
            let name = name.unwrap().trim_start_matches('#').to_owned();
            let before = kept.entry(name).or_insert_with(|| given.clone());
            assert_eq!(before, given, "{at}");
        }
        (Value::Object(expected), Value::Object(members)) => {
            assert!(expected.keys().eq(members.keys()), "{at}: {given} has other members");
            for (name, value) in expected {
                check(&format!("{at}/{name}"), value, &members[name], kept);
            }
        }
        (Value::Array(expected), Value::Array(items)) if expected.len() == items.len() => {
            for (index, (value, item)) in expected.iter().zip(items).enumerate() {
                check(&format!("{at}/{index}"), value, item, kept);
            }
        }
        _ => assert_eq!(expected, given, "{at}"),
    }
}

async fn replay(wired: &Wired, exchange: &Exchange, kept: &mut Kept, file: &Path) {
    let at = format!("{}: {}", file.display(), exchange.title);
    let head: Vec<String> = exchange.request.head.iter().map(|line| filled(line, kept)).collect();
    let body = filled(&exchange.request.body, kept);
    let mut words = head[0].split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let headers: Vec<(&str, &str)> = head[1..].iter().map(|line| line.split_once(": ").unwrap()).collect();
    let header = |name: &str| {
        headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    };
    let reply = if header("authorization") == Some("{{tc3}}") {
        let language = header("x-tc-language").unwrap_or("zh-CN");
        let signer = Tc3 { id: ADMIN_ID, secret: &wired.admin, timestamp: now(wired), language };
        signer.call(wired, header("x-tc-action").unwrap(), &body).await
    } else {
        wired.send(method, path, &headers, body).await
    };
    let answer = &exchange.answer;
    assert_eq!(
        answer.head[0].split(' ').nth(1),
        Some(reply.status.to_string().as_str()),
        "{at}: {:?}",
        reply.body
    );
    for line in &answer.head[1..] {
        let (name, value) = line.split_once(": ").unwrap();
        assert_eq!(reply.header(name), value, "{at}");
    }
    let expected = serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{at}: {error}"));
    check(&at, &expected, &reply.json(), kept);
}

/// What the files name without an answer that had it.
async fn known(wired: &Wired) -> Kept {
    let rights = json!({"actions": ["keys.read", "roles.read"], "orgs": ["default"], "keyspaces": ["*"]});
    let reader = json!({"name": "reader", "kind": "management", "admin": rights, "grantable": []});
    let reader = wired.app.root("POST", "/v1/keys", reader).await.json()["secret"].clone();
    let known =
        [("admin", json!(wired.admin)), ("reader", reader), ("role", wired.role("operator", "get").await)];
    known.map(|(name, value)| (name.to_owned(), value)).into()
}

async fn replay_all(dialect: Dialect) {
    let folder = format!("{}/../../fixtures/dialects/{dialect}", env!("CARGO_MANIFEST_DIR"));
    let listed = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<PathBuf> =
        listed.filter(|path| path.extension().is_some_and(|name| name == "http")).collect();
    assert!(!files.is_empty(), "{folder} is empty");
    for file in files {
        let wired = Wired::start(dialect).await;
        let mut kept = known(&wired).await;
        let exchanges = exchanges(&std::fs::read_to_string(&file).unwrap());
        assert!(!exchanges.is_empty(), "{} has no exchange", file.display());
        for exchange in &exchanges {
            replay(&wired, exchange, &mut kept, &file).await;
        }
    }
}

#[tokio::test]
async fn every_dialect_answers_as_recorded() {
    for dialect in Dialect::ALL {
        replay_all(dialect).await;
    }
}
