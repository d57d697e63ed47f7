//! Texts that people give: normalised once, at the edge.

use unicode_normalization::{UnicodeNormalization, is_nfc};

/// The text in Unicode's NFC, so that two spellings of one name are one name.
pub fn nfc(text: &str) -> String {
    if text.is_ascii() || is_nfc(text) { text.to_owned() } else { text.nfc().collect() }
}

/// Whether a name or description may hold this character.
///
/// Refused are controls (NUL, escape, line breaks) and the bidirectional overrides of Unicode TR 36 §3.2.1, with which
/// a name can be made to look like another in a list or a log.
pub fn is_printable(character: char) -> bool {
    let bidi =
        matches!(character, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{200E}' | '\u{200F}');
    let separator = matches!(character, '\u{2028}' | '\u{2029}');
    !character.is_control() && !bidi && !separator
}

/// Whether `text` is a name in the form `[a-z][a-z0-9_-]{0,62}`, as organizations and keyspaces have.
pub fn is_slug(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && text.len() <= 63
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}
