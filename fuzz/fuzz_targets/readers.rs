//! Everything that reads what strangers send: the four wires, the signatures, and what a gateway is told. One binary, so
//! that there is one build; `KEYWRIGHT_FUZZ` says which reader gets the bytes.

#![no_main]

use std::sync::LazyLock;

use keywright_model::signing::onenet_token::parse_token;
use keywright_model::signing::tencent_v1::decode_parameters;
use keywright_model::signing::{self, SignedRequest};
use keywright_server::dialects::Dialect;
use keywright_server::fuzzing;
use libfuzzer_sys::fuzz_target;
use sha2::{Digest as _, Sha256};

enum Reader {
    Wire(Dialect),
    Signature,
    Token,
    Gateway,
}

static READER: LazyLock<Reader> = LazyLock::new(|| {
    let name = std::env::var("KEYWRIGHT_FUZZ").expect("KEYWRIGHT_FUZZ names a reader");
    match name.as_str() {
        "tc3" | "tencent_v1" => Reader::Signature,
        "onenet_token" => Reader::Token,
        "gateway" => Reader::Gateway,
        wire => Reader::Wire(wire.parse().expect("a reader")),
    }
});

fuzz_target!(|input: &[u8]| match &*READER {
    Reader::Wire(dialect) => fuzzing::wire(*dialect, input),
    Reader::Signature => signature(input),
    Reader::Token => token(input),
    Reader::Gateway => gateway(input),
});

const SECRET: &[u8] = b"a secret of the fuzzer";

/// A request as text: method, host and target in a line each, then headers, an empty line, the body.
struct Request<'a> {
    method: &'a str,
    host: &'a str,
    target: &'a str,
    headers: Vec<(&'a str, &'a str)>,
    body: &'a str,
}

impl<'a> Request<'a> {
    fn read(input: &'a [u8]) -> Option<Self> {
        let text = str::from_utf8(input).ok()?;
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = head.split('\n');
        let (method, host, target) = (lines.next()?, lines.next()?, lines.next()?);
        let headers = lines.map(|line| line.split_once(": ").unwrap_or((line, ""))).collect();
        Some(Self { method, host, target, headers, body })
    }
}

/// Whatever can be parsed has a canonical form, and none of ours signed it.
fn signature(input: &[u8]) {
    let Some(Request { method, host, target, headers, body }) = Request::read(input) else { return };
    let query = target.split_once('?').map_or(body, |(_, query)| query);
    let pairs = decode_parameters(query).unwrap_or_default();
    let pairs: Vec<(&str, &str)> =
        pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let body_sha256 = (!body.is_empty()).then(|| Sha256::digest(body).into());
    let request = SignedRequest { method, host, target, headers: &headers, parameters: &pairs, body_sha256 };
    let Ok(parsed) = signing::parse(&request) else { return };
    assert!(parsed.check(&request, SECRET, parsed.timestamp()).is_err(), "forged");
    let late = parsed.timestamp().saturating_add(1_000_000);
    assert!(parsed.check(&request, SECRET, late).is_err(), "late");
}

fn token(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let Ok(token) = parse_token(text) else { return };
    assert!(token.check(SECRET, 0).is_err(), "forged");
}

fn gateway(input: &[u8]) {
    let Some(Request { method, target, headers, .. }) = Request::read(input) else { return };
    fuzzing::gateway(method, target, &headers);
}
