//! What is logged is one line an event, whatever strangers send.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::installation::{Installation, Server};

/// Looks like a line of the log, if it ever becomes one.
const FORGED: &str = "2026-01-01T00:00:00.000000Z ERROR keywright: forged";

/// Sends bytes as they are, and reads until the server has answered or ended the connection.
async fn send(server: &Server, bytes: &[u8]) {
    let address = server.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = [0; 4_096];
    let _ = stream.read(&mut answer).await;
}

/// Everything that a stranger or a client can choose, with line breaks, escapes and quotes in it.
async fn provoke(server: &Server) {
    let root = server.root_key.clone().unwrap();
    let odd = format!("x\r\n{FORGED}\u{1b}[31m\u{7}\"}}\u{2028}");
    let escaped = format!("x%0d%0a{}%1b[31m", FORGED.replace(' ', "%20"));
    let body = |value: Value| value.to_string();
    let calls = [
        ("GET", format!("/{escaped}"), String::new()),
        ("GET", format!("/v1/keys/{escaped}"), String::new()),
        ("GET", format!("/v1/keys?q={escaped}&{escaped}=1"), String::new()),
        ("GET", format!("/v1/audit?verb={escaped}"), String::new()),
        ("POST", "/v1/keys".to_owned(), body(json!({"name": odd, "description": odd}))),
        (
            "POST",
            "/v1/keys".to_owned(),
            body(json!({"name": "k", "metadata": {"note": odd}, "labels": {"l": odd}})),
        ),
        ("POST", "/v1/keys".to_owned(), body(json!({"name": "k", "metadata": {"note": odd}}))),
        ("POST", "/v1/keys".to_owned(), format!("{{\"name\": {odd}")),
        ("POST", "/v1/roles".to_owned(), body(json!({"name": odd, odd.clone(): 1}))),
        ("POST", "/v1/verify".to_owned(), body(json!({"secret": odd, "action": odd, "resource": odd}))),
        ("POST", "/dialects/onenet/keys".to_owned(), body(json!({"title": odd}))),
        (odd.split('\r').next().unwrap(), "/v1/keys".to_owned(), String::new()),
    ];
    for (method, path, body) in calls {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {root}\r\nx-request-id: {escaped}\r\n\
             idempotency-key: {escaped}\r\nuser-agent: \u{fc}\t{FORGED}\r\ncontent-type: application/json\r\n\
             connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        send(server, request.as_bytes()).await;
    }
    // What is no request at all.
    send(server, format!("{odd}\r\n\r\n").as_bytes()).await;
    send(server, format!("GET / HTTP/1.1\r\nhost: a\r\nx: \u{1b}[31m\r\n\n{FORGED}\r\n\r\n").as_bytes())
        .await;
    send(server, format!("GET / HTTP/9\r\n{FORGED}: x\r\n\r\n").as_bytes()).await;
    send(server, b"\x16\x03\x01\n2026 forged\n").await;
}

/// What a server logs in this format about all that.
async fn log(format: &str) -> String {
    let installation = Installation::new();
    let command = installation.serve_command(&["--dialect", "onenet"], &[("KEYWRIGHT_LOG_FORMAT", format)]);
    let server = installation.start_with(command).await;
    // What it says to whoever starts it is no event.
    let started = server.log().len();
    provoke(&server).await;
    server.terminate();
    let mut server = server;
    assert_eq!(server.ended().await.code(), Some(0), "{}", server.log());
    server.log().split_off(started)
}

#[track_caller]
fn check_characters(log: &str) {
    let odd: Vec<char> = log
        .chars()
        .filter(|character| *character != '\n' && (character.is_control() || *character == '\u{2028}'))
        .collect();
    assert!(odd.is_empty(), "{odd:?} in {log}");
    assert!(log.lines().count() > 3, "much is logged: {log}");
}

#[tokio::test]
async fn nobody_writes_lines_into_the_log() {
    let text = log("text").await;
    check_characters(&text);
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let at: Option<keywright_model::time::Timestamp> = words.next().and_then(|word| word.parse().ok());
        let level = words.next().unwrap_or_default();
        assert!(at.is_some(), "a line that is no event: {line}");
        assert!(["TRACE", "DEBUG", "INFO", "WARN", "ERROR"].contains(&level), "{line}");
        assert!(!line.starts_with(FORGED), "{line}");
    }
    let lines = log("json").await;
    check_characters(&lines);
    for line in lines.lines() {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(event["timestamp"].is_string() && event["level"].is_string(), "{line}");
        assert_ne!(event["message"], "forged");
    }
}
