//! Fields that several vendors have, read by the same rules as REST reads them. A fault names the vendor's own field.

use keywright_model::document::Fields;
use keywright_model::fault::Faults;
use keywright_model::key::KeySecret;
use keywright_model::time::Timestamp;
use serde_json::{Map, Value};

/// How many characters a key's name may have.
pub(super) const NAME_MAX: usize = 200;
/// How many characters a key's description may have.
pub(super) const DESCRIPTION_MAX: usize = 1_000;

/// What stands for a secret that is not kept.
const MASK: &str = "****************";

/// What a key or plan is called: NFC, printable, at most [`NAME_MAX`] characters, one of which can be seen.
pub(super) fn name(field: &str, text: &str) -> Result<String, Faults> {
    read(field, text, |fields| fields.label(field, NAME_MAX))
}

/// A text for people: NFC, printable, 1 to [`DESCRIPTION_MAX`] characters.
pub(super) fn description(field: &str, text: &str) -> Result<String, Faults> {
    read(field, text, |fields| fields.printable(field, DESCRIPTION_MAX))
}

fn read(
    field: &str,
    text: &str,
    read: impl FnOnce(&mut Fields<'_>) -> Option<String>,
) -> Result<String, Faults> {
    let map = Map::from_iter([(field.to_owned(), Value::from(text))]);
    let mut faults = Faults::new();
    let text = read(&mut Fields::new(&map, "", &[field], &mut faults));
    faults.into_result().map(|()| text.unwrap_or_default())
}

/// Moves faults that name Keywright's fields to the vendor's: `names` are pairs of ours and theirs, without slashes.
pub(super) fn renamed(faults: &Faults, names: &[(&str, &str)]) -> Faults {
    let mut moved = Faults::new();
    for fault in faults.as_slice() {
        let place = fault.pointer.strip_prefix('/').unwrap_or(&fault.pointer);
        let (first, rest) = place.split_at(place.find('/').unwrap_or(place.len()));
        let pointer = match names.iter().find(|(ours, _)| *ours == first) {
            // What stands within one of our fields stands elsewhere in theirs.
            Some((_, theirs)) => format!("/{theirs}"),
            None if place.is_empty() => String::new(),
            None => format!("/{first}{rest}"),
        };
        moved.add(pointer, fault.code, fault.detail.clone());
    }
    moved
}

/// A secret that is not kept, so that a person can still tell which one it is: stars and its last characters.
pub(super) fn masked(secret: Option<&KeySecret>) -> String {
    let tail = secret.and_then(|secret| secret.hint.as_deref()).and_then(|hint| hint.split_once('…'));
    format!("{MASK}{}", tail.map_or("", |(_, tail)| tail))
}

/// A moment at so many digits after the second: `2022-08-24T12:28:46.443Z`.
pub(super) fn rfc3339(at: Timestamp, digits: usize) -> String {
    format!("{:.digits$}", at.to_jiff())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use keywright_model::id::{KeyId, KeyspaceId, OrgId};
    use keywright_model::key::Key;
    use keywright_model::noun::{Actor, Meta};

    /// An API key with nothing set and no secret, made on 2026-11-22.
    pub(in crate::dialects) fn key() -> Key {
        let name = Map::from_iter([("name".to_owned(), Value::from("k"))]);
        let new = keywright_model::document::decode_new_key(&name).unwrap();
        Key {
            id: KeyId::new(1, 1),
            number: 3245,
            org: OrgId::new(1, 1),
            keyspace: KeyspaceId::new(1, 1),
            access_id: None,
            external_id: None,
            spec: new.draft.spec,
            secrets: vec![],
            revocation: None,
            deleted_at: None,
            meta: Meta::new(Timestamp::from_unix_ms(1_795_305_600_123), Actor::Root),
        }
    }

    #[test]
    fn a_fault_is_named_as_the_vendor_names_the_field() {
        let mut faults = Faults::new();
        faults.add("/grants/0/resources/1", "x", "d");
        faults.add("/labels/a", "y", "d");
        faults.add("", "z", "d");
        let moved = renamed(&faults, &[("grants", "permissions")]);
        let pointers: Vec<_> = moved.as_slice().iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/permissions", "/labels/a", ""]);
    }

    #[test]
    fn a_name_is_read_as_rest_reads_it() {
        assert_eq!(name("title", "e\u{301}"), Ok("é".to_owned()));
        for text in ["", " ", "\u{200b}", "a\0", "\u{202e}x", &"x".repeat(NAME_MAX + 1)] {
            let faults = name("title", text).unwrap_err();
            assert_eq!(faults.as_slice()[0].pointer, "/title", "{text:?}");
        }
        assert!(name("title", &"x".repeat(NAME_MAX)).is_ok());
        assert!(description("about", " ").is_ok());
    }

    #[test]
    fn moments_have_the_digits_that_a_vendor_writes() {
        let at = Timestamp::from_unix_ms(1_661_344_126_999);
        assert_eq!(rfc3339(at, 3), "2022-08-24T12:28:46.999Z");
        assert_eq!(rfc3339(at, 0), "2022-08-24T12:28:46Z");
    }
}
