//! The limiter, as the settings have it, behind what the server asks for.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use keywright_limiter::{Limiter, Parts, Policy, RedisAllowances, RedisUrl, Source};
use keywright_model::revision::Incarnation;
use keywright_server::Figure;
use keywright_verifier::{AllowanceNeed, Verifier};

use crate::ambient::{boot_ns, random_name};
use crate::settings::{LIMITER, LIMITER_TIMEOUT, LIMITER_UNAVAILABLE, Settings};

#[derive(Debug)]
struct Behind(Limiter);

impl keywright_server::Limiter for Behind {
    fn allow<'a>(&'a self, needs: &'a [AllowanceNeed]) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(self.0.allow(needs))
    }

    fn figures(&self) -> Vec<Figure> {
        self.0.figures()
    }
}

/// Whether limits are shared with other nodes.
pub(super) fn is_shared(settings: &Settings) -> bool {
    settings.text(&LIMITER).is_some()
}

/// Starts asking the server that is set, if one is. It need not be there yet.
pub(super) fn start(
    settings: &Settings,
    verifier: &Arc<Verifier>,
    incarnation: Incarnation,
) -> anyhow::Result<Option<Arc<dyn keywright_server::Limiter>>> {
    let Some(url) = settings.text(&LIMITER) else { return Ok(None) };
    let url = RedisUrl::parse(url)?;
    let timeout = settings.duration(&LIMITER_TIMEOUT);
    let policy = match settings.text(&LIMITER_UNAVAILABLE) {
        Some("allow") => Policy::Allow,
        Some("deny") => Policy::Deny,
        Some(_) | None => Policy::Local,
    };
    // Another life of the data counts anew, and shares a server with other installations.
    let installation = format!("{:016x}", incarnation.0);
    let server = RedisAllowances::new(&url, &random_name(), &installation, timeout)?;
    tracing::info!(server = %url, ?policy, "limits are shared with every node that uses this server");
    let limiter = Limiter::start(Parts {
        verifier: Arc::clone(verifier),
        source: Source::Server(Arc::new(server)),
        policy,
        timeout,
        clock: Arc::new(boot_ns),
    });
    Ok(Some(Arc::new(Behind(limiter))))
}
