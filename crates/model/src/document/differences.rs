//! What differs between two documents of one noun.

use serde_json::{Map, Value};

use super::pointer;

/// One field that differs between two views.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct FieldChange {
    /// A JSON Pointer to the field, or to the entry of an object where it alone differs.
    pub path: String,
    /// Its value before; `null` for an entry that was not there.
    pub from: Value,
    /// Its value after; `null` for an entry that is no longer there.
    pub to: Value,
}

/// Fields that tell when and how often a noun was written, and so differ after every write.
const BOOKKEEPING: &[&str] = &["version", "etag", "updated_at", "updated_by", "last_used_at"];

/// The exact difference of two views of one noun, in the order in which the fields are shown. Pass an empty map for a noun
/// that does not exist.
///
/// A field's own `null` is its value. Within a field `null` stands for an entry that is not there: an object in which
/// a real `null` comes or goes is told whole, so that the changes say all that there is to know.
pub fn field_changes(before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    for name in names(before, after).filter(|name| !BOOKKEEPING.contains(&name.as_str())) {
        let (from, to) = (before.get(name).unwrap_or(&Value::Null), after.get(name).unwrap_or(&Value::Null));
        compare(pointer(name), from, to, &mut changes);
    }
    changes
}

/// The names of both, each once, in the order of `after`.
fn names<'a>(
    before: &'a Map<String, Value>,
    after: &'a Map<String, Value>,
) -> impl Iterator<Item = &'a String> {
    after.keys().chain(before.keys().filter(|name| !after.contains_key(*name)))
}

fn compare(path: String, from: &Value, to: &Value, changes: &mut Vec<FieldChange>) {
    if from == to {
        return;
    }
    match (from, to) {
        (Value::Object(before), Value::Object(after)) if !differs_by_null(before, after) => {
            for name in names(before, after) {
                let (from, to) =
                    (before.get(name).unwrap_or(&Value::Null), after.get(name).unwrap_or(&Value::Null));
                compare(path.clone() + &pointer(name), from, to, changes);
            }
        }
        _ => changes.push(FieldChange { path, from: from.clone(), to: to.clone() }),
    }
}

fn differs_by_null(before: &Map<String, Value>, after: &Map<String, Value>) -> bool {
    let one_sided = |one: &Map<String, Value>, other: &Map<String, Value>| {
        one.iter().any(|(name, value)| value.is_null() && other.get(name) != Some(value))
    };
    one_sided(before, after) || one_sided(after, before)
}
