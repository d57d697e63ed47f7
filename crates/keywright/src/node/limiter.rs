//! The limiter, as the settings have it, behind what the server asks for.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use keywright_limiter::{
    Exchange, Limiter, Parts, Policy, RedisAllowances, RedisUrl, SHARED_MAX, Share, Shares, Source,
    Unreachable, Usage,
};
use keywright_model::revision::Incarnation;
use keywright_server::Figure;
use keywright_store::postgres::{LimitShare, LimitShares, LimitUse, PostgresShares};
use keywright_verifier::{AllowanceNeed, Verifier};

use crate::ambient::{boot_ns, random_name};
use crate::settings::{LIMITER, LIMITER_TIMEOUT, LIMITER_UNAVAILABLE, Settings};

/// How long a start waits for the first exchange: before it a node would use half of every limit.
const FIRST_EXCHANGE_MAX: Duration = Duration::from_secs(5);

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

/// Whether a limiter's server is set.
pub(super) fn is_set(settings: &Settings) -> bool {
    settings.text(&LIMITER).is_some()
}

/// Starts sharing limits with other nodes: by the server that is set, which need not be there yet, else by the shares of
/// the store, where it has any.
pub(super) async fn start(
    settings: &Settings,
    verifier: &Arc<Verifier>,
    incarnation: Incarnation,
    shares: Option<PostgresShares>,
) -> anyhow::Result<Option<Arc<dyn keywright_server::Limiter>>> {
    let policy = match settings.text(&LIMITER_UNAVAILABLE) {
        Some("allow") => Policy::Allow,
        Some("deny") => Policy::Deny,
        Some(_) | None => Policy::Local,
    };
    let (source, timeout) = match (settings.text(&LIMITER), shares) {
        (Some(url), _) => {
            let (url, timeout) = (RedisUrl::parse(url)?, settings.duration(&LIMITER_TIMEOUT));
            // Another life of the data counts anew, and shares a server with other installations.
            let installation = format!("{:016x}", incarnation.0);
            let server = RedisAllowances::new(&url, &random_name(), &installation, timeout)?;
            tracing::info!(server = %url, ?policy, "limits are shared with every node that uses this server");
            (Source::Server(Arc::new(server)), timeout)
        }
        (None, Some(shares)) => {
            tracing::info!(?policy, "limits are divided among the nodes, anew every second");
            // No verification waits for it.
            (Source::Store(Arc::new(Dividing(shares))), keywright_limiter::EXCHANGE)
        }
        (None, None) => return Ok(None),
    };
    let (verifier, clock) = (Arc::clone(verifier), Arc::new(boot_ns));
    let divides = matches!(source, Source::Store(_));
    let limiter = Limiter::start(Parts { verifier, source, policy, timeout, clock });
    if divides {
        limiter.first_answer(FIRST_EXCHANGE_MAX).await;
    }
    Ok(Some(Arc::new(Behind(limiter))))
}

/// PostgreSQL as what divides limits.
#[derive(Debug)]
struct Dividing(PostgresShares);

#[async_trait]
impl Exchange for Dividing {
    async fn exchange(&self, usage: &[Usage], hold: Duration) -> Result<Shares, Unreachable> {
        let use_of = |Usage { name, demand, wish }: &Usage| LimitUse {
            name: name.clone(),
            demand: *demand,
            wish: *wish,
        };
        let uses: Vec<LimitUse> = usage.iter().map(use_of).collect();
        let divided = self.0.exchange(&uses, hold, SHARED_MAX).await;
        let LimitShares { nodes, shares } =
            divided.map_err(|error| Unreachable::new("PostgreSQL did not divide limits", error))?;
        let share = |LimitShare { granted, others_demand }| Share { granted, others_demand };
        Ok(Shares { nodes, shares: shares.into_iter().map(share).collect() })
    }
}
