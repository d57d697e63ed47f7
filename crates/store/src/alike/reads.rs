//! Everything that can be read, and with which questions.

use std::sync::Arc;

use keywright_model::change::NounRef;
use keywright_model::id::{KeyId, KeyspaceId, OrgId, PlanId, PrincipalId, RoleId};
use keywright_model::key::{KeyKind, KeyState};
use keywright_model::noun::{Actor, PrincipalKind};
use keywright_model::revision::Revision;
use proptest::prelude::*;
use proptest::sample::select;

use super::{Both, FEW, KEYS, NAMES, actor};
use crate::contract::fixture::{at, secret};
use crate::{AuditQuery, KeyQuery, Lookup, NounKind, NounQuery, Standing, Store};

fn everybody() -> Vec<NounRef> {
    let few = (1..=FEW).flat_map(|n| {
        [
            NounRef::Org(OrgId::from_bits(n)),
            NounRef::Keyspace(KeyspaceId::from_bits(n)),
            NounRef::Role(RoleId::from_bits(n)),
            NounRef::Plan(PlanId::from_bits(n)),
            NounRef::Principal(PrincipalId::from_bits(n)),
        ]
    });
    few.chain((1..=KEYS).map(|n| NounRef::Key(KeyId::from_bits(n)))).collect()
}

fn lookups() -> Vec<Lookup> {
    let one = OrgId::from_bits(1);
    let mut all = Vec::new();
    for n in 0..12 {
        all.extend(secret(n).material.and_then(|material| material.digest).map(Lookup::KeyByDigest));
        let number = u32::try_from(n).unwrap();
        all.extend([Lookup::KeyByNumber(one, number), Lookup::RoleByNumber(one, number)]);
        all.push(Lookup::KeyByAccessId(format!("access{n}")));
        all.push(Lookup::KeyspaceByName(one, format!("keyspace-{n}")));
        all.push(Lookup::OrgByName(format!("org-{n}")));
    }
    for name in NAMES.into_iter().chain(["a\0"]) {
        let name = || name.to_owned();
        all.extend([Lookup::RoleByName(one, name()), Lookup::PlanByName(one, name())]);
        all.push(Lookup::PrincipalByExternalId(one, name()));
        all.push(Lookup::KeyByExternalId(KeyspaceId::from_bits(1), format!("theirs{}", name())));
    }
    all
}

/// One thing that a list of keys is narrowed by.
fn narrowed() -> impl Strategy<Value = fn(KeyQuery, u128, &'static str) -> KeyQuery> {
    let all: [fn(KeyQuery, u128, &'static str) -> KeyQuery; 28] = [
        |query, n, _| KeyQuery { keyspaces: Some((1..=n).map(KeyspaceId::from_bits).collect()), ..query },
        |query, _, _| KeyQuery { keyspaces: Some(vec![]), ..query },
        |query, _, _| KeyQuery { state: Some(KeyState::Active), ..query },
        |query, _, _| KeyQuery { state: Some(KeyState::Disabled), ..query },
        |query, _, _| KeyQuery { state: Some(KeyState::Scheduled), ..query },
        |query, _, _| KeyQuery { state: Some(KeyState::Expired), ..query },
        |query, _, _| KeyQuery { state: Some(KeyState::Revoked), ..query },
        |query, _, _| KeyQuery { standing: Some(Standing::On), ..query },
        |query, _, _| KeyQuery { standing: Some(Standing::Off), ..query },
        |query, _, _| KeyQuery { standing: Some(Standing::Expired), ..query },
        |query, _, _| KeyQuery { standing: Some(Standing::Good), ..query },
        |query, _, _| KeyQuery { standing: Some(Standing::NotGood), ..query },
        |query, _, _| KeyQuery { kind: Some(KeyKind::Api), ..query },
        |query, n, _| KeyQuery { owner: Some(PrincipalId::from_bits(n)), ..query },
        |query, _, _| KeyQuery { owner_kind: Some(PrincipalKind::User), ..query },
        |query, _, _| KeyQuery { owner_kind: Some(PrincipalKind::Bot), ..query },
        |query, n, _| KeyQuery { role: Some(RoleId::from_bits(n)), ..query },
        |query, n, _| KeyQuery { plan: Some(PlanId::from_bits(n)), ..query },
        |query, n, _| KeyQuery { number: u32::try_from(n).ok(), ..query },
        |query, n, _| KeyQuery { access_id: Some(format!("access{n}")), ..query },
        |query, _, name| KeyQuery { external_id: Some(format!("theirs{name}")), ..query },
        |query, _, name| KeyQuery { text: Some(name.to_owned()), ..query },
        |query, n, _| KeyQuery { text: Some(format!("…000{n}")), ..query },
        |query, _, name| KeyQuery { name_part: Some(name.to_owned()), ..query },
        |query, _, name| KeyQuery { labels: vec![(name.to_owned(), name.to_owned())], ..query },
        |query, n, _| KeyQuery { created_by: Some(actor(u8::try_from(n).unwrap_or(0))), ..query },
        |query, _, _| KeyQuery { deleted: true, ..query },
        |query, n, _| KeyQuery {
            deleted: true,
            deleted_before: Some(at(i64::try_from(n).unwrap_or(0))),
            ..query
        },
    ];
    select(all.to_vec())
}

pub(super) fn key_query() -> impl Strategy<Value = KeyQuery> {
    let names: Vec<&'static str> = NAMES.into_iter().chain(["", "a\0", "%%", "key_"]).collect();
    let narrowings = prop::collection::vec((narrowed(), 1_u128..5, select(names)), 0..3);
    let moments = prop::collection::vec(prop::option::weighted(0.15, 0_i64..6), 3);
    (narrowings, moments, 0_i64..6, 0_usize..3, 1_usize..4).prop_map(
        |(narrowings, moments, now, skip, limit)| {
            let mut query = KeyQuery::all(OrgId::from_bits(1), at(now), limit);
            query.skip = if limit == 1 { skip } else { 0 };
            for (narrow, n, name) in narrowings {
                query = narrow(query, n, name);
            }
            let [expires, used, updated] = [0, 1, 2].map(|which| moments[which].map(at));
            (query.expires_before, query.last_used_before, query.updated_since) = (expires, used, updated);
            query
        },
    )
}

/// Every page of it, and how many there are.
pub(super) async fn pages(both: &Both, query: &KeyQuery) -> Result<(), TestCaseError> {
    both.ask(query, async |store| store.keys_count(query).await.unwrap()).await?;
    let mut query = query.clone();
    loop {
        let page = both.ask(&query, async |store| store.keys_page(&query).await.unwrap()).await?;
        match page.items.last() {
            Some(last) if page.more => (query.after, query.skip) = (Some(last.id), 0),
            _ => return Ok(()),
        }
    }
}

pub(super) async fn lists(both: &Both) -> Result<(), TestCaseError> {
    for kind in [NounKind::Org, NounKind::Keyspace, NounKind::Principal, NounKind::Role, NounKind::Plan] {
        for (org, limit, after) in [(1, 100, None), (1, 1, None), (1, 2, Some(1)), (2, 100, None)] {
            let query = NounQuery { kind, org: Some(OrgId::from_bits(org)), after, limit };
            both.ask(&query, async |store| store.nouns_page(&query).await.unwrap()).await?;
        }
    }
    let all = AuditQuery {
        org: OrgId::from_bits(1),
        before: None,
        limit: 500,
        subject: None,
        actor: None,
        verb: None,
        since: None,
        until: None,
    };
    for query in [
        all.clone(),
        AuditQuery { org: OrgId::from_bits(2), ..all.clone() },
        AuditQuery { before: Some(7), limit: 2, ..all.clone() },
        AuditQuery { subject: Some(KeyId::from_bits(1).to_string()), ..all.clone() },
        AuditQuery { subject: Some("key_\0".to_owned()), ..all.clone() },
        AuditQuery { actor: Some(Actor::System), limit: 3, ..all.clone() },
        AuditQuery { verb: Some("key.update".to_owned()), limit: 1, ..all.clone() },
        AuditQuery { since: Some(at(2)), until: Some(at(4)), ..all },
    ] {
        both.ask(&query, async |store| store.audit_page(&query).await.unwrap()).await?;
    }
    Ok(())
}

pub(super) async fn the_rest(both: &Both) -> Result<(), TestCaseError> {
    both.ask(&"installation", async |store| store.installation().await.unwrap()).await?;
    both.ask(&"keyring", async |store| store.keyring().await.unwrap()).await?;
    let head = both.ask(&"head", async |store| store.head().await.unwrap()).await?;
    let snapshot = async |store: Arc<dyn Store>| {
        let snapshot = store.snapshot().await.unwrap();
        (snapshot.incarnation, snapshot.revision, snapshot.changes)
    };
    both.ask(&"snapshot", snapshot).await?;
    for (revision, limit) in (0..=head.0 + 1).map(|revision| (revision, 1)).chain([(0, 3), (0, 1_000)]) {
        let batches =
            async |store: Arc<dyn Store>| store.batches_after(Revision(revision), limit).await.unwrap();
        both.ask(&("batches after", revision, limit), batches).await?;
    }
    let (nouns, lookups) = (everybody(), lookups());
    both.ask(&"nouns", async |store| store.nouns(&nouns).await.unwrap()).await?;
    both.ask(&"find", async |store| store.find(&lookups).await.unwrap()).await?;
    let keys: Vec<KeyId> = (1..=KEYS).map(KeyId::from_bits).collect();
    both.ask(&"last used", async |store| store.last_used(&keys).await.unwrap()).await?;
    for key in (1..=KEYS + 1).map(KeyId::from_bits) {
        both.ask(&("key and uses", key), async |store| store.key_and_uses(key).await.unwrap()).await?;
    }
    for (call, now) in (0..4).flat_map(|call| [0, 3, 6, 9].map(|now| (call, now))) {
        let answer =
            async |store: Arc<dyn Store>| store.idempotent_answer(&[call; 32], at(now)).await.unwrap();
        both.ask(&("call", call, now), answer).await?;
    }
    let report = both.ask(&"audit", async |store| {
        let report = store.audit_verify().await.unwrap();
        // The salts of entries are random, and a refused commit uses some up on one of the two.
        (report.entries, report.rows, report.findings)
    });
    prop_assert_eq!(report.await?.2, vec![]);
    Ok(())
}
