//! What stands between a follower and its node may refuse a call, or answer with what is too long: it goes on all the same.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keywright_client::embedded::{Embedded, Local, Options};
use keywright_client::{Client, Secret, VerifyRequest};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use super::embedded::World;

/// What the next call of the feed is answered, instead of by the node.
type Instead = Arc<Mutex<Option<Vec<u8>>>>;

/// Passes calls on to a node, one a connection.
struct Front {
    url: String,
    instead: Instead,
    accepting: AbortHandle,
}

impl Front {
    async fn before(node: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (instead, node) = (Instead::default(), node.to_owned());
        let shared = Arc::clone(&instead);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (node, instead) = (node.clone(), Arc::clone(&shared));
                // Who calls may go away at any time.
                tokio::spawn(async move { drop(pass(stream, &node, &instead).await) });
            }
        });
        Self { url, instead, accepting: accepting.abort_handle() }
    }

    /// Answers the next call of the feed with this, and waits until it has.
    async fn answer_next(&self, answer: Vec<u8>) {
        *self.instead.lock().unwrap() = Some(answer);
        while self.instead.lock().unwrap().is_some() {
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass(mut stream: TcpStream, node: &str, instead: &Instead) -> io::Result<()> {
    let mut call = Vec::new();
    let head = loop {
        if let Some(at) = call.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut call).await? == 0 {
            return Ok(());
        }
    };
    let text = String::from_utf8_lossy(&call[..head]).to_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    while call.len() < head + length.unwrap_or(0) {
        stream.read_buf(&mut call).await?;
    }
    let answer = if text.starts_with("post /v1/feed ") { instead.lock().unwrap().take() } else { None };
    if let Some(answer) = answer {
        return stream.write_all(&answer).await;
    }
    // The node is told to end the connection with its answer, so that all of it is passed on.
    let call = [&call[..head - 2], b"connection: close\r\n\r\n", &call[head..]].concat();
    let mut behind = TcpStream::connect(node.trim_start_matches("http://")).await?;
    behind.write_all(&call).await?;
    tokio::io::copy(&mut behind, &mut stream).await.map(drop)
}

fn refusal(status: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").into_bytes()
}

/// An embedded verifier behind a front, and what it is asked.
async fn behind_a_front(world: &World) -> (Front, Embedded, VerifyRequest) {
    let front = Front::before(&world.server.url).await;
    let client = Client::new(&front.url, Secret::new(world.key.clone())).unwrap();
    let options = Options { max_staleness: Duration::from_secs(3), ..World::options() };
    let embedded = Embedded::start(&client, options).await.unwrap();
    (front, embedded, VerifyRequest::of(world.secret(json!({"name": "k"})).await))
}

#[tokio::test]
async fn a_single_refusal_does_not_use_up_the_bound() {
    let world = World::start().await;
    let (front, embedded, request) = behind_a_front(&world).await;
    for status in ["401 Unauthorized", "429 Too Many Requests", "503 Service Unavailable"] {
        front.answer_next(refusal(status)).await;
        let refused = Instant::now();
        while refused.elapsed() < Duration::from_millis(3_500) {
            assert!(
                matches!(embedded.verify(&request), Local::Verdict(_)),
                "{status}: {:?}",
                refused.elapsed()
            );
            sleep(Duration::from_millis(20)).await;
        }
    }
    world.server.stop().await;
}

#[tokio::test]
async fn after_a_line_that_is_longer_than_any_may_be_everything_is_loaded_anew() {
    let world = World::start().await;
    let (front, embedded, request) = behind_a_front(&world).await;
    let loads = embedded.figures().snapshots.load(Ordering::Relaxed);
    let mut answer =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\nconnection: close\r\n\r\n".to_vec();
    answer.resize(answer.len() + 64 * 1024 * 1024 + 1, b' ');
    front.answer_next(answer).await;
    let began = Instant::now();
    while embedded.figures().snapshots.load(Ordering::Relaxed) == loads {
        assert!(began.elapsed() < Duration::from_secs(20), "it does not load");
        sleep(Duration::from_millis(20)).await;
    }
    assert!(matches!(embedded.verify(&request), Local::Verdict(_)));
    world.server.stop().await;
}
