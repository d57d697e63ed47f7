//! What the query of a list or a read says. Other parameters are ignored, as the vendor's clients expect of fields.

use axum::extract::Query;
use http::Uri;
use keywright_control::Standing;
use keywright_model::fault::Faults;
use keywright_model::noun::PrincipalKind;

/// How many keys a page has unless the query says otherwise.
const PER_PAGE_DEFAULT: u8 = 30;
const PER_PAGE_MAX: u8 = 100;
/// How long a text to search for may be: a label's length, and more than a key's.
const SEARCH_BYTES_MAX: usize = 1_000;

const STATUSES: &[(&str, Standing)] = &[
    ("active", Standing::Good),
    ("inactive", Standing::NotGood),
    ("disabled", Standing::Off),
    ("expired", Standing::Expired),
];
const TYPES: &[(&str, PrincipalKind)] = &[("bot", PrincipalKind::Bot), ("user", PrincipalKind::User)];
/// As the vendor's framework reads them.
const TRUTHS: &[(&str, bool)] = &[("true", true), ("1", true), ("false", false), ("0", false)];

/// Which keys a list asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ListQuery {
    /// From 1.
    pub(super) page: u32,
    pub(super) per_page: u8,
    pub(super) status: Option<Standing>,
    pub(super) user_type: Option<PrincipalKind>,
    pub(super) search_text: Option<String>,
    pub(super) include_all_permissions: bool,
}

/// The query of a list.
pub(super) fn of_list(uri: &Uri) -> Result<ListQuery, Faults> {
    let mut query = Parameters::read(uri)?;
    let asked = ListQuery {
        page: query.number("page", 0, 0, u32::MAX).max(1),
        per_page: query.number("per_page", PER_PAGE_DEFAULT, 1, PER_PAGE_MAX),
        status: query.word("status", STATUSES),
        user_type: query.word("type", TYPES),
        search_text: query.search_text(),
        include_all_permissions: query.include_all_permissions(),
    };
    query.faults.into_result().map(|()| asked)
}

/// Whether a read asks for the permissions that its owner does not have, too.
pub(super) fn of_read(uri: &Uri) -> Result<bool, Faults> {
    let mut query = Parameters::read(uri)?;
    let all = query.include_all_permissions();
    query.faults.into_result().map(|()| all)
}

struct Parameters {
    pairs: Vec<(String, String)>,
    faults: Faults,
}

impl Parameters {
    fn read(uri: &Uri) -> Result<Self, Faults> {
        let Ok(Query(pairs)) = Query::<Vec<(String, String)>>::try_from_uri(uri) else {
            return Err(Faults::one("/_schema", "invalid_query", "The query cannot be read."));
        };
        Ok(Self { pairs, faults: Faults::new() })
    }

    /// The first of this name, as the vendor's framework takes it.
    fn text(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    fn fault(&mut self, name: &str, detail: String) {
        self.faults.add(format!("/{name}"), "invalid_parameter", detail);
    }

    fn number<T>(&mut self, name: &str, default: T, min: T, max: T) -> T
    where
        T: Copy + PartialOrd + std::fmt::Display + std::str::FromStr,
    {
        let Some(text) = self.text(name) else { return default };
        // `+1` is a number to the parser, but a space and a one to whoever wrote it into a query.
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.then(|| text.parse().ok()).flatten();
        if let Some(number) = number.filter(|number| (min..=max).contains(number)) {
            return number;
        }
        self.fault(name, format!("Must be a whole number from {min} to {max}."));
        default
    }

    fn word<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(name)?;
        let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, value)| *value);
        if found.is_none() {
            let all = words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
            self.fault(name, format!("Must be one of: {all}."));
        }
        found
    }

    fn include_all_permissions(&mut self) -> bool {
        self.word("include_all_permissions", TRUTHS).unwrap_or_default()
    }

    fn search_text(&mut self) -> Option<String> {
        let text = self.text("search_text").filter(|text| !text.is_empty())?.to_owned();
        if text.len() > SEARCH_BYTES_MAX || text.contains('\0') {
            self.fault("search_text", format!("Must be at most {SEARCH_BYTES_MAX} bytes without NUL."));
            return None;
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &str) -> Result<ListQuery, Faults> {
        of_list(&format!("/v2/api_keys?{query}").parse().unwrap())
    }

    #[test]
    fn a_list_without_parameters_is_the_first_thirty() {
        let first = ListQuery {
            page: 1,
            per_page: 30,
            status: None,
            user_type: None,
            search_text: None,
            include_all_permissions: false,
        };
        for query in ["", "page=0", "page=1", "search_text=", "other=1", "page=1&page=9"] {
            assert_eq!(asked(query).as_ref(), Ok(&first), "{query}");
        }
    }

    #[test]
    fn every_parameter_is_read() {
        let query =
            "page=7&per_page=100&status=expired&type=user&search_text=a+b%25&include_all_permissions=True";
        let expected = ListQuery {
            page: 7,
            per_page: 100,
            status: Some(Standing::Expired),
            user_type: Some(PrincipalKind::User),
            search_text: Some("a b%".to_owned()),
            include_all_permissions: true,
        };
        assert_eq!(asked(query), Ok(expected));
    }

    #[test]
    fn what_breaks_a_rule_is_named_and_all_of_it_at_once() {
        for query in [
            "page=-1",
            "page=x",
            "page=",
            "page",
            "page=4294967296",
            "per_page=0",
            "per_page=101",
            "per_page=256",
            "per_page=1.5",
            "status=good",
            "type=robot",
            "include_all_permissions=maybe",
            "search_text=%00",
        ] {
            let name = query.split('=').next().unwrap();
            let faults = asked(query).unwrap_err();
            assert_eq!(faults.as_slice()[0].pointer, format!("/{name}"), "{query}");
        }
        assert!(asked(&format!("search_text={}", "x".repeat(1_001))).is_err());
        assert_eq!(asked("page=-1&per_page=0&status=x").unwrap_err().as_slice().len(), 3);
    }
}
