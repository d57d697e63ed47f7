//! Who asks: a management key with `keys.verify` out of the index, or the root key by its digest.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;
use keywright_model::admin::{AdminAction, AdminRights};
use keywright_model::denial::Denial;
use keywright_model::id::OrgId;
use keywright_model::key::{Key, Rights};
use keywright_model::revision::Revision;
use keywright_verifier::{Asked as Keyspaces, Unauthenticated};

use super::{VerifyState, not_current};
use crate::dispatch::{bearer, note_failure, throttled};
use crate::rest::headers::{KEYWRIGHT_ORG, text};
use crate::rest::problem::{FORBIDDEN, NOT_FOUND, Problem};

/// The organization that root acts in when the call names none.
const DEFAULT_ORG: &str = keywright_control::bootstrap::DEFAULT;

/// Who asks, and about which organization.
#[derive(Clone, Debug)]
pub struct Asker {
    org: OrgId,
    /// The asking key; `None` is root.
    key: Option<Arc<Key>>,
}

impl Asker {
    /// The keyspaces that it may ask about.
    pub fn keyspaces(&self) -> Keyspaces<'_> {
        match self.rights() {
            None => Keyspaces::whole(self.org),
            Some(admin) => Keyspaces::within(self.org, &admin.keyspaces),
        }
    }

    fn rights(&self) -> Option<&AdminRights> {
        match &self.key.as_ref()?.spec.rights {
            Rights::Management { admin, .. } => Some(admin),
            Rights::Api { .. } => None,
        }
    }
}

/// Organizations that were named lately, as long as nothing was written since.
#[derive(Debug, Default)]
pub(crate) struct NamedOrgs(Mutex<(Revision, Vec<(String, OrgId)>)>);

/// How many names are kept.
const NAMED_MAX: usize = 64;

impl NamedOrgs {
    fn find(&self, name: &str, at: Revision) -> Option<OrgId> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (revision, names) = &*kept;
        (*revision == at).then(|| names.iter().find(|(kept, _)| kept == name)).flatten().map(|(_, org)| *org)
    }

    fn keep(&self, name: &str, org: OrgId, at: Revision) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (revision, names) = &mut *kept;
        if *revision != at || names.len() >= NAMED_MAX {
            (*revision, *names) = (at, Vec::new());
        }
        names.push((name.to_owned(), org));
    }
}

impl VerifyState {
    /// Finds out who asks. Awaits only where an organization is named that was not named since the last write.
    pub async fn authenticate(&self, headers: &HeaderMap, address: Option<IpAddr>) -> Result<Asker, Problem> {
        let common = &self.0.common;
        throttled(common, address)?;
        let bearer = bearer(headers)?;
        let named = text(headers, &KEYWRIGHT_ORG, "Keywright-Org")?;
        let key = match self.0.verifier.authenticate(bearer, address, self.now()) {
            Ok(found) => Some(found.key),
            Err(Unauthenticated::NotCurrent) => return Err(not_current(None)),
            Err(Unauthenticated::Denied(Denial::NotFound)) if self.is_root(bearer, address).await? => None,
            Err(Unauthenticated::Denied(denial)) => {
                note_failure(common, address);
                return Err(refused(denial));
            }
        };
        let org = match (&key, named) {
            (Some(key), None) => key.org,
            (_, named) => self.org_named(bearer, named.unwrap_or(DEFAULT_ORG), address).await?,
        };
        let asker = Asker { org, key };
        match asker.rights() {
            Some(admin) if !admin.orgs.includes(org) && named.is_some() => {
                Err(Problem::new(NOT_FOUND).detail("no such organization"))
            }
            Some(admin) if !admin.allow(AdminAction::KeysVerify, org, None) => {
                Err(Problem::new(FORBIDDEN).detail("this key may not do that: it lacks `keys.verify`"))
            }
            _ => Ok(asker),
        }
    }

    async fn is_root(&self, bearer: &str, address: Option<IpAddr>) -> Result<bool, Problem> {
        match self.0.verifier.digest(bearer).and_then(|digest| self.0.root.is(&digest)) {
            Some(is_root) => Ok(is_root),
            None => Ok(self.0.resolver.is_root(bearer, address).await?),
        }
    }

    async fn org_named(&self, bearer: &str, name: &str, address: Option<IpAddr>) -> Result<OrgId, Problem> {
        let at = self.0.verifier.revision();
        if let Some(org) = self.0.orgs.find(name, at) {
            return Ok(org);
        }
        let org = self.0.resolver.org_named(bearer, name, address).await?;
        self.0.orgs.keep(name, org, at);
        Ok(org)
    }
}

/// Says why a credential that was good once no longer is; whoever guesses learns nothing.
fn refused(denial: Denial) -> Problem {
    let detail = match denial {
        Denial::Malformed | Denial::NotFound => "the key is unknown".to_owned(),
        denial => format!("the key cannot be used: {}", denial.code()),
    };
    Problem::unauthenticated(Some("invalid_token"), detail)
}
