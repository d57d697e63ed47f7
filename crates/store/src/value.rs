//! How single values stand in a database, whichever it is: identifiers, counts, JSON, sealed values.

use keywright_model::change::NounRef;
use keywright_model::seal::Sealed;

use crate::StoreError;

/// An identifier's bytes.
pub(crate) type Id = [u8; 16];

/// The bytes of an identifier.
pub(crate) const fn id(bits: u128) -> Id {
    bits.to_be_bytes()
}

/// A count as a database holds it. Counts stay below 2^63.
pub(crate) fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A number of rows as a database holds it.
pub(crate) fn rows(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A count read back.
pub(crate) fn uncount(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// A text of a column as the type that it stands for.
pub(crate) fn parse<T: std::str::FromStr>(text: &str, what: &str) -> Result<T, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt(format!("{text:?} is no {what}")))
}

/// JSON of a column as the type that it stands for. The message does not repeat the text.
pub(crate) fn from_json<'a, T: serde::Deserialize<'a>>(text: &'a str, what: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt(format!("the JSON of {what}: {error}")))
}

/// A value as JSON for a column.
pub(crate) fn to_json<T: serde::Serialize + ?Sized>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value)
        .map_err(|error| StoreError::Corrupt(format!("cannot be written as JSON: {error}")))
}

/// A sealed value's bytes behind its key's version.
pub(crate) fn sealed_blob(sealed: &Sealed) -> Vec<u8> {
    [&sealed.key_version.to_be_bytes()[..], &sealed.bytes].concat()
}

/// Reads back what [`sealed_blob`] wrote.
pub(crate) fn sealed_from(blob: &[u8]) -> Result<Sealed, StoreError> {
    let (version, bytes) = blob
        .split_first_chunk::<4>()
        .ok_or_else(|| StoreError::Corrupt("a sealed value is cut off".to_owned()))?;
    Ok(Sealed { key_version: u32::from_be_bytes(*version), bytes: bytes.to_vec() })
}

/// The identifier of a noun of any kind, whatever its kind.
pub(crate) const fn noun_bits(noun: NounRef) -> u128 {
    match noun {
        NounRef::Org(id) => id.bits(),
        NounRef::Keyspace(id) => id.bits(),
        NounRef::Principal(id) => id.bits(),
        NounRef::Role(id) => id.bits(),
        NounRef::Plan(id) => id.bits(),
        NounRef::Key(id) => id.bits(),
    }
}

/// A noun from its identifier as text, by its prefix.
pub(crate) fn noun_ref(text: &str) -> Result<NounRef, StoreError> {
    let (prefix, _) = text.split_once('_').unwrap_or((text, ""));
    match prefix {
        "org" => parse(text, "identifier").map(NounRef::Org),
        "ks" => parse(text, "identifier").map(NounRef::Keyspace),
        "prn" => parse(text, "identifier").map(NounRef::Principal),
        "role" => parse(text, "identifier").map(NounRef::Role),
        "plan" => parse(text, "identifier").map(NounRef::Plan),
        _ => parse(text, "identifier").map(NounRef::Key),
    }
}

/// The table that a noun stands in.
pub(crate) const fn table(noun: NounRef) -> &'static str {
    match noun {
        NounRef::Org(_) => "orgs",
        NounRef::Keyspace(_) => "keyspaces",
        NounRef::Principal(_) => "principals",
        NounRef::Role(_) => "roles",
        NounRef::Plan(_) => "plans",
        NounRef::Key(_) => "keys",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_reads_back_and_a_cut_one_does_not() {
        let sealed = Sealed { key_version: 7, bytes: vec![1, 2, 3] };
        assert_eq!(sealed_from(&sealed_blob(&sealed)).unwrap(), sealed);
        assert!(sealed_from(&[0, 0, 1]).is_err());
    }

    #[test]
    fn identifiers_sort_as_their_bits_do() {
        assert!(id(1) < id(256) && id(256) < id(u128::MAX));
    }
}
