//! What memory cannot decide: a weak secret that was not proven yet, units of a quota, an organization's name.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use keywright_control::{Control, Error, Origin, QuotaSubject, REST};
use keywright_model::digest::SecretHash;
use keywright_model::id::OrgId;
use keywright_verifier::{QuotaBlock, Verifier, WeakSecret};

use crate::rest::error::is_failed_authentication;

/// An answer that has to be waited for.
pub(super) type Resolving<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// The one way from verifying to the database.
pub trait Resolver: Send + Sync + std::fmt::Debug {
    /// Tries a weak secret against each hash that it may have. Whether one matched; the verifier then knows.
    fn prove<'a>(&'a self, asked: &'a WeakSecret, secret: &'a str) -> Resolving<'a, bool>;
    /// Takes units out of a quota and hands them to the verifier.
    fn reserve<'a>(&'a self, block: &'a QuotaBlock) -> Resolving<'a, ()>;
    /// The organization with a name or identifier, as far as it exists for whoever holds this credential.
    fn org_named<'a>(
        &'a self,
        bearer: &'a str,
        name: &'a str,
        address: Option<IpAddr>,
    ) -> Resolving<'a, OrgId>;
    /// Whether a credential is the root key, while its digest is not in memory.
    fn is_root<'a>(&'a self, bearer: &'a str, address: Option<IpAddr>) -> Resolving<'a, bool>;
}

/// Resolves through the use cases.
#[derive(Debug)]
pub struct ControlResolver {
    control: Control,
    verifier: Arc<Verifier>,
}

impl ControlResolver {
    /// Between these two.
    pub fn new(control: Control, verifier: Arc<Verifier>) -> Self {
        Self { control, verifier }
    }
}

impl Resolver for ControlResolver {
    fn prove<'a>(&'a self, asked: &'a WeakSecret, secret: &'a str) -> Resolving<'a, bool> {
        Box::pin(async move {
            for (nth, phc) in asked.hashes().enumerate() {
                if self.control.is_weak_secret(phc.into(), SecretHash::of_text(secret)).await? {
                    self.verifier.remember_proven(asked, nth, secret);
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    fn reserve<'a>(&'a self, block: &'a QuotaBlock) -> Resolving<'a, ()> {
        let (control, verifier, block) = (self.control.clone(), Arc::clone(&self.verifier), block.clone());
        // A task of its own: what the store has reserved must be credited even when the client goes away meanwhile.
        let reserving = tokio::spawn(async move {
            let subject = subject(block.subject);
            let reserved = control.reserve_quota(subject, block.period.start, block.units, block.max).await;
            match &reserved {
                Ok(reserved) => verifier.credit_quota(&block, reserved.granted, reserved.reserved),
                Err(_) => verifier.release_quota(&block),
            }
            reserved.map(|_| ())
        });
        Box::pin(async move { reserving.await.unwrap_or_else(|error| Err(Error::Internal(error.into()))) })
    }

    fn org_named<'a>(
        &'a self,
        bearer: &'a str,
        name: &'a str,
        address: Option<IpAddr>,
    ) -> Resolving<'a, OrgId> {
        Box::pin(async move {
            let origin = Origin { wire: REST, address, request_id: None };
            Ok(self.control.authenticate(bearer, Some(name), origin).await?.org())
        })
    }

    fn is_root<'a>(&'a self, bearer: &'a str, address: Option<IpAddr>) -> Resolving<'a, bool> {
        Box::pin(async move {
            let origin = Origin { wire: REST, address, request_id: None };
            match self.control.authenticate(bearer, None, origin).await {
                Ok(caller) => Ok(caller.is_root()),
                Err(error) if is_failed_authentication(&error) => Ok(false),
                Err(error) => Err(error),
            }
        })
    }
}

const fn subject(subject: keywright_verifier::QuotaSubject) -> QuotaSubject {
    match subject {
        keywright_verifier::QuotaSubject::Key(key) => QuotaSubject::Key(key),
        keywright_verifier::QuotaSubject::PlanOfKey(plan, key) => QuotaSubject::PlanOfKey(plan, key),
        keywright_verifier::QuotaSubject::Principal(owner) => QuotaSubject::Principal(owner),
    }
}
