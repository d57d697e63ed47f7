//! Query parameters: known ones, once each, with a usable value, or 400.

use std::fmt::Display;
use std::str::FromStr;

use axum::extract::Query as AxumQuery;
use http::Uri;
use keywright_model::document::nearest;

use super::problem::{DUPLICATE_PARAMETER, INVALID_PARAMETER, Place, Problem, UNKNOWN_PARAMETER};
use crate::routes::Parameter;

/// The query parameters of one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query whose parameters must be among `known`. A known name that ends in `.` stands for all that begin so.
    pub fn read(uri: &Uri, known: &[&[Parameter]]) -> Result<Self, Problem> {
        let Ok(AxumQuery(pairs)) = AxumQuery::<Vec<(String, String)>>::try_from_uri(uri) else {
            return Err(Problem::new(INVALID_PARAMETER).detail("the query cannot be read"));
        };
        let mut unknown = Vec::new();
        for (index, (name, value)) in pairs.iter().enumerate() {
            if pairs.iter().take(index).any(|(earlier, _)| earlier == name) {
                return Err(Problem::parameter(DUPLICATE_PARAMETER, name, "is given twice"));
            }
            // What is no UTF-8 arrives as this character.
            if value.contains(['\0', '\u{fffd}']) {
                return Err(Problem::parameter(INVALID_PARAMETER, name, "must be UTF-8 without NUL"));
            }
            if !names(known).any(|known| is_named(known, name)) {
                unknown.push(name.as_str());
            }
        }
        if unknown.is_empty() { Ok(Self(pairs)) } else { Err(unknown_parameters(&unknown, known)) }
    }

    /// A parameter as text. An empty one is as good as none.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(given, _)| given == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// A parameter, parsed.
    pub fn parsed<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, Problem> {
        let parsed = self.text(name).map(str::parse::<T>).transpose();
        parsed.map_err(|error| Problem::parameter(INVALID_PARAMETER, name, error.to_string()))
    }

    /// The same, where the parser's own words would say nothing to whoever wrote the query.
    pub fn parsed_as<T: FromStr>(&self, name: &str, what: &str) -> Result<Option<T>, Problem> {
        let parsed = self.text(name).map(str::parse::<T>).transpose();
        parsed.map_err(|_| Problem::parameter(INVALID_PARAMETER, name, format!("must be {what}")))
    }

    /// A parameter that is one of a few words.
    pub fn word<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        let all = || words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        found
            .map(Some)
            .ok_or_else(|| Problem::parameter(INVALID_PARAMETER, name, format!("must be one of {}", all())))
    }

    /// `true` or `false`; absent is `false`.
    pub fn flag(&self, name: &str) -> Result<bool, Problem> {
        self.word(name, &[("true", true), ("false", false)]).map(Option::unwrap_or_default)
    }

    /// How many items a page may have: 50 unless asked otherwise, at most 200.
    pub fn limit(&self) -> Result<usize, Problem> {
        let what = format!("a whole number from 1 to {LIMIT_MAX}");
        let limit = self.parsed_as::<usize>("limit", &what)?.unwrap_or(LIMIT_DEFAULT);
        if (1..=LIMIT_MAX).contains(&limit) {
            return Ok(limit);
        }
        Err(Problem::parameter(INVALID_PARAMETER, "limit", format!("must be {what}")))
    }

    /// Every parameter whose name begins with `prefix`, without the prefix.
    pub fn prefixed<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }

    /// All that decides what a list holds, in one order: what its cursors are bound to.
    pub fn filters(&self) -> Vec<(&str, &str)> {
        let pairs = self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut filters: Vec<_> = pairs.filter(|(name, _)| !matches!(*name, "cursor" | "limit")).collect();
        filters.sort_unstable();
        filters
    }
}

/// How many items a page has when nothing is said.
pub const LIMIT_DEFAULT: usize = 50;
/// How many items a page may have.
pub const LIMIT_MAX: usize = 200;

fn names<'a>(known: &'a [&[Parameter]]) -> impl Iterator<Item = &'static str> + Clone + 'a {
    known.iter().flat_map(|group| group.iter()).map(|parameter| parameter.name)
}

fn is_named(known: &str, name: &str) -> bool {
    if known.ends_with('.') { name.len() > known.len() && name.starts_with(known) } else { known == name }
}

fn unknown_parameters(unknown: &[&str], known: &[&[Parameter]]) -> Problem {
    unknown.iter().fold(Problem::new(UNKNOWN_PARAMETER), |problem, name| {
        let detail = match nearest(name, names(known)) {
            Some(near) if near.ends_with('.') => {
                format!("not a parameter of this call; did you mean `{near}NAME`?")
            }
            Some(near) => format!("not a parameter of this call; did you mean `{near}`?"),
            None => "not a parameter of this call".to_owned(),
        };
        problem.error(Place::Parameter((*name).to_owned()), UNKNOWN_PARAMETER.code, detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&[Parameter]] =
        &[&[Parameter::text("limit", ""), Parameter::text("label.", "")], &[Parameter::text("q", "")]];

    fn read(query: &str) -> Result<Query, Problem> {
        Query::read(&format!("/v1/keys?{query}").parse().unwrap(), KNOWN)
    }

    #[track_caller]
    fn check(query: &str, code: &str, detail: &str) {
        let problem = read(query).unwrap_err();
        assert_eq!(problem.kind().code, code);
        assert!(problem.items()[0].detail.contains(detail), "{:?}", problem.items());
    }

    #[test]
    fn known_parameters_are_read_decoded() {
        let query = read("limit=7&label.te%20am=a%26b&q=x+y").unwrap();
        assert_eq!((query.limit().unwrap(), query.text("q")), (7, Some("x y")));
        assert_eq!(query.prefixed("label.").collect::<Vec<_>>(), [("te am", "a&b")]);
        assert_eq!(query.filters(), [("label.te am", "a&b"), ("q", "x y")]);
        assert_eq!(read("").unwrap().limit().unwrap(), LIMIT_DEFAULT);
    }

    #[test]
    fn unknown_and_repeated_ones_are_refused() {
        check("limt=7", "unknown_parameter", "did you mean `limit`?");
        check("label.=x", "unknown_parameter", "did you mean `label.NAME`?");
        check("label=x", "unknown_parameter", "did you mean `label.NAME`?");
        check("zzzzzzzz=1&yyyyyyyy=2", "unknown_parameter", "not a parameter");
        assert_eq!(read("zzzzzzzz=1&yyyyyyyy=2").unwrap_err().items().len(), 2);
        check("q=1&q=1", "duplicate_parameter", "twice");
        check("q=%00", "invalid_parameter", "NUL");
        check("q=%ff", "invalid_parameter", "UTF-8");
    }

    #[test]
    fn values_have_bounds() {
        for (limit, valid) in
            [("0", false), ("1", true), ("200", true), ("201", false), ("-1", false), ("x", false)]
        {
            assert_eq!(read(&format!("limit={limit}")).unwrap().limit().is_ok(), valid, "{limit}");
        }
        for limit in ["0", "201", "-1", "x", "1.5", "99999999999999999999999"] {
            let problem = read(&format!("limit={limit}")).unwrap().limit().unwrap_err();
            assert_eq!(problem.items()[0].detail, "must be a whole number from 1 to 200", "{limit}");
        }
        assert!(read("q=maybe").unwrap().flag("q").is_err());
        assert!(read("q=true").unwrap().flag("q").unwrap());
    }
}
