//! What only a socket shows: odd `Host`s, and answers as clients that read bytes get them.

use keywright_server::dialects::Dialect;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::tencent::{Tc3, now};
use super::{ADMIN_ID, Wired};

/// Sends a POST as it is and gives the whole answer, as text.
async fn posted(wired: &Wired, path: &str, headers: &[(&str, String)], body: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let router = wired.router.clone();
    let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let headers = lines.concat();
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    server.abort();
    answer
}

/// tccli sends its whole endpoint as `Host`, and signs that (vendors.md, trap 5); the Node SDK signs the host without port.
#[tokio::test]
async fn tencents_clients_sign_odd_hosts() {
    let wired = Wired::start(Dialect::Tencent).await;
    let signer = Tc3 { id: ADMIN_ID, secret: &wired.admin, timestamp: now(&wired), language: "en-US" };
    for (signed, sent) in [
        ("http://127.0.0.1:7711", "http://127.0.0.1:7711"),
        ("127.0.0.1", "127.0.0.1:7711"),
        ("localhost:7711", "localhost:7711"),
    ] {
        let body = format!(r#"{{"SecretName": "k{}"}}"#, signed.len());
        let mut headers = signer.headers(signed, "CreateApiKey", &body);
        headers[0].1 = sent.to_owned();
        let answer = posted(&wired, "/", &headers, &body).await;
        assert!(answer.contains("AccessKeySecret"), "{sent}: {answer}");
        assert!(answer.contains("content-type: application/json\r\n"), "{answer}");
    }
}

/// The C client reads once, takes what follows the empty line for JSON, and keeps ten short headers.
#[tokio::test]
async fn onenets_c_client_reads_the_answer() {
    let wired = Wired::start(Dialect::Onenet).await;
    // It sends no content type.
    let headers = [("host", "api.heclouds.com".to_owned()), ("api-key", wired.admin.clone())];
    let body = r#"{"title":"k","permissions":[{"resources":[{"dev_id":"1"}],"access_methods":["get"]}]}"#;
    let answer = posted(&wired, "/keys", &headers, body).await;
    let (head, json) = answer.split_once("\r\n\r\n").unwrap();
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(json["error"], "succ");
    assert!(answer.len() < 4096 && head.lines().count() <= 11, "{answer}");
    assert!(
        head.lines().skip(1).all(|line| line
            .split_once(": ")
            .is_some_and(|(name, value)| name.len() < 32 && value.len() < 64)),
        "{head}"
    );
    assert!(head.to_ascii_lowercase().contains("content-length: "), "{head}");
}
