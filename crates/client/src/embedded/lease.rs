//! The follower's row at the node, over HTTP: what a node keeps in its database, a follower asks its node for.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use keywright_feed::{Membership, Renewal, Reports, SourceError};
use keywright_model::feed::Scope;
use keywright_model::id::NodeId;
use keywright_model::revision::{Revision, RevisionToken};
use keywright_verifier::Verifier;
use reqwest::Method;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::following::Held;
use crate::error::Error;
use crate::http::{Body, Transport};

/// How long nothing is asked after the credential was refused: the node counts such calls.
const REFUSED_PAUSE: Duration = Duration::from_secs(3);

/// What a life is asked for with.
pub(super) struct Asked {
    pub(super) keyspaces: Vec<String>,
    pub(super) lease_seconds: u64,
    pub(super) name: Option<String>,
    /// What is in memory. Under a lease it never becomes another.
    pub(super) held: Held,
}

/// A life as this process and as the node calls it.
type Life = Arc<Mutex<Option<(NodeId, NodeId)>>>;

/// The row of a follower. Its renewals go over connections of their own.
pub(super) struct RemoteMembership {
    transport: Arc<Transport>,
    verifier: Arc<Verifier>,
    asked: Asked,
    life: Life,
}

/// Where it says how far it has come.
pub(super) struct RemoteReports {
    transport: Arc<Transport>,
    verifier: Arc<Verifier>,
    history: String,
    life: Life,
}

#[derive(Serialize)]
struct LeaseRequest<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    keyspaces: &'a [String],
    lease_seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    version: &'a str,
}

#[derive(Deserialize)]
struct Lease {
    id: NodeId,
    scope: Scope,
}

#[derive(Serialize)]
struct Applied<'a> {
    applied: RevisionToken,
    history: &'a str,
}

#[derive(Deserialize)]
struct Head {
    revision: RevisionToken,
}

/// Both ends of a life at the node behind these transports.
pub(super) fn remote(
    (renewing, reporting): (Arc<Transport>, Arc<Transport>),
    verifier: &Arc<Verifier>,
    asked: Asked,
) -> (RemoteMembership, RemoteReports) {
    let life = Life::default();
    let verifier = Arc::clone(verifier);
    let reports = RemoteReports {
        transport: reporting,
        verifier: Arc::clone(&verifier),
        history: asked.held.history.clone(),
        life: Arc::clone(&life),
    };
    (RemoteMembership { transport: renewing, verifier, asked, life }, reports)
}

fn failed(error: Error) -> SourceError {
    SourceError(Box::new(error))
}

fn theirs(life: &Life, id: NodeId) -> Option<NodeId> {
    let life = life.lock().unwrap_or_else(PoisonError::into_inner);
    life.as_ref().filter(|(mine, _)| *mine == id).map(|(_, theirs)| *theirs)
}

/// Whether a refusal says that the life is over, or never was.
fn is_over(error: &Error) -> bool {
    matches!(error.status(), Some(404 | 409))
}

impl RemoteMembership {
    /// A call that fails because of who asks is not made again at once.
    async fn pausing<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let answered = call.await;
        if let Err(error) = &answered
            && (matches!(error.status(), Some(401 | 403 | 429)) || error.code() == Some("too_many_followers"))
        {
            tokio::time::sleep(REFUSED_PAUSE).await;
        }
        answered
    }

    async fn go_live_as(&self, theirs: NodeId, applied: RevisionToken) -> Result<Head, Error> {
        let path = ["feed", "leases", &theirs.to_string(), "live"];
        self.pausing(
            self.transport.ask(&path, Body::json(&Applied { applied, history: &self.asked.held.history })?),
        )
        .await
    }

    async fn renew_as(&self, theirs: NodeId, applied: RevisionToken) -> Result<Head, Error> {
        let path = ["feed", "leases", &theirs.to_string(), "renew"];
        let body = Body::json(&Applied { applied, history: &self.asked.held.history })?;
        self.pausing(self.transport.ask(&path, body)).await
    }
}

#[async_trait]
impl Membership for RemoteMembership {
    async fn join(&mut self, id: NodeId) -> Result<(), SourceError> {
        let Asked { keyspaces, lease_seconds, name, held } = &self.asked;
        let version = env!("CARGO_PKG_VERSION");
        let asked = LeaseRequest { keyspaces, lease_seconds: *lease_seconds, name: name.as_deref(), version };
        let body = Body::json(&asked).map_err(failed)?;
        let given = self.pausing(self.transport.send(Method::POST, &["feed", "leases"], Some(body))).await;
        let given: Option<Lease> = given.map_err(failed)?;
        let given = given.ok_or_else(|| failed(Error::Unexpected("a lease without an identifier")))?;
        let theirs = given.id;
        // Invariant: writers wait for all that is answered from memory.
        if given.scope != held.scope {
            let path = ["feed", "leases", &theirs.to_string()];
            let _gone = self.transport.send::<IgnoredAny>(Method::DELETE, &path, None).await;
            tokio::time::sleep(REFUSED_PAUSE).await;
            return Err(failed(Error::Unexpected("the lease is of another scope than what was loaded")));
        }
        *self.life.lock().unwrap_or_else(PoisonError::into_inner) = Some((id, theirs));
        Ok(())
    }

    async fn go_live(&mut self, id: NodeId, _: Revision) -> Result<Option<Revision>, SourceError> {
        // Invariant: a revision and the life of the data that it is of are read at once.
        let Some((theirs, applied)) = theirs(&self.life, id).zip(self.verifier.position()) else {
            return Ok(None);
        };
        match self.go_live_as(theirs, applied).await {
            Ok(head) if head.revision.incarnation == applied.incarnation => Ok(Some(head.revision.revision)),
            Ok(_) => Ok(None),
            // Another life or history of the data, which the feed tells of too: until then there is none to be had.
            Err(error) if is_over(&error) => {
                tokio::time::sleep(REFUSED_PAUSE).await;
                Ok(None)
            }
            Err(error) => Err(failed(error)),
        }
    }

    async fn renew(&mut self, id: NodeId) -> Result<Renewal, SourceError> {
        let Some((theirs, applied)) = theirs(&self.life, id).zip(self.verifier.position()) else {
            return Ok(Renewal::Refused);
        };
        match self.renew_as(theirs, applied).await {
            Ok(Head { revision: RevisionToken { incarnation, revision: head } }) => {
                Ok(Renewal::Renewed { head, incarnation })
            }
            Err(error) if is_over(&error) => Ok(Renewal::Refused),
            Err(error) => Err(failed(error)),
        }
    }

    async fn leave(&mut self, id: NodeId) -> Result<(), SourceError> {
        let Some(theirs) = theirs(&self.life, id) else { return Ok(()) };
        let path = ["feed", "leases", &theirs.to_string()];
        match self.transport.send::<IgnoredAny>(Method::DELETE, &path, None).await {
            Ok(_) => Ok(()),
            Err(error) if is_over(&error) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }
}

#[async_trait]
impl Reports for RemoteReports {
    async fn report(&self, id: NodeId, _: Revision) -> Result<(), SourceError> {
        // What is told is what verifications read already, and at least what this was called for.
        let Some((theirs, applied)) = theirs(&self.life, id).zip(self.verifier.position()) else {
            return Ok(());
        };
        let path = ["feed", "leases", &theirs.to_string(), "report"];
        let body = Body::json(&Applied { applied, history: &self.history }).map_err(failed)?;
        match self.transport.send::<IgnoredAny>(Method::POST, &path, Some(body)).await {
            Ok(_) => Ok(()),
            Err(error) if is_over(&error) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }
}
