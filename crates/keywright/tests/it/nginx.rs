//! A real nginx in front, set up as `docs/gateway.md` says.

use std::net::TcpListener;
use std::process::{Child, Command};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::api::{Api, text};
use super::installation::{Installation, eventually};

const DOCUMENTATION: &str = include_str!("../../../../docs/gateway.md");

/// A running nginx with a product behind it that says what it was told.
struct Nginx {
    child: Child,
    address: String,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The configuration of the documentation, with these addresses in it.
fn documented(keywright: &str, product: &str, address: &str) -> String {
    let (_, after) = DOCUMENTATION.split_once("```nginx\n").unwrap();
    let (snippet, _) = after.split_once("```").unwrap();
    let replaced = [("127.0.0.1:7700", keywright), ("127.0.0.1:8080", product), ("127.0.0.1:80", address)];
    replaced.into_iter().fold(snippet.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from} is in the documentation");
        text.replace(from, to)
    })
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

async fn nginx(installation: &Installation, keywright: &str) -> Nginx {
    let folder = installation.path("nginx");
    std::fs::create_dir_all(&folder).unwrap();
    let (address, product) = (free_address(), free_address());
    let configuration = format!(
        "daemon off; master_process off; pid nginx.pid; error_log error.log warn; events {{}}\n\
         http {{ access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;\n\
         uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n\
         server {{ listen {product}; location / {{ return 200 \"$request_uri key=$http_keywright_key_id owner=$http_keywright_owner org=$http_keywright_org\"; }} }}\n\
         {} }}",
        documented(keywright, &product, &address)
    );
    std::fs::write(folder.join("nginx.conf"), configuration).unwrap();
    let mut command = Command::new("nginx");
    command
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .arg("-p")
        .arg(&folder)
        .arg("-c")
        .arg(folder.join("nginx.conf"));
    command.arg("-e").arg(folder.join("error.log"));
    let child = command.spawn().expect("nginx is there: `cargo xtask tools` installs it");
    eventually("nginx answers", || std::net::TcpStream::connect(&address).ok()).await;
    Nginx { child, address }
}

impl Nginx {
    /// Sends a request line and headers as they are; the answer in whole.
    async fn ask(&self, line: &str, headers: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let request = format!("{line} HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn status(&self, line: &str, headers: &str) -> u16 {
        let answer = self.ask(line, headers).await;
        answer.get(9..12).unwrap_or_default().parse().unwrap_or_else(|_| panic!("{answer}"))
    }
}

#[tokio::test]
async fn nginx_lets_through_what_keywright_allows_and_nothing_else() {
    let installation = Installation::new();
    let server = installation.start().await;
    let root = server.root_key.clone().unwrap();
    let api = Api::new(&server.url, &root);
    let all = json!([{"effect": "allow", "actions": ["get"], "resources": ["devices/**"]}]);
    let make = async |more: serde_json::Value| {
        let mut body = json!({"name": "k", "grants": all});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = api.post("/v1/keys", body).await.expect(201);
        (text(&made["key"]["id"]), text(&made["secret"]))
    };
    let (id, secret) = make(json!({})).await;
    let (_, limited) = make(json!({"limits": [{"name": "one", "max": 1, "per_seconds": 600}]})).await;
    let (_, here) = make(json!({"ip_allowlist": ["127.0.0.1"]})).await;
    let (_, elsewhere) = make(json!({"ip_allowlist": ["10.0.0.1"]})).await;
    let nginx = nginx(&installation, server.url.strip_prefix("http://").unwrap()).await;
    let bearer = |secret: &str| format!("Authorization: Bearer {secret}\r\n");
    let held = bearer(&secret);

    let forged = format!("{held}Keywright-Key-Id: key_forged\r\nKeywright-Owner: prn_forged\r\n");
    let answer = nginx.ask("GET /devices/7?x=%2F", &forged).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains(&format!("/devices/7?x=%2F key={id} owner= org=default")), "{answer}");

    let nobody = nginx.ask("GET /devices/7", "").await;
    assert!(nobody.starts_with("HTTP/1.1 401") && nobody.contains("Bearer realm=\"keywright\""), "{nobody}");
    for (line, headers, status) in [
        ("PUT /devices/7", held.clone(), 403),
        ("GET /orders", held.clone(), 403),
        ("GET /devices/../orders", held.clone(), 403),
        ("GET /devices//7", held.clone(), 403),
        ("GET /orders", format!("{held}X-Original-URI: /devices/7\r\nX-Original-Method: GET\r\n"), 403),
        ("GET /orders", format!("{held}X-Forwarded-Uri: /devices/7\r\nX-Forwarded-Method: GET\r\n"), 403),
        ("GET /.keywright", held.clone(), 404),
        ("GET /devices/7", bearer("kw_nobody"), 401),
        ("GET /devices/7", bearer(&here), 200),
        ("GET /devices/7", bearer(&elsewhere), 403),
        ("GET /devices/7", format!("{}X-Forwarded-For: 10.0.0.1\r\n", bearer(&elsewhere)), 403),
        ("GET /devices/7", format!("api-key: {secret}\r\n"), 200),
        ("GET /devices/7", bearer(&limited), 200),
    ] {
        assert_eq!(nginx.status(line, &headers).await, status, "{line}");
    }
    let full = nginx.ask("GET /devices/7", &bearer(&limited)).await;
    assert!(full.starts_with("HTTP/1.1 429") && full.contains("Retry-After: "), "{full}");

    api.post(&format!("/v1/keys/{id}/revoke"), json!({})).await.expect(200);
    assert_eq!(
        nginx.status("GET /devices/7", &held).await,
        401,
        "a key that was ended does not pass once more"
    );
}
