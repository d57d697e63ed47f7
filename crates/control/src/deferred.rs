//! What a verification cannot decide from memory: Argon2id of a weak secret, a block of a quota.

use std::sync::Arc;

use keywright_model::digest::SecretHash;
use keywright_model::time::Timestamp;
use keywright_store::{QuotaBlock, QuotaSubject};
use tokio::sync::Semaphore;

use crate::{Control, Error, Vault};

/// How many Argon2id computations run at once: each takes a core and 19 MiB for about 20 ms.
const ARGON2_AT_ONCE: usize = 2;

/// How many more may wait; whoever comes after is told to try again.
const ARGON2_WAITING_MAX: usize = 64;

/// Ahead of use at most one part in so many is taken of what is left of a quota.
const LEFT_TO_OTHERS: u64 = 100;

/// A bounded pool for what is slow on purpose.
pub(crate) struct Workers {
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
}

impl Default for Workers {
    fn default() -> Self {
        Self {
            running: Arc::new(Semaphore::new(ARGON2_AT_ONCE)),
            admitted: Arc::new(Semaphore::new(ARGON2_AT_ONCE + ARGON2_WAITING_MAX)),
        }
    }
}

impl Workers {
    /// Runs `work` on a thread of its own, waiting for a place; refuses when too many wait already.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let admitted = Arc::clone(&self.admitted)
            .try_acquire_owned()
            .map_err(|_| Error::Throttled { retry_after_seconds: 1 })?;
        let running = Arc::clone(&self.running).acquire_owned().await;
        let running = running.map_err(|error| Error::Internal(error.into()))?;
        let work = move || {
            // Held by the work itself, which goes on when whoever asked for it has gone away.
            let _places = (admitted, running);
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| Error::Internal(error.into()))
    }
}

impl Control {
    /// Whether a weak secret is the one that was kept as `phc`. Bounded in how many run and wait at once.
    pub async fn is_weak_secret(&self, phc: Arc<str>, hash: SecretHash) -> Result<bool, Error> {
        self.argon2.run(move || Vault::is_weak_secret(&phc, &hash)).await
    }

    /// Takes units out of a quota ahead of use, durably; never beyond `max` in its period: first what is `needed`, and
    /// then, up to `units` in all, at most a hundredth of what that left for everybody.
    ///
    /// Two steps, because a node that has not asked for a while does not know what others have taken: a block by its
    /// own old figures could be all that is left.
    pub async fn reserve_quota(
        &self,
        subject: QuotaSubject,
        period_start: Timestamp,
        (needed, units): (u64, u64),
        max: u64,
    ) -> Result<QuotaBlock, Error> {
        let first = self.store.reserve_quota(subject, period_start, needed, max).await?;
        let left = max.saturating_sub(first.reserved);
        let more = units.saturating_sub(needed).min(left / LEFT_TO_OTHERS);
        if more == 0 || first.granted < needed {
            return Ok(first);
        }
        match self.store.reserve_quota(subject, period_start, more, max).await {
            Ok(second) => Ok(QuotaBlock {
                granted: first.granted.saturating_add(second.granted),
                reserved: second.reserved,
            }),
            Err(error) => {
                // What was needed is there, and must be credited.
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a quota's block could not be reserved"
                );
                Ok(first)
            }
        }
    }
}
