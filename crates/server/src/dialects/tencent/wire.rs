//! The answers of Tencent Cloud (vendors.md §3.6): always 200, `Content-Type` without a charset, with which one of its
//! clients would overlook errors.

use axum::response::Response;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::error::Refusal;

/// The language of messages. Clients match on codes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Language {
    /// The vendor's default.
    #[default]
    Chinese,
    English,
}

impl Language {
    /// By its name; an unknown one is the default.
    pub(super) fn named(name: &str) -> Self {
        if name == "en-US" { Self::English } else { Self::Chinese }
    }
}

pub(super) fn success(result: &Value, request_id: &str) -> Response {
    answer(&json!({"Response": {"Result": result, "RequestId": request_id}}))
}

pub(super) fn failure(refusal: &Refusal, language: Language, request_id: &str) -> Response {
    let error = json!({"Code": refusal.code.as_str(), "Message": refusal.message(language)});
    answer(&json!({"Response": {"Error": error, "RequestId": request_id}}))
}

fn answer(body: &Value) -> Response {
    let mut response = Response::new(body.to_string().into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::super::error::Code;
    use super::*;

    #[test]
    fn an_error_is_a_success_of_http_without_a_charset() {
        let response = failure(&Code::SignatureFailure.into(), Language::English, "id");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
    }

    #[test]
    fn chinese_is_the_default() {
        assert_eq!(
            [Language::named("en-US"), Language::named("zh-CN"), Language::named("x")],
            [Language::English, Language::Chinese, Language::Chinese]
        );
    }
}
