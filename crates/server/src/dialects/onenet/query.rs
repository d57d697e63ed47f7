//! Query parameters, read as the vendor's clients write them: keys unescaped with their `=`, parameters two and three times
//! (the first counts), parameters of other calls (ignored).

use axum::extract::Request;
use keywright_model::fault::Faults;
use keywright_model::signing::tencent_v1::decode_parameters;

/// The parameters of a call.
pub(super) struct Query(Vec<(String, String)>);

/// A part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// From 1.
    pub(super) number: usize,
    /// How many a page has.
    pub(super) size: usize,
}

/// As the Java client's comment has it.
const PAGE_MAX: usize = 10_000;
/// As the page has it.
const PER_PAGE: usize = 10;
const PER_PAGE_MAX: usize = 100;

impl Query {
    pub(super) fn read(request: &Request) -> Result<Self, Faults> {
        let raw = request.uri().query().unwrap_or_default();
        let pairs: Vec<&str> = raw.split('&').filter(|pair| pair.contains('=')).collect();
        let broken = |_| Faults::one("/query", "invalid_value", "has a bad escape");
        decode_parameters(&pairs.join("&")).map(Self).map_err(broken)
    }

    /// A parameter that is not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let given = self.0.iter().find(|(given, _)| given == name)?.1.as_str();
        (!given.is_empty()).then_some(given)
    }

    pub(super) fn page(&self) -> Result<Page, Faults> {
        Ok(Page {
            number: self.number("page", 1, PAGE_MAX)?,
            size: self.number("per_page", PER_PAGE, PER_PAGE_MAX)?,
        })
    }

    fn number(&self, name: &str, default: usize, max: usize) -> Result<usize, Faults> {
        let Some(text) = self.get(name) else { return Ok(default) };
        let number = text.parse().ok().filter(|number| (1..=max).contains(number));
        number.ok_or_else(|| Faults::one(format!("/{name}"), "invalid_value", format!("must be 1 to {max}")))
    }
}

impl Page {
    /// What of a list is on this page.
    pub(super) fn of<T>(self, all: &[T]) -> &[T] {
        all.chunks(self.size).nth(self.number - 1).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Result<Query, Faults> {
        Query::read(&Request::builder().uri(format!("/keys?{text}")).body(axum::body::Body::empty()).unwrap())
    }

    #[test]
    fn a_pair_ends_its_name_at_the_first_equals_sign_and_the_first_of_two_counts() {
        let query = query("key=Xb=a=&key=other&v=2.0&x&title=").unwrap();
        assert_eq!((query.get("key"), query.get("title"), query.get("x")), (Some("Xb=a="), None, None));
    }

    #[test]
    fn pages_have_bounds() {
        for (text, expected) in [
            ("", Some((1, 10))),
            ("page=10000&per_page=100", Some((10_000, 100))),
            ("page=0", None),
            ("page=10001", None),
            ("per_page=0", None),
            ("per_page=101", None),
            ("page=x", None),
        ] {
            let page = query(text).unwrap().page().ok();
            assert_eq!(page, expected.map(|(number, size)| Page { number, size }), "{text}");
        }
        let page = |number| Page { number, size: 2 };
        assert_eq!((page(1).of(&[1, 2, 3]), page(2).of(&[1, 2, 3])), (&[1, 2][..], &[3][..]));
        assert_eq!(page(3).of(&[1, 2, 3]), &[] as &[i32]);
        assert_eq!(Page { number: 10_000, size: 100 }.of(&[1]), &[] as &[i32]);
    }
}
