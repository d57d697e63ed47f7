//! The wires' readers as a fuzzer drives them: any bytes in, and no panic. What is read is mapped, an update is made on a
//! key, and a refusal is written down.

use keywright_control::keys::KeyEdit;
use keywright_model::document::{KeyDraft, decode_new_key};
use keywright_model::id::{KeyId, KeyspaceId, OrgId};
use keywright_model::key::Key;
use keywright_model::noun::{Actor, Meta};
use keywright_model::secret::Entropy;
use keywright_model::time::Timestamp;
use serde_json::{Value, json};

use super::Dialect;

/// What the clock says meanwhile.
pub(super) fn now() -> Timestamp {
    Timestamp::from_unix_ms(1_795_305_600_123)
}

/// Reads bytes as a body of this wire, or as its query where they begin with a question mark.
pub fn read(dialect: Dialect, input: &[u8]) {
    (dialect.vendor().read)(input);
}

/// What stands behind a question mark.
pub(super) fn query(input: &[u8]) -> Option<&str> {
    str::from_utf8(input.strip_prefix(b"?")?).ok()
}

/// Makes an update on a key that has some of everything; the key afterwards if it was not refused.
pub(super) fn edited(edit: &KeyEdit) -> Option<Key> {
    let KeyEdit::Set(set) = edit else { return None };
    let key = sample()?;
    let mut draft = KeyDraft { spec: key.spec.clone(), owner: None, reach: None };
    set(&mut draft, &key).ok()?;
    Some(Key { spec: draft.spec, ..key })
}

fn sample() -> Option<Key> {
    let Value::Object(fields) = json!({
        "name": "k", "description": "d", "expires_at": "2027-01-01T00:00:00Z", "ip_allowlist": ["10.0.0.0/8"],
        "grants": [
            {"effect": "allow", "actions": ["get", "put", "business_edit"], "resources": ["devices/7/**", "devices/8/datastreams/gps", "**"]},
            {"effect": "deny", "actions": ["*"], "resources": ["devices/9/**"]},
        ],
    }) else {
        return None;
    };
    let spec = decode_new_key(&fields).ok()?.draft.spec;
    Some(Key {
        id: KeyId::new(1, 1),
        number: 3245,
        org: OrgId::new(1, 1),
        keyspace: KeyspaceId::new(1, 1),
        access_id: None,
        external_id: None,
        spec,
        secrets: Vec::new(),
        revocation: None,
        deleted_at: None,
        meta: Meta::new(now(), Actor::Root),
    })
}

/// The same bytes each time.
pub(super) struct Fixed;

impl Entropy for Fixed {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}
