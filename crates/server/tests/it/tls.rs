//! TLS from PEM files, seen by a client that trusts the certificate.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use keywright_server::listen::{Bounds, Listen, TlsFiles, bind};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

#[tokio::test]
async fn a_certificate_from_files_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let files = TlsFiles { certificate: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
    std::fs::write(&files.certificate, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    let listen = Listen {
        address: "127.0.0.1:0".parse().unwrap(),
        tls: Some(files),
        plaintext_ok: false,
        bounds: Bounds { header_timeout: Duration::from_millis(300), ..Bounds::default() },
    };
    let listener = bind(listen).await.unwrap();
    let address = listener.address();
    assert!(listener.is_tls());
    let router = Router::new().route("/", get(async || "over TLS"));
    tokio::spawn(listener.serve(router, std::future::pending()));

    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let connector = TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth()));
    let stream = TcpStream::connect(address).await.unwrap();
    let mut stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap_or_default();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("over TLS"), "{answer}");

    // Whoever begins a handshake and stops is cut off.
    let mut silent = TcpStream::connect(address).await.unwrap();
    let mut byte = [0];
    let read =
        tokio::time::timeout(Duration::from_secs(2), silent.read(&mut byte)).await.expect("is cut off");
    assert_eq!(read.unwrap_or_default(), 0);
}
