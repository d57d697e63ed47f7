//! OneNET's permissions and our grants: `devices/<dev_id>/datastreams/<ds_id>`, or `devices/<dev_id>/**`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keywright_control::keys::{KeyEdit, KeyRef};
use keywright_model::document::{NewKeyDraft, decode_new_key};
use keywright_model::fault::Faults;
use keywright_model::grant::{ActionPattern, Effect, Grant, ResourcePattern};
use keywright_model::key::{Key, Rights};
use keywright_model::secret::{Entropy, Secret};
use serde_json::{Map, Value, json};

use super::wire::{DevicesBody, KeyBody, Method, Permission, Target};
use crate::dialects::fields::{self, rfc3339};
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
    let name = fields::name("title", title)?;
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
    let name = title.map(|title| fields::name("title", &title)).transpose()?;
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

/// The devices that a key names in what this wire shows of it.
pub(super) fn devices(key: &Key) -> BTreeSet<String> {
    let shown = shown_grants(key);
    let resources = shown.iter().flat_map(|grant| &grant.resources);
    resources.filter_map(|resource| target(resource).map(|(dev_id, _)| dev_id.to_owned())).collect()
}

fn shown_grants(key: &Key) -> Vec<Grant> {
    match &key.spec.rights {
        Rights::Api { grants: Some(grants) } => SHAPE.divide(grants).shown,
        Rights::Api { grants: None } | Rights::Management { .. } => Vec::new(),
    }
}

/// A device, and a stream of it, as a resource of this wire's shape names them.
fn target(resource: &ResourcePattern) -> Option<(&str, Option<&str>)> {
    let rest = resource.as_str().strip_prefix("devices/")?;
    let (dev_id, rest) = rest.split_once('/')?;
    Some((dev_id, rest.strip_prefix("datastreams/")))
}

/// A key as the list shows it. The vendor names a key by its secret; where that is not kept, its id stands in its place,
/// and every call takes it.
pub(super) fn shown(key: &Key, secret: Option<&Secret>) -> Value {
    let permission = |grant: &Grant| {
        let resource = |pattern: &ResourcePattern| {
            target(pattern).map(|(dev_id, ds_id)| match ds_id {
                Some(ds_id) => json!({"dev_id": dev_id, "ds_id": ds_id}),
                None => json!({"dev_id": dev_id}),
            })
        };
        let resources: Vec<Value> = grant.resources.iter().filter_map(resource).collect();
        let methods: Vec<&str> = grant.actions.iter().map(ActionPattern::as_str).collect();
        json!({"resources": resources, "access_methods": methods})
    };
    // Beijing's time, without a zone: the vendor's Java client reads it so.
    let made = rfc3339(key.meta.created_at.plus_seconds(8 * 3_600), 0).replace('T', " ").replace('Z', "");
    json!({
        "title": key.spec.name, "key": secret.map_or_else(|| key.id.to_string(), |secret| secret.expose().to_owned()),
        "create_time": made, "permissions": shown_grants(key).iter().map(permission).collect::<Vec<_>>(),
    })
}

/// How many devices a change really added to a key and took away from it.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) added: AtomicUsize,
    pub(super) taken: AtomicUsize,
}

/// The change of a key's devices. One that is added gets the methods that the key has anywhere, all four if it has none; one
/// that is taken away loses its streams, too. `counts` becomes how many were really added and taken away.
pub(super) fn edit_devices(body: DevicesBody, counts: Arc<Counts>) -> Result<KeyEdit, Faults> {
    let mut faults = Faults::new();
    for (name, ids) in [("add_dev_ids", &body.add), ("del_dev_ids", &body.del)] {
        for (index, _) in ids.iter().enumerate().filter(|(_, id)| !is_segment(id)) {
            let detail = "must be a name without `/`, `*` and control characters";
            faults.add(format!("/{name}/{index}"), "invalid_value", detail);
        }
    }
    if let Some(index) = body.add.iter().position(|id| body.del.contains(id)) {
        faults.add(format!("/add_dev_ids/{index}"), "invalid_value", "is in del_dev_ids, too");
    }
    faults.into_result()?;
    Ok(KeyEdit::Set(Arc::new(move |draft, key| {
        let Rights::Api { grants } = &mut draft.spec.rights else {
            return Err(Faults::one("/add_dev_ids", "management_key", "cannot be given to a management key"));
        };
        let before = devices(key);
        let mut new = shown_grants(key);
        let mut methods: Vec<ActionPattern> = Vec::new();
        for action in new.iter().flat_map(|grant| &grant.actions) {
            if !methods.contains(action) {
                methods.push(action.clone());
            }
        }
        if methods.is_empty() {
            methods.extend(Method::ALL.iter().filter_map(|method| method.as_str().parse().ok()));
        }
        for grant in &mut new {
            grant.resources.retain(|pattern| {
                target(pattern).is_none_or(|(dev_id, _)| !body.del.iter().any(|id| id == dev_id))
            });
        }
        new.retain(|grant| !grant.resources.is_empty());
        let added: BTreeSet<&String> = body.add.iter().filter(|id| !before.contains(*id)).collect();
        let resources = added.iter().map(|id| format!("devices/{id}/**").parse());
        let resources: Vec<ResourcePattern> = resources
            .collect::<Result<_, _>>()
            .map_err(|_| Faults::one("/add_dev_ids", "invalid_value", "holds an id that is too long"))?;
        if !resources.is_empty() {
            new.push(Grant { effect: Effect::Allow, actions: methods, resources });
        }
        let gone = before.iter().filter(|id| body.del.contains(id)).count();
        counts.added.store(added.len(), Ordering::Relaxed);
        counts.taken.store(gone, Ordering::Relaxed);
        if added.len() + gone > 0 {
            *grants = Some(SHAPE.replaced(grants.as_deref().unwrap_or_default(), &new, "add_dev_ids")?);
        }
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
    fn check_grants(permissions: &[Permission], expected: &Value) {
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
