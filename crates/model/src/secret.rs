//! The secret's format: `<prefix>_<32 base62><6 base62 of the CRC-32 of all before>` (api.md §2), custom secrets and
//! access ids. Nothing here can be printed but a hint.

use std::fmt;

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// Where random bytes come from. Only the binary and the tests implement it.
pub trait Entropy: Send + Sync {
    /// Fills `bytes` with unpredictable ones.
    fn fill(&self, bytes: &mut [u8]);
}

/// A secret in clear: forgotten (zeroed) when dropped, impossible to print, and compared in constant time.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

/// A credential longer than this is refused before it is hashed.
pub const SECRET_BYTES_MAX: usize = 256;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const RANDOM_CHARACTERS: usize = 32;
const CHECKSUM_CHARACTERS: usize = 6;

/// What the shape of a presented text says, before any table is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One of ours, with the right checksum.
    Generated,
    /// Our form with a wrong checksum, or more than [`SECRET_BYTES_MAX`] bytes: no such secret can exist.
    Malformed,
    /// Another form: only the table knows.
    Other,
}

impl Secret {
    /// Takes a text that somebody presented or chose.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// Makes a secret of 190 random bits for a keyspace's prefix, without modulo bias.
    pub fn generate(prefix: &str, entropy: &dyn Entropy) -> Self {
        let mut text =
            Zeroizing::new(String::with_capacity(prefix.len() + 1 + RANDOM_CHARACTERS + CHECKSUM_CHARACTERS));
        text.push_str(prefix);
        text.push('_');
        text.push_str(&random_text(ALPHABET, RANDOM_CHARACTERS, entropy));
        let checksum = checksum(text.as_bytes());
        text.push_str(&checksum);
        Self(text)
    }

    /// The secret itself, for hashing, sealing and the one answer that carries it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What a list may show of a generated secret: the prefix and the last four characters.
    pub fn hint(&self) -> Option<String> {
        let (prefix, _) = self.0.rsplit_once('_')?;
        let tail = self.0.get(self.0.len().checked_sub(4)?..)?;
        Some(format!("{prefix}_…{tail}"))
    }
}

impl PartialEq for Secret {
    /// How long it takes tells the length of the secrets and nothing else.
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Random characters of `alphabet` (2 to 256 of them) without modulo bias.
pub fn random_text(alphabet: &[u8], length: usize, entropy: &dyn Entropy) -> Zeroizing<String> {
    let fair = 256 - 256 % alphabet.len().max(1);
    let mut text = Zeroizing::new(String::with_capacity(length));
    let mut pool = Zeroizing::new([0_u8; 64]);
    while text.len() < length {
        entropy.fill(pool.as_mut_slice());
        for byte in pool.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < fair) {
            if text.len() == length {
                break;
            }
            text.extend(alphabet.get(byte % alphabet.len()).map(|character| char::from(*character)));
        }
    }
    text
}

/// Says what a presented text's shape gives away. Constant time is not needed: the checksum is public.
pub fn form(text: &str) -> Form {
    if text.len() > SECRET_BYTES_MAX {
        return Form::Malformed;
    }
    let bytes = text.as_bytes();
    let Some(split) = bytes.len().checked_sub(RANDOM_CHARACTERS + CHECKSUM_CHARACTERS + 1) else {
        return Form::Other;
    };
    let (prefix, rest) = bytes.split_at(split);
    let Some((b'_', body)) = rest.split_first() else { return Form::Other };
    if !is_prefix_bytes(prefix) || !body.iter().all(u8::is_ascii_alphanumeric) {
        return Form::Other;
    }
    let (covered, given) = bytes.split_at(bytes.len() - CHECKSUM_CHARACTERS);
    if checksum_digits(covered) == *given { Form::Generated } else { Form::Malformed }
}

/// Whether a keyspace may have this prefix: `[a-z][a-z0-9_]{0,10}`.
pub fn is_prefix(text: &str) -> bool {
    is_prefix_bytes(text.as_bytes())
}

fn is_prefix_bytes(bytes: &[u8]) -> bool {
    let rest = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'_';
    (1..=11).contains(&bytes.len())
        && bytes.first().is_some_and(u8::is_ascii_lowercase)
        && bytes.iter().all(rest)
}

/// Whether a text may be a custom secret: 10 to 50 of `[A-Za-z0-9_]`.
pub fn is_custom(text: &str) -> bool {
    (10..=50).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether a text may be an access id: 5 to 50 of `[A-Za-z0-9_-]`.
pub fn is_access_id(text: &str) -> bool {
    (5..=50).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn checksum(covered: &[u8]) -> String {
    checksum_digits(covered).iter().map(|digit| char::from(*digit)).collect()
}

fn checksum_digits(covered: &[u8]) -> [u8; CHECKSUM_CHARACTERS] {
    let mut rest = crc32fast::hash(covered);
    let mut digits = [b'0'; CHECKSUM_CHARACTERS];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET.get((rest % 62) as usize).copied().unwrap_or(b'0');
        rest /= 62;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting;

    impl Entropy for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            for (byte, value) in bytes.iter_mut().zip(0..=255) {
                *byte = value;
            }
        }
    }

    #[test]
    fn two_secrets_are_one_when_every_byte_is_the_same() {
        let whole = Secret::generate("kw", &Counting);
        assert_eq!(whole, Secret::new(whole.expose()));
        for place in 0..whole.expose().len() {
            let mut bytes = whole.expose().as_bytes().to_vec();
            bytes[place] ^= 1;
            assert_ne!(whole, Secret::new(String::from_utf8(bytes).unwrap()), "{place}");
            assert_ne!(whole, Secret::new(&whole.expose()[..place]), "the first {place} bytes");
        }
    }

    #[test]
    fn a_generated_secret_has_the_documented_form() {
        let secret = Secret::generate("kw", &Counting);
        assert_eq!(secret.expose().len(), 2 + 1 + 32 + 6);
        assert_eq!(form(secret.expose()), Form::Generated);
        assert_eq!(secret.hint().unwrap(), format!("kw_…{}", &secret.expose()[37..]));
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }

    #[test]
    fn one_changed_character_breaks_the_checksum() {
        let secret = Secret::generate("my_app", &Counting);
        for at in 7..secret.expose().len() {
            let mut bytes = secret.expose().as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'Z' { b'Y' } else { b'Z' };
            assert_eq!(form(&String::from_utf8(bytes).unwrap()), Form::Malformed, "at {at}");
        }
    }

    #[test]
    fn other_forms_are_left_to_the_table() {
        for text in [
            "",
            "kw_",
            "Av12RHxA=",
            "sk_live_1234",
            &"_".repeat(41),
            "KW_0123456789ABCDEFGHIJKLMNOPQRSTUVabcdef",
        ] {
            assert_eq!(form(text), Form::Other, "{text}");
        }
        assert_eq!(form(&"x".repeat(256)), Form::Other);
        assert_eq!(form(&"x".repeat(257)), Form::Malformed);
    }

    #[test]
    fn the_sizes_of_prefixes_custom_secrets_and_access_ids_are_exact() {
        for (text, good) in [
            ("a", true),
            ("a2345678901", true),
            ("a23456789012", false),
            ("", false),
            ("1a", false),
            ("_a", false),
            ("aB", false),
        ] {
            assert_eq!(is_prefix(text), good, "{text}");
        }
        for (length, good) in [(9, false), (10, true), (50, true), (51, false)] {
            assert_eq!(is_custom(&"a".repeat(length)), good, "{length}");
        }
        assert!(!is_custom("abcdefghi-k"));
        for (length, good) in [(4, false), (5, true), (50, true), (51, false)] {
            assert_eq!(is_access_id(&"a".repeat(length)), good, "{length}");
        }
        assert!(is_access_id("AKID-x_1") && !is_access_id("AKID/x1"));
    }
}
