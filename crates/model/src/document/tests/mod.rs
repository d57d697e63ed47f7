//! What the documents promise, from the outside: sizes, edits, and what holds for every key.

mod edits;
mod generate;
mod properties;
mod refusals;
mod sizes;

use serde_json::{Map, Value};

use crate::fault::Faults;

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("not an object: {other}"),
    }
}

/// The places and codes of faults.
fn told(faults: &Faults) -> Vec<(&str, &'static str)> {
    faults.as_slice().iter().map(|fault| (fault.pointer.as_str(), fault.code)).collect()
}

/// Whether a pointer leads to something in the body, or its parent does.
fn leads_somewhere(body: &Value, pointer: &str) -> bool {
    let parent = pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
    body.pointer(pointer).is_some() || body.pointer(parent).is_some()
}
