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
    let bidi = matches!(character, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{200E}' | '\u{200F}' | '\u{061C}');
    let separator = matches!(character, '\u{2028}' | '\u{2029}');
    !character.is_control() && !bidi && !separator
}

/// Whether nothing of a text can be seen: spaces, and marks that have no shape of their own.
pub fn is_blank(text: &str) -> bool {
    let invisible = |character: char| {
        matches!(
            character,
            '\u{AD}' | '\u{34F}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
                | '\u{200B}'..='\u{200D}' | '\u{2060}'..='\u{2065}' | '\u{2800}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}'
                | '\u{FEFF}' | '\u{FFA0}' | '\u{E0000}'..='\u{E0FFF}'
        )
    };
    text.chars().all(|character| character.is_whitespace() || invisible(character))
}

/// Whether `text` is a name in the form `[a-z][a-z0-9_-]{0,62}`, as organizations and keyspaces have.
pub fn is_slug(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && text.len() <= 63
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_spellings_of_a_name_are_one() {
        for (given, kept) in
            [("cafe\u{301}", "caf\u{e9}"), ("\u{212b}", "\u{e5}".to_uppercase().as_str()), ("plain", "plain")]
        {
            assert_eq!(nfc(given), kept);
        }
    }

    #[test]
    fn what_hides_or_reorders_text_is_not_printable() {
        for character in [
            '\0', '\n', '\u{1b}', '\u{7f}', '\u{85}', '\u{202e}', '\u{2066}', '\u{200f}', '\u{61c}',
            '\u{2028}',
        ] {
            assert!(!is_printable(character), "{character:?}");
        }
        // A joiner is part of how Persian and family emoji are written.
        for character in ['a', ' ', 'é', '鍵', '🔑', '\u{200d}', '\u{200c}'] {
            assert!(is_printable(character), "{character:?}");
        }
    }

    #[test]
    fn what_cannot_be_seen_is_blank() {
        for text in ["", " ", " \u{a0}\u{3000}", "\u{200b}", "\u{2800}", "\u{3164} ", "\u{feff}\u{200d}"] {
            assert!(is_blank(text), "{text:?}");
        }
        for text in ["a", " a ", "-", "鍵", "🔑", "\u{200d}x", "."] {
            assert!(!is_blank(text), "{text:?}");
        }
    }

    #[test]
    fn a_slug_has_1_to_63_characters_and_begins_with_a_letter() {
        for (text, good) in [
            ("a", true),
            ("a-b_1", true),
            ("", false),
            ("1a", false),
            ("_a", false),
            ("A", false),
            ("a.b", false),
        ] {
            assert_eq!(is_slug(text), good, "{text}");
        }
        assert!(is_slug(&"a".repeat(63)) && !is_slug(&"a".repeat(64)));
    }
}
