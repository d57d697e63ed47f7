//! What a request asks for, in the three encodings of vendors.md §3.2: JSON, query, form.
//!
//! A POST's query is not read at all: no signature covers it.

use http::Method;
use keywright_model::signing::tencent_v1::decode_parameters;

use super::WIRE;
use super::action::Action;
use super::error::{Code, Refusal};
use super::parameters::Parameters;
use super::wire::Language;
use crate::dialects::exchange::Incoming;

const VERSION: &str = "2018-08-08";

/// The parameters that every call has, where they are not headers.
const COMMON: &[&str] = &[
    "Action",
    "Version",
    "Timestamp",
    "Region",
    "Token",
    "Language",
    "RequestClient",
    "SecretId",
    "Nonce",
    "SignatureMethod",
    "Signature",
];

/// How many parameters a query or form may have.
const PAIRS_MAX: usize = 1_000;

/// A request as far as it can be understood before it is known who sent it.
pub(super) struct Asked {
    pub(super) language: Language,
    /// The decoded pairs of a query or form, which signature v1 covers.
    pub(super) pairs: Vec<(String, String)>,
    /// What is left without the parameters that every call has.
    pub(super) parameters: Parameters,
    action: Option<String>,
    version: Option<String>,
}

/// Whether the parameters that every call has are headers (signature v3) or not (v1).
fn is_v3(incoming: &Incoming) -> bool {
    ["authorization", "x-tc-action"].iter().any(|name| incoming.parts.headers.contains_key(*name))
}

/// The language of a request that cannot be read.
pub(super) fn language(incoming: &Incoming) -> Language {
    incoming.header("x-tc-language").map_or_else(Language::default, Language::named)
}

impl Asked {
    pub(super) fn read(incoming: &Incoming) -> Result<Self, Refusal> {
        let parts = &incoming.parts;
        if !matches!(parts.uri.path(), "" | "/") {
            return Err(Code::InvalidRequest.into());
        }
        let pairs = match parts.method {
            Method::GET => Some(decoded(parts.uri.query().unwrap_or_default())?),
            Method::POST if is_form(incoming) => Some(form(&incoming.body)?),
            Method::POST => None,
            _ => return Err(Code::UnsupportedProtocol.into()),
        };
        let parameters = match &pairs {
            None => Parameters::json(&incoming.body)?,
            Some(pairs) => {
                let own = pairs.iter().filter(|(name, _)| !COMMON.contains(&name.as_str()));
                Parameters::nested(own.map(|(name, value)| (name.as_str(), value.as_str())))?
            }
        };
        let pairs = pairs.unwrap_or_default();
        let common = |header: &str, name: &str| {
            let header = incoming.header(header).map(str::to_owned);
            header.or_else(|| pairs.iter().find(|(given, _)| given == name).map(|(_, value)| value.clone()))
        };
        if common("x-tc-token", "Token").is_some_and(|token| !token.is_empty()) {
            // There are no temporary credentials here.
            return Err(Code::TokenFailure.into());
        }
        let language = common("x-tc-language", "Language");
        Ok(Self {
            language: language.as_deref().map_or_else(Language::default, Language::named),
            action: common("x-tc-action", "Action"),
            version: common("x-tc-version", "Version"),
            parameters,
            pairs,
        })
    }

    /// What shall be done.
    pub(super) fn action(&self) -> Result<Action, Refusal> {
        let action = self.action.as_deref().ok_or_else(|| Refusal::missing("Action"))?;
        match self.version.as_deref() {
            None => return Err(Refusal::missing("Version")),
            Some(VERSION) => {}
            Some(_) => return Err(Code::NoSuchVersion.into()),
        }
        Action::named(action).ok_or_else(|| Code::InvalidAction.into())
    }
}

/// A body is a form where it says so, or says nothing and the rest of the call is not in headers.
fn is_form(incoming: &Incoming) -> bool {
    let media_type = incoming.header("content-type").unwrap_or_default().to_ascii_lowercase();
    let json = media_type.starts_with("application/json");
    media_type.starts_with("application/x-www-form-urlencoded") || !(json || is_v3(incoming))
}

fn form(body: &[u8]) -> Result<Vec<(String, String)>, Refusal> {
    decoded(str::from_utf8(body).map_err(|_| Refusal::from(Code::UndividedPair))?)
}

fn decoded(raw: &str) -> Result<Vec<(String, String)>, Refusal> {
    let pairs = decode_parameters(raw).map_err(|_| Refusal::from(Code::UndividedPair))?;
    if pairs.len() > PAIRS_MAX {
        tracing::debug!(wire = WIRE, "a request with too many parameters");
        return Err(Code::RequestSizeLimitExceeded.into());
    }
    Ok(pairs)
}
