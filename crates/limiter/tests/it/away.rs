//! A server that is away, slow, or not what it says.

use std::sync::Arc;
use std::time::Duration;

use keywright_limiter::{Policy, RedisAllowances, RedisUrl};
use keywright_model::denial::Denial;
use keywright_verifier::Counting;
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::fixture::limit;
use crate::server::{Node, Server, TIMEOUT};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_of_the_server_is_answered_by_the_policy_and_its_return_needs_nobody() {
    let mut server = Server::start();
    let limits = [limit("l", 12, 3_600)];
    let policies = [Policy::Local, Policy::Allow, Policy::Deny];
    let nodes = policies.map(|policy| Node::start(&server, &format!("{policy:?}"), &limits, policy));
    for node in &nodes {
        node.until_away_is(0).await;
    }
    // The second heartbeat tells each of all three.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let first = nodes[0].verify(1, 1).await;
    let state = first.limits.iter().next().unwrap();
    assert_eq!((first.allowed, state.remaining, state.counting), (true, 11, Counting::Installation));
    server.kill();
    let mut seen = Vec::new();
    for node in &nodes {
        let mut allowed = 0;
        for _ in 0..20 {
            allowed += u32::from(node.verify(1, 1).await.allowed);
        }
        let last = node.verify(1, 1).await;
        let counting = last.limits.iter().next().unwrap().counting;
        seen.push((allowed, last.denial, counting));
        assert_eq!(node.figure("limiter_away"), 1);
        assert!(node.verify(2, 1).await.allowed);
    }
    assert_eq!(
        seen,
        [
            // A third of twelve, of which one is known to be used.
            (3, Some(Denial::RateLimited), Counting::Node),
            (20, None, Counting::Nobody),
            (0, Some(Denial::RateLimited), Counting::Refusing),
        ]
    );
    server.run();
    for node in &nodes {
        node.until_away_is(0).await;
        assert_eq!(node.verifier.counting(), Counting::Installation);
    }
    assert!(nodes[2].verify(1, 1).await.allowed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_holds_up_limited_keys_once_and_others_never() {
    let server = Server::start();
    let node = Arc::new(Node::start(&server, "a", &[limit("l", 5, 3_600)], Policy::Local));
    node.until_away_is(0).await;
    server.signal(Signal::SIGSTOP);
    let limited = tokio::spawn({
        let node = Arc::clone(&node);
        async move {
            let start = Instant::now();
            (node.verify(1, 1).await.allowed, start.elapsed())
        }
    });
    let (start, mut unlimited) = (Instant::now(), 0);
    while start.elapsed() < TIMEOUT {
        let asked = Instant::now();
        assert!(node.verify(2, 1).await.allowed);
        assert!(asked.elapsed() < TIMEOUT / 2, "{:?}", asked.elapsed());
        unlimited += 1;
        tokio::task::yield_now().await;
    }
    let (allowed, waited) = limited.await.unwrap();
    // The call under way, its own, and what two busy processors add.
    assert!(allowed && unlimited > 100 && waited < TIMEOUT * 2 + Duration::from_millis(400), "{waited:?}");
    for _ in 0..50 {
        let asked = Instant::now();
        node.verify(1, 1).await;
        assert!(asked.elapsed() < TIMEOUT / 2, "{:?}", asked.elapsed());
    }
    server.signal(Signal::SIGCONT);
    node.until_away_is(0).await;
}

/// What a node makes of a server that says this to whatever it is asked.
async fn check_answer(says: &'static [u8]) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = RedisUrl::parse(&format!("redis://{}", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut asked = [0; 4_096];
                while stream.read(&mut asked).await.is_ok_and(|read| read > 0) {
                    if stream.write_all(says).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    let allowances = RedisAllowances::new(&url, "a", "test", TIMEOUT).unwrap();
    let node = Node::with(Arc::new(allowances), &[limit("l", 10, 3_600)], Policy::Local);
    let mut allowed = 0;
    for _ in 0..100 {
        allowed += u32::from(node.verify(1, 1).await.allowed);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(allowed <= 20, "{allowed} of 10 after {:?}", String::from_utf8_lossy(says));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_answer_panics_nobody_and_grants_no_more_than_the_guard() {
    for says in [
        b"-ERR no\r\n".as_slice(),
        b"+OK\r\n",
        b"not redis at all",
        b"*3\r\n:1\r\n:9223372036854775807\r\n:9223372036854775807\r\n",
        b"*3\r\n:1\r\n:9223372036854775807\r\n:0\r\n",
        b"*3\r\n:-1\r\n:-9\r\n:-9\r\n",
        b"*1000000\r\n:1\r\n",
        b"$5\r\nhello\r\n",
        b"",
    ] {
        check_answer(says).await;
    }
}
