//! A key pair and ours: the access id is the public half, the secret the other, tags are labels.

use keywright_control::Error;
use keywright_control::keys::KeyRef;
use keywright_model::document::{NewKeyDraft, decode_new_key};
use keywright_model::key::{Key, KeyKind};
use keywright_model::secret::{Entropy, Secret, is_access_id, is_custom, random_text};
use serde_json::{Map, Value, json};

use super::error::Refusal;
use super::parameters::Parameters;
use crate::dialects::fields::{masked, rfc3339};

const ALPHABET: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// What follows `AKID` in an id of the vendor's making.
const ID_CHARACTERS: usize = 36;
const SECRET_CHARACTERS: usize = 40;
const NAME_MAX: usize = 50;

/// The key pair that `CreateApiKey` asks for.
pub(super) struct NewPair {
    name: String,
    tags: Map<String, Value>,
    /// The id and secret of a `manual` one.
    own: Option<(String, String)>,
}

impl NewPair {
    pub(super) fn read(parameters: &Parameters) -> Result<Self, Refusal> {
        let name = parameters.required_text("SecretName")?;
        let kind = parameters.text("AccessKeyType")?;
        let (id, secret) = (parameters.text("AccessKeyId")?, parameters.text("AccessKeySecret")?);
        let tags = parameters.objects("Tags")?;
        let own = match kind.as_deref() {
            None | Some("auto") => None,
            Some("manual") => {
                let id = id.ok_or_else(|| Refusal::missing("AccessKeyId"))?;
                Some((id, secret.ok_or_else(|| Refusal::missing("AccessKeySecret"))?))
            }
            Some(_) => return Err(Refusal::format_error("AccessKeyType")),
        };
        if let Some((id, secret)) = &own {
            // An id of ours would be taken for the key with that id.
            if !is_access_id(id) || id.parse::<keywright_model::id::KeyId>().is_ok() {
                return Err(Refusal::format_error("AccessKeyId"));
            }
            custom_secret(secret)?;
        }
        if !is_name(&name) {
            return Err(Refusal::format_error("SecretName"));
        }
        Ok(Self { name, tags: labels(&tags)?, own })
    }

    pub(super) fn into_draft(self, entropy: &dyn Entropy) -> Result<NewKeyDraft, Refusal> {
        let Self { name, tags, own } = self;
        let (id, secret) = own.map_or_else(|| (access_id(entropy), None), |(id, secret)| (id, Some(secret)));
        let mut fields = Map::from_iter([
            ("name".to_owned(), json!(name)),
            ("access_id".to_owned(), json!(id)),
            ("labels".to_owned(), Value::Object(tags)),
        ]);
        if let Some(secret) = secret {
            fields.insert("secret".to_owned(), json!(secret));
        }
        Ok(decode_new_key(&fields)?)
    }
}

/// How a parameter names a key: by its access id, or by its id where it has none.
pub(super) fn key_named(name: &str) -> KeyRef {
    name.parse().map_or_else(|_| KeyRef::AccessId(name.to_owned()), KeyRef::Id)
}

/// Refuses what is no key pair of this wire: a management key, or one that was ended, which the vendor deletes.
pub(super) fn is_pair(key: &Key) -> Result<(), Error> {
    let there = key.spec.rights.kind() == KeyKind::Api && key.revocation.is_none();
    if there { Ok(()) } else { Err(Error::NotFound("key")) }
}

/// What a key is called here.
pub(super) fn id_of(key: &Key) -> String {
    key.access_id.clone().unwrap_or_else(|| key.id.to_string())
}

/// Whether a key is on.
pub(super) fn status(key: &Key) -> u8 {
    u8::from(key.spec.enabled && key.revocation.is_none())
}

/// A secret that the caller chose.
pub(super) fn custom_secret(text: &str) -> Result<Secret, Refusal> {
    if is_custom(text) { Ok(Secret::new(text)) } else { Err(Refusal::format_error("AccessKeySecret")) }
}

/// Whether the caller chose the key's present secret.
pub(super) fn is_manual(key: &Key) -> bool {
    key.current_secret().is_some_and(|secret| secret.custom)
}

/// The key as this wire shows it.
pub(super) fn shown(key: &Key, secret: Option<&Secret>) -> Value {
    let current = key.current_secret();
    let modified = current.map_or(key.meta.updated_at, |secret| secret.created_at.max(key.meta.updated_at));
    let tag = |(name, value): (&String, &String)| json!({"Key": name, "Value": value});
    let tags: Vec<Value> = key.spec.labels.iter().map(tag).collect();
    json!({
        "AccessKeyId": id_of(key),
        "AccessKeySecret": secret.map_or_else(|| masked(current), |secret| secret.expose().to_owned()),
        "AccessKeyType": if is_manual(key) { "manual" } else { "auto" },
        "SecretName": key.spec.name,
        "Status": status(key),
        "CreatedTime": rfc3339(key.meta.created_at, 0),
        "ModifiedTime": rfc3339(modified, 0),
        "Tags": if tags.is_empty() { Value::Null } else { Value::Array(tags) },
    })
}

/// An id of the vendor's form.
fn access_id(entropy: &dyn Entropy) -> String {
    format!("AKID{}", *random_text(ALPHABET, ID_CHARACTERS, entropy))
}

/// A secret of the vendor's form: 238 bits.
pub(super) fn secret(entropy: &dyn Entropy) -> Secret {
    Secret::new(random_text(ALPHABET, SECRET_CHARACTERS, entropy).as_str())
}

/// A random UUID (RFC 9562 §5.4), by which the vendor's support would find a request.
pub(super) fn request_id(entropy: &dyn Entropy) -> String {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes);
    let bits = u128::from_be_bytes(bytes) & !(0xf << 76) & !(0x3 << 62) | (4 << 76) | (2 << 62);
    let hex = format!("{bits:032x}");
    let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32))
}

fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(fits)
}

fn labels(tags: &[Parameters]) -> Result<Map<String, Value>, Refusal> {
    let mut labels = Map::new();
    for tag in tags {
        tag.require_known(&["Key", "Value"])?;
        let (name, value) = (tag.required_text("Key")?, tag.required_text("Value")?);
        if labels.insert(name, json!(value)).is_some() {
            return Err(Refusal::format_error("Tags"));
        }
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::super::error::Code;
    use super::*;
    use crate::dialects::fields::tests::key;
    use keywright_model::key::{KeySecret, KeySpec};

    struct Counting;

    impl Entropy for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            for (byte, value) in bytes.iter_mut().zip(0..=255) {
                *byte = value;
            }
        }
    }

    fn read(body: &Value) -> Result<NewKeyDraft, Refusal> {
        let parameters = Parameters::json(body.to_string().as_bytes()).unwrap();
        NewPair::read(&parameters)?.into_draft(&Counting)
    }

    #[test]
    fn an_auto_pair_has_the_vendors_forms() {
        let draft = read(&json!({"SecretName": "ci", "AccessKeyType": "auto"})).unwrap();
        let id = draft.access_id.unwrap();
        assert!(
            id.len() == 40 && id.starts_with("AKID") && id.bytes().all(|b| b.is_ascii_alphanumeric()),
            "{id}"
        );
        assert!(draft.secret.is_none());
        let secret = secret(&Counting);
        assert!(secret.expose().len() == 40 && is_custom(secret.expose()));
    }

    #[test]
    fn a_manual_pair_is_what_the_caller_chose() {
        let body = json!({"SecretName": "ci", "AccessKeyType": "manual", "AccessKeyId": "my-id_1",
            "AccessKeySecret": "new_secret_01", "Tags": [{"Key": "team", "Value": "fleet"}]});
        let draft = read(&body).unwrap();
        assert_eq!(draft.access_id.as_deref(), Some("my-id_1"));
        assert_eq!(draft.secret.unwrap().expose(), "new_secret_01");
        assert_eq!(draft.draft.spec.labels["team"], "fleet");
    }

    #[track_caller]
    fn check_refused(body: &Value, expected: &Refusal) {
        assert_eq!(&read(body).unwrap_err(), expected, "{body}");
    }

    #[test]
    fn what_is_missing_or_malformed_is_named() {
        check_refused(&json!({}), &Refusal::missing("SecretName"));
        let manual = |id: Value, secret: Value| json!({"SecretName": "ci", "AccessKeyType": "manual", "AccessKeyId": id, "AccessKeySecret": secret});
        check_refused(&manual(Value::Null, json!("new_secret_01")), &Refusal::missing("AccessKeyId"));
        check_refused(&manual(json!("my_id"), Value::Null), &Refusal::missing("AccessKeySecret"));
        let own = keywright_model::id::KeyId::new(1, 1).to_string();
        for id in ["my/id", "abcd", &"a".repeat(51), &own] {
            check_refused(&manual(json!(id), json!("new_secret_01")), &Refusal::format_error("AccessKeyId"));
        }
        for secret in ["new_secre", "new-secret-01", &"a".repeat(51)] {
            check_refused(&manual(json!("my_id"), json!(secret)), &Refusal::format_error("AccessKeySecret"));
        }
        for name in ["", "a b", "名", &"a".repeat(51)] {
            check_refused(&json!({"SecretName": name}), &Refusal::format_error("SecretName"));
        }
        check_refused(
            &json!({"SecretName": "a", "AccessKeyType": "x"}),
            &Refusal::format_error("AccessKeyType"),
        );
        check_refused(&json!({"SecretName": 1}), &Refusal::type_error("SecretName"));
        check_refused(&json!({"SecretName": "a", "Tags": {"Key": "a"}}), &Refusal::type_error("Tags"));
        let twice = json!([{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]);
        check_refused(&json!({"SecretName": "a", "Tags": twice}), &Refusal::format_error("Tags"));
    }

    #[test]
    fn a_label_that_is_none_is_refused_as_a_tag() {
        let refusal = read(&json!({"SecretName": "a", "Tags": [{"Key": "?", "Value": "1"}]})).unwrap_err();
        assert_eq!(refusal.code, Code::FormatError);
    }

    #[test]
    fn a_key_is_shown_with_its_own_id_where_it_has_no_other() {
        let key = key();
        let shown = shown(&key, None);
        assert_eq!(shown["AccessKeyId"], key.id.to_string());
        assert_eq!(shown["CreatedTime"], "2026-11-22T00:00:00Z");
        assert_eq!(
            (&shown["Status"], &shown["AccessKeyType"], &shown["Tags"]),
            (&json!(1), &json!("auto"), &Value::Null)
        );
    }

    #[test]
    fn a_switched_off_manual_key_with_tags_is_shown_so() {
        let secret = KeySecret {
            id: keywright_model::id::SecretId::new(1, 1),
            hint: None,
            recoverable: true,
            custom: true,
            created_at: key().meta.created_at.plus_seconds(60),
            expires_at: None,
            material: None,
        };
        let labels = [("team".to_owned(), "fleet".to_owned())].into();
        let spec = KeySpec { enabled: false, labels, ..key().spec };
        let key = Key { access_id: Some("my_id".to_owned()), secrets: vec![secret], spec, ..key() };
        let shown = shown(&key, Some(&Secret::new("new_secret_01")));
        let expected = json!({"AccessKeyId": "my_id", "AccessKeySecret": "new_secret_01", "AccessKeyType": "manual",
            "SecretName": "k", "Status": 0, "CreatedTime": "2026-11-22T00:00:00Z",
            "ModifiedTime": "2026-11-22T00:01:00Z", "Tags": [{"Key": "team", "Value": "fleet"}]});
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_request_id_is_a_random_uuid() {
        assert_eq!(request_id(&Counting), "00010203-0405-4607-8809-0a0b0c0d0e0f");
    }
}
