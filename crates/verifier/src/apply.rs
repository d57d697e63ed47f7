//! The writer: makes the next state out of the current one and a batch, beside the readers.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Weak as StdWeak};

use keywright_model::change::Change;
use keywright_model::digest::Digest;
use keywright_model::id::{KeyId, KeyspaceId, OrgId, PlanId, PrincipalId, RoleId};
use keywright_model::key::{Key, KeySecret, SecretMaterial};
use keywright_model::noun::{Keyspace, Org, Plan, Principal};
use keywright_model::time::Timestamp;

use crate::Unseal;
use crate::directory::{KeyspaceRow, OrgRow, OwnerRow, PlanRow, placed};
use crate::limits::{CompiledLimit, LimitCells, Sharing};
use crate::meters::{Meters, PlanCells, PlanMeters};
use crate::pairs::{PairSecret, SigningSecret, Weak};
use crate::quota::{CompiledQuota, QuotaCell, QuotaSubject};
use crate::seats::{self, KeyIds, Seat, Seats};
use crate::state::State;
use crate::table::{Record, Route};
use crate::terms::{Places, Policies};

/// What only the writer knows.
#[derive(Default)]
pub(crate) struct Writer {
    pub(crate) ids: KeyIds,
    policies: Policies,
    orgs: PlacesOf<OrgId>,
    keyspaces: PlacesOf<KeyspaceId>,
    owners: PlacesOf<PrincipalId>,
    roles: PlacesOf<RoleId>,
    plans: PlacesOf<PlanId>,
    access_ids: HashMap<KeyId, Box<str>>,
    /// Every quota's cell, for giving back what is unspent.
    pub(crate) quotas: Vec<StdWeak<QuotaCell>>,
    prune_quotas_at: usize,
}

/// Where the nouns of a kind are in the directory. A noun gets its place when it is first spoken of.
struct PlacesOf<Id>(HashMap<Id, u32>);

impl<Id> Default for PlacesOf<Id> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<Id: Hash + Eq> PlacesOf<Id> {
    fn of(&mut self, id: Id) -> u32 {
        // More than 2^32 nouns do not fit into memory.
        let next = u32::try_from(self.0.len()).unwrap_or(seats::NONE);
        *self.0.entry(id).or_insert(next)
    }
}

/// One batch, or one load, on its way into the next state.
pub(crate) struct Applying<'a> {
    pub(crate) writer: &'a mut Writer,
    pub(crate) seats: &'a Seats,
    pub(crate) unseal: &'a Unseal,
    pub(crate) sharing: Sharing,
    /// What counters and proofs are taken over from.
    pub(crate) previous: &'a State,
    pub(crate) next: State,
    /// A load's new index of keys: what the snapshot does not have is gone.
    pub(crate) loaded_ids: Option<KeyIds>,
}

/// What stands for the digest of a custom secret, which is in no table.
const NO_DIGEST: Digest = Digest([0; 32]);

/// What counted before: counters, or the one in the seat.
struct Before<'a> {
    limits: &'a [CompiledLimit],
    meters: Option<&'a Arc<Meters>>,
    seat: Option<&'a Seat>,
}

/// What a key was before.
struct Was<'a> {
    seats: Vec<u32>,
    record: Option<&'a Record>,
    pairs: &'a [PairSecret],
}

impl Applying<'_> {
    pub(crate) fn change(&mut self, change: &Change) {
        match change {
            Change::OrgChanged(org) => self.org(org),
            Change::OrgDeleted(id) => {
                let place = self.writer.orgs.of(*id);
                Arc::make_mut(&mut self.next.directory.orgs).set(place, None);
            }
            Change::KeyspaceChanged(keyspace) => self.keyspace(keyspace),
            Change::KeyspaceDeleted(_, id) => {
                let place = self.writer.keyspaces.of(*id);
                Arc::make_mut(&mut self.next.directory.keyspaces).set(place, None);
            }
            Change::PrincipalChanged(principal) => self.principal(principal),
            Change::PrincipalDeleted(_, id) => {
                let place = self.writer.owners.of(*id);
                Arc::make_mut(&mut self.next.directory.owners).set(place, None);
            }
            Change::RoleChanged(role) => {
                let (place, grants) =
                    (self.writer.roles.of(role.id), self.writer.policies.grants(&role.spec.grants));
                Arc::make_mut(&mut self.next.directory.roles).set(place, Some(grants));
            }
            Change::RoleDeleted(_, id) => {
                let place = self.writer.roles.of(*id);
                Arc::make_mut(&mut self.next.directory.roles).set(place, None);
            }
            Change::PlanChanged(plan) => self.plan(plan),
            Change::PlanDeleted(_, id) => {
                let place = self.writer.plans.of(*id);
                Arc::make_mut(&mut self.next.directory.plans).set(place, None);
            }
            Change::KeyChanged(key) => self.key(key),
            Change::KeyPurged(_, _, id) => self.purge(*id),
        }
    }

    fn org(&mut self, org: &Org) {
        let row = OrgRow { name: org.spec.name.as_str().into() };
        let place = self.writer.orgs.of(org.id);
        Arc::make_mut(&mut self.next.directory.orgs).set(place, Some(Arc::new(row)));
    }

    fn keyspace(&mut self, keyspace: &Keyspace) {
        let max_staleness_ns = keyspace.spec.max_staleness_seconds.map(|s| u64::from(s) * 1_000_000_000);
        let row = KeyspaceRow { name: keyspace.spec.name.as_str().into(), max_staleness_ns };
        let place = self.writer.keyspaces.of(keyspace.id);
        Arc::make_mut(&mut self.next.directory.keyspaces).set(place, Some(Arc::new(row)));
    }

    fn principal(&mut self, principal: &Principal) {
        let spec = &principal.spec;
        let place = self.writer.owners.of(principal.id);
        let limits: Box<[CompiledLimit]> = spec.limits.iter().map(CompiledLimit::new).collect();
        let quota = spec.quota.as_ref().map(CompiledQuota::new);
        let before = self.previous.directory.owners.at(place);
        let before =
            before.map(|row| Before { limits: &row.limits, meters: row.meters.as_ref(), seat: None });
        let subject = QuotaSubject::Principal(principal.id);
        let meters = self.meters(before.as_ref(), (&limits, quota.is_some(), subject), Box::default());
        let row = OwnerRow {
            id: principal.id,
            external_id: spec.external_id.as_deref().map(Box::from),
            enabled: spec.enabled,
            roles: spec.roles.iter().map(|role| self.writer.roles.of(*role)).collect(),
            limits,
            quota,
            meters,
        };
        Arc::make_mut(&mut self.next.directory.owners).set(place, Some(Arc::new(row)));
    }

    fn plan(&mut self, plan: &Plan) {
        let place = self.writer.plans.of(plan.id);
        let limits = plan.spec.limits.iter().map(CompiledLimit::new).collect();
        let before = self.previous.directory.plans.at(place);
        let row = PlanRow {
            limits: placed(limits, before.map(|row| &**row)),
            quota: plan.spec.quota.as_ref().map(CompiledQuota::new),
        };
        Arc::make_mut(&mut self.next.directory.plans).set(place, Some(Arc::new(row)));
    }

    fn before(&self, id: KeyId) -> Was<'_> {
        let mut chain = Vec::new();
        let mut place = self.writer.ids.first(self.seats, id).unwrap_or(seats::NONE);
        while let Some(seat) = self.seats.at(place) {
            chain.push(place);
            place = seat.next();
        }
        let pairs =
            self.writer.access_ids.get(&id).and_then(|access_id| self.previous.pairs.secrets(access_id));
        let pairs = pairs.map_or(&[][..], |pairs| pairs);
        let by_digest =
            chain.iter().find_map(|place| self.previous.table.record(self.seats.at(*place)?.route(), *place));
        let record = by_digest.or_else(|| pairs.first().map(|pair| &pair.record));
        Was { seats: chain, record, pairs }
    }

    fn key(&mut self, key: &Arc<Key>) {
        let places = Places {
            org: self.writer.orgs.of(key.org),
            keyspace: self.writer.keyspaces.of(key.keyspace),
            roles: key.spec.roles.iter().map(|role| self.writer.roles.of(*role)).collect(),
            plans: key.spec.plans.iter().map(|plan| self.writer.plans.of(*plan)).collect(),
        };
        let owner = key.spec.owner.map_or(seats::NONE, |owner| self.writer.owners.of(owner));
        let previous = self.previous;
        let (old_seats, old_record, old_pairs) = {
            let before = self.before(key.id);
            (before.seats, before.record.cloned(), before.pairs.to_vec())
        };
        let mut meters = None;
        let mut new_seats = Vec::with_capacity(key.secrets.len());
        let mut pairs = Vec::new();
        for (nth, secret) in key.secrets.iter().rev().enumerate() {
            let Some(material) = secret.material.as_deref() else { continue };
            let terms = self.writer.policies.terms(key, secret, &places);
            if nth == 0 || meters.is_none() {
                meters = self.key_meters(key, old_record.as_ref(), &terms.limits.limits, &places, previous);
            }
            let digest = material.digest.unwrap_or(NO_DIGEST);
            let Some(seat) = self.seat(key.id, secret, Route::of(&digest), &old_seats) else { continue };
            new_seats.push(seat);
            let expires_at = key.spec.expires_at.map_or(i64::MAX, Timestamp::unix_ms);
            let record = Record { digest, expires_at, terms, meters: meters.clone(), owner, seat };
            if key.access_id.is_some() {
                pairs.push(self.pair(key, (secret, material), record.clone(), &old_pairs));
            }
            if material.digest.is_some() {
                self.next.table.insert(record);
            }
        }
        self.reseat(key.id, &old_seats, &new_seats);
        if let Some(access_id) = &key.access_id {
            self.next.pairs.set(access_id, Some(pairs.into()));
            self.writer.access_ids.insert(key.id, access_id.as_str().into());
        }
    }

    fn key_meters(
        &mut self,
        key: &Key,
        old: Option<&Record>,
        limits: &[CompiledLimit],
        places: &Places,
        previous: &State,
    ) -> Option<Arc<Meters>> {
        if Self::counts_in_seat(key, old, limits) {
            return None;
        }
        let before = old.map(|record| Before {
            limits: &record.terms.limits.limits,
            meters: record.meters.as_ref(),
            seat: self.seats.at(record.seat),
        });
        let old_plans =
            before.as_ref().and_then(|before| before.meters).map_or(&[][..], |meters| &meters.plans);
        let bound = key.spec.plans.iter().zip(&places.plans).map(|(id, place)| {
            let kept = old_plans.iter().find(|old| old.plan == *place).map(|old| Arc::clone(&old.cells));
            let cells = kept.unwrap_or_else(|| {
                let row =
                    self.next.directory.plans.at(*place).or_else(|| previous.directory.plans.at(*place));
                let quota = self.writer.quota_cell(QuotaSubject::PlanOfKey(*id, key.id));
                let places = row.and_then(|row| row.limits.iter().map(|(_, place)| place + 1).max());
                Arc::new(PlanCells { limits: LimitCells::with_room_for(places.unwrap_or(0)), quota })
            });
            PlanMeters { plan: *place, cells }
        });
        let bound: Box<[PlanMeters]> = bound.collect();
        self.meters(before.as_ref(), (limits, key.spec.quota.is_some(), QuotaSubject::Key(key.id)), bound)
    }

    /// Whether all that counts is one limit, with one secret, as before: then it is counted in the secret's seat.
    fn counts_in_seat(key: &Key, old: Option<&Record>, limits: &[CompiledLimit]) -> bool {
        let [_] = limits else { return false };
        let counts_alone = key.secrets.len() == 1 && key.spec.quota.is_none() && key.spec.plans.is_empty();
        // A limit that comes to a key later gets a counter of its own: the seat's may hold an older limit's count.
        let goes_on = old.is_none_or(|old| old.meters.is_none() && *old.terms.limits.limits == *limits);
        counts_alone && goes_on
    }

    /// The counters for these limits, quota and plans: the ones there were when nothing about them has changed, else
    /// new ones that go on from them. A call that is counted meanwhile by the state before may be missed in a limit;
    /// quotas and plans share their cells, so that nothing is.
    fn meters(
        &mut self,
        before: Option<&Before<'_>>,
        (limits, has_quota, subject): (&[CompiledLimit], bool, QuotaSubject),
        plans: Box<[PlanMeters]>,
    ) -> Option<Arc<Meters>> {
        if limits.is_empty() && !has_quota && plans.is_empty() {
            return None;
        }
        if let Some((before, meters)) = before.and_then(|before| Some((before, before.meters?))) {
            let same_plans = meters.plans.iter().map(|old| old.plan).eq(plans.iter().map(|new| new.plan));
            if before.limits == limits && same_plans && meters.quota.is_some() == has_quota {
                return Some(Arc::clone(meters));
            }
        }
        let old_quota = before.and_then(|before| before.meters?.quota.clone());
        let quota = has_quota.then(|| old_quota.unwrap_or_else(|| self.writer.quota_cell(subject)));
        let cells = match before {
            Some(Before { limits: old, meters: Some(meters), .. }) => {
                LimitCells::inheriting(&meters.limits.all(), old, limits, self.sharing)
            }
            Some(Before { limits: old, seat: Some(seat), .. }) => {
                LimitCells::inheriting(&[seat.limit()], old, limits, self.sharing)
            }
            _ => LimitCells::with_room_for(limits.len()),
        };
        Some(Arc::new(Meters { limits: cells, quota, plans }))
    }

    /// The secret's seat: the one it has, unless its digest was made anew.
    fn seat(&self, key: KeyId, secret: &KeySecret, route: Route, old: &[u32]) -> Option<u32> {
        let mut before = None;
        for place in old {
            let Some(seat) = self.seats.at(*place).filter(|seat| seat.secret() == secret.id) else {
                continue;
            };
            if seat.route() == route {
                return Some(*place);
            }
            before = Some(seat);
        }
        let place = self.seats.take(route, key, secret.id, seats::NONE)?;
        if let Some(before) = before {
            if let Some(at) = before.last_used() {
                self.seats.touch(place, at);
            }
            if let Some(seat) = self.seats.at(place) {
                seat.go_on_from(before, self.sharing);
            }
        }
        Some(place)
    }

    fn pair(
        &self,
        key: &Key,
        (secret, material): (&KeySecret, &SecretMaterial),
        record: Record,
        old: &[PairSecret],
    ) -> PairSecret {
        let old = old.iter().find(|old| old.id == secret.id);
        let signing = old.and_then(|old| old.signing.clone()).or_else(|| {
            material.secret_sealed.as_ref()?;
            (self.unseal)(key, secret).map(|bytes| Arc::new(SigningSecret(bytes)))
        });
        let weak = material.argon2.as_deref().map(|argon2| {
            let kept = old.and_then(|old| old.weak.clone()).filter(|weak| &*weak.argon2 == argon2);
            kept.unwrap_or_else(|| {
                Arc::new(Weak { argon2: argon2.into(), proven: std::sync::OnceLock::new() })
            })
        });
        PairSecret { id: secret.id, record, digest: material.digest, weak, signing }
    }

    /// Takes the records of seats that are no longer the key's out of the table, and links those that are.
    fn reseat(&mut self, key: KeyId, old: &[u32], new: &[u32]) {
        for place in old.iter().filter(|place| !new.contains(place)) {
            if let Some(seat) = self.seats.at(*place) {
                self.next.table.remove(seat.route(), *place);
            }
        }
        let following = new.iter().skip(1).copied().chain(std::iter::once(seats::NONE));
        for (place, next) in new.iter().zip(following) {
            if let Some(seat) = self.seats.at(*place) {
                seat.set_next(next);
            }
        }
        let first = new.first().copied().or_else(|| old.first().copied());
        if let Some(first) = first {
            self.loaded_ids.as_mut().unwrap_or(&mut self.writer.ids).set_first(self.seats, key, first);
        }
    }

    fn purge(&mut self, id: KeyId) {
        let old = self.before(id).seats;
        self.reseat(id, &old, &[]);
        if let Some(access_id) = self.writer.access_ids.remove(&id) {
            self.next.pairs.set(&access_id, None);
        }
    }
}

impl Writer {
    fn quota_cell(&mut self, subject: QuotaSubject) -> Arc<QuotaCell> {
        if self.quotas.len() >= self.prune_quotas_at {
            self.quotas.retain(|cell| cell.strong_count() > 0);
            self.prune_quotas_at = (self.quotas.len() * 2).max(1_024);
        }
        let cell = Arc::new(QuotaCell::new(subject));
        self.quotas.push(Arc::downgrade(&cell));
        cell
    }
}
