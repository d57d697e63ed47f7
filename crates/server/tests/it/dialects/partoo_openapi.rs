//! Partoo, called by `schemathesis` as the OpenAPI document says: by its examples, at its borders, with good and bad
//! values and in sequences. Every answer must be one that the document has.

use std::process::Stdio;

use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use keywright_server::dialects::Dialect;
use tokio::net::TcpListener;
use tokio::process::Command;

use super::Wired;
use super::clients::python;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/dialects/partoo/openapi.json");
/// Of each operation in each phase.
const EXAMPLES: &str = "25";
/// Between two calls, so that the organization stays below 300 in a minute.
const PAUSE_MS: u32 = 250;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_one_that_the_openapi_document_has() {
    let Some(python) = python() else { return };
    let wired = Wired::start(Dialect::Partoo).await;
    let clock = std::sync::Arc::clone(&wired.app.node.clock);
    let paced = wired.router.clone().layer(from_fn(move |request: Request, next: Next| {
        clock.advance_ms(PAUSE_MS);
        next.run(request)
    }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { axum::serve(listener, paced).await.unwrap() });
    let report = tempfile::tempdir().unwrap();
    let mut command = Command::new(python);
    command.args(["-m", "schemathesis.cli", "run", DOCUMENT, "--url", &url, "--seed", "1", "--no-color"]);
    command.args(["--max-examples", EXAMPLES, "--checks"]);
    command.arg(
        "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
         response_headers_conformance",
    );
    command.args(["--header", &format!("x-APIKey:{}", wired.admin), "--generation-database", "none"]);
    // What Python has compiled shall be kept.
    command.env_remove("PYTHONDONTWRITEBYTECODE");
    command.current_dir(report.path()).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.unwrap();
    server.abort();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        said.contains("Tested: 5") && said.contains("✅ Stateful"),
        "not every operation was called: {said}"
    );
}
