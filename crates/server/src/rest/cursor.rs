//! Cursors: where a list goes on, bound to the list that they were given out for.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keywright_model::id::OrgId;
use sha2::{Digest as _, Sha256};

use super::problem::{INVALID_CURSOR, Problem};
use super::query::Query;

const BINDING_BYTES: usize = 16;
const POSITION_BYTES: usize = 16;

/// What a list is: which call, whose organization, which filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding([u8; BINDING_BYTES]);

impl Binding {
    /// The list that a call asks for. `place` names what the path says besides.
    pub fn new(operation: &str, org: OrgId, query: &Query) -> Self {
        let mut hash = Sha256::new();
        let mut part = |text: &str| {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        };
        part(operation);
        part(&org.to_string());
        for (name, value) in query.filters() {
            part(name);
            part(value);
        }
        let digest = hash.finalize();
        let mut binding = [0; BINDING_BYTES];
        for (byte, digest) in binding.iter_mut().zip(digest) {
            *byte = digest;
        }
        Self(binding)
    }

    /// The cursor after an item.
    pub fn cursor(self, after: u128) -> String {
        let mut bytes = Vec::with_capacity(BINDING_BYTES + POSITION_BYTES);
        bytes.extend_from_slice(&self.0);
        bytes.extend_from_slice(&after.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Where the list goes on, if the call says so.
    pub fn after(self, query: &Query) -> Result<Option<u128>, Problem> {
        query.text("cursor").map(|cursor| self.position(cursor).ok_or_else(foreign)).transpose()
    }

    fn position(self, cursor: &str) -> Option<u128> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (binding, position) = bytes.split_at_checked(BINDING_BYTES)?;
        let position: [u8; POSITION_BYTES] = position.try_into().ok()?;
        (binding == self.0).then(|| u128::from_be_bytes(position))
    }
}

fn foreign() -> Problem {
    Problem::parameter(
        INVALID_CURSOR,
        "cursor",
        "belongs to another list: send it with the filters that it was given out for",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::Parameter;

    fn query(text: &str) -> Query {
        let known: &[&[Parameter]] = &[&[
            Parameter::text("limit", ""),
            Parameter::text("cursor", ""),
            Parameter::text("q", ""),
            Parameter::text("state", ""),
        ]];
        Query::read(&format!("/?{text}").parse().unwrap(), known).unwrap()
    }

    fn binding(operation: &str, org: u128, text: &str) -> Binding {
        Binding::new(operation, OrgId::new(1, org), &query(text))
    }

    #[test]
    fn a_cursor_goes_on_in_its_own_list_with_any_page_size() {
        let cursor = binding("listKeys", 1, "q=a&state=active").cursor(77);
        let next = format!("state=active&q=a&limit=3&cursor={cursor}");
        assert_eq!(binding("listKeys", 1, &next).after(&query(&next)).unwrap(), Some(77));
        assert_eq!(binding("listKeys", 1, "q=a").after(&query("q=a")).unwrap(), None);
    }

    #[test]
    fn a_cursor_of_another_list_is_refused() {
        let cursor = binding("listKeys", 1, "q=a").cursor(77);
        for (operation, org, filter) in
            [("listKeys", 1, "q=b"), ("listKeys", 2, "q=a"), ("listRoles", 1, "q=a"), ("listKeys", 1, "")]
        {
            let next = format!("{filter}&cursor={cursor}");
            let refused = binding(operation, org, filter).after(&query(&next)).unwrap_err();
            assert_eq!(refused.kind().code, "invalid_cursor", "{operation} {org} {filter}");
        }
        for garbage in ["x", "AAAA", &format!("{cursor}AA"), &cursor[1..]] {
            let next = format!("q=a&cursor={garbage}");
            assert!(binding("listKeys", 1, "q=a").after(&query(&next)).is_err(), "{garbage}");
        }
    }
}
