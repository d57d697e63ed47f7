//! What memory cannot decide: a weak secret that was not proven yet, units of a quota or of a limit that nodes share,
//! an organization's name.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use keywright_control::{Control, Error, Origin, QuotaSubject, REST};
use keywright_model::digest::SecretHash;
use keywright_model::id::OrgId;
use keywright_verifier::{AllowanceNeed, QuotaBlock, Verifier, WeakSecret};

use crate::rest::error::is_failed_authentication;

/// An answer that has to be waited for.
pub(super) type Resolving<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// A figure for the metrics: name, help and value. A name that ends in `_total` counts up.
pub type Figure = (&'static str, &'static str, u64);

/// What gives a node units of limits that it shares with others. The binary puts a limiter behind it.
pub trait Limiter: Send + Sync + std::fmt::Debug {
    /// Sees to what a call lacks; its question is asked again afterwards. Bounded in time.
    fn allow<'a>(&'a self, needs: &'a [AllowanceNeed]) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
    /// What it has done.
    fn figures(&self) -> Vec<Figure>;
}

/// The one way from verifying to the database.
pub trait Resolver: Send + Sync + std::fmt::Debug {
    /// Tries a weak secret against each hash that it may have. Whether one matched; the verifier then knows.
    fn prove<'a>(&'a self, asked: &'a WeakSecret, secret: &'a str) -> Resolving<'a, bool>;
    /// Takes units out of a quota and hands them to the verifier.
    fn reserve<'a>(&'a self, block: &'a QuotaBlock) -> Resolving<'a, ()>;
    /// Takes units of limits ahead of use and hands them to the verifier.
    fn allow<'a>(&'a self, needs: &'a [AllowanceNeed]) -> Resolving<'a, ()>;
    /// What has been done for limits.
    fn figures(&self) -> Vec<Figure>;
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
    limiter: Option<Arc<dyn Limiter>>,
}

impl ControlResolver {
    /// Between these; without a limiter nothing of a limit is ever lacking.
    pub fn new(control: Control, verifier: Arc<Verifier>, limiter: Option<Arc<dyn Limiter>>) -> Self {
        Self { control, verifier, limiter }
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
            let units = (block.needed, block.units);
            let reserved = control.reserve_quota(subject, block.period.start, units, block.max).await;
            match &reserved {
                Ok(reserved) => verifier.credit_quota(&block, reserved.granted, reserved.reserved),
                Err(_) => verifier.release_quota(&block),
            }
            reserved.map(|_| ())
        });
        Box::pin(async move { reserving.await.unwrap_or_else(|error| Err(Error::Internal(error.into()))) })
    }

    fn allow<'a>(&'a self, needs: &'a [AllowanceNeed]) -> Resolving<'a, ()> {
        Box::pin(async move {
            if let Some(limiter) = &self.limiter {
                limiter.allow(needs).await;
            }
            Ok(())
        })
    }

    fn figures(&self) -> Vec<Figure> {
        self.limiter.as_ref().map_or_else(Vec::new, |limiter| limiter.figures())
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
