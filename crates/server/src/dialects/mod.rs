//! Vendors' wires over the same keys (api.md §5): one folder a vendor, each `mod` (the calls), `wire` (their bodies), `map`
//! (to and from a key) and `error` (how the vendor says no).
//!
//! A vendor's words never leave its folder, and nothing here decides anything about a key: translate, call control,
//! translate back. What a wire cannot show survives an update through it. `docs/adding-a-dialect.md` says how to add one.

mod exchange;
mod fields;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod gjirafa;
mod grants;
mod onenet;
mod pace;
mod partoo;
mod tencent;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use axum::Router;
use keywright_model::secret::Entropy;

use self::pace::{Limit, Pace};
use crate::ServerState;
use crate::gateway::readings::Meant;
use crate::gateway::target::Target;

/// A vendor whose wire can be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dialect {
    /// China Mobile's OneNET: `/keys`.
    Onenet,
    /// Gjirafa's VP: `/api/organizations/{org}/api-keys`.
    Gjirafa,
    /// Tencent Cloud's API Gateway: `/`.
    Tencent,
    /// Partoo: `/v2/api_keys`.
    Partoo,
}

/// A name that no dialect has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such dialect; there are onenet, gjirafa, tencent and partoo")]
pub struct UnknownDialect;

impl Dialect {
    /// Every dialect.
    pub const ALL: [Self; 4] = [Self::Onenet, Self::Gjirafa, Self::Tencent, Self::Partoo];

    /// Its name: in `--dialect`, under `/dialects/`, and as the wire that the audit names.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Onenet => onenet::WIRE,
            Self::Gjirafa => gjirafa::WIRE,
            Self::Tencent => tencent::WIRE,
            Self::Partoo => partoo::WIRE,
        }
    }
}

impl Dialect {
    /// The header in which the vendor's clients send a key to the product, in lower case.
    pub(crate) const fn key_header(self) -> Option<&'static str> {
        match self {
            Self::Onenet => Some(onenet::KEY_HEADER),
            Self::Gjirafa => Some(gjirafa::KEY_HEADER),
            // A key pair signs.
            Self::Tencent => None,
            Self::Partoo => Some(partoo::KEY_HEADER),
        }
    }

    /// What a call of the product means to the vendor, besides its method on its path: all of it must hold.
    pub(crate) fn meaning(self, call: &Target<'_>) -> Vec<Meant> {
        match self {
            Self::Onenet => onenet::meaning(call),
            Self::Partoo => partoo::meaning(call),
            // A role's and a key pair's rights are not said by path: what they may do is said with grants.
            Self::Gjirafa | Self::Tencent => Vec::new(),
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Dialect {
    type Err = UnknownDialect;

    fn from_str(text: &str) -> Result<Self, UnknownDialect> {
        Self::ALL.into_iter().find(|dialect| dialect.name() == text).ok_or(UnknownDialect)
    }
}

/// What every wire works with.
#[derive(Clone)]
struct Wire {
    state: ServerState,
    /// For secrets and identifiers of a vendor's own form.
    entropy: Arc<dyn Entropy>,
    /// Where the vendor limits how often one may call.
    pace: Option<Arc<Pace<Paced>>>,
}

/// Whom a vendor's limit counts apart: the bits of an identifier, and the call where each has a limit of its own.
type Paced = (u128, &'static str);

/// The calls of a dialect, at `/`: whoever mounts them nests them under `/dialects/<name>` or gives them an address.
pub fn router(dialect: Dialect, state: ServerState, entropy: Arc<dyn Entropy>) -> Router {
    let (calls, limit): (Router<Wire>, Option<Limit>) = match dialect {
        Dialect::Onenet => (onenet::router(), None),
        Dialect::Gjirafa => (gjirafa::router(), None),
        Dialect::Tencent => (tencent::router(), Some(tencent::LIMIT)),
        Dialect::Partoo => (partoo::router(), Some(partoo::LIMIT)),
    };
    let pace = limit.map(|limit| Arc::new(Pace::new(limit)));
    calls.with_state(Wire { state, entropy, pace })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialect_reads_back_from_its_name_and_nothing_else_is_one() {
        for dialect in Dialect::ALL {
            assert_eq!(dialect.to_string().parse(), Ok(dialect));
        }
        for text in ["", "OneNET", "onenet ", "rest"] {
            assert_eq!(text.parse::<Dialect>(), Err(UnknownDialect), "{text:?}");
        }
    }
}
