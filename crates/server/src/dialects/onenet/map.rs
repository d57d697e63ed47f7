//! OneNET's permissions and our grants: `devices/<dev_id>/datastreams/<ds_id>`, or `devices/<dev_id>/**`.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keywright_control::keys::{KeyEdit, KeyRef};
use keywright_model::document::{NewKeyDraft, decode_new_key};
use keywright_model::fault::Faults;
use keywright_model::grant::{Effect, Grant, ResourcePattern};
use keywright_model::key::Rights;
use keywright_model::secret::{Entropy, Secret};
use serde_json::{Map, json};

use super::wire::{KeyBody, Method, Permission, Target};
use crate::dialects::fields::{NAME_MAX, printable};
use crate::dialects::grants::Shape;

/// The grants that this wire shows.
const SHAPE: Shape = Shape {
    action: |action| Method::ALL.iter().any(|method| method.as_str() == action.as_str()),
    resource: is_target,
};

/// The bytes in a key of OneNET's form: 28 characters of base64.
const KEY_BYTES: usize = 20;

fn is_target(pattern: &ResourcePattern) -> bool {
    let named = |segment: &str| !segment.contains('*');
    let segments: Vec<&str> = pattern.as_str().split('/').collect();
    match segments.as_slice() {
        ["devices", dev_id, "**"] => named(dev_id),
        ["devices", dev_id, "datastreams", ds_id] => named(dev_id) && named(ds_id),
        _ => false,
    }
}

/// The key that a create asks for.
pub(super) fn new_key(body: &KeyBody) -> Result<NewKeyDraft, Faults> {
    let missing = |field: &str| Faults::one(format!("/{field}"), "missing_field", "must be given");
    let title = body.title.as_deref().ok_or_else(|| missing("title"))?;
    let permissions = body.permissions.as_deref().ok_or_else(|| missing("permissions"))?;
    let name = printable("title", title, NAME_MAX)?;
    let grants = SHAPE.replaced(&[], &grants(permissions)?, "permissions")?;
    decode_new_key(&Map::from_iter([("name".to_owned(), json!(name)), ("grants".to_owned(), json!(grants))]))
}

/// The change that an update asks for: all that this wire shows of the key's rights is replaced. Denies and grants of
/// other shapes stay.
pub(super) fn edit(body: KeyBody) -> Result<KeyEdit, Faults> {
    let KeyBody { title, permissions } = body;
    // Without it all rights would be gone; the page says that it must be there.
    let permissions =
        permissions.ok_or_else(|| Faults::one("/permissions", "missing_field", "must be given"))?;
    let name = title.map(|title| printable("title", &title, NAME_MAX)).transpose()?;
    let new = grants(&permissions)?;
    Ok(KeyEdit::Set(Arc::new(move |draft, _| {
        if let Some(name) = &name {
            draft.spec.name.clone_from(name);
        }
        let Rights::Api { grants } = &mut draft.spec.rights else {
            return Err(Faults::one("/permissions", "management_key", "cannot be given to a management key"));
        };
        *grants = Some(SHAPE.replaced(grants.as_deref().unwrap_or_default(), &new, "permissions")?);
        Ok(())
    })))
}

/// How a path names a key: by its secret, or by its id where the caller does not have the secret.
pub(super) fn key_named(name: &str) -> KeyRef {
    name.parse().map_or_else(|_| KeyRef::Secret(Secret::new(name)), KeyRef::Id)
}

/// Makes a key of OneNET's form. Its clients put it into paths and queries as it is, so nothing in it may need escaping;
/// the vendor's published keys have `=` where base64 has `+` and `/`, which costs less than one of the 160 bits.
pub(super) fn secret(entropy: &dyn Entropy) -> Secret {
    let mut bytes = zeroize::Zeroizing::new([0; KEY_BYTES]);
    entropy.fill(bytes.as_mut_slice());
    let text = zeroize::Zeroizing::new(STANDARD.encode(bytes.as_slice()));
    Secret::new(text.replace(['+', '/'], "="))
}

fn grants(permissions: &[Permission]) -> Result<Vec<Grant>, Faults> {
    let mut grants = Vec::new();
    let mut faults = Faults::new();
    for permission in permissions {
        let mut resources: Vec<ResourcePattern> = Vec::new();
        for target in &permission.resources {
            match resource(target) {
                Ok(resource) if !resources.contains(&resource) => resources.push(resource),
                Ok(_) => {}
                Err(field) => faults.add(
                    format!("{}/{field}", target.at),
                    "invalid_value",
                    "must be a name without `/`, `*` and control characters",
                ),
            }
        }
        let actions: Vec<_> =
            permission.methods.iter().filter_map(|method| method.as_str().parse().ok()).collect();
        if !actions.is_empty() && !resources.is_empty() {
            grants.push(Grant { effect: Effect::Allow, actions, resources });
        }
    }
    faults.into_result().map(|()| grants)
}

/// The pattern of a target, or the field that names no segment.
fn resource(target: &Target) -> Result<ResourcePattern, &'static str> {
    let Target { dev_id, ds_id, .. } = target;
    if !is_segment(dev_id) {
        return Err("dev_id");
    }
    let text = match ds_id {
        None => format!("devices/{dev_id}/**"),
        Some(ds_id) if is_segment(ds_id) => format!("devices/{dev_id}/datastreams/{ds_id}"),
        Some(_) => return Err("ds_id"),
    };
    // What is left is the length of both together.
    text.parse().map_err(|_| if ds_id.is_some() { "ds_id" } else { "dev_id" })
}

/// Whether a text can stand between two slashes and means only itself.
fn is_segment(text: &str) -> bool {
    !text.is_empty() && !text.contains(['/', '*']) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Filled(u8);

    impl Entropy for Filled {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    fn permission(methods: &[Method], targets: &[(&str, Option<&str>)]) -> Permission {
        let target = |(dev_id, ds_id): &(&str, Option<&str>)| Target {
            dev_id: (*dev_id).to_owned(),
            ds_id: ds_id.map(str::to_owned),
            at: "/permissions/0/resources/0".to_owned(),
        };
        Permission { resources: targets.iter().map(target).collect(), methods: methods.to_vec() }
    }

    #[track_caller]
    fn check_grants(permissions: &[Permission], expected: &serde_json::Value) {
        assert_eq!(&json!(grants(permissions).unwrap()), expected);
    }

    #[test]
    fn a_permission_is_a_grant_on_devices_and_streams() {
        check_grants(
            &[permission(&[Method::Get, Method::Put], &[("7", Some("gps")), ("8", None), ("8", None)])],
            &json!([{"effect": "allow", "actions": ["get", "put"],
                    "resources": ["devices/7/datastreams/gps", "devices/8/**"]}]),
        );
    }

    #[test]
    fn without_methods_or_resources_there_is_no_grant() {
        check_grants(&[permission(&[], &[("7", None)]), permission(&[Method::Get], &[])], &json!([]));
    }

    #[test]
    fn an_id_that_is_no_segment_is_refused_by_name() {
        for bad in ["", "*", "**", "a/b", "7*", "a\0", "\n"] {
            let faults = grants(&[permission(&[Method::Get], &[(bad, None)])]).unwrap_err();
            assert_eq!(faults.as_slice()[0].pointer, "/permissions/0/resources/0/dev_id", "{bad:?}");
            let faults = grants(&[permission(&[Method::Get], &[("7", Some(bad))])]).unwrap_err();
            assert_eq!(faults.as_slice()[0].pointer, "/permissions/0/resources/0/ds_id", "{bad:?}");
        }
        let longest = "x".repeat(512 - "devices//**".len());
        assert!(grants(&[permission(&[Method::Get], &[(&longest, None)])]).is_ok());
        assert!(grants(&[permission(&[Method::Get], &[(&(longest + "x"), None)])]).is_err());
    }

    #[test]
    fn only_named_devices_and_streams_are_of_this_wires_shape() {
        for (text, ours) in [
            ("devices/7/**", true),
            ("devices/7/datastreams/gps", true),
            ("devices/*/**", false),
            ("devices/7", false),
            ("devices/7/datastreams/*", false),
            ("devices/7/datastreams/**", false),
            ("devices/7/datastreams/gps/**", false),
            ("**", false),
        ] {
            assert_eq!(is_target(&text.parse().unwrap()), ours, "{text}");
        }
    }

    #[test]
    fn a_new_key_has_the_vendors_form_and_survives_an_unescaped_path() {
        for byte in [0x00, 0xff, 0xfb, 0x3e] {
            let secret = secret(&Filled(byte));
            assert_eq!(secret.expose().len(), 28);
            assert!(secret.expose().ends_with('='));
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '=';
            assert!(secret.expose().chars().all(plain), "{byte:x}");
        }
    }

    #[test]
    fn a_key_is_named_by_its_secret_or_its_id() {
        let id = keywright_model::id::KeyId::new(1, 1);
        assert!(matches!(key_named(&id.to_string()), KeyRef::Id(named) if named == id));
        assert!(matches!(key_named("Xb0=x="), KeyRef::Secret(_)));
    }
}
