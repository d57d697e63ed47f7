//! A verification with all checks on, against the least that any such index must do: SHA-256, HMAC-SHA-256 with a
//! prepared key, and one random read of a table of as many records. Ratios are of one run, the two measured in turns; on
//! a shared machine the least of many short rounds is the figure that others disturb least.
//!
//! Both are measured twice. *In turn*: the next begins when what was read is there (who called, and the word from the
//! table), as for a caller that waits for its answer. *Overlapping*: the processor may begin the next meanwhile, which
//! hides the floor's one read nearly whole. Each round asks about other keys, so that none is in the cache because it
//! was asked about before, and the clock goes on, so that every use is written down.
//!
//! `cargo bench -p keywright-verifier` prints a line for each size.

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark stops at the first surprise"
)]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "figures for people")]

#[path = "../tests/fixture/mod.rs"]
#[expect(dead_code, reason = "each binary uses its part")]
mod fixture;

/// The binary's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use keywright_model::change::Change;
use keywright_model::digest::SecretHash;
use keywright_model::grant::Effect;
use keywright_model::key::Rights;
use keywright_model::revision::{Incarnation, Revision};
use keywright_verifier::{Check, Credential, Decided, Lease, Request, Verifier};

use crate::fixture::{
    about, at, batch, grant, key, key_with, limit, now, pepper, plain, secret_of, tenancy, verifier_with,
};

/// Slices of about a millisecond, so that most are not interrupted.
const CALLS: usize = 2_000;
const ROUNDS: usize = 801;

/// What keys of one kind have in common.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Nothing set.
    Plain,
    /// Expiry, addresses, grants and a limit.
    Full,
}

fn change(n: u128, kind: Kind) -> Change {
    let mut key = key(n);
    if kind == Kind::Full {
        key.spec.expires_at = Some(now(1_000_000).wall);
        key.spec.ip_allowlist = Some(vec!["10.0.0.0/8".parse().unwrap(), "127.0.0.1".parse().unwrap()]);
        key.spec.rights =
            Rights::Api { grants: Some(vec![grant(Effect::Allow, "get", "devices/39456825/**")]) };
        key.spec.limits = vec![limit("burst", 1_000_000, 1)];
    }
    // As in the text of a generated secret: 41 characters.
    let material = fixture::material(&long_secret(n));
    key.secrets[0].material = Some(Arc::new(material));
    Change::KeyChanged(Arc::new(key))
}

fn long_secret(n: u128) -> String {
    format!("KW_{:0>38}", secret_of(n, 1))
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

/// A cheap sequence without pattern.
fn scattered(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

fn load(count: u128, kind: Kind) -> Verifier {
    let verifier = verifier_with(Lease::embedded());
    let before = resident_bytes();
    let start = Instant::now();
    let keys = (1..=count).map(|n| change(n, kind));
    verifier.load(tenancy().into_iter().chain(keys), Revision(1), Incarnation(1));
    let seconds = start.elapsed().as_secs_f64();
    let resident = resident_bytes().saturating_sub(before) as f64 / count as f64;
    let own = verifier.size().bytes as f64 / count as f64;
    println!(
        "  loaded in {seconds:.2} s (keys made on the way); {own:.0} bytes a key in the index, {resident:.0} resident"
    );
    verifier
}

/// One of the bits of something that was read, none of which is ever set: as an offset it makes what comes next wait for
/// the read.
fn nothing<const IN_TURN: bool>(read: u64) -> usize {
    if IN_TURN { (read >> 63) as usize } else { 0 }
}

/// Nanoseconds for each; `clock` is the microseconds that went by before.
fn verify_all<const IN_TURN: bool>(
    verifier: &Verifier,
    texts: &[String],
    request: &Request<'_>,
    clock: u64,
) -> f64 {
    let start = Instant::now();
    let mut next = 0;
    for nth in 0..texts.len() {
        let at = now((clock + nth as u64) / 1_000);
        match black_box(&verifier.verify(black_box(&Credential::Bearer(&texts[nth + next])), request, at)) {
            Decided::Verdict(verdict) => {
                assert!(verdict.allowed);
                let id = verdict.key.as_ref().unwrap().id().bits();
                next = nothing::<IN_TURN>((id >> 64) as u64 | black_box(id as u64));
            }
            other => panic!("{other:?}"),
        }
    }
    start.elapsed().as_nanos() as f64 / texts.len() as f64
}

fn hash_all<const IN_TURN: bool>(table: &[[u64; 8]], texts: &[String]) -> f64 {
    let pepper = pepper();
    let start = Instant::now();
    let mut next = 0;
    for nth in 0..texts.len() {
        let digest = pepper.digest(&SecretHash::of_text(black_box(&texts[nth + next])));
        let scaled = u128::from(u64::from_le_bytes(digest.0[..8].try_into().unwrap())) * table.len() as u128;
        next = nothing::<IN_TURN>(black_box(table[(scaled >> 64) as usize][0]));
    }
    start.elapsed().as_nanos() as f64 / texts.len() as f64
}

/// The figure at a place when they are sorted.
fn ranked(figures: &mut [f64], at: usize) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[at]
}

fn measure(count: u128, kind: Kind, name: &str) {
    println!("{count} keys, {name}");
    let verifier = load(count, kind);
    let checks = [Check { action: "get", resource: "devices/39456825/datastreams/gps" }];
    let ip = Some("10.1.2.3".parse().unwrap());
    let request = if kind == Kind::Full { Request { ip, ..about(&checks) } } else { plain() };
    let table: Vec<[u64; 8]> = (0..count as u64).map(|n| [n; 8]).collect();
    let mut seed = 0x9E37_79B9_7F4A_7C15;
    let mut figures: [Vec<f64>; 4] = Default::default();
    let mut clock = 0;
    for _ in 0..ROUNDS {
        let texts: Vec<String> =
            (0..CALLS).map(|_| long_secret(u128::from(scattered(&mut seed)) % count + 1)).collect();
        let (first, second) = texts.split_at(CALLS / 2);
        figures[0].push(verify_all::<true>(&verifier, first, &request, clock));
        figures[1].push(hash_all::<true>(&table, first));
        figures[2].push(verify_all::<false>(&verifier, second, &request, clock));
        figures[3].push(hash_all::<false>(&table, second));
        clock += CALLS as u64;
    }
    for (which, at) in [("least", 0), ("median", ROUNDS / 2)] {
        let [verify, floor, verify_over, floor_over] = figures.each_mut().map(|figures| ranked(figures, at));
        println!(
            "  {which}: in turn: verify {verify:.0} ns, floor {floor:.0} ns, ratio {:.2}; overlapping: verify \
             {verify_over:.0} ns, floor {floor_over:.0} ns, ratio {:.2}",
            verify / floor,
            verify_over / floor_over
        );
    }
    apply_some(&verifier, count, kind);
}

fn apply_some(verifier: &Verifier, count: u128, kind: Kind) {
    let mut seed = 7;
    let batches: Vec<_> = (2..2_002)
        .map(|revision| batch(revision, vec![change(u128::from(scattered(&mut seed)) % count + 1, kind)]))
        .collect();
    let mut times: Vec<f64> = batches
        .iter()
        .map(|batch| {
            let start = Instant::now();
            verifier.apply(batch).unwrap();
            start.elapsed().as_nanos() as f64 / 1_000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("  apply a batch of one key: median {:.1} µs, 99 % {:.1} µs", times[1_000], times[1_980]);
}

fn main() {
    // Keeps the unused parts of the fixture honest.
    black_box((at(0), key_with(1, |_| ())));
    if std::env::args().any(|argument| argument == "tiny") {
        return measure(100, Kind::Full, "all checks on");
    }
    measure(10_000, Kind::Full, "all checks on");
    if std::env::args().any(|argument| argument == "small") {
        return;
    }
    if !std::env::args().any(|argument| argument == "full") {
        measure(1_000_000, Kind::Plain, "nothing set");
    }
    measure(1_000_000, Kind::Full, "all checks on");
}
