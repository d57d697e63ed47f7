//! A request's path as a resource. Whatever two servers could read differently is refused: an upstream's own reading is the
//! one that counts in the end, and nobody here knows it.

use std::fmt;

use keywright_model::access::CheckedRequest;

/// Why a request has no single meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ambiguous(pub(crate) &'static str);

impl fmt::Display for Ambiguous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// What is asked of which path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    /// The method in lower case.
    pub(crate) action: String,
    /// The decoded path without its leading slash; empty is the root.
    pub(crate) resource: String,
    /// The query as it came.
    pub(crate) query: &'a str,
}

impl<'a> Target<'a> {
    /// Reads a method and a target in origin form.
    pub(crate) fn read(method: &str, target: &'a str) -> Result<Self, Ambiguous> {
        if method.bytes().any(|byte| byte.is_ascii_lowercase()) {
            return Err(Ambiguous("a method is written in capitals"));
        }
        if target.contains('#') {
            return Err(Ambiguous("a request has no fragment"));
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = path.strip_prefix('/').ok_or(Ambiguous("the target does not begin with a slash"))?;
        let segments = if path.is_empty() { Ok(Vec::new()) } else { path.split('/').map(segment).collect() };
        let (action, resource) = (method.to_ascii_lowercase(), segments?.join("/"));
        let checked = CheckedRequest::new(&action, (!resource.is_empty()).then_some(&resource));
        match checked.map(|checked| checked.resource() == resource) {
            Ok(true) => Ok(Self { action, resource, query }),
            Ok(false) => Err(Ambiguous("the path has another spelling in Unicode's normal form")),
            Err(_) => Err(Ambiguous("the method or the path cannot be an action on a resource")),
        }
    }
}

/// Decodes one segment, once.
fn segment(raw: &str) -> Result<String, Ambiguous> {
    if raw.is_empty() {
        return Err(Ambiguous("the path has an empty segment"));
    }
    let text = decoded(raw).ok_or(Ambiguous("the path has an escape that is no UTF-8"))?;
    // `%` would be an escape to whoever decodes twice; some frameworks end a segment at `;`, and some turn `\` around.
    if text.contains(['/', '\\', '%', ';', '?', '#', '*']) || text.chars().any(char::is_control) {
        return Err(Ambiguous("the path has a character that servers read differently"));
    }
    if text == "." || text == ".." {
        return Err(Ambiguous("the path has a dot segment"));
    }
    Ok(text)
}

/// Decodes `%XX`, all of which must be well formed. A `+` is a plus.
pub(crate) fn decoded(raw: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (digits, after) = rest.split_first_chunk::<2>()?;
        let mut byte = [0];
        hex::decode_to_slice(digits, &mut byte).ok()?;
        bytes.extend_from_slice(&byte);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(target: &str, expected: Option<&str>) {
        let read = Target::read("GET", target).map(|read| read.resource);
        assert_eq!(read.ok().as_deref(), expected, "{target}");
    }

    #[test]
    fn a_path_is_a_resource_without_its_leading_slash() {
        check("/", Some(""));
        check("/devices/7", Some("devices/7"));
        check("/devices/7?x=/../y;z", Some("devices/7"));
        check("/%64evices/caf%C3%A9/a%20b", Some("devices/caf\u{e9}/a b"));
        check("/a/...", Some("a/..."));
        check("/a:b@c,d=e+f", Some("a:b@c,d=e+f"));
        let read = Target::read("DELETE", "/a?q=1?2").unwrap();
        assert_eq!((read.action.as_str(), read.query), ("delete", "q=1?2"));
    }

    #[test]
    fn what_servers_read_differently_is_refused() {
        for hostile in [
            "",
            "a",
            "http://h/a",
            "*",
            "//",
            "//a",
            "/a//b",
            "/a/",
            "/a/./b",
            "/a/../b",
            "/..",
            "/a/%2e%2E/b",
            "/.%2e",
            "/a%2Fb",
            "/a%2fb",
            "/a\\b",
            "/a%5Cb",
            "/a;x=1/b",
            "/a%3Bx",
            "/..;/a",
            "/%252e%252e/a",
            "/a%25",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a%00",
            "/a%0a",
            "/a%0d%0aX",
            "/a%7F",
            "/a#b",
            "/a%23b",
            "/a%3Fb",
            "/*",
            "/**",
            "/a*",
            "/%2A",
            "/a%FF",
            "/a%C0%AFb",
            "/a%E0%80%AF",
            "/e%CC%81",
            "/a\u{2028}%C2%85",
        ] {
            check(hostile, None);
        }
        check(&format!("/{}", "a/".repeat(32)), None);
        check(&format!("/{}", "a".repeat(513)), None);
    }

    #[test]
    fn a_method_is_a_word_in_capitals() {
        for (method, good) in
            [("GET", true), ("M-SEARCH", true), ("get", false), ("Get", false), ("", false), ("G T", false)]
        {
            assert_eq!(Target::read(method, "/a").is_ok(), good, "{method}");
        }
    }
}
