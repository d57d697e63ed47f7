//! Who did what.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One entry of an organization's audit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Counts per organization, gapless.
    #[serde(default)]
    pub number: u64,
    /// When.
    #[serde(default)]
    pub at: Option<String>,
    /// Who.
    #[serde(default)]
    pub actor: Option<String>,
    /// Through which wire.
    #[serde(default)]
    pub wire: Option<String>,
    /// What was done.
    #[serde(default)]
    pub verb: Option<String>,
    /// To which noun.
    #[serde(default)]
    pub subject: Option<String>,
    /// The noun's version after it.
    #[serde(default)]
    pub version: Option<u64>,
    /// The write's place among all writes.
    #[serde(default)]
    pub revision: Option<Value>,
    /// The noun after it, and what else the server says.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Which entries. Every filter that is set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// About this noun, by id.
    pub subject: Option<String>,
    /// By this key, `root` or `system`.
    pub actor: Option<String>,
    /// With this verb, such as `key.update`.
    pub verb: Option<String>,
    /// At or after this time.
    pub since: Option<String>,
    /// Before this time.
    pub until: Option<String>,
    /// How many on a page: 1 to 200.
    pub page_size: Option<u32>,
}

impl AuditFilter {
    pub(crate) fn query(&self) -> Vec<(String, String)> {
        let size = self.page_size.map(|size| size.to_string());
        let texts = [
            ("subject", &self.subject),
            ("actor", &self.actor),
            ("verb", &self.verb),
            ("since", &self.since),
            ("until", &self.until),
            ("limit", &size),
        ];
        texts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))).collect()
    }
}
