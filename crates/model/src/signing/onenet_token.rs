//! The token of OneNET's secure mode, in `Authorization`.
//!
//! Source `one-token`. What it covers: its own five values. It names no method, path or body, so until it ends it is good for
//! any call that its key may make, as a bare key is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha1::Sha1;
use sha2::Sha256;

use super::{AUTHORIZATION_MAX, SignatureError, access_id, set_once, tencent_v1};

/// The only version that the vendor's page knows.
pub const VERSION: &str = "2018-10-31";
/// What `res` begins with; the product, which is the access id here, follows.
const PRODUCTS: &str = "products/";

#[derive(Clone, Copy)]
enum Method {
    Md5,
    Sha1,
    Sha256,
}

/// A token that was read. Nothing of it is proven before [`Token::check`].
pub struct Token {
    access_id: String,
    ends_at: i64,
    method: Method,
    signed: String,
    signature: Vec<u8>,
}

/// Reads `version=…&res=products%2F<access id>&et=<unix seconds>&method=md5|sha1|sha256&sign=<base64>`, each value
/// percent-encoded, in any order.
pub fn parse_token(header: &str) -> Result<Token, SignatureError> {
    if header.len() > AUTHORIZATION_MAX {
        return Err(SignatureError::Malformed("Authorization is too long"));
    }
    let (mut version, mut res, mut et, mut method, mut sign) = (None, None, None, None, None);
    let pairs = tencent_v1::decode_parameters(header)?;
    for (name, value) in &pairs {
        let slot = match name.as_str() {
            "version" => &mut version,
            "res" => &mut res,
            "et" => &mut et,
            "method" => &mut method,
            "sign" => &mut sign,
            _ => return Err(SignatureError::Malformed("a field of Authorization")),
        };
        set_once(slot, value.as_str())?;
    }
    let version = version.ok_or(SignatureError::Missing("version"))?;
    let res = res.ok_or(SignatureError::Missing("res"))?;
    let et = et.ok_or(SignatureError::Missing("et"))?;
    let method = method.ok_or(SignatureError::Missing("method"))?;
    let sign = sign.ok_or(SignatureError::Missing("sign"))?;
    if version != VERSION {
        return Err(SignatureError::Malformed("version"));
    }
    let product = res.strip_prefix(PRODUCTS).ok_or(SignatureError::Malformed("res names no product"))?;
    let ends_at = super::unix_seconds(et)?;
    let algorithm = match method {
        "md5" => Method::Md5,
        "sha1" => Method::Sha1,
        "sha256" => Method::Sha256,
        _ => return Err(SignatureError::Malformed("method is none of md5, sha1 and sha256")),
    };
    // Base64 has no spaces: one stands for a `+` that was not encoded.
    let signature = STANDARD.decode(sign.replace(' ', "+")).map_err(|_| SignatureError::Malformed("sign"))?;
    Ok(Token {
        access_id: access_id(product)?.to_owned(),
        ends_at,
        method: algorithm,
        signed: format!("{et}\n{method}\n{res}\n{version}"),
        signature,
    })
}

impl Token {
    /// Who claims to have signed it.
    pub fn access_id(&self) -> &str {
        &self.access_id
    }

    /// Whether this secret signed it and it has not ended; `now` in unix seconds. In constant time for the signature.
    pub fn check(&self, secret: &[u8], now: i64) -> Result<(), SignatureError> {
        let right = match self.method {
            Method::Md5 => self.is_signed::<Hmac<Md5>>(secret),
            Method::Sha1 => self.is_signed::<Hmac<Sha1>>(secret),
            Method::Sha256 => self.is_signed::<Hmac<Sha256>>(secret),
        };
        if !right {
            return Err(SignatureError::Invalid);
        }
        if self.ends_at < now { Err(SignatureError::Expired) } else { Ok(()) }
    }

    fn is_signed<M: Mac + KeyInit>(&self, secret: &[u8]) -> bool {
        M::new_from_slice(secret)
            .is_ok_and(|mac| mac.chain_update(self.signed.as_bytes()).verify_slice(&self.signature).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Signed by Python's `hmac` with the key `TESTSECRETKEY`, over
    /// `1700000000\n<method>\nproducts/AKIDEXAMPLE\n2018-10-31`.
    const SIGNED: &[(&str, &str)] = &[
        ("md5", "wrgpgME2y9d4w+CvTE1/SQ=="),
        ("sha1", "8L48Hd/+kQsI0HP6fBK3YVOj6Wg="),
        ("sha256", "t3WyCijwHhOySSOAN/iqXMhl7yiBRwdZDsevEbxDXiE="),
    ];

    fn header(method: &str, sign: &str) -> String {
        let sign = sign.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        format!("version=2018-10-31&res=products%2FAKIDEXAMPLE&et=1700000000&method={method}&sign={sign}")
    }

    #[test]
    fn a_token_is_good_until_it_ends_and_only_for_its_secret() {
        for (method, sign) in SIGNED {
            let token =
                parse_token(&header(method, sign)).unwrap_or_else(|error| panic!("{method}: {error}"));
            assert_eq!(token.access_id(), "AKIDEXAMPLE");
            assert_eq!(token.check(b"TESTSECRETKEY", 1_700_000_000), Ok(()), "{method}");
            assert_eq!(token.check(b"TESTSECRETKEY", 1_700_000_001), Err(SignatureError::Expired));
            assert_eq!(token.check(b"TESTSECRETKEX", 1_700_000_000), Err(SignatureError::Invalid));
        }
        let moved = header("sha256", SIGNED[2].1).replace("et=1700000000", "et=1800000000");
        let moved = parse_token(&moved).map(|token| token.check(b"TESTSECRETKEY", 0));
        assert!(matches!(moved, Ok(Err(SignatureError::Invalid))));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let good = header("sha1", SIGNED[1].1);
        for bad in [
            String::new(),
            good.replace("2018-10-31", "2018-10-30"),
            good.replace("products%2F", "devices%2F"),
            good.replace("AKIDEXAMPLE", ""),
            good.replace("sha1", "none"),
            good.replace("1700000000", "soon"),
            good.clone() + "&et=1900000000",
            good.clone() + "&x=1",
            good.replace("&sign=", "&sign=*"),
            good + &"x".repeat(AUTHORIZATION_MAX),
        ] {
            assert!(parse_token(&bad).is_err(), "{bad}");
        }
    }
}
