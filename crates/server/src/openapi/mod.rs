//! The OpenAPI 3.1 document, made from the table of routes: what is served is what is described.

mod feed;
mod schemas;
mod shapes;

use std::sync::OnceLock;

use serde_json::{Map, Value, json};

use crate::rest::problem::KINDS;
use crate::routes::{self, Access, Body, Parameter, Route, Values};

/// The document.
pub fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(build)
}

fn build() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in routes::all() {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Value::Object(path) = path {
            path.insert(route.verb.as_str().to_ascii_lowercase(), operation(route));
        }
    }
    let mut tags: Vec<&str> = Vec::new();
    for route in routes::all().filter(|route| route.tag != "service") {
        if !tags.contains(&route.tag) {
            tags.push(route.tag);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Keywright",
            "summary": "API keys whose changes are in force when the answer arrives.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": tags.iter().map(|tag| json!({"name": tag})).collect::<Vec<_>>(),
        "security": [{"managementKey": []}],
        "paths": paths,
        "components": {
            "schemas": schemas::all(),
            "headers": headers(),
            "parameters": header_parameters(),
            "responses": {"Problem": {
                "description": "What went wrong (RFC 9457), every fault of the body included.",
                "headers": {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}},
                "content": {"application/problem+json": {"schema": reference("Problem")}},
            }},
            "securitySchemes": {
                "managementKey": {"type": "http", "scheme": "bearer", "description": "A management key, or the root key."},
                "keyItself": {"type": "http", "scheme": "bearer", "description": "The key that the call is about."},
            },
        },
    })
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn operation(route: &Route) -> Value {
    let mut operation = Map::new();
    operation.insert("operationId".to_owned(), route.id.into());
    operation.insert("tags".to_owned(), json!([route.tag]));
    operation.insert("summary".to_owned(), route.summary.into());
    if let Some(description) = rights(route) {
        operation.insert("description".to_owned(), description.into());
    }
    match route.access {
        Access::Open(_) => operation.insert("security".to_owned(), json!([])),
        Access::KeyItself(_) => operation.insert("security".to_owned(), json!([{"keyItself": []}])),
        Access::Management(..) | Access::Authenticated(_) | Access::Verify(_) => None,
    };
    let parameters = parameters(route);
    if !parameters.is_empty() {
        operation.insert("parameters".to_owned(), parameters.into());
    }
    if let Some(body) = request_body(route) {
        operation.insert("requestBody".to_owned(), body);
    }
    operation.insert("responses".to_owned(), responses(route));
    Value::Object(operation)
}

fn rights(route: &Route) -> Option<String> {
    match route.access {
        Access::Open(_) => None,
        Access::Management(action, _) => Some(format!("Needs `{action}`.")),
        Access::Authenticated(_) => Some("Any management key may ask.".to_owned()),
        Access::KeyItself(_) => Some("Whoever holds the key may call this with it.".to_owned()),
        Access::Verify(_) => Some("Needs `keys.verify`. Answered from memory.".to_owned()),
    }
}

fn parameters(route: &Route) -> Vec<Value> {
    let path = route
        .segments()
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}));
    let query = route.query.iter().flat_map(|group| group.iter()).map(query_parameter);
    let mut headers = Vec::new();
    if !matches!(route.access, Access::Open(_)) {
        headers.push("X-Request-Id");
    }
    if matches!(route.access, Access::Management(..) | Access::Authenticated(_) | Access::Verify(_)) {
        headers.push("Keywright-Org");
    }
    if route.writes() {
        headers.extend(["If-Match", "Idempotency-Key", "Prefer"]);
    }
    if matches!(route.access, Access::Verify(_)) {
        headers.push("Keywright-At-Least");
    }
    let headers = headers.into_iter().map(|name| json!({"$ref": format!("#/components/parameters/{name}")}));
    path.chain(query).chain(headers).collect()
}

fn query_parameter(parameter: &Parameter) -> Value {
    let schema = match parameter.values {
        Values::Text => json!({"type": "string"}),
        Values::Flag => json!({"type": "boolean"}),
        Values::Whole(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
        Values::Time => json!({"type": "string", "format": "date-time"}),
        Values::Words(words) => json!({"type": "string", "enum": words}),
    };
    // OpenAPI has no word for "every name that begins so" but an object spread over parameters, which drops the prefix.
    if let Some(name) = parameter.name.strip_suffix('.') {
        let schema = json!({"type": "object", "additionalProperties": schema});
        let name = format!("{name}.*");
        return json!({"name": name, "in": "query", "description": parameter.description, "schema": schema});
    }
    json!({"name": parameter.name, "in": "query", "description": parameter.description, "schema": schema})
}

fn request_body(route: &Route) -> Option<Value> {
    let schema = route.body.schema()?;
    let content = match route.body {
        Body::Patch(_) => json!({
            "application/merge-patch+json": {"schema": reference(schema)},
            "application/json-patch+json": {"schema": reference("JsonPatch")},
        }),
        Body::None | Body::Json(_) | Body::Optional(_) | Body::Verify(_) | Body::Batch(_) => {
            json!({"application/json": {"schema": reference(schema)}})
        }
    };
    let limit = route.body.limit().unwrap_or_default();
    let required = !matches!(route.body, Body::Optional(_));
    Some(json!({"required": required, "description": format!("At most {limit} bytes."), "content": content}))
}

fn responses(route: &Route) -> Value {
    let mut responses = Map::new();
    let content = |schema: &str| {
        let media =
            Map::from_iter([(feed::media_type(schema).to_owned(), json!({"schema": reference(schema)}))]);
        Value::Object(media)
    };
    let mut success = json!({"description": "Done."});
    if let Value::Object(success) = &mut success {
        if !route.reply.is_empty() {
            success.insert("content".to_owned(), content(route.reply));
        }
        success.insert("headers".to_owned(), reply_headers(route));
    }
    responses.insert(route.status.to_string(), success.clone());
    if route.writes() {
        if let Value::Object(success) = &mut success {
            success.insert(
                "description".to_owned(),
                "Committed; some verifier may still answer by the state before.".into(),
            );
        }
        responses.insert("202".to_owned(), success);
        if route.status != 200 {
            responses
                .insert("200".to_owned(), json!({"description": "A dry run.", "content": content("DryRun")}));
        }
    }
    responses.insert("default".to_owned(), json!({"$ref": "#/components/responses/Problem"}));
    Value::Object(responses)
}

fn reply_headers(route: &Route) -> Value {
    let mut names = vec!["X-Request-Id"];
    if route.writes() {
        names.extend(["Keywright-Revision", "Keywright-Enforced", "Idempotent-Replayed"]);
        if route.status == 201 {
            names.push("Location");
        }
        if route.status != 204 {
            names.push("ETag");
        }
    }
    names
        .into_iter()
        .map(|name| (name.to_owned(), json!({"$ref": format!("#/components/headers/{name}")})))
        .collect()
}

fn headers() -> Value {
    let text = |description: &str| json!({"description": description, "schema": {"type": "string"}});
    json!({
        "X-Request-Id": text("The request's identifier: the client's own, or one that was made."),
        "Keywright-Revision": text("The write's place among all writes."),
        "Keywright-Enforced": {
            "description": "Whether every verifier answers by the write.",
            "schema": {"type": "string", "enum": ["all", "pending"]},
        },
        "Idempotent-Replayed": {"description": "Whether this is the answer of an earlier call again.", "schema": {"type": "boolean"}},
        "Location": text("Where it is."),
        "ETag": text("The version, as If-Match takes it."),
    })
}

fn header_parameters() -> Value {
    let header = |name: &str, description: &str| json!({"name": name, "in": "header", "description": description, "schema": {"type": "string"}});
    json!({
        "X-Request-Id": header("X-Request-Id", "An identifier of [A-Za-z0-9._-]{1,64} for this request."),
        "Keywright-Org": header("Keywright-Org", "The organization to act in, by name or id."),
        "If-Match": header("If-Match", "The version that it must have, as `ETag` had it: `\"3\"`."),
        "Idempotency-Key": header("Idempotency-Key", "Names the call: repeating it within 24 h gets the same answer."),
        "Prefer": header("Prefer", "`wait=N`: how many seconds to wait until the write is enforced everywhere."),
        "Keywright-At-Least": header("Keywright-At-Least", "A revision that the answer must have seen."),
    })
}

/// The codes that problems may have, for the schema.
fn problem_codes() -> Vec<&'static str> {
    KINDS.iter().map(|kind| kind.code).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
                    found.push(reference.to_owned());
                }
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let paths = document()["paths"].as_object().unwrap();
        let described: usize = paths.values().map(|path| path.as_object().unwrap().len()).sum();
        assert_eq!(described, routes::all().count());
        for route in routes::all() {
            let operation = &paths[route.path][route.verb.as_str().to_ascii_lowercase()];
            assert_eq!(operation["operationId"], route.id);
            assert_eq!(
                operation["responses"][route.status.to_string()]["description"],
                "Done.",
                "{}",
                route.id
            );
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_schema_is_used() {
        let mut found = Vec::new();
        references(document(), &mut found);
        for reference in &found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document().pointer(pointer).is_some(), "{reference} leads nowhere");
        }
        for name in document()["components"]["schemas"].as_object().unwrap().keys() {
            let reference = format!("#/components/schemas/{name}");
            assert!(found.contains(&reference), "{name} is not used");
        }
    }

    #[test]
    fn every_segment_of_a_path_is_a_parameter() {
        for route in routes::all() {
            let operation = &document()["paths"][route.path][route.verb.as_str().to_ascii_lowercase()];
            let named = |name: &str| {
                operation["parameters"]
                    .as_array()
                    .is_some_and(|all| all.iter().any(|p| p["name"] == name && p["in"] == "path"))
            };
            assert!(route.segments().all(named), "{}", route.id);
        }
    }

    #[test]
    fn the_writable_fields_described_are_those_of_the_model() {
        use keywright_model::document::Shape;
        for (schema, shape) in [
            ("OrgWrite", Shape::ORG),
            ("KeyspaceWrite", Shape::KEYSPACE),
            ("PrincipalWrite", Shape::PRINCIPAL),
            ("RoleWrite", Shape::ROLE),
            ("PlanWrite", Shape::PLAN),
        ] {
            let described: Vec<_> = document()["components"]["schemas"][schema]["properties"]
                .as_object()
                .unwrap()
                .keys()
                .collect();
            assert_eq!(described, shape.writable, "{schema}");
        }
        let described: Vec<_> = document()["components"]["schemas"]["KeyWrite"]["properties"]
            .as_object()
            .unwrap()
            .keys()
            .collect();
        // One schema for both kinds of key: what only a management key has stands where an API key has its grants.
        let (api, management) = (Shape::API_KEY.writable, Shape::MANAGEMENT_KEY.writable);
        let (before, after) = api.split_at(api.iter().position(|field| *field == "grants").unwrap() + 1);
        let only_management = management.iter().filter(|field| !api.contains(field));
        let expected: Vec<_> = before.iter().chain(only_management).chain(after).collect();
        assert_eq!(described, expected);
    }
}
