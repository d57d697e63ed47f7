//! This wire's readers for the fuzzer.

use http::Uri;

use super::seen::Seen;
use super::{map, query as asked, wire};
use crate::dialects::fuzzing::{edited, now, query};

pub(super) fn read(input: &[u8]) {
    if let Some(uri) = query(input).and_then(|text| format!("/v2/api_keys?{text}").parse::<Uri>().ok()) {
        drop((asked::of_list(&uri), asked::of_read(&uri)));
    }
    if let Ok(text) = str::from_utf8(input) {
        map::number(text);
    }
    match wire::read(input) {
        Ok(body) => drop(map::new_key(body, None, now())),
        Err(refusal) => drop(refusal.into_answer()),
    }
    if let Ok(body) = wire::read(input) {
        drop(map::edit(body, Seen::All, now()).ok().and_then(|edit| edited(&edit)));
    }
}
