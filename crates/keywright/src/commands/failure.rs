//! How a failure is told and which exit code it has.

use std::fmt::Write as _;

use keywright_client::Error;

use super::keys::NotFound;
use crate::output::Output;

/// Says what went wrong, with every fault that the server named and what may help.
pub(crate) fn tell(error: &anyhow::Error, output: Output) {
    output.error(&text(error));
}

fn text(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for (depth, cause) in error.chain().enumerate() {
        let said = cause.to_string();
        // A transparent error and its source say the same.
        if depth == 0 {
            text.push_str(&said);
        } else if !text.ends_with(&said) {
            let _ = write!(text, ": {said}");
        }
    }
    if let Some(Error::Problem(problem)) = error.downcast_ref::<Error>() {
        for item in &problem.errors {
            let _ = write!(text, "\n       {item}");
        }
        if let Some(seconds) = problem.retry_after {
            let _ = write!(text, "\n       try again in {seconds} s");
        }
        if problem.status >= 500 {
            let request = problem.request_id.as_deref().unwrap_or("-");
            let _ = write!(text, "\n       request {request}");
        }
    }
    if let Some(hint) = error.downcast_ref::<Error>().and_then(|error| hint(error, &text)) {
        let _ = write!(text, "\n       {hint}");
    }
    text
}

fn hint(error: &Error, text: &str) -> Option<&'static str> {
    match error {
        Error::Connect { .. } if text.contains("certificate") => {
            Some("its certificate is not trusted here: SSL_CERT_FILE names the authority to trust")
        }
        Error::Connect { .. } => {
            Some("is it running? `keywright serve` starts one; --server or KEYWRIGHT_SERVER names another")
        }
        Error::Timeout { .. } | Error::Transport { .. } => {
            Some("a write may have been made: look before making it again")
        }
        Error::Problem(problem) => match problem.code.as_str() {
            "unauthenticated" => {
                Some("is KEYWRIGHT_KEY the key that you mean? the root key is printed at the first start")
            }
            "precondition_failed" => Some("somebody changed it meanwhile: look at it again"),
            "precondition_required" => Some("say which version you saw, with --if-match"),
            _ => None,
        },
        _ => None,
    }
}

/// The exit code, as `--help` lists them.
pub(crate) fn code(error: &anyhow::Error) -> u8 {
    if error.downcast_ref::<NotFound>().is_some() {
        return 4;
    }
    match error.downcast_ref::<Error>() {
        Some(Error::Problem(problem)) => match problem.status {
            401 | 403 => 3,
            404 => 4,
            409 | 412 | 428 => 5,
            429 | 503 => 6,
            _ => 2,
        },
        Some(Error::Connect { .. } | Error::Timeout { .. } | Error::Transport { .. }) => 6,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(json: &str) -> anyhow::Error {
        Error::Problem(Box::new(serde_json::from_str(json).unwrap())).into()
    }

    #[test]
    fn every_fault_is_told_and_what_may_help() {
        let error = problem(
            r#"{"status":412,"code":"precondition_failed","detail":"the current version is 3",
            "errors":[{"header":"If-Match","code":"old","detail":"is 2"}]}"#,
        );
        assert_eq!(
            text(&error),
            "the current version is 3 (412 precondition_failed)\n       If-Match: is 2 (old)\n       \
            somebody changed it meanwhile: look at it again"
        );
        assert_eq!(code(&error), 5);
    }

    #[test]
    fn statuses_have_their_exit_codes() {
        for (status, expected) in [
            (400, 2),
            (401, 3),
            (403, 3),
            (404, 4),
            (409, 5),
            (412, 5),
            (422, 2),
            (428, 5),
            (429, 6),
            (500, 2),
            (503, 6),
        ] {
            assert_eq!(code(&problem(&format!(r#"{{"status":{status},"code":"x"}}"#))), expected, "{status}");
        }
        assert_eq!(
            (code(&anyhow::anyhow!("x")), code(&Error::Timeout { server: String::new() }.into())),
            (2, 6)
        );
    }

    #[test]
    fn a_chain_is_told_once() {
        let inner = anyhow::anyhow!("no such file").context("x.json cannot be opened");
        assert_eq!(text(&inner), "x.json cannot be opened: no such file");
    }
}
