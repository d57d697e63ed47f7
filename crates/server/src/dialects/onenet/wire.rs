//! The bodies of OneNET, as its pages and its clients write them (vendors.md §1.3 and §1.4).

use axum::response::Response;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use keywright_model::fault::Faults;
use serde_json::{Map, Value, json};

use super::error::Refusal;
use crate::rest::json;

/// What a create or update says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct KeyBody {
    pub(super) title: Option<String>,
    /// `None` when it was left out, which is not the same as an empty list.
    pub(super) permissions: Option<Vec<Permission>>,
}

/// One element of `permissions`: each of the methods on each of the resources. No method is no privilege.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Permission {
    pub(super) resources: Vec<Target>,
    pub(super) methods: Vec<Method>,
}

/// A device, or one data stream of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) dev_id: String,
    pub(super) ds_id: Option<String>,
    /// Where it stands in the body.
    pub(super) at: String,
}

/// What may be done to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Post,
    Get,
    Put,
    Delete,
}

impl Method {
    pub(super) const ALL: [Self; 4] = [Self::Post, Self::Get, Self::Put, Self::Delete];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Post => "post",
            Self::Get => "get",
            Self::Put => "put",
            Self::Delete => "delete",
        }
    }
}

/// Reads a body, whatever its content type says: the clients send `text/plain` or none. Unknown fields are ignored, since
/// one client sends `create_time`.
pub(super) fn read(body: &[u8]) -> Result<KeyBody, Refusal> {
    let value = json::read(body).map_err(|_| Refusal::invalid_json())?;
    let Value::Object(map) = value else { return Err(Refusal::invalid_json()) };
    let mut faults = Faults::new();
    let body = key_body(&map, &mut faults);
    faults.into_result()?;
    Ok(body)
}

/// Which devices a key shall name from now on, and which no longer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct DevicesBody {
    pub(super) add: Vec<String>,
    pub(super) del: Vec<String>,
}

/// Reads the body of a change of devices. A list that is left out is empty.
pub(super) fn read_devices(body: &[u8]) -> Result<DevicesBody, Refusal> {
    let value = json::read(body).map_err(|_| Refusal::invalid_json())?;
    let Value::Object(map) = value else { return Err(Refusal::invalid_json()) };
    let mut faults = Faults::new();
    let mut ids = |name: &str| {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let read = |value: &Value| value.as_array()?.iter().map(text).collect::<Option<Vec<_>>>();
        match given(&map, name).map(read) {
            None => Vec::new(),
            Some(Some(ids)) => ids,
            Some(None) => {
                fault::<()>(&mut faults, &format!("/{name}"), "must be a list of strings");
                Vec::new()
            }
        }
    };
    let body = DevicesBody { add: ids("add_dev_ids"), del: ids("del_dev_ids") };
    faults.into_result()?;
    Ok(body)
}

fn key_body(map: &Map<String, Value>, faults: &mut Faults) -> KeyBody {
    let title = match given(map, "title") {
        None => None,
        Some(Value::String(title)) => Some(title.clone()),
        Some(_) => fault(faults, "/title", "must be a string"),
    };
    let shared = given(map, "access_methods").map(|value| methods(value, "/access_methods", faults));
    // A demo of the vendor's own says `permission`.
    let name = if map.contains_key("permissions") { "permissions" } else { "permission" };
    let permissions = match given(map, name) {
        None => None,
        Some(Value::Array(items)) => Some(permissions(items, &format!("/{name}"), shared.as_deref(), faults)),
        Some(single @ Value::Object(_)) => {
            Some(permissions(std::slice::from_ref(single), &format!("/{name}"), shared.as_deref(), faults))
        }
        Some(_) => fault(faults, &format!("/{name}"), "must be a list of objects"),
    };
    KeyBody { title, permissions }
}

/// Reads the elements. Methods stand in the element, in a later element that has no resources (both are taken apart by
/// some clients), or beside `permissions`; the nearest counts.
fn permissions(items: &[Value], at: &str, shared: Option<&[Method]>, faults: &mut Faults) -> Vec<Permission> {
    let mut read = Vec::new();
    // The elements since the last one that had methods.
    let mut waiting: Vec<Vec<Target>> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let at = format!("{at}/{index}");
        let Value::Object(item) = item else {
            faults.add(at, "invalid_type", "must be an object");
            continue;
        };
        let targets =
            given(item, "resources").map(|value| targets(value, &format!("{at}/resources"), faults));
        let own = given(item, "access_methods")
            .map(|value| methods(value, &format!("{at}/access_methods"), faults));
        match (targets, own) {
            (Some(resources), Some(methods)) => read.push(Permission { resources, methods }),
            (Some(resources), None) => waiting.push(resources),
            (None, Some(methods)) => read.extend(allowed(&mut waiting, &methods)),
            (None, None) => faults.add(at, "missing_field", "must have resources"),
        }
    }
    read.extend(allowed(&mut waiting, shared.unwrap_or_default()));
    read
}

fn allowed(waiting: &mut Vec<Vec<Target>>, methods: &[Method]) -> Vec<Permission> {
    waiting.drain(..).map(|resources| Permission { resources, methods: methods.to_vec() }).collect()
}

fn targets(value: &Value, at: &str, faults: &mut Faults) -> Vec<Target> {
    let Value::Array(items) = value else {
        faults.add(at, "invalid_type", "must be a list of objects");
        return Vec::new();
    };
    let mut read = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let at = format!("{at}/{index}");
        let Value::Object(item) = item else {
            faults.add(at, "invalid_type", "must be an object");
            continue;
        };
        let dev_id = match given(item, "dev_id") {
            Some(Value::String(id)) => Some(id.clone()),
            Some(_) => fault(faults, &format!("{at}/dev_id"), "must be a string"),
            None => fault(faults, &format!("{at}/dev_id"), "must be given"),
        };
        let ds_id = match given(item, "ds_id") {
            None => None,
            Some(Value::String(id)) => Some(id.clone()),
            Some(_) => fault(faults, &format!("{at}/ds_id"), "must be a string"),
        };
        read.extend(dev_id.map(|dev_id| Target { dev_id, ds_id, at }));
    }
    read
}

fn methods(value: &Value, at: &str, faults: &mut Faults) -> Vec<Method> {
    let Value::Array(items) = value else {
        faults.add(at, "invalid_type", "must be a list of strings");
        return Vec::new();
    };
    let mut read = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let method =
            item.as_str().and_then(|text| Method::ALL.into_iter().find(|method| method.as_str() == text));
        match method {
            Some(method) if !read.contains(&method) => read.push(method),
            Some(_) => {}
            None => faults.add(format!("{at}/{index}"), "invalid_value", "must be post, get, put or delete"),
        }
    }
    read
}

/// A field, unless it is absent or `null`.
fn given<'a>(map: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    map.get(name).filter(|value| !value.is_null())
}

fn fault<T>(faults: &mut Faults, at: &str, detail: &str) -> Option<T> {
    faults.add(at, "invalid_type", detail);
    None
}

/// The answer that names a key.
pub(super) fn key_named(key: &str) -> Response {
    envelope(0, "succ", Some(json!({"key": key})))
}

/// The envelope of every answer. Always 200, and with few short headers: a client of the vendor's keeps ten, of 63
/// characters each.
pub(super) fn envelope(errno: u16, error: &str, data: Option<Value>) -> Response {
    let mut body = json!({"errno": errno, "error": error});
    if let (Some(body), Some(data)) = (body.as_object_mut(), data) {
        body.insert("data".to_owned(), data);
    }
    let mut response = Response::new(body.to_string().into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a body comes to: one line a permission, `methods on devices`.
    fn read_to(text: &str) -> Result<Vec<String>, String> {
        let body = read(text.as_bytes()).map_err(|refusal| format!("{refusal:?}"))?;
        let line = |permission: Permission| {
            let methods: Vec<_> = permission.methods.into_iter().map(Method::as_str).collect();
            let named = |target: Target| {
                target.ds_id.map_or(target.dev_id.clone(), |ds| format!("{}:{ds}", target.dev_id))
            };
            let targets: Vec<_> = permission.resources.into_iter().map(named).collect();
            format!("{} on {}", methods.join("+"), targets.join(","))
        };
        Ok(body.permissions.unwrap_or_default().into_iter().map(line).collect())
    }

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(read_to(text).unwrap(), expected, "{text}");
    }

    #[track_caller]
    fn check_refused(text: &str, errno: u16, words: &str) {
        let refusal = read(text.as_bytes()).unwrap_err();
        assert_eq!((refusal.errno, refusal.error.as_str()), (errno, words), "{text}");
    }

    #[test]
    fn the_pages_own_example_reads_without_its_trailing_comma() {
        let page = r#"{"title": "newapikey", "permissions": [{
            "access_methods": ["get", "put", "post", "delete"],
            "resources": [{"dev_id": "39593230", "ds_id": "gps"}, {"dev_id": "39456825"}]}]"#;
        check(&format!("{page}}}"), &["get+put+post+delete on 39593230:gps,39456825"]);
        check_refused(&format!("{page},}}"), 4, "invalid JSON");
    }

    #[test]
    fn methods_stand_in_the_permission_or_beside_it_or_after_it_and_the_nearest_counts() {
        check(r#"{"permissions":[{"resources":[{"dev_id":"1"}]}],"access_methods":["get"]}"#, &["get on 1"]);
        check(
            r#"{"permissions":[{"resources":[{"dev_id":"1"}]},{"access_methods":["put"]}]}"#,
            &["put on 1"],
        );
        check(
            r#"{"permissions":[{"resources":[{"dev_id":"1"}],"access_methods":["post"]},{"resources":[{"dev_id":"2"}]}],
                "access_methods":["get"]}"#,
            &["post on 1", "get on 2"],
        );
        check(
            r#"{"permission":[{"resources":[{"dev_id":"1"}]},{"access_methods":["put"]},{"resources":[{"dev_id":"2"}]}]}"#,
            &["put on 1", " on 2"],
        );
        check(
            r#"{"permission":{"resources":[{"dev_id":"1"}],"access_methods":["get","get"]}}"#,
            &["get on 1"],
        );
    }

    #[test]
    fn methods_that_are_left_out_are_no_privilege() {
        check(r#"{"permissions":[{"resources":[{"dev_id":"1"}]}]}"#, &[" on 1"]);
        check(
            r#"{"permissions":[{"resources":[{"dev_id":"1"}],"access_methods":[]}],"access_methods":["get"]}"#,
            &[" on 1"],
        );
    }

    #[test]
    fn unknown_fields_are_ignored_and_wrong_types_are_named() {
        check(r#"{"create_time":1,"permissions":[]}"#, &[]);
        check_refused(r#"{"title":1}"#, 5108, "invalid parameter: title must be a string");
        check_refused(
            r#"{"permissions":"x"}"#,
            5108,
            "invalid parameter: permissions must be a list of objects",
        );
        let at = "invalid parameter: permissions[0].resources[1].dev_id must be given";
        check_refused(r#"{"permissions":[{"resources":[{"dev_id":"1"},{"ds_id":"x"}]}]}"#, 5108, at);
        let at = "invalid parameter: access_methods[0] must be post, get, put or delete";
        check_refused(r#"{"access_methods":["GET"]}"#, 5108, at);
    }

    #[test]
    fn what_is_no_json_object_is_invalid_json() {
        for text in ["", "x", "[]", "1", r#"{"title":"a","title":"b"}"#, &"[".repeat(1000)] {
            check_refused(text, 4, "invalid JSON");
        }
    }
}
