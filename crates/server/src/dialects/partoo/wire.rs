//! The bodies of Partoo, as its OpenAPI fragment has them (vendors.md §4.5 and §4.6).

use axum::response::Response;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use keywright_model::fault::Faults;
use serde::Serialize;
use serde_json::{Map, Value};

use super::error::Refusal;
use crate::rest::json;

/// What a create or update says. `None` is a field that was left out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct KeyBody {
    pub(super) label: Option<String>,
    pub(super) description: Said<String>,
    pub(super) expiration_date: Said<String>,
    pub(super) ip_whitelist: Option<Vec<String>>,
    pub(super) restriction: Option<Restriction>,
}

/// What a body says about a field that can be cleared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Said<T> {
    /// The field was left out.
    #[default]
    Nothing,
    /// `null`.
    Null,
    Value(T),
}

impl<T> Said<T> {
    /// The value, if there is one.
    pub(super) fn value(self) -> Option<T> {
        match self {
            Self::Nothing | Self::Null => None,
            Self::Value(value) => Some(value),
        }
    }

    /// The same about another value; `None` clears.
    pub(super) fn map<U>(self, f: impl FnOnce(T) -> Option<U>) -> Said<U> {
        match self {
            Self::Nothing => Said::Nothing,
            Self::Null => Said::Null,
            Self::Value(value) => f(value).map_or(Said::Null, Said::Value),
        }
    }
}

/// `has_restricted_permissions` and `permissions`, which need each other.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Restriction {
    /// What the owner may do.
    Unrestricted,
    /// These only.
    To(Vec<String>),
}

/// The key of every answer. What is not set is left out: the vendor's schema has no `null`.
#[derive(Debug, Default, Serialize)]
pub(super) struct ApiKey {
    pub(super) id: u32,
    pub(super) label: String,
    pub(super) description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user_name: Option<String>,
    pub(super) user_type: &'static str,
    pub(super) disabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expiration_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_used_at: Option<String>,
    pub(super) created_by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) created_by_name: Option<String>,
    pub(super) created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) revoked_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) revoked_by_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) revoked_at: Option<String>,
    pub(super) ip_whitelist: Vec<String>,
    pub(super) has_restricted_permissions: bool,
    pub(super) permissions: Vec<String>,
    /// The secret: in the answer to a create only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "api_key")]
    pub(super) secret: Option<String>,
}

/// A page of keys.
#[derive(Debug, Serialize)]
pub(super) struct KeyPage {
    pub(super) page: u32,
    pub(super) max_page: u64,
    pub(super) count: u64,
    #[serde(rename = "api_keys")]
    pub(super) items: Vec<ApiKey>,
}

const MISSING: &str = "Missing data for required field.";
const NULL: &str = "Field may not be null.";

/// Reads a body. Unknown fields are ignored: the vendor's schema allows them, and clients send back what they were shown.
pub(super) fn read(body: &[u8]) -> Result<KeyBody, Refusal> {
    let value = json::read(body).map_err(|_| Refusal::invalid_body("Not a valid JSON document."))?;
    let Value::Object(map) = value else { return Err(Refusal::invalid_body("Invalid input type.")) };
    let mut fields = Members { map: &map, faults: Faults::new() };
    let body = KeyBody {
        label: fields.given("label", "Not a valid string.", text),
        description: fields.nullable("description", "Not a valid string.", text),
        expiration_date: fields.nullable("expiration_date", "Not a valid date.", text),
        ip_whitelist: fields.given("ip_whitelist", "Not a valid list of strings.", texts),
        restriction: fields.restriction(),
    };
    fields.faults.into_result()?;
    Ok(body)
}

struct Members<'a> {
    map: &'a Map<String, Value>,
    faults: Faults,
}

impl Members<'_> {
    fn fault(&mut self, name: &str, code: &'static str, detail: &str) {
        self.faults.add(format!("/{name}"), code, detail);
    }

    fn given<T>(&mut self, name: &str, detail: &str, read: fn(&Value) -> Option<T>) -> Option<T> {
        let said = self.nullable(name, detail, read);
        if matches!(said, Said::Null) {
            self.fault(name, "invalid_type", NULL);
        }
        said.value()
    }

    fn nullable<T>(&mut self, name: &str, detail: &str, read: fn(&Value) -> Option<T>) -> Said<T> {
        let Some(value) = self.map.get(name) else { return Said::Nothing };
        if value.is_null() {
            return Said::Null;
        }
        let Some(read) = read(value) else {
            self.fault(name, "invalid_type", detail);
            return Said::Nothing;
        };
        Said::Value(read)
    }

    fn restriction(&mut self) -> Option<Restriction> {
        let restricted = self.given("has_restricted_permissions", "Not a valid boolean.", Value::as_bool);
        let permissions = self.given("permissions", "Not a valid list of strings.", texts);
        for (given, other) in
            [("has_restricted_permissions", "permissions"), ("permissions", "has_restricted_permissions")]
        {
            if self.map.contains_key(given) && !self.map.contains_key(other) {
                self.fault(other, "missing_field", MISSING);
            }
        }
        match restricted.zip(permissions)? {
            (false, _) => Some(Restriction::Unrestricted),
            (true, permissions) => Some(Restriction::To(permissions)),
        }
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(text).collect()
}

/// An answer.
pub(super) fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_string(body) {
        Ok(text) => json_answer(status, text),
        Err(_) => Refusal::internal().into_answer(),
    }
}

/// An answer in JSON.
pub(super) fn json_answer(status: StatusCode, body: String) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn left_out_null_and_given_are_three_things() {
        assert_eq!(read(b"{}").unwrap(), KeyBody::default());
        let body =
            read(br#"{"label":"a","description":null,"expiration_date":"2030-01-01","ip_whitelist":[]}"#)
                .unwrap();
        let expected = KeyBody {
            label: Some("a".to_owned()),
            description: Said::Null,
            expiration_date: Said::Value("2030-01-01".to_owned()),
            ip_whitelist: Some(vec![]),
            restriction: None,
        };
        assert_eq!(body, expected);
    }

    #[test]
    fn a_restriction_needs_both_of_its_fields() {
        let read = |text: &str| read(text.as_bytes()).map(|body| body.restriction);
        let to =
            |names: &[&str]| Some(Restriction::To(names.iter().map(|name| (*name).to_owned()).collect()));
        assert_eq!(read(r#"{"has_restricted_permissions":true,"permissions":["a"]}"#), Ok(to(&["a"])));
        assert_eq!(read(r#"{"has_restricted_permissions":true,"permissions":[]}"#), Ok(to(&[])));
        let unrestricted = Ok(Some(Restriction::Unrestricted));
        assert_eq!(read(r#"{"has_restricted_permissions":false,"permissions":["a"]}"#), unrestricted);
        for (body, missing) in [
            (r#"{"has_restricted_permissions":false}"#, "permissions"),
            (r#"{"permissions":[]}"#, "has_restricted_permissions"),
        ] {
            assert_eq!(read(body).unwrap_err().body["errors"]["json"][missing][0], MISSING, "{body}");
        }
    }

    #[test]
    fn every_fault_is_under_its_field() {
        let refusal =
            read(br#"{"label":null,"ip_whitelist":[1],"description":2,"expiration_date":3}"#).unwrap_err();
        let json = &refusal.body["errors"]["json"];
        assert_eq!(json["label"][0], NULL);
        for field in ["ip_whitelist", "description", "expiration_date"] {
            assert!(json[field][0].is_string(), "{field}");
        }
    }

    #[test]
    fn what_is_no_json_object_is_refused() {
        for text in ["", "[]", "{", r#"{"label":"a","label":"b"}"#] {
            let refusal = read(text.as_bytes()).unwrap_err();
            assert_eq!(refusal.status, StatusCode::BAD_REQUEST, "{text}");
            assert!(refusal.body["errors"]["json"].is_object(), "{text}");
        }
    }
}
