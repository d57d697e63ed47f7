//! This wire's readers for the fuzzer.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;

use super::query::Query;
use super::{map, wire};
use crate::dialects::fuzzing::{edited, query};

pub(super) fn read(input: &[u8]) {
    if let Some(text) = query(input) {
        let request = Request::builder().uri(format!("/keys?{text}")).body(Body::empty());
        if let Some(query) = request.ok().and_then(|request| Query::read(&request).ok()) {
            drop(query.page());
        }
    }
    match wire::read(input) {
        Ok(body) => {
            drop(map::new_key(&body));
            let after = map::edit(body).ok().and_then(|edit| edited(&edit));
            drop(after.map(|key| map::shown(&key, None)));
        }
        Err(refusal) => drop(refusal.into_answer()),
    }
    if let Ok(devices) = wire::read_devices(input) {
        let edit = map::edit_devices(devices, Arc::default());
        drop(edit.ok().and_then(|edit| edited(&edit)).map(|key| map::devices(&key)));
    }
}
