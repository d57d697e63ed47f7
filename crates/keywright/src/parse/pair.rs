//! `name=value`.

/// Reads a label.
pub(crate) fn parse_pair(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once('=').ok_or_else(|| format!("`{text}` is no label: write team=fleet"))?;
    if name.is_empty() {
        return Err(format!("`{text}` has no name before the `=`"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// An entity tag as the API wants it: `3`, `"3"` and `*` are all understood.
pub(crate) fn entity_tag(text: &str) -> String {
    if text == "*" || text.contains('"') { text.to_owned() } else { format!("\"{text}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_equals_sign_separates() {
        assert_eq!(parse_pair("team=fleet=2"), Ok(("team".to_owned(), "fleet=2".to_owned())));
        assert_eq!(parse_pair("team="), Ok(("team".to_owned(), String::new())));
        assert!(parse_pair("team").is_err() && parse_pair("=x").is_err());
    }

    #[test]
    fn a_version_may_be_given_bare() {
        assert_eq!(
            (entity_tag("3"), entity_tag("\"3\""), entity_tag("*")),
            ("\"3\"".into(), "\"3\"".into(), "*".into())
        );
    }
}
