//! Give followers a lease, as a node has: writers then wait for those of the keyspaces that they touch.
//!
//! Only root hands `feed.lease` out, and no more than [`FOLLOWERS_MAX`] hold one at once, since each can hold a write up for
//! as long as its lease. A life belongs to the key that registered it: to every other caller it does not exist.

use std::time::Duration;

use keywright_model::admin::AdminAction;
use keywright_model::fault::Faults;
use keywright_model::feed::Scope;
use keywright_model::id::NodeId;
use keywright_model::revision::{Revision, RevisionToken};
use keywright_store::{Followed, Member, MemberStatus, NewMember, Renewal};

use crate::feed::Position;
use crate::{Caller, Control, Error};

/// How many followers may hold a lease at once.
pub const FOLLOWERS_MAX: usize = 16;
/// The shortest and the longest time for which one renewal may be trusted. A write waits for no follower for longer.
pub const LEASE_SECONDS: std::ops::RangeInclusive<u64> = 1..=60;

/// How long a follower may take from its registration to going live before its place is given away.
const JOINING_MS_MAX: i64 = 5 * 60_000;

/// A follower that registers.
#[derive(Clone, Debug)]
pub struct NewLife {
    /// Keyspaces by name or id; empty is every one that the caller reaches.
    pub keyspaces: Vec<String>,
    /// How long one renewal is trusted.
    pub lease_seconds: u64,
    /// The supervisor's slot that it runs in: whoever ran in it before with the same key is dead.
    pub name: Option<String>,
    /// The program's version, for people.
    pub version: String,
}

/// A life that was registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// Its identifier, never used again.
    pub id: NodeId,
    /// What it answers for.
    pub scope: Scope,
}

const NO_LIFE: Error = Error::NotFound("lease");

/// What a life is told that is given no lease any more.
const ENDED: Error = Error::WrongState {
    code: "lease_ended",
    detail: "this life is given no lease any more: register a new one",
};

/// What a life is told for which there is no place.
const TOO_MANY: Error = Error::WrongState {
    code: "too_many_followers",
    detail: "16 followers hold a lease or ask for one; follow without a lease, or end one of them",
};

impl Control {
    /// Registers a follower's life. Nobody waits for it until it goes live.
    pub async fn register_follower(&self, caller: &Caller, new: NewLife) -> Result<Life, Error> {
        caller.require(AdminAction::FeedLease)?;
        if !LEASE_SECONDS.contains(&new.lease_seconds) {
            let (least, most) = LEASE_SECONDS.into_inner();
            let detail = format!("must be a whole number from {least} to {most}");
            return Err(Faults::one("/lease_seconds", "out_of_range", detail).into());
        }
        let scope = self.feed_scope(caller, &new.keyspaces).await?;
        let id = NodeId::new(self.clock.now().unix_ms(), self.random_bits());
        let by = caller.actor();
        // With its organization and its key in front, a follower's slot is never a node's or another follower's.
        let slot = new.name.map(|name| format!("{}/{by}/{name}", caller.org));
        // Before it is there, so that who asks again and again writes nothing; whoever runs in its slot makes room for it.
        if self.followers(slot.as_deref(), 1).await? >= FOLLOWERS_MAX {
            return Err(TOO_MANY);
        }
        let lease = Duration::from_secs(new.lease_seconds);
        self.members()
            .register(&NewMember {
                id,
                name: slot,
                scope: Some(Followed { by, scope: scope.clone() }),
                lease_ms: u64::try_from(lease.as_millis()).unwrap_or(u64::MAX),
                address: caller.origin.address.map(|address| address.to_string()).unwrap_or_default(),
                version: new.version,
            })
            .await?;
        // Counted after it is there, so that two that come at once cannot both be the last.
        if self.followers(None, 0).await? > FOLLOWERS_MAX {
            self.members().bury(id).await?;
            return Err(TOO_MANY);
        }
        tracing::info!(node.id = %id, "a follower has registered");
        Ok(Life { id, scope })
    }

    /// Has writers wait for a life from now on. Answers the newest revision, to be applied before the first renewal.
    pub async fn follower_goes_live(
        &self,
        caller: &Caller,
        id: NodeId,
        applied: &Position,
    ) -> Result<RevisionToken, Error> {
        self.own_life(caller, id).await?;
        let applied = self.own_revision(applied).await?;
        let head = self.members().go_live(id, applied).await?;
        self.token(head.ok_or(ENDED)?).await
    }

    /// Lets the lease of a life run on from before this call was sent. Answers the newest revision.
    pub async fn renew_follower(
        &self,
        caller: &Caller,
        id: NodeId,
        applied: &Position,
    ) -> Result<RevisionToken, Error> {
        let known = self.own_life(caller, id).await?.applied;
        let applied = self.own_revision(applied).await?;
        // A report may be lost, and a server of an embedded store forgets them when it stops.
        if known < applied {
            self.members().report(id, applied).await?;
        }
        match self.members().renew(id).await? {
            Renewal::Renewed { head, incarnation } => Ok(RevisionToken { incarnation, revision: head }),
            Renewal::Refused => Err(ENDED),
        }
    }

    /// Notes that a life answers by a revision.
    pub async fn follower_applied(
        &self,
        caller: &Caller,
        id: NodeId,
        applied: &Position,
    ) -> Result<(), Error> {
        self.own_life(caller, id).await?;
        let applied = self.own_revision(applied).await?;
        Ok(self.members().report(id, applied).await?)
    }

    /// Notes that a life answers nothing any more: no write waits for it.
    pub async fn end_follower(&self, caller: &Caller, id: NodeId) -> Result<(), Error> {
        caller.require(AdminAction::FeedLease)?;
        self.life_of(caller, id).await?;
        self.members().bury(id).await?;
        tracing::info!(node.id = %id, "a follower has left");
        Ok(())
    }

    /// How many followers there are outside of a slot. Where there is no room for those that are wanted, those that never
    /// went live are let go, and those that seem to be dead are given no lease any more, so that they are gone when the one
    /// that they had is over.
    async fn followers(&self, slot: Option<&str>, wanted: usize) -> Result<usize, Error> {
        let members = self.members().members().await?;
        let counts = |one: &Member| one.scope.is_some() && (slot.is_none() || one.name.as_deref() != slot);
        let followers: Vec<Member> = members.into_iter().filter(counts).collect();
        if followers.len() + wanted <= FOLLOWERS_MAX {
            return Ok(followers.len());
        }
        let mut left = followers.len();
        for one in followers {
            let silent = one.renewed_ago_ms.is_none_or(|ago| ago > one.lease_ms.saturating_mul(2));
            match one.status {
                MemberStatus::Joining if self.is_old(one.id) => {
                    left -= usize::from(self.members().bury(one.id).await?);
                }
                MemberStatus::Live if silent => self.members().fence(one.id).await?,
                _ => {}
            }
        }
        Ok(left)
    }

    /// Whether a life was registered so long ago that it will not go live any more.
    fn is_old(&self, id: NodeId) -> bool {
        let registered_ms = i64::try_from(id.bits() >> 80).unwrap_or(i64::MAX);
        self.clock.now().unix_ms().saturating_sub(registered_ms) > JOINING_MS_MAX
    }

    /// A life of the caller's own, if the caller may still hear of all that it answers for.
    async fn own_life(&self, caller: &Caller, id: NodeId) -> Result<Member, Error> {
        caller.require(AdminAction::FeedLease)?;
        caller.require(AdminAction::FeedRead)?;
        let member = self.life_of(caller, id).await?;
        let hears = member.scope.as_ref().is_some_and(|mine| caller.reached().covers(&mine.scope.keyspaces));
        if hears { Ok(member) } else { Err(Error::Forbidden { action: AdminAction::FeedRead }) }
    }

    async fn life_of(&self, caller: &Caller, id: NodeId) -> Result<Member, Error> {
        let (by, org) = (caller.actor(), caller.org);
        let own = |member: &Member| {
            member.id == id
                && member.scope.as_ref().is_some_and(|mine| mine.by == by && mine.scope.org == org)
        };
        self.members().members().await?.into_iter().find(own).ok_or(NO_LIFE)
    }

    /// A revision of this life of the data that there is.
    async fn own_revision(&self, applied: &Position) -> Result<Revision, Error> {
        // Invariant: what was applied of another history is counted for nothing, and may be what no write here waits for.
        if applied.history != self.history {
            return Err(ENDED);
        }
        let revision = applied.revision.revision;
        let known = self.is_of(applied).await? && revision <= self.store.head().await?;
        if known { Ok(revision) } else { Err(Error::NotFound("revision")) }
    }
}
