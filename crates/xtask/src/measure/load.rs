//! Verifications on kept connections, of a cluster's node and of a server on its embedded store.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Rate, TURNS, WRITE_WAIT, key};
use crate::cluster::{Alone, Cluster, Rest, Scratch};

const CONNECTIONS: usize = 8;
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// `POST /v1/verify` a second of a node of a cluster, against the same of a server that is alone.
pub(super) async fn verify(cluster: &Cluster, bin: &Path, turn: Duration) -> anyhow::Result<Rate> {
    let (_, node) = cluster.addresses().first().copied().context("no node")?;
    let clustered = question(&cluster.rest, node).await?;
    let scratch = Scratch::new(None)?;
    let alone = Alone::start(bin, &scratch).await?;
    let embedded = question(&alone.rest, alone.address).await?;
    let (mut ours, mut against) = (0.0, 0.0);
    for _ in 0..TURNS {
        against += load(alone.address, &embedded, turn).await?;
        ours += load(node, &clustered, turn).await?;
    }
    let turns = f64::from(u8::try_from(TURNS)?);
    Ok(Rate::new(ours / turns, against / turns))
}

/// A verification that is allowed, as bytes.
async fn question(rest: &Rest, node: SocketAddr) -> anyhow::Result<Vec<u8>> {
    rest.make_asker(node, WRITE_WAIT).await?;
    let (_, secret) = key(rest, node, 0).await?;
    let body = json!({"secret": secret, "action": "get", "resource": "devices/7/gps"}).to_string();
    let bearer = rest.asker().context("no asker")?;
    let head = format!(
        "POST /v1/verify HTTP/1.1\r\nhost: {node}\r\nauthorization: Bearer {bearer}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    Ok([head, body].concat().into_bytes())
}

async fn load(node: SocketAddr, question: &[u8], turn: Duration) -> anyhow::Result<f64> {
    let (begun, mut connections) = (Instant::now(), JoinSet::new());
    for _ in 0..CONNECTIONS {
        let question = question.to_owned();
        connections.spawn(async move { ask(node, &question, turn).await });
    }
    let mut answers = 0;
    while let Some(connection) = connections.join_next().await {
        answers += connection??;
    }
    Ok(f64::from(answers) / begun.elapsed().as_secs_f64())
}

async fn ask(node: SocketAddr, question: &[u8], turn: Duration) -> anyhow::Result<u32> {
    let mut stream = TcpStream::connect(node).await?;
    stream.set_nodelay(true)?;
    let (begun, mut answers, mut buffer) = (Instant::now(), 0, Vec::with_capacity(4_096));
    while begun.elapsed() < turn {
        stream.write_all(question).await?;
        buffer.clear();
        while !is_whole(&buffer)? {
            if stream.read_buf(&mut buffer).await? == 0 {
                bail!("the node closed the connection");
            }
        }
        if !contains(&buffer, b"\"allowed\":true") {
            bail!("a verification was answered {}", String::from_utf8_lossy(&buffer));
        }
        answers += 1;
    }
    Ok(answers)
}

/// Whether an answer with a `Content-Length` has come to its end.
fn is_whole(buffer: &[u8]) -> anyhow::Result<bool> {
    let Some(end) = buffer.windows(END_OF_HEAD.len()).position(|window| window == END_OF_HEAD) else {
        return Ok(false);
    };
    let (head, rest) = buffer.split_at(end);
    let head = std::str::from_utf8(head)?.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.context("an answer without a length")?.trim().parse()?;
    Ok(rest.len() >= END_OF_HEAD.len() + length)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_with_its_last_byte() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        for length in 0..whole.len() {
            assert!(!is_whole(&whole[..length]).unwrap(), "{length}");
        }
        assert!(is_whole(whole).unwrap());
        assert!(is_whole(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
