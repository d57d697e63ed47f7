//! The shapes that schemas are made of.

use serde_json::{Map, Value, json};

/// Some schemas with their names.
pub(super) type Schemas = Vec<(String, Value)>;

pub(super) fn named<const N: usize>(schemas: [(&str, Value); N]) -> Schemas {
    schemas.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

pub(super) fn text() -> Value {
    json!({"type": "string"})
}

pub(super) fn or_null(mut schema: Value) -> Value {
    if let Some(kind) = schema.get_mut("type") {
        *kind = json!([kind.clone(), "null"]);
        return schema;
    }
    json!({"oneOf": [schema, {"type": "null"}]})
}

pub(super) fn time() -> Value {
    json!({"type": "string", "format": "date-time"})
}

pub(super) fn list(of: Value) -> Value {
    let mut list = json!({"type": "array"});
    if let Value::Object(list) = &mut list {
        list.insert("items".to_owned(), of);
    }
    list
}

/// An object with these fields and no others.
pub(super) fn object<const N: usize>(required: &[&str], properties: [(&str, Value); N]) -> Value {
    let properties: Map<String, Value> =
        properties.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
    json!({"type": "object", "required": required, "properties": properties, "additionalProperties": false})
}

/// An object that a later version may add fields to.
pub(super) fn open(mut schema: Value) -> Value {
    if let Value::Object(map) = &mut schema {
        map.remove("additionalProperties");
    }
    schema
}

/// The fields of two objects in one.
pub(super) fn joined(first: &Value, second: &Value) -> Value {
    let all =
        |schema: &Value| schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut properties = all(first);
    properties.extend(all(second));
    json!({"type": "object", "properties": properties, "additionalProperties": false})
}
