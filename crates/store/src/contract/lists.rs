//! Finding and listing.

use std::sync::Arc;

use keywright_model::change::{Change, NounRef};
use keywright_model::id::{KeyId, KeyspaceId, OrgId, PlanId, PrincipalId, RoleId, SecretId};
use keywright_model::key::{Key, KeyKind, KeyState, Revocation, Rights};
use keywright_model::noun::{Actor, PrincipalKind};

use super::fixture::{
    at, changed, commit, key, keyspace, of_key, org, principal, role, secret, stored_key, world, write,
};
use crate::{AuditQuery, KeyQuery, Lookup, Noun, NounKind, NounQuery, Standing, Store, Use};

const ONE: OrgId = OrgId::from_bits(1);
const PLAIN: u128 = 1;
const RICH: u128 = 0x0192_0000_0000_0000_0000_0000_0000_0002;

fn everything() -> KeyQuery {
    KeyQuery::all(ONE, at(100), 200)
}

async fn listed(store: &Arc<dyn Store>, query: KeyQuery) -> Vec<u128> {
    let page = store.keys_page(&query).await.unwrap();
    if query.after.is_none() && query.skip == 0 {
        let counted = KeyQuery { limit: 1, ..query.clone() };
        let count = usize::try_from(store.keys_count(&counted).await.unwrap()).unwrap();
        assert_eq!(count, page.items.len(), "{query:?}");
    }
    page.items.iter().map(|key| key.id.bits()).collect()
}

/// A key that sets all that can be filtered by, and one that sets nothing of it.
async fn rich_and_plain(store: &Arc<dyn Store>) {
    world(store).await;
    let plain = vec![Change::KeyspaceChanged(keyspace(1, 2)), of_key(key(1, 1, 1))];
    write(store, plain).await.unwrap();
    let mut rich = key(1, 2, RICH);
    rich.secrets = vec![secret(1_234)];
    (rich.access_id, rich.external_id) = (Some("access".to_owned()), Some("theirs".to_owned()));
    rich.spec.name = String::from("GPS uploader");
    rich.spec.owner = Some(PrincipalId::from_bits(1));
    rich.spec.roles = vec![RoleId::from_bits(1)];
    rich.spec.plans = vec![PlanId::from_bits(1)];
    rich.spec.expires_at = Some(at(500));
    rich.spec.labels = [("team".to_owned(), "fleet".to_owned()), ("tier".to_owned(), "1".to_owned())].into();
    let admin = serde_json::from_str(r#"{"actions":["*"],"orgs":["*"],"keyspaces":["*"]}"#).unwrap();
    rich.spec.rights = Rights::Management { admin, grantable: vec![] };
    rich.meta.created_by = Actor::Key(KeyId::from_bits(1));
    rich.meta.updated_at = at(50);
    write(store, vec![of_key(rich)]).await.unwrap();
}

pub async fn each_lookup_finds_its_noun(store: Arc<dyn Store>) {
    rich_and_plain(&store).await;
    let rich = KeyId::from_bits(RICH);
    let digest = secret(1_234).material.unwrap().digest.unwrap();
    let lookups = [
        Lookup::KeyByDigest(digest),
        Lookup::KeyByAccessId("access".to_owned()),
        Lookup::KeyByNumber(ONE, 2),
        Lookup::KeyByExternalId(KeyspaceId::from_bits(2), "theirs".to_owned()),
        Lookup::OrgByName("org-1".to_owned()),
        Lookup::KeyspaceByName(ONE, "keyspace-2".to_owned()),
        Lookup::PrincipalByExternalId(ONE, "user_1".to_owned()),
        Lookup::RoleByNumber(ONE, 1),
        Lookup::RoleByName(ONE, "role 1".to_owned()),
        Lookup::PlanByName(ONE, "plan 1".to_owned()),
    ];
    let found = store.find(&lookups).await.unwrap();
    for (lookup, noun) in lookups.iter().zip(&found).take(4) {
        assert!(matches!(noun, Some(Noun::Key(key)) if key.id == rich), "{lookup:?}");
    }
    assert!(matches!(&found[4], Some(Noun::Org(org)) if org.id == ONE));
    assert!(matches!(&found[5], Some(Noun::Keyspace(keyspace)) if keyspace.id == KeyspaceId::from_bits(2)));
    assert!(matches!(&found[6], Some(Noun::Principal(_))));
    assert!(matches!(&found[7], Some(Noun::Role(role)) if role.number == 1));
    assert!(matches!((&found[8], &found[9]), (Some(Noun::Role(_)), Some(Noun::Plan(_)))));
    let absent = [
        Lookup::KeyByNumber(OrgId::from_bits(2), 2),
        Lookup::KeyByExternalId(KeyspaceId::from_bits(1), "theirs".to_owned()),
        Lookup::OrgByName("Org-1".to_owned()),
        Lookup::KeyByAccessId("ACCESS".to_owned()),
    ];
    assert_eq!(store.find(&absent).await.unwrap(), [None, None, None, None]);
}

pub async fn several_nouns_are_read_in_the_order_asked_for(store: Arc<dyn Store>) {
    rich_and_plain(&store).await;
    let refs = [
        NounRef::Key(KeyId::from_bits(1)),
        NounRef::Role(RoleId::from_bits(9)),
        NounRef::Org(ONE),
        NounRef::Key(KeyId::from_bits(1)),
    ];
    let found = store.nouns(&refs).await.unwrap();
    assert!(matches!(&found[0], Some(Noun::Key(key)) if key.number == 1));
    assert_eq!((found[1].as_ref(), found[0] == found[3]), (None, true));
    assert!(matches!(&found[2], Some(Noun::Org(org)) if org.spec.name == "org-1"));
    assert_eq!(store.nouns(&[]).await.unwrap(), []);
}

/// With a role, a plan and a label at once.
fn linked(role: u128, plan: u128, team: &str, after: Option<u128>) -> KeyQuery {
    KeyQuery {
        role: Some(RoleId::from_bits(role)),
        plan: Some(PlanId::from_bits(plan)),
        labels: vec![("team".to_owned(), team.to_owned())],
        after: after.map(KeyId::from_bits),
        ..everything()
    }
}

pub async fn each_filter_of_keys_lets_through_what_it_says(store: Arc<dyn Store>) {
    rich_and_plain(&store).await;
    let used = Use { key: KeyId::from_bits(RICH), secret: SecretId::from_bits(1_234), at: at(60) };
    store.record_uses(&[used]).await.unwrap();
    let text = |text: &str| KeyQuery { text: Some(text.to_owned()), ..everything() };
    let label =
        |label: &str, value: &str| KeyQuery { labels: vec![(label.into(), value.into())], ..everything() };
    let both = vec![("team".to_owned(), "fleet".to_owned()), ("tier".to_owned(), "1".to_owned())];
    let cases: Vec<(KeyQuery, &[u128])> = vec![
        (everything(), &[RICH, PLAIN]),
        (KeyQuery { org: OrgId::from_bits(2), ..everything() }, &[]),
        (KeyQuery { keyspaces: Some(vec![KeyspaceId::from_bits(2)]), ..everything() }, &[RICH]),
        (
            KeyQuery { keyspaces: Some([1, 2].map(KeyspaceId::from_bits).to_vec()), ..everything() },
            &[RICH, PLAIN],
        ),
        (KeyQuery { keyspaces: Some(vec![]), ..everything() }, &[]),
        (KeyQuery { kind: Some(KeyKind::Management), ..everything() }, &[RICH]),
        (KeyQuery { kind: Some(KeyKind::Api), ..everything() }, &[PLAIN]),
        (KeyQuery { owner: Some(PrincipalId::from_bits(1)), ..everything() }, &[RICH]),
        (KeyQuery { role: Some(RoleId::from_bits(1)), ..everything() }, &[RICH]),
        (KeyQuery { role: Some(RoleId::from_bits(2)), ..everything() }, &[]),
        (KeyQuery { plan: Some(PlanId::from_bits(1)), ..everything() }, &[RICH]),
        (KeyQuery { number: Some(1), ..everything() }, &[PLAIN]),
        (KeyQuery { access_id: Some("access".to_owned()), ..everything() }, &[RICH]),
        (KeyQuery { external_id: Some("theirs".to_owned()), ..everything() }, &[RICH]),
        (text("gps u"), &[RICH]),
        (text("uploader"), &[]),
        (text("key"), &[PLAIN]),
        (text("1234"), &[RICH]),
        (text("kw_…"), &[RICH, PLAIN]),
        (text(&KeyId::from_bits(RICH).to_string()), &[RICH]),
        (text("%"), &[]),
        (label("team", "fleet"), &[RICH]),
        (label("team", "1"), &[]),
        (KeyQuery { labels: both, ..everything() }, &[RICH]),
        (linked(1, 1, "fleet", None), &[RICH]),
        (linked(1, 1, "fleet", Some(RICH)), &[]),
        (linked(1, 1, "fleet", Some(RICH + 1)), &[RICH]),
        (linked(1, 1, "other", None), &[]),
        (linked(1, 2, "fleet", None), &[]),
        (linked(2, 1, "fleet", None), &[]),
        (KeyQuery { role: None, ..linked(2, 1, "fleet", None) }, &[RICH]),
        (KeyQuery { role: None, ..linked(2, 1, "other", None) }, &[]),
        (KeyQuery { expires_before: Some(at(501)), ..everything() }, &[RICH]),
        (KeyQuery { expires_before: Some(at(500)), ..everything() }, &[]),
        (KeyQuery { last_used_before: Some(at(60)), ..everything() }, &[PLAIN]),
        (KeyQuery { last_used_before: Some(at(61)), ..everything() }, &[RICH, PLAIN]),
        (KeyQuery { updated_since: Some(at(50)), ..everything() }, &[RICH]),
        (KeyQuery { updated_since: Some(at(51)), ..everything() }, &[]),
        (KeyQuery { created_by: Some(Actor::Root), ..everything() }, &[PLAIN]),
        (KeyQuery { created_by: Some(Actor::Key(KeyId::from_bits(1))), ..everything() }, &[RICH]),
        (KeyQuery { owner: Some(PrincipalId::from_bits(1)), number: Some(1), ..everything() }, &[]),
    ];
    for (query, expected) in cases {
        assert_eq!(listed(&store, query.clone()).await, expected, "{query:?}");
    }
    let hidden = changed(stored_key(&store, PLAIN).await.unwrap(), |key| key.deleted_at = Some(at(70)));
    write(&store, vec![of_key(hidden)]).await.unwrap();
    assert_eq!(listed(&store, everything()).await, [RICH]);
    assert_eq!(listed(&store, KeyQuery { deleted: true, ..everything() }).await, [RICH, PLAIN]);
    assert_eq!(listed(&store, KeyQuery { deleted_before: Some(at(71)), ..everything() }).await, [PLAIN]);
    assert!(listed(&store, KeyQuery { deleted_before: Some(at(70)), ..everything() }).await.is_empty());
}

/// Keys in all the ways in which the switch, a start at 100, an expiry at 200 and a revocation come together.
fn one_of_each_state() -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    for n in 0..16_u128 {
        let mut key = key(1, 1, n + 1);
        key.spec.enabled = n & 1 == 0;
        key.spec.not_before = (n & 2 != 0).then(|| at(100));
        key.spec.expires_at = (n & 4 != 0).then(|| at(200));
        let revocation = Revocation { at: at(0), by: Actor::Root, reason: None };
        key.revocation = (n & 8 != 0).then_some(revocation);
        keys.push(key);
    }
    keys
}

pub async fn each_state_is_listed_at_its_moment(store: Arc<dyn Store>) {
    world(&store).await;
    let keys = one_of_each_state();
    write(&store, keys.iter().cloned().map(of_key).collect()).await.unwrap();
    let states =
        [KeyState::Active, KeyState::Disabled, KeyState::Scheduled, KeyState::Expired, KeyState::Revoked];
    for now in [0, 99, 100, 101, 199, 200, 201].map(at) {
        for state in states {
            let query = KeyQuery { state: Some(state), now, ..everything() };
            let expected: Vec<u128> =
                keys.iter().rev().filter(|key| key.state_at(now) == state).map(|key| key.id.bits()).collect();
            assert_eq!(listed(&store, query).await, expected, "{state:?} at {now}");
        }
    }
}

pub async fn each_standing_is_listed_at_its_moment(store: Arc<dyn Store>) {
    world(&store).await;
    let keys = one_of_each_state();
    write(&store, keys.iter().cloned().map(of_key).collect()).await.unwrap();
    for now in [0, 100, 199, 200, 201].map(at) {
        for standing in [Standing::On, Standing::Off, Standing::Expired, Standing::Good, Standing::NotGood] {
            let stands = |key: &&Key| {
                let off = key.revocation.is_some() || !key.spec.enabled;
                let expired = key.spec.expires_at.is_some_and(|at| at <= now);
                match standing {
                    Standing::On => !off,
                    Standing::Off => off,
                    Standing::Expired => expired,
                    Standing::Good => !off && !expired,
                    Standing::NotGood => off || expired,
                }
            };
            let query = KeyQuery { standing: Some(standing), now, ..everything() };
            let expected: Vec<u128> = keys.iter().rev().filter(stands).map(|key| key.id.bits()).collect();
            assert_eq!(listed(&store, query).await, expected, "{standing:?} at {now}");
        }
    }
}

pub async fn keys_are_found_by_a_part_of_their_name_and_by_the_kind_of_their_owner(store: Arc<dyn Store>) {
    rich_and_plain(&store).await;
    let part = |text: &str| KeyQuery { name_part: Some(text.to_owned()), ..everything() };
    let kind = |kind| KeyQuery { owner_kind: Some(kind), ..everything() };
    let cases: Vec<(KeyQuery, &[u128])> = vec![
        (part("UPLOAD"), &[RICH]),
        (part("s u"), &[RICH]),
        (part("e"), &[RICH, PLAIN]),
        (part("%"), &[]),
        (kind(PrincipalKind::User), &[RICH]),
        (kind(PrincipalKind::Bot), &[PLAIN]),
    ];
    for (query, expected) in cases {
        assert_eq!(listed(&store, query.clone()).await, expected, "{query:?}");
    }
    let mut owner = principal(1, 1);
    Arc::make_mut(&mut owner).spec.kind = PrincipalKind::Bot;
    write(&store, vec![Change::PrincipalChanged(owner)]).await.unwrap();
    assert_eq!(listed(&store, kind(PrincipalKind::Bot)).await, [RICH, PLAIN], "the owner is a program now");
}

pub async fn numbered_pages_are_counted_and_skip_what_is_before_them(store: Arc<dyn Store>) {
    world(&store).await;
    write(&store, (1..=10).map(|n| of_key(key(1, 1, n * 10))).collect()).await.unwrap();
    let page = |skip| KeyQuery { skip, limit: 4, ..everything() };
    for (skip, expected) in
        [(0, &[100, 90, 80, 70][..]), (4, &[60, 50, 40, 30]), (8, &[20, 10]), (10, &[]), (usize::MAX, &[])]
    {
        let page = store.keys_page(&page(skip)).await.unwrap();
        let found: Vec<u128> = page.items.iter().map(|key| key.id.bits()).collect();
        assert_eq!((found, page.more), (expected.to_vec(), skip < 6), "after {skip}");
    }
    let late = KeyQuery { after: Some(KeyId::from_bits(30)), ..page(1) };
    assert_eq!(listed(&store, late.clone()).await, [10]);
    assert_eq!(store.keys_count(&late).await.unwrap(), 10);
}

pub async fn pages_are_stable_while_keys_are_made(store: Arc<dyn Store>) {
    world(&store).await;
    let made = |n: u128| of_key(key(1, 1, n));
    write(&store, (1..=10).map(|n| made(n * 10)).collect()).await.unwrap();
    let mut query = KeyQuery { limit: 4, ..everything() };
    let mut seen = Vec::new();
    for round in 0.. {
        let page = store.keys_page(&query).await.unwrap();
        seen.extend(page.items.iter().map(|key| key.id.bits()));
        assert_eq!(page.more, seen.len() < 10, "after {} keys", seen.len());
        // Newer keys come before the first page and are not seen by later ones.
        write(&store, vec![made(1_000 + round)]).await.unwrap();
        query.after = page.items.last().map(|key| key.id);
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, (1..=10).rev().map(|n| n * 10).collect::<Vec<_>>());
    let exact = store.keys_page(&KeyQuery { limit: 13, ..everything() }).await.unwrap();
    assert_eq!((exact.items.len(), exact.more), (13, false));
    assert!(exact.items.iter().all(|key| key.secrets.len() == 1));
}

pub async fn other_nouns_are_listed_oldest_first(store: Arc<dyn Store>) {
    world(&store).await;
    let more =
        vec![Change::OrgChanged(org(2)), Change::RoleChanged(role(1, 3)), Change::RoleChanged(role(1, 2))];
    write(&store, more).await.unwrap();
    write(&store, vec![Change::PrincipalChanged(principal(2, 5)), Change::RoleChanged(role(2, 4))])
        .await
        .unwrap();
    let query =
        |kind, org: Option<u128>| NounQuery { kind, org: org.map(OrgId::from_bits), after: None, limit: 10 };
    let ids = |items: Vec<Noun>| -> Vec<String> {
        items.iter().map(|noun| format!("{noun:?}")).map(|text| text[..5].to_owned()).collect()
    };
    let roles = store.nouns_page(&query(NounKind::Role, Some(1))).await.unwrap();
    let numbers: Vec<u32> = roles
        .items
        .iter()
        .map(|noun| match noun {
            Noun::Role(role) => role.number,
            other => panic!("{other:?}"),
        })
        .collect();
    // The second and third were written in one commit, the later identifier first.
    assert_eq!((numbers, roles.more), (vec![1, 3, 2], false));
    let rest = NounQuery { after: Some(1), limit: 1, ..query(NounKind::Role, Some(1)) };
    let rest = store.nouns_page(&rest).await.unwrap();
    assert_eq!((rest.items.len(), rest.more), (1, true));
    for (kind, org, count) in [
        (NounKind::Org, None, 2),
        (NounKind::Keyspace, Some(1), 1),
        (NounKind::Keyspace, Some(2), 0),
        (NounKind::Plan, Some(1), 1),
        (NounKind::Principal, Some(2), 1),
    ] {
        let page = store.nouns_page(&query(kind, org)).await.unwrap();
        assert_eq!(page.items.len(), count, "{kind:?} {:?}", ids(page.items));
    }
}

pub async fn the_audit_is_listed_newest_first_and_filtered(store: Arc<dyn Store>) {
    world(&store).await;
    for n in 1..=4_u128 {
        let mut create = commit(vec![of_key(key(1, 1, n))]);
        create.audit.at = at(i64::try_from(n).unwrap());
        create.audit.verb = if n == 1 { "key.create" } else { "key.update" };
        create.audit.actor = if n == 2 { Actor::System } else { Actor::Root };
        store.commit(create).await.unwrap();
    }
    let all = AuditQuery {
        org: ONE,
        before: None,
        limit: 100,
        subject: None,
        actor: None,
        verb: None,
        since: None,
        until: None,
    };
    let verb = Some("key.create".to_owned());
    let cases: Vec<(AuditQuery, Vec<u64>)> = vec![
        (all.clone(), (1..=9).rev().collect()),
        (AuditQuery { before: Some(4), ..all.clone() }, vec![3, 2, 1]),
        (AuditQuery { subject: Some(KeyId::from_bits(3).to_string()), ..all.clone() }, vec![8]),
        (AuditQuery { actor: Some(Actor::System), ..all.clone() }, vec![7]),
        (AuditQuery { verb, ..all.clone() }, vec![6]),
        (AuditQuery { since: Some(at(2)), until: Some(at(4)), ..all.clone() }, vec![8, 7]),
        (AuditQuery { org: OrgId::from_bits(2), ..all.clone() }, vec![]),
    ];
    for (query, expected) in cases {
        let page = store.audit_page(&query).await.unwrap();
        assert_eq!(page.items.iter().map(|entry| entry.number).collect::<Vec<_>>(), expected, "{query:?}");
    }
    let first = store.audit_page(&AuditQuery { limit: 2, ..all }).await.unwrap();
    assert_eq!((first.items.len(), first.more), (2, true));
}

pub async fn a_whole_audit_verifies(store: Arc<dyn Store>) {
    rich_and_plain(&store).await;
    write(&store, vec![Change::OrgChanged(org(2)), Change::PrincipalChanged(principal(2, 5))]).await.unwrap();
    store.commit(commit(vec![])).await.unwrap();
    let report = store.audit_verify().await.unwrap();
    assert_eq!((report.entries, report.rows, report.findings), (11, 10, vec![]));
    assert_eq!(report.head.len(), 64);
    let again = store.audit_verify().await.unwrap();
    assert_eq!(again.head, report.head);
}
