//! What a socket gets that does not behave.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Extension, Request};
use axum::routing::{get, post};
use keywright_server::listen::{Bounds, Listen, ListenError, Peer, TlsFiles, bind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

struct Served {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

fn listen(bounds: Bounds) -> Listen {
    Listen { address: "127.0.0.1:0".parse().unwrap(), tls: None, plaintext_ok: false, bounds }
}

fn bounds(header_ms: u64) -> Bounds {
    Bounds { header_timeout: Duration::from_millis(header_ms), ..Bounds::default() }
}

async fn serve(listen: Listen) -> Served {
    let listener = bind(listen).await.unwrap();
    let (address, (stop, stopped)) = (listener.address(), oneshot::channel::<()>());
    let router = Router::new()
        .route("/peer", get(async |Extension(Peer(peer)): Extension<Peer>| peer.ip().to_string()))
        .route(
            "/host",
            get(async |request: Request| format!("{:?} {}", request.headers()["host"], request.uri())),
        )
        .route("/slow", get(async || tokio::time::sleep(Duration::from_millis(300)).await))
        .route("/echo", post(async |body: Bytes| body.len().to_string()));
    let ended = tokio::spawn(listener.serve(router, async move {
        let _ = stopped.await;
    }));
    Served { address, stop, ended }
}

impl Served {
    /// Sends bytes and reads until the server closes, or for two seconds.
    async fn exchange(&self, sent: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(sent).await.unwrap();
        read_to_end(&mut stream).await
    }
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(2), stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_request_knows_where_it_comes_from() {
    let served = serve(listen(Bounds::default())).await;
    let answer = served.exchange(b"GET /peer HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("127.0.0.1"), "{answer}");
}

#[tokio::test]
async fn a_host_header_that_is_a_whole_url_gets_through() {
    let served = serve(listen(Bounds::default())).await;
    let request =
        format!("GET /host?a=b HTTP/1.1\r\nHost: http://{}\r\nConnection: close\r\n\r\n", served.address);
    let answer = served.exchange(request.as_bytes()).await;
    assert!(answer.contains(&format!("\"http://{}\" /host?a=b", served.address)), "{answer}");
}

#[tokio::test]
async fn whoever_is_slow_with_headers_is_cut_off() {
    let served = serve(listen(bounds(200))).await;
    for begun in ["", "G", "PRI * HT", "GET /peer HTTP/1.1\r\nHost: x\r\nX-A: "] {
        let began = tokio::time::Instant::now();
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        let answer = read_to_end(&mut stream).await;
        assert!(began.elapsed() < Duration::from_millis(1500), "{begun:?} was kept");
        assert!(!answer.contains(" 200 "), "{begun:?} got {answer}");
    }
}

#[tokio::test]
async fn a_slow_answer_is_not_a_slow_client() {
    let served = serve(listen(bounds(100))).await;
    let answer = served.exchange(b"GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn headers_beyond_what_is_buffered_are_refused() {
    let served = serve(listen(Bounds::default())).await;
    let long = format!("GET /peer HTTP/1.1\r\nHost: x\r\nX-A: {}\r\n\r\n", "a".repeat(64 * 1024));
    let many = format!("GET /peer HTTP/1.1\r\nHost: x\r\n{}\r\n", "X-A: b\r\n".repeat(200));
    for request in [long, many] {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        // The server may close before all is written.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = [0; 64];
        let read = stream.read(&mut answer).await.unwrap_or_default();
        assert!(
            String::from_utf8_lossy(&answer[..read]).starts_with("HTTP/1.1 431"),
            "{:?}",
            &answer[..read]
        );
    }
}

#[tokio::test]
async fn a_body_that_is_framed_twice_is_refused() {
    let served = serve(listen(Bounds::default())).await;
    let smuggled = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde";
    let answer = served.exchange(smuggled).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test]
async fn open_requests_finish_and_new_ones_are_not_taken() {
    let served = serve(listen(Bounds::default())).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let idle = TcpStream::connect(served.address).await.unwrap();
    served.stop.send(()).unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    tokio::time::timeout(Duration::from_secs(2), served.ended).await.expect("drains").unwrap();
    drop(idle);
    assert!(TcpStream::connect(served.address).await.is_err());
}

#[tokio::test]
async fn draining_has_an_end() {
    let bounds = Bounds { drain_timeout: Duration::from_millis(50), ..Bounds::default() };
    let served = serve(listen(bounds)).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    served.stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_millis(200), served.ended).await.expect("ends").unwrap();
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_for_a_place() {
    let served = serve(listen(Bounds { connections_max: 1, ..Bounds::default() })).await;
    let first = TcpStream::connect(served.address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut second = TcpStream::connect(served.address).await.unwrap();
    second.write_all(b"GET /peer HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut byte = [0];
    let early = tokio::time::timeout(Duration::from_millis(150), second.read(&mut byte)).await;
    assert!(early.is_err(), "answered beyond the bound");
    drop(first);
    assert!(read_to_end(&mut second).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn plain_http_is_served_to_other_machines_only_when_told() {
    let everywhere = Listen { address: "0.0.0.0:0".parse().unwrap(), ..listen(Bounds::default()) };
    assert!(matches!(bind(everywhere.clone()).await, Err(ListenError::Plaintext(_))));
    assert!(bind(Listen { plaintext_ok: true, ..everywhere }).await.is_ok());
    let mapped = Listen { address: "[::ffff:127.0.0.1]:0".parse().unwrap(), ..listen(Bounds::default()) };
    assert!(!matches!(bind(mapped).await, Err(ListenError::Plaintext(_))));
}

#[tokio::test]
async fn a_taken_address_and_bad_certificates_are_said_in_words() {
    let served = serve(listen(Bounds::default())).await;
    let again = bind(Listen { address: served.address, ..listen(Bounds::default()) }).await.unwrap_err();
    assert_eq!(again.to_string(), format!("cannot listen on {}", served.address));
    let missing = TlsFiles { certificate: "/nonexistent.pem".into(), key: "/nonexistent.key".into() };
    let refused = bind(Listen { tls: Some(missing), ..listen(Bounds::default()) }).await.unwrap_err();
    assert_eq!(refused.to_string(), "cannot serve TLS");
    let empty = TlsFiles { certificate: "/dev/null".into(), key: "/dev/null".into() };
    assert!(matches!(
        bind(Listen { tls: Some(empty), ..listen(Bounds::default()) }).await,
        Err(ListenError::Tls(_))
    ));
}
