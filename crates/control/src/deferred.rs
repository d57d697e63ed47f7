//! What a verification cannot decide from memory: Argon2id of a weak secret, a block of a quota.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::Error;

/// How many Argon2id computations run at once: each takes a core and 19 MiB for about 20 ms.
const ARGON2_AT_ONCE: usize = 2;

/// How many more may wait; whoever comes after is told to try again.
const ARGON2_WAITING_MAX: usize = 64;

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
        let _admitted =
            self.admitted.try_acquire().map_err(|_| Error::Throttled { retry_after_seconds: 1 })?;
        let _running = self.running.acquire().await.map_err(|error| Error::Internal(error.into()))?;
        tokio::task::spawn_blocking(work).await.map_err(|error| Error::Internal(error.into()))
    }
}
