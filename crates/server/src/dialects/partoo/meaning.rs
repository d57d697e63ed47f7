//! What a call of Partoo's own API asks for: a permission, such as `business_edit`.
//!
//! The vendor names permissions by what is changed and how, and documents few of them (`business_edit`, `business_edit_name`):
//! the others follow the same pattern here, which is a decision of ours.

use crate::gateway::readings::Meant;
use crate::gateway::target::Target;

/// The permission for a method on a noun: `PUT /v2/business/{id}` needs `business_edit`.
pub(super) fn meaning(call: &Target<'_>) -> Vec<Meant> {
    let mut segments = call.resource.split('/');
    let (Some("v2"), Some(noun)) = (segments.next(), segments.next()) else { return Vec::new() };
    let verb = match call.action.as_str() {
        "get" | "head" => "view",
        "post" => "create",
        "put" | "patch" => "edit",
        "delete" => "delete",
        _ => return Vec::new(),
    };
    vec![Meant { action: format!("{noun}_{verb}"), resource: call.resource.clone() }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &str, target: &str, expected: Option<&str>) {
        let meant = meaning(&Target::read(method, target).unwrap());
        assert_eq!(meant.first().map(|meant| meant.action.as_str()), expected, "{method} {target}");
    }

    #[test]
    fn a_method_on_a_noun_needs_a_permission() {
        check("PUT", "/v2/business/7", Some("business_edit"));
        check("PATCH", "/v2/business", Some("business_edit"));
        check("GET", "/v2/business", Some("business_view"));
        check("POST", "/v2/posts", Some("posts_create"));
        check("DELETE", "/v2/posts/1", Some("posts_delete"));
        for (method, target) in
            [("PUT", "/v1/business"), ("PUT", "/v2"), ("PUT", "/"), ("OPTIONS", "/v2/business")]
        {
            check(method, target, None);
        }
    }
}
