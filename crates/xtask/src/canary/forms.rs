//! The forms in which a secret may have been written down.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// A shorter secret has forms so short that they stand in any large file by chance.
pub(super) const SECRET_BYTES_MIN: usize = 8;

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Form {
    Raw,
    Reversed,
    HexLower,
    HexUpper,
    Base64,
    Base64Url,
    Percent,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw => "as it is",
            Self::Reversed => "reversed",
            Self::HexLower => "in hex",
            Self::HexUpper => "in upper-case hex",
            Self::Base64 => "in base64",
            Self::Base64Url => "in base64url",
            Self::Percent => "percent-encoded",
        })
    }
}

/// Every distinct form of `secret`. Two forms that are the same bytes are one.
pub(super) fn of(secret: &[u8]) -> Vec<(Form, Vec<u8>)> {
    let mut forms = vec![
        (Form::Raw, secret.to_vec()),
        (Form::Reversed, secret.iter().rev().copied().collect()),
        (Form::HexLower, hex::encode(secret).into_bytes()),
        (Form::HexUpper, hex::encode_upper(secret).into_bytes()),
    ];
    for before in 0..3 {
        forms.push((Form::Base64, inside_base64(secret, before, |bytes| STANDARD_NO_PAD.encode(bytes))));
        forms.push((Form::Base64Url, inside_base64(secret, before, |bytes| URL_SAFE_NO_PAD.encode(bytes))));
    }
    forms.push((Form::Percent, percent_encoded(secret)));
    let mut distinct: Vec<(Form, Vec<u8>)> = Vec::new();
    for (form, bytes) in forms {
        if !distinct.iter().any(|(_, other)| *other == bytes) {
            distinct.push((form, bytes));
        }
    }
    distinct
}

/// The characters that `secret` alone decides when `before` other bytes stand before it in the encoded text (as in
/// `Basic base64(user:secret)`): a character holds six bits, and those at the rim are shared with the neighbours.
fn inside_base64(secret: &[u8], before: usize, encode: impl Fn(&[u8]) -> String) -> Vec<u8> {
    let text = encode(&[vec![0; before], secret.to_vec()].concat());
    let first = (before * 8).div_ceil(6);
    let end = (before + secret.len()) * 8 / 6;
    text.as_bytes().get(first..end).unwrap_or_default().to_vec()
}

fn percent_encoded(secret: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for byte in secret {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            text.push(*byte);
        } else {
            text.extend(format!("%{byte:02X}").into_bytes());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_found(text: &str, secret: &str, form: Form) {
        let found = of(secret.as_bytes()).into_iter().any(|(kind, bytes)| {
            kind == form && text.as_bytes().windows(bytes.len()).any(|window| window == bytes)
        });
        assert!(found, "{form} of {secret} in {text}");
    }

    #[test]
    fn base64_is_found_wherever_the_secret_stands_in_the_encoded_bytes() {
        for before in ["", "a", "ab", "abc", "user:"] {
            for after in ["", "x", "xy", "xyz"] {
                let text = format!("{before}kw_live_0a1B2c3D??~~{after}");
                check_found(&STANDARD_NO_PAD.encode(&text), "kw_live_0a1B2c3D??~~", Form::Base64);
                let url_safe = URL_SAFE_NO_PAD.encode(&text);
                let found = of(b"kw_live_0a1B2c3D??~~")
                    .into_iter()
                    .any(|(_, bytes)| url_safe.as_bytes().windows(bytes.len()).any(|window| window == bytes));
                assert!(found, "{text}");
            }
        }
    }

    #[test]
    fn the_plain_forms_are_what_they_say() {
        check_found("..secret-1..", "secret-1", Form::Raw);
        check_found("1-terces", "secret-1", Form::Reversed);
        check_found("7365637265742d31", "secret-1", Form::HexLower);
        check_found("7365637265742D31", "secret-1", Form::HexUpper);
        check_found("?key=a%2Bb%20c%3Ddef", "a+b c=def", Form::Percent);
    }

    #[test]
    fn no_form_is_short_enough_to_be_found_by_chance() {
        for (form, bytes) in of(&[b'q'; SECRET_BYTES_MIN]) {
            assert!(bytes.len() >= 8, "{form}: {}", bytes.len());
        }
    }
}
