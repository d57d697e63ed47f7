//! Where a request carries its key: `Authorization: Bearer`, then `X-Api-Key`, then the headers of the vendors' clients,
//! or the signature of a key pair.

use std::fmt;

use keywright_model::signing::{hmac_header, tc3};

use crate::dialects::Dialect;

/// What a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carried<'a> {
    /// No key.
    Nothing,
    /// A secret, and the vendor whose header it stood in.
    Secret { secret: &'a str, vendor: Option<Dialect> },
    /// A signature in `Authorization`.
    Signed,
}

/// Two credentials, or one header twice: whoever stands behind could mean the other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conflict;

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request carries two different keys, or one header twice: send one key, once")
    }
}

/// Finds the credential of a request. An `Authorization` of another scheme is not for us: it may be the upstream's own.
pub(crate) fn carried<'a>(headers: &[(&'a str, &'a str)]) -> Result<Carried<'a>, Conflict> {
    let once = |name: &str| super::once(headers, name).map_err(|_| Conflict);
    let mut found = match once("authorization")?.map(scheme) {
        Some(Authorization::Bearer(secret)) => Carried::Secret { secret, vendor: None },
        Some(Authorization::Signature) => Carried::Signed,
        Some(Authorization::Other) | None => Carried::Nothing,
    };
    for vendor in Dialect::ALL {
        let Some(secret) = vendor.key_header().map(once).transpose()?.flatten() else { continue };
        found = match found {
            Carried::Nothing => Carried::Secret { secret, vendor: Some(vendor) },
            // Some clients send one key in every place that they know.
            Carried::Secret { secret: first, .. } if first == secret => found,
            Carried::Secret { .. } | Carried::Signed => return Err(Conflict),
        };
    }
    Ok(found)
}

enum Authorization<'a> {
    Bearer(&'a str),
    Signature,
    Other,
}

fn scheme(value: &str) -> Authorization<'_> {
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    let is = |name: &str| scheme.eq_ignore_ascii_case(name);
    match rest.trim() {
        secret if is("bearer") && !secret.is_empty() => Authorization::Bearer(secret),
        _ if is(hmac_header::SCHEME) || is(tc3::SCHEME) => Authorization::Signature,
        _ => Authorization::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(headers: &[(&str, &str)], expected: Result<Carried<'_>, Conflict>) {
        assert_eq!(carried(headers), expected, "{headers:?}");
    }

    const fn secret(vendor: Option<Dialect>) -> Carried<'static> {
        Carried::Secret { secret: "kw_1", vendor }
    }

    #[test]
    fn a_key_is_found_wherever_a_client_puts_it() {
        check(&[("Authorization", "Bearer kw_1")], Ok(secret(None)));
        check(&[("authorization", "bearer   kw_1 ")], Ok(secret(None)));
        check(&[("api-key", "kw_1")], Ok(secret(Some(Dialect::Onenet))));
        check(&[("X-APIKey", "kw_1")], Ok(secret(Some(Dialect::Partoo))));
        check(&[("X-Api-Key", "kw_1")], Ok(secret(Some(Dialect::Gjirafa))));
        check(&[("Authorization", "hmac id=\"x\"")], Ok(Carried::Signed));
        check(&[("Authorization", "TC3-HMAC-SHA256 Credential=x")], Ok(Carried::Signed));
        check(&[("Authorization", "Basic kw_1"), ("api-key", "kw_1")], Ok(secret(Some(Dialect::Onenet))));
        for nothing in
            [&[][..], &[("Authorization", "Bearer ")], &[("Authorization", "kw_1")], &[("api-key", " ")]]
        {
            check(nothing, Ok(Carried::Nothing));
        }
    }

    #[test]
    fn the_same_key_may_stand_twice_and_two_keys_may_not() {
        check(&[("Authorization", "Bearer kw_1"), ("x-api-key", "kw_1")], Ok(secret(None)));
        check(&[("x-apikey", "kw_1"), ("x-api-key", "kw_1")], Ok(secret(Some(Dialect::Gjirafa))));
        for conflict in [
            [("Authorization", "Bearer kw_1"), ("x-api-key", "kw_2")],
            [("api-key", "kw_1"), ("x-apikey", "kw_2")],
            [("Authorization", "hmac id=\"x\""), ("api-key", "kw_1")],
            [("Authorization", "Bearer kw_1"), ("Authorization", "Bearer kw_1")],
            [("api-key", "kw_1"), ("Api-Key", "kw_1")],
            [("api-key", ""), ("api-key", "kw_1")],
        ] {
            check(&conflict, Err(Conflict));
        }
    }
}
