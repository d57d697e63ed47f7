//! REST over a socket: what only shows there.

use std::net::SocketAddr;
use std::time::Duration;

use keywright_server::listen::{Bounds, Listen, bind};
use keywright_testkit::{ROOT, TestApp};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

async fn listening(app: &TestApp) -> SocketAddr {
    let listen = Listen {
        address: "127.0.0.1:0".parse().unwrap(),
        tls: None,
        plaintext_ok: false,
        bounds: Bounds::default(),
    };
    let listener = bind(listen).await.unwrap();
    let address = listener.address();
    tokio::spawn(listener.serve(keywright_server::router(app.state().clone()), std::future::pending()));
    address
}

/// Sends a request in pieces and reads the answer to its end.
async fn exchange(address: SocketAddr, head: &str, body: &[&[u8]]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v1/keys HTTP/1.1\r\nHost: http://{address}\r\nAuthorization: Bearer {ROOT}\r\nContent-Type: application/json\r\n\
         Connection: close\r\n{head}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    for piece in body {
        stream.write_all(piece).await.unwrap();
    }
    let mut answer = String::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut answer));
    read.await.expect("is answered").expect("is readable");
    answer
}

#[tokio::test]
async fn a_body_that_is_too_large_is_answered_even_when_its_sender_goes_on() {
    let app = TestApp::start().await;
    let address = listening(&app).await;
    let large = vec![b' '; 10 * 1024 * 1024];
    let announced = exchange(address, &format!("Content-Length: {}", large.len()), &[&large]).await;
    assert!(announced.starts_with("HTTP/1.1 413") && announced.contains("body_too_large"), "{announced}");
    let chunk = [b"40001\r\n".as_slice(), &large[..0x40001], b"\r\n0\r\n\r\n"].concat();
    let streamed = exchange(address, "Transfer-Encoding: chunked", &[&chunk]).await;
    assert!(streamed.starts_with("HTTP/1.1 413") && streamed.contains("body_too_large"), "{streamed}");
    assert_eq!(app.root("GET", "/v1/keys", Value::Null).await.json()["items"], serde_json::json!([]));
}

#[tokio::test]
async fn a_key_is_made_through_a_host_header_that_is_a_url() {
    let app = TestApp::start().await;
    let address = listening(&app).await;
    let made = exchange(address, "Content-Length: 12", &[br#"{"name":"k"}"#]).await;
    assert!(made.starts_with("HTTP/1.1 201"), "{made}");
    let chunked = exchange(
        address,
        "Transfer-Encoding: chunked",
        &[b"6\r\n{\"name", b"\r\n6\r\n\":\"k\"}\r\n0\r\n\r\n"],
    )
    .await;
    assert!(chunked.starts_with("HTTP/1.1 201"), "{chunked}");
    for answer in [made, chunked] {
        let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        keywright_testkit::canary::note_secret(body["secret"].as_str().unwrap());
    }
}
