//! Edits by operations (RFC 6902): applying them within bounds, and finding the one that a fault comes from.

use json_patch::{Patch, PatchErrorKind, PatchOperation};
use serde_json::{Map, Value};

use super::OPERATIONS_MAX;
use super::echo::equal;
use super::fields::is_deeper;
use crate::fault::{Fault, Faults};

/// By how much a document may grow while operations are applied, in bytes of JSON: as much as a body can bring.
/// `copy` could else double it a hundred times.
const GROWTH_BYTES_MAX: usize = 256 * 1024;

/// How deep a document may become while operations are applied. One operation at most doubles it, so that walking,
/// copying and dropping it always fits a thread's stack.
const DEPTH_MAX: usize = 64;

/// The document after the operations, and the place that each of them was about, with `-` resolved.
pub(super) fn applied(
    view: &Map<String, Value>,
    patch: &Patch,
) -> Result<(Map<String, Value>, Vec<String>), Faults> {
    if patch.0.len() > OPERATIONS_MAX {
        return Err(Faults::one("", "too_many_operations", format!("at most {OPERATIONS_MAX} operations")));
    }
    let mut document = Value::Object(view.clone());
    let weight_max = weight(&document) + GROWTH_BYTES_MAX;
    let mut paths = Vec::with_capacity(patch.0.len());
    for (index, operation) in patch.0.iter().enumerate() {
        let refused = |code, detail: &str| Err(Faults::one(format!("/{index}"), code, detail));
        paths.push(resolved(&document, operation.path().as_str()));
        match apply(&mut document, operation) {
            Ok(()) => {}
            Err(PatchErrorKind::TestFailed) => {
                return refused("patch_test_failed", "the value is another one");
            }
            Err(error) => return refused("invalid_patch", &error.to_string()),
        }
        if is_deeper(&document, DEPTH_MAX) {
            return refused("too_deep", "the document becomes too deep");
        }
        if weight(&document) > weight_max {
            return refused("too_large", "the document grows too large");
        }
        if !document.is_object() {
            return refused("invalid_type", "the whole document must stay an object");
        }
    }
    match document {
        Value::Object(map) => Ok((map, paths)),
        _ => Err(Faults::one("", "invalid_type", "the whole document must stay an object")),
    }
}

fn apply(document: &mut Value, operation: &PatchOperation) -> Result<(), PatchErrorKind> {
    let PatchOperation::Test(test) = operation else {
        // Nothing is undone: a document that an operation failed on is dropped.
        return json_patch::patch_unsafe(document, std::slice::from_ref(operation))
            .map_err(|error| error.kind);
    };
    let found = document.pointer(test.path.as_str());
    if found.is_some_and(|found| equal(found, &test.value)) {
        Ok(())
    } else {
        Err(PatchErrorKind::TestFailed)
    }
}

/// A path whose last `-` is the index that it stands for.
fn resolved(document: &Value, path: &str) -> String {
    let list = path.strip_suffix("/-").and_then(|list| Some((list, document.pointer(list)?.as_array()?)));
    list.map_or_else(|| path.to_owned(), |(list, items)| format!("{list}/{}", items.len()))
}

/// About how many bytes of JSON a value is, without writing it.
fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 5,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(|item| weight(item) + 1).sum::<usize>() + 2,
        Value::Object(map) => {
            map.iter().map(|(name, value)| name.len() + weight(value) + 4).sum::<usize>() + 2
        }
    }
}

/// Tells a fault of the outcome at the operation that it comes from: the last that wrote there, or within, or in the
/// same field. Where an index has moved since, only the last of these is right.
pub(super) fn placed(patch: &Patch, paths: &[String], fault: Fault) -> Fault {
    let last = |place: fn(usize, &PatchOperation, &str, &Fault) -> Option<String>| {
        patch.0.iter().zip(paths).enumerate().rev().find_map(|(index, (operation, path))| {
            if matches!(operation, PatchOperation::Test(_)) {
                None
            } else {
                place(index, operation, path, &fault)
            }
        })
    };
    if let Some(pointer) = last(exact) {
        return Fault { pointer, ..fault };
    }
    let pointer = last(in_the_field).unwrap_or_default();
    let detail = format!("{} (at {} of the outcome)", fault.detail, fault.pointer);
    Fault { pointer, detail, ..fault }
}

fn exact(index: usize, operation: &PatchOperation, path: &str, fault: &Fault) -> Option<String> {
    if below(path, &fault.pointer).is_some_and(|rest| !rest.is_empty()) {
        return Some(format!("/{index}/path"));
    }
    let rest = below(&fault.pointer, path)?;
    let of_the_name = matches!(fault.code, "unknown_field" | "read_only_field" | "missing_field");
    match operation {
        _ if of_the_name && rest.is_empty() => Some(format!("/{index}/path")),
        PatchOperation::Add(json_patch::AddOperation { value, .. })
        | PatchOperation::Replace(json_patch::ReplaceOperation { value, .. }) => {
            let parent = rest.rsplit_once('/').map_or("", |(parent, _)| parent);
            value.pointer(parent).map(|_| format!("/{index}/value{rest}"))
        }
        PatchOperation::Move(_) | PatchOperation::Copy(_) => Some(format!("/{index}/from")),
        PatchOperation::Remove(_) | PatchOperation::Test(_) => Some(format!("/{index}/path")),
    }
}

fn in_the_field(index: usize, _: &PatchOperation, path: &str, fault: &Fault) -> Option<String> {
    let field = |pointer: &str| pointer.split('/').nth(1).map(str::to_owned);
    (field(path) == field(&fault.pointer)).then(|| format!("/{index}/path"))
}

/// What follows `above` in a pointer at or below it.
fn below<'p>(pointer: &'p str, above: &str) -> Option<&'p str> {
    pointer.strip_prefix(above).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}
