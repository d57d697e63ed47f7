//! The bodies of Gjirafa VP (vendors.md §2.2 to §2.4): three vocabularies for one key.
//!
//! Property names are read in any case and dates without a zone as UTC, as the vendor's framework does. Unknown
//! properties are ignored, as it does, too.

use axum::response::Response;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use keywright_model::fault::Faults;
use keywright_model::time::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::error::Refusal;
use crate::rest::json;

/// When a key is good, as far as a body says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) start: Option<Timestamp>,
    pub(super) expire: Option<Timestamp>,
    pub(super) has_expire_time: Option<bool>,
}

/// The body of `POST`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CreateBody {
    pub(super) name: String,
    pub(super) validity: Validity,
    pub(super) role_id: Option<u32>,
    /// `None` is a key of the whole organization.
    pub(super) projects: Option<Vec<String>>,
}

/// The body of `PUT`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UpdateBody {
    pub(super) id: u32,
    pub(super) name: Option<String>,
    pub(super) validity: Validity,
    pub(super) role_id: Option<u32>,
}

/// The key object of both answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeyObject {
    pub(super) id: u32,
    pub(super) name: String,
    pub(super) api_key: String,
    pub(super) start_date: String,
    pub(super) expire_date: Option<String>,
    pub(super) has_expire_time: bool,
    pub(super) role_id: u32,
}

/// An element of the list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListedKey {
    pub(super) api_key_id: u32,
    pub(super) api_key_name: String,
    pub(super) api_key: String,
    pub(super) start_date: String,
    pub(super) expire_date: Option<String>,
    pub(super) has_expire_time: bool,
    pub(super) projects_name_list: Vec<Project>,
}

/// A project. Keywright knows no other name of it than its identifier.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Project {
    pub(super) public_id: String,
    pub(super) name: String,
}

/// Reads the body of a create.
pub(super) fn read_create(body: &[u8]) -> Result<CreateBody, Refusal> {
    let map = object(body)?;
    let mut faults = Faults::new();
    let mut outer = Properties { map: &map, at: "", faults: &mut faults };
    let role_id = outer.number("roleId");
    let projects = outer.texts("listProjectsId");
    outer.require("userApiKey");
    let (mut name, mut validity) = (None, Validity::default());
    if let Some(nested) = outer.object("userApiKey") {
        let mut inner = Properties { map: nested, at: "/userApiKey", faults: &mut faults };
        inner.require("apiName");
        name = inner.text("apiName");
        validity = inner.validity("startDateTime", "expireDateTime");
    }
    faults.into_result()?;
    Ok(CreateBody { name: name.unwrap_or_default(), validity, role_id, projects })
}

/// Reads the body of an update.
pub(super) fn read_update(body: &[u8]) -> Result<UpdateBody, Refusal> {
    let map = object(body)?;
    let mut faults = Faults::new();
    let mut fields = Properties { map: &map, at: "", faults: &mut faults };
    fields.require("id");
    let id = fields.number("id");
    let name = fields.text("name");
    let validity = fields.validity("startDate", "expireDate");
    let role_id = fields.number("roleId");
    faults.into_result()?;
    Ok(UpdateBody { id: id.unwrap_or_default(), name, validity, role_id })
}

/// Reads an object, with its names in lower case. Two names that differ in case only are one name twice.
fn object(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    let value = json::read(body).map_err(|_| Refusal::bad_request("the body is no valid JSON"))?;
    match folded(value) {
        Some(Value::Object(map)) => Ok(map),
        Some(_) => Err(Refusal::bad_request("the body must be a JSON object")),
        None => Err(Refusal::bad_request("the body gives a property twice")),
    }
}

fn folded(value: Value) -> Option<Value> {
    let Value::Object(map) = value else { return Some(value) };
    let mut folded_map = Map::new();
    for (name, value) in map {
        if folded_map.insert(name.to_ascii_lowercase(), folded(value)?).is_some() {
            return None;
        }
    }
    Some(Value::Object(folded_map))
}

/// An object whose names are in lower case, read by the vendor's spelling.
struct Properties<'a, 'f> {
    map: &'a Map<String, Value>,
    at: &'static str,
    faults: &'f mut Faults,
}

impl<'a> Properties<'a, '_> {
    fn fault(&mut self, name: &str, code: &'static str, detail: &str) {
        self.faults.add(format!("{}/{name}", self.at), code, detail);
    }

    fn property(&self, name: &str) -> Option<&'a Value> {
        self.map.get(&name.to_ascii_lowercase()).filter(|value| !value.is_null())
    }

    /// Notes it if a property is absent or `null`.
    fn require(&mut self, name: &str) {
        if self.property(name).is_none() {
            self.fault(name, "missing_field", "must be given");
        }
    }

    /// A property, unless it is absent or `null`; `read` says whether it has the right type.
    fn given<T>(&mut self, name: &str, detail: &str, read: impl Fn(&'a Value) -> Option<T>) -> Option<T> {
        let read = read(self.property(name)?);
        if read.is_none() {
            self.fault(name, "invalid_type", detail);
        }
        read
    }

    fn text(&mut self, name: &str) -> Option<String> {
        self.given(name, "must be a string", |value| value.as_str().map(str::to_owned))
    }

    fn number(&mut self, name: &str) -> Option<u32> {
        let int32 = |value: &Value| value.as_u64().and_then(|number| i32::try_from(number).ok());
        self.given(name, "must be an integer from 0 to 2147483647", |value| int32(value)?.try_into().ok())
    }

    fn object(&mut self, name: &str) -> Option<&'a Map<String, Value>> {
        self.given(name, "must be an object", Value::as_object)
    }

    fn texts(&mut self, name: &str) -> Option<Vec<String>> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        self.given(name, "must be a list of strings", |value| value.as_array()?.iter().map(text).collect())
    }

    fn date(&mut self, name: &str) -> Option<Timestamp> {
        self.given(name, "must be a date such as 2022-08-24T12:48:29.365Z", |value| date(value.as_str()?))
    }

    fn validity(&mut self, start: &str, expire: &str) -> Validity {
        Validity {
            start: self.date(start),
            expire: self.date(expire),
            has_expire_time: self.given("hasExpireTime", "must be true or false", Value::as_bool),
        }
    }
}

/// Reads a date with a zone, without one (then it is UTC), or without a time of day.
fn date(text: &str) -> Option<Timestamp> {
    let (day, time) = text.split_once('T').unwrap_or((text, "00:00:00Z"));
    let zoned = time.ends_with('Z') || time.contains(['+', '-']);
    format!("{day}T{time}{}", if zoned { "" } else { "Z" }).parse().ok()
}

/// A success: the status twice, in the answer and in its body.
pub(super) fn success(status: StatusCode, result: &KeyObject) -> Response {
    envelope(status, &[], &json!(result))
}

/// The envelope of every answer.
pub(super) fn envelope(status: StatusCode, errors: &[String], result: &Value) -> Response {
    let body = json!({
        "success": status.is_success(), "errors": errors, "messages": [], "result": result, "resultInfo": null,
        "statusCode": status.as_u16(),
    });
    let mut response = Response::new(body.to_string().into());
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Option<Timestamp> {
        text.parse().ok()
    }

    #[test]
    fn the_pages_own_update_reads() {
        let body = br#"{"id": 3, "name": "string", "startDate": "2022-08-24T12:48:29.365Z",
            "expireDate": "2022-09-24T12:48:29.365Z", "hasExpireTime": true, "roleId": 0}"#;
        let validity = Validity {
            start: at("2022-08-24T12:48:29.365Z"),
            expire: at("2022-09-24T12:48:29.365Z"),
            has_expire_time: Some(true),
        };
        let expected = UpdateBody { id: 3, name: Some("string".to_owned()), validity, role_id: Some(0) };
        assert_eq!(read_update(body).unwrap(), expected);
    }

    #[test]
    fn the_pages_own_create_reads_in_any_case_and_whatever_its_id() {
        let body = br#"{"ListProjectsId":["p1"],"roleid":1,"UserApiKey":{"apiKeyId":0,"APINAME":"ci",
            "hasExpireTime":false,"startDateTime":"2022-08-24T12:07:50"}}"#;
        let validity =
            Validity { start: at("2022-08-24T12:07:50Z"), expire: None, has_expire_time: Some(false) };
        let projects = Some(vec!["p1".to_owned()]);
        let expected = CreateBody { name: "ci".to_owned(), validity, role_id: Some(1), projects };
        assert_eq!(read_create(body).unwrap(), expected);
    }

    #[test]
    fn dates_are_read_with_and_without_zone_and_time() {
        for (text, expected) in [
            ("2022-08-24T12:48:29.365Z", at("2022-08-24T12:48:29.365Z")),
            ("2022-08-24T12:48:29.3651234", at("2022-08-24T12:48:29.365Z")),
            ("2022-08-24T14:48:29+02:00", at("2022-08-24T12:48:29Z")),
            ("2022-08-24T10:48:29-02:00", at("2022-08-24T12:48:29Z")),
            ("2022-08-24", at("2022-08-24T00:00:00Z")),
            ("2022-02-30", None),
            ("24.08.2022", None),
            ("", None),
            ("T", None),
        ] {
            assert_eq!(date(text), expected, "{text}");
        }
    }

    #[track_caller]
    fn check_refused(body: &str, expected: &[&str]) {
        let refusal = read_update(body.as_bytes()).unwrap_err();
        assert_eq!(
            (refusal.status, refusal.errors.as_slice()),
            (
                StatusCode::BAD_REQUEST,
                expected.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>().as_slice()
            )
        );
    }

    #[test]
    fn every_fault_is_named() {
        check_refused("{}", &["id: must be given"]);
        let number = "must be an integer from 0 to 2147483647";
        check_refused(
            r#"{"id":2147483648,"roleId":"1","name":1,"hasExpireTime":"yes"}"#,
            &[
                &format!("id: {number}"),
                "name: must be a string",
                "hasExpireTime: must be true or false",
                &format!("roleId: {number}"),
            ],
        );
        check_refused("[]", &["the body must be a JSON object"]);
        check_refused("{", &["the body is no valid JSON"]);
        check_refused(r#"{"id":1,"ID":2}"#, &["the body gives a property twice"]);
    }
}
