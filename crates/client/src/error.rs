//! What can go wrong with a call.

use std::fmt;

use serde::Deserialize;
use serde_json::{Map, Value};

/// Why a call gave no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server said no, and why (RFC 9457).
    #[error(transparent)]
    Problem(Box<Problem>),
    /// No connection could be made.
    #[error("cannot connect to {server}")]
    Connect {
        /// The server's address.
        server: String,
        /// What the network said.
        #[source]
        source: reqwest::Error,
    },
    /// No answer came in time. A write may have been made.
    #[error("{server} did not answer in time")]
    Timeout {
        /// The server's address.
        server: String,
    },
    /// The connection broke. A write may have been made.
    #[error("the connection to {server} broke")]
    Transport {
        /// The server's address.
        server: String,
        /// What the network said.
        #[source]
        source: reqwest::Error,
    },
    /// The answer is none of this API's.
    #[error("{server} answered {status} with something that is not Keywright's: is this the right address?")]
    Foreign {
        /// The server's address.
        server: String,
        /// The HTTP status.
        status: u16,
    },
    /// The server's address is not one.
    #[error("`{0}` is no address of a server: it looks like http://127.0.0.1:7700")]
    Server(String),
    /// A value cannot be sent as a header.
    #[error("{0} has characters that cannot be sent")]
    Header(&'static str),
    /// A body cannot be written as JSON.
    #[error("the body cannot be written as JSON")]
    Body(#[source] serde_json::Error),
    /// A dry run was asked for where a write was expected, or the other way round.
    #[error("{0}")]
    Unexpected(&'static str),
    /// The HTTP client cannot be set up.
    #[error("the HTTP client cannot be set up")]
    Setup(#[source] reqwest::Error),
}

impl Error {
    /// The problem's code, when the server said no.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Problem(problem) => Some(&problem.code),
            _ => None,
        }
    }

    /// The HTTP status of the refusal, when the server said no.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Problem(problem) => Some(problem.status),
            _ => None,
        }
    }
}

/// A refusal in the server's words (RFC 9457).
#[derive(Clone, Debug, Deserialize)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// Stable, in `snake_case`.
    pub code: String,
    /// The same for every occurrence of the code.
    #[serde(default)]
    pub title: String,
    /// What happened, in words.
    #[serde(default)]
    pub detail: Option<String>,
    /// Everything that is wrong with the call, where it does not validate.
    #[serde(default)]
    pub errors: Vec<ProblemItem>,
    /// What to name in a report.
    #[serde(default)]
    pub request_id: Option<String>,
    /// After how many seconds to try again.
    #[serde(skip)]
    pub retry_after: Option<u64>,
    /// What a newer server says besides.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// One thing that is wrong with a call.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ProblemItem {
    /// Where in the body (RFC 6901).
    #[serde(default)]
    pub pointer: Option<String>,
    /// Which query parameter.
    #[serde(default)]
    pub parameter: Option<String>,
    /// Which header.
    #[serde(default)]
    pub header: Option<String>,
    /// The rule that was broken.
    pub code: String,
    /// The rule in words.
    #[serde(default)]
    pub detail: String,
}

impl fmt::Display for ProblemItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.pointer.as_ref().or(self.parameter.as_ref()).or(self.header.as_ref());
        let place = place.filter(|place| !place.is_empty()).map_or("the body", String::as_str);
        write!(f, "{place}: {} ({})", self.detail, self.code)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.detail.as_deref().unwrap_or(&self.title);
        let what = if what.is_empty() { "the server refused the call" } else { what };
        write!(f, "{what} ({} {})", self.status, self.code)
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_what_where_and_by_which_rule() {
        let json = r#"{"type":"t","title":"The body is not valid","status":422,"code":"invalid_body","new":1,
            "errors":[{"pointer":"/ip_allowlist/2","code":"invalid_cidr","detail":"not a network"},
                      {"parameter":"limt","code":"unknown_parameter","detail":"did you mean `limit`?"},
                      {"pointer":"","code":"invalid_type","detail":"must be an object"}],"request_id":"r"}"#;
        let problem: Problem = serde_json::from_str(json).unwrap();
        assert_eq!(problem.to_string(), "The body is not valid (422 invalid_body)");
        let items: Vec<String> = problem.errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            items,
            [
                "/ip_allowlist/2: not a network (invalid_cidr)",
                "limt: did you mean `limit`? (unknown_parameter)",
                "the body: must be an object (invalid_type)",
            ]
        );
        assert_eq!(problem.other.get("new"), Some(&1.into()));
    }
}
