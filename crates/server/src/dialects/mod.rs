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

/// What a vendor's folder says about its wire. Everything else asks here, so that a wire is its folder and its line below.
struct Vendor {
    /// In `--dialect`, under `/dialects/`, and as the wire that the audit names.
    name: &'static str,
    /// Its calls.
    router: fn() -> Router<Wire>,
    /// How often one may call, where the vendor limits it.
    limit: Option<Limit>,
    /// The header in which its clients send a key to the product, in lower case.
    key_header: Option<&'static str>,
    /// What a call of the product means to it, besides the method on the path.
    meaning: fn(&Target<'_>) -> Vec<Meant>,
    /// Reads any bytes as a body of it, or as a query where they begin with a question mark.
    #[cfg(feature = "fuzzing")]
    read: fn(&[u8]),
}

macro_rules! dialects {
    ($($(#[$doc:meta])* $variant:ident = $folder:ident;)+) => {
        /// A vendor whose wire can be served.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Dialect {
            $($(#[$doc])* $variant,)+
        }

        impl Dialect {
            /// Every dialect.
            pub const ALL: [Self; Self::NAMES.len()] = [$(Self::$variant),+];

            /// Their names.
            pub const NAMES: &[&str] = &[$($folder::VENDOR.name),+];

            const fn vendor(self) -> &'static Vendor {
                match self {
                    $(Self::$variant => &$folder::VENDOR,)+
                }
            }
        }
    };
}

// One line a dialect, beside its `mod` above. Where a request carries keys in several vendors' headers, the first counts.
dialects! {
    /// Gjirafa's VP: `/api/organizations/{org}/api-keys`.
    Gjirafa = gjirafa;
    /// China Mobile's OneNET: `/keys`.
    Onenet = onenet;
    /// Partoo: `/v2/api_keys`.
    Partoo = partoo;
    /// Tencent Cloud's API Gateway: `/`.
    Tencent = tencent;
}

/// A name that no dialect has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such dialect; there are {}", Dialect::NAMES.join(", "))]
pub struct UnknownDialect;

impl Dialect {
    /// Its name: in `--dialect`, under `/dialects/`, and as the wire that the audit names.
    pub const fn name(self) -> &'static str {
        self.vendor().name
    }

    /// The header in which the vendor's clients send a key to the product, in lower case.
    pub const fn key_header(self) -> Option<&'static str> {
        self.vendor().key_header
    }

    /// What a call of the product means to the vendor, besides its method on its path: all of it must hold.
    pub(crate) fn meaning(self, call: &Target<'_>) -> Vec<Meant> {
        (self.vendor().meaning)(call)
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
    let Vendor { router, limit, .. } = dialect.vendor();
    let pace = limit.map(|limit| Arc::new(Pace::new(limit)));
    router().with_state(Wire { state, entropy, pace })
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
