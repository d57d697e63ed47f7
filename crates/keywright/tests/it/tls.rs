//! TLS as an operator sets it up.

use std::path::PathBuf;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::api::Api;
use super::installation::{Installation, Server};

struct Certificate {
    pem: String,
    file: PathBuf,
    key: PathBuf,
}

fn certificate(installation: &Installation, name: &str) -> Certificate {
    let made =
        rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let files = (installation.path(&format!("{name}.pem")), installation.path(&format!("{name}-key.pem")));
    std::fs::write(&files.0, made.cert.pem()).unwrap();
    std::fs::write(&files.1, made.signing_key.serialize_pem()).unwrap();
    Certificate { pem: made.cert.pem(), file: files.0, key: files.1 }
}

async fn served(installation: &Installation, certificate: &Certificate, address: &str) -> Server {
    let mut command = installation.serve_command(&["--listen", address, "--tls-cert"], &[]);
    command.arg(&certificate.file).arg("--tls-key").arg(&certificate.key);
    installation.start_with(command).await
}

#[tokio::test]
async fn clients_that_trust_the_certificate_talk_and_others_do_not() {
    let installation = Installation::new();
    let mine = certificate(&installation, "mine");
    let other = certificate(&installation, "other");
    // With TLS no word is needed for an address that other machines reach.
    let server = served(&installation, &mine, "0.0.0.0:0").await;
    let root = server.root_key.clone().unwrap();
    assert!(server.url.starts_with("https://0.0.0.0:"), "{}", server.url);
    let url = server.url.replace("0.0.0.0", "localhost");
    let api = Api::trusting(&mine.pem, &url, &root);
    let (_, secret) = api.make("over-tls").await;
    assert_eq!(api.verdict(&secret, "get", "over-tls/1").await, "allowed");
    let distrusted = Api::trusting(&other.pem, &url, &root).call("GET", "/v1/whoami", None, &[]).await;
    assert!(distrusted.is_err(), "{distrusted:?}");

    let run = |trusted: PathBuf| {
        let mut command = installation.command(&["keys", "list", "--json", "--server", &url]);
        command.env("KEYWRIGHT_KEY", &root).env("SSL_CERT_FILE", trusted);
        installation.run_with(command, "")
    };
    let listed = run(mine.file.clone()).await.expect(0, &[]).json();
    assert!(listed.to_string().contains("over-tls"), "{listed}");
    let refused = run(other.file.clone()).await.expect(6, &[]);
    assert!(refused.err.to_lowercase().contains("certificate"), "it says what is wrong: {refused:?}");
}

#[tokio::test]
async fn what_is_no_handshake_is_cut_off_and_the_rest_goes_on() {
    let installation = Installation::new();
    let mine = certificate(&installation, "mine");
    let mut server = served(&installation, &mine, "127.0.0.1:0").await;
    let root = server.root_key.clone().unwrap();
    let address = server.url.strip_prefix("https://").unwrap().to_owned();
    let plain = format!("GET /v1/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {root}\r\n\r\n");
    for garbage in [plain.as_bytes(), &[0xff; 300], &[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0], b"\r\n\r\n\r\n"] {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(std::time::Duration::from_secs(20), stream.read_to_end(&mut answer));
        let _ = read.await.expect("it is cut off");
        let said = String::from_utf8_lossy(&answer);
        assert!(!said.contains("HTTP/") && !said.contains("root"), "nothing is answered in clear: {said}");
    }
    let plain = Api::new(&server.url.replace("https", "http"), &root);
    assert!(plain.call("GET", "/v1/whoami", None, &[]).await.is_err(), "HTTP in clear is not answered");
    let api = Api::trusting(&mine.pem, &server.url, &root);
    api.get("/v1/whoami").await.expect(200);
    assert!(!server.log().contains(&root), "what is sent in clear by mistake is not logged");
    server.terminate();
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_refused_with_its_file() {
    let installation = Installation::new();
    let mine = certificate(&installation, "mine");
    let other = certificate(&installation, "other");
    let (certificate, key) = (mine.file.to_str().unwrap(), mine.key.to_str().unwrap());
    let refused = |arguments: Vec<String>| {
        let installation = &installation;
        async move { installation.refused(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), &[]).await }
    };
    let with = |certificate: &str, key: &str| {
        refused(["--tls-cert", certificate, "--tls-key", key].map(str::to_owned).to_vec())
    };
    with(certificate, "nowhere.pem").await.expect(2, &["nowhere.pem"]);
    with(key, key).await.expect(2, &["mine-key.pem", "certificate"]);
    with(certificate, certificate).await.expect(2, &["mine.pem", "private key"]);
    with(certificate, other.key.to_str().unwrap()).await.expect(2, &["cannot be used"]);
    refused(vec!["--tls-cert".to_owned(), certificate.to_owned()]).await.expect(2, &["tls-cert", "tls-key"]);
    assert!(!installation.data().join("master.key").exists(), "nothing is made by a start that is refused");
}
