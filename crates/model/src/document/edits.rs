//! Applying an edit to a noun's document: what it then says, and every fault at its place in what the client sent.

use serde_json::{Map, Value};

use super::{Edit, Shape, echo, operations, pointer, unknown};
use crate::fault::Faults;

/// Entries that are the caller's own: a merge with `null` takes them away, and no name is unknown.
const FREE_FORM: &[&str] = &["labels", "metadata"];

/// Applies an edit to a noun's view and decodes its writable fields (`null` where they were cleared): one list of
/// faults, with pointers into the body of the edit.
///
/// Faults: `missing_field` (replace), `unknown_field`, `read_only_field`, those of operations that cannot be applied
/// (which come alone), and the decoder's.
pub fn edited_as<T>(
    shape: Shape,
    view: &Map<String, Value>,
    edit: &Edit,
    decode: impl FnOnce(&Map<String, Value>) -> Result<T, Faults>,
) -> Result<T, Faults> {
    let mut faults = Faults::new();
    let mut paths = Vec::new();
    let writable = match edit {
        Edit::Replace(body) => {
            check_presence(shape, view, edit, body, &mut faults);
            check_read_only(shape, view, body, &mut faults);
            writable_of(shape, |field| body.get(field))
        }
        Edit::Merge(patch) => {
            // What a merge does not name stays as it is, so only the rest is looked at.
            let named = merged(view, patch);
            check_read_only(shape, view, &named, &mut faults);
            writable_of(shape, |field| named.get(field).or_else(|| view.get(field)))
        }
        Edit::Patch(patch) => {
            let after;
            (after, paths) = operations::applied(view, patch)?;
            check_presence(shape, view, edit, &after, &mut faults);
            check_read_only(shape, view, &after, &mut faults);
            writable_of(shape, |field| after.get(field))
        }
    };
    let decoded = match decode(&writable) {
        Ok(decoded) if faults.is_empty() => return Ok(decoded),
        Ok(_) => Faults::new(),
        Err(more) => more,
    };
    faults.absorb(decoded);
    Err(match edit {
        Edit::Replace(_) | Edit::Merge(_) => faults,
        Edit::Patch(patch) => faults.map(|fault| operations::placed(patch, &paths, fault)),
    })
}

/// [`edited_as`] without decoding: the writable fields, each present (`null` where it was cleared).
pub fn edited(shape: Shape, view: &Map<String, Value>, edit: &Edit) -> Result<Map<String, Value>, Faults> {
    edited_as(shape, view, edit, |writable| Ok(writable.clone()))
}

/// The fields that can be written, each present.
fn writable_of<'a>(shape: Shape, value: impl Fn(&str) -> Option<&'a Value>) -> Map<String, Value> {
    let mut writable = Map::with_capacity(shape.writable.len());
    for field in shape.writable {
        writable.insert((*field).to_owned(), value(field).cloned().unwrap_or(Value::Null));
    }
    writable
}

fn check_presence(
    shape: Shape,
    view: &Map<String, Value>,
    edit: &Edit,
    after: &Map<String, Value>,
    faults: &mut Faults,
) {
    let absent = |field: &&&str| !after.contains_key(**field);
    match edit {
        Edit::Replace(_) => {
            for field in shape.writable.iter().filter(absent) {
                faults.add(
                    pointer(field),
                    "missing_field",
                    "replacing needs every writable field; use PATCH to change some",
                );
            }
        }
        // A merge cannot take a field away: its `null` stays.
        Edit::Merge(_) => {}
        Edit::Patch(_) => {
            for field in shape.explicit.iter().filter(absent) {
                let detail = "cannot be taken away: `[]` gives nothing, `null` gives what the owner's roles give; \
                              replace it with the one that is meant";
                faults.add(pointer(field), "missing_field", detail);
            }
            let read_only = view.iter().filter(|(field, _)| !shape.writable.contains(&field.as_str()));
            for (field, before) in read_only.filter(|(field, _)| !after.contains_key(*field)) {
                if !echo::is_unchanged(field, before, &Value::Null) {
                    faults.add(pointer(field), "read_only_field", "cannot be taken away");
                }
            }
        }
    }
}

fn check_read_only(shape: Shape, view: &Map<String, Value>, after: &Map<String, Value>, faults: &mut Faults) {
    for (field, value) in after.iter().filter(|(field, _)| !shape.writable.contains(&field.as_str())) {
        if faults.is_full() {
            return;
        }
        match view.get(field) {
            Some(before) if echo::is_unchanged(field, before, value) => {}
            Some(_) => faults.add(
                pointer(field),
                "read_only_field",
                "cannot be written; leave it out or send it back unchanged",
            ),
            None => {
                let known = shape.writable.iter().copied().chain(view.keys().map(String::as_str));
                faults.add(pointer(field), "unknown_field", unknown(field, known));
            }
        }
    }
}

/// What a merge names, as it is after it. Unlike in RFC 7396 a `null` outside labels and metadata stays, for there it means
/// the same as absence, and a misspelt name that shall be cleared is noticed.
fn merged(view: &Map<String, Value>, patch: &Map<String, Value>) -> Map<String, Value> {
    let mut named = Map::with_capacity(patch.len());
    for (field, value) in patch {
        let mut target = match value {
            Value::Object(_) => view.get(field).cloned().unwrap_or(Value::Null),
            // Anything else takes the place of what was there.
            _ => Value::Null,
        };
        if FREE_FORM.contains(&field.as_str()) && !value.is_null() {
            json_patch::merge(&mut target, value);
        } else {
            merge_known(&mut target, value);
        }
        named.insert(field.clone(), target);
    }
    named
}

/// [`json_patch::merge`] that keeps every `null`. As deep as a body can be.
fn merge_known(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (name, value) in patch {
        merge_known(target.entry(name).or_insert(Value::Null), value);
    }
}
