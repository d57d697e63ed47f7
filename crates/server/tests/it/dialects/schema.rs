//! The vendor's schemas, as far as their fragments go: `$ref`, `allOf`, `type`, `enum`, `properties` and `items`.

use serde_json::Value;

/// Schemas by name, from a file of `fixtures/dialects/`.
pub(super) struct Schemas(Value);

impl Schemas {
    pub(super) fn load(file: &str) -> Self {
        let path = format!("{}/../../fixtures/dialects/{file}", env!("CARGO_MANIFEST_DIR"));
        Self(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
    }

    /// Fails the test where a value is not valid by the schema of this name.
    #[track_caller]
    pub(super) fn check(&self, name: &str, value: &Value) {
        assert!(self.0.get(name).is_some(), "there is no schema `{name}`");
        let faults = self.faults(&self.0[name], value, "");
        assert!(faults.is_empty(), "{faults:?} in {value}");
    }

    fn faults(&self, schema: &Value, value: &Value, at: &str) -> Vec<String> {
        let mut faults = Vec::new();
        for (keyword, rule) in schema.as_object().unwrap() {
            match keyword.as_str() {
                "$ref" => faults.extend(self.faults(&self.0[rule.as_str().unwrap()], value, at)),
                "allOf" => faults
                    .extend(rule.as_array().unwrap().iter().flat_map(|part| self.faults(part, value, at))),
                "type" if !has_type(rule, value) => {
                    faults.push(format!("{at} is not of type {rule}: {value}"));
                }
                "enum" if !rule.as_array().unwrap().contains(value) => {
                    faults.push(format!("{at} is none of {rule}: {value}"));
                }
                "properties" => {
                    let members = rule
                        .as_object()
                        .unwrap()
                        .iter()
                        .filter_map(|(name, schema)| Some((name, schema, value.get(name)?)));
                    faults.extend(members.flat_map(|(name, schema, member)| {
                        self.faults(schema, member, &format!("{at}/{name}"))
                    }));
                }
                "items" => {
                    let items = value.as_array().into_iter().flatten().enumerate();
                    faults.extend(
                        items.flat_map(|(index, item)| self.faults(rule, item, &format!("{at}/{index}"))),
                    );
                }
                "type" | "enum" => {}
                other => panic!("`{other}` is not a keyword that is checked here"),
            }
        }
        faults
    }
}

fn has_type(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        other => panic!("`{other}` is not a type that is checked here"),
    }
}
