//! The same random writes on both backends, the refused ones too, and then everything that can be read of them, with every
//! filter and every page: what one says, the other says.

mod reads;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use keywright_model::change::{Batch, Change, NounRef};
use keywright_model::id::{KeyId, KeyspaceId, OrgId, PlanId, PrincipalId, RoleId, SecretId};
use keywright_model::key::{Key, KeySecret, Revocation, Rights};
use keywright_model::noun::{Actor, Meta, PrincipalKind};
use keywright_model::revision::Version;
use keywright_testkit::postgres::{Server, shared};
use proptest::prelude::*;
use proptest::sample::select;
use tempfile::TempDir;

use self::reads::{key_query, lists, pages, the_rest};
use crate::audit::AuditKey;
use crate::contract::fixture::{
    Counting, ROOT_DIGEST, at, commit, installation, key, keyspace, org, plan, principal, role, secret,
    wrapped,
};
use crate::postgres::PostgresDatabase;
use crate::sqlite::SqliteFile;
use crate::{
    CommitError, Committed, Expect, IdempotentWrite, InstallationChange, KeyQuery, Noun, QuotaSubject, Store,
    Use,
};

/// How many of each noun there may be: few, so that they meet.
const FEW: u128 = 3;
const KEYS: u128 = 5;
/// Names that fold, sort or escape differently where a backend does not do what it should.
const NAMES: [&str; 10] = ["a", "A", "ab", "AB", "%", "_b", "a\\b", "ß", "É", "é"];

/// What a commit writes about one noun.
#[derive(Clone, Debug)]
enum What {
    Key {
        n: u128,
        name: &'static str,
        is: [bool; 10],
        label: Option<&'static str>,
        secrets: Vec<u128>,
        moment: i64,
    },
    Org(u128, bool),
    Keyspace(u128, bool),
    Role(u128, bool, &'static str),
    Plan(u128, bool, &'static str),
    Owner {
        n: u128,
        there: bool,
        role: bool,
        bot: bool,
        external: Option<&'static str>,
    },
    PurgedKey(u128),
}

/// What a commit relies on.
#[derive(Clone, Debug)]
enum Rely {
    /// Its version, or that and one more, or that it is not there.
    Version(NounRef, u64),
    Absent(NounRef),
    Unused(NounRef),
    Owns(u128, u64),
    Root(bool),
}

#[derive(Clone, Debug)]
enum Step {
    Commit { what: Vec<What>, rely: Vec<Rely>, call: Option<u8>, wraps: Option<u32>, moment: i64, by: u8 },
    Uses(Vec<(u128, u128, i64)>),
    Reserve(u8, i64, u64),
    Return(u8, i64, u64),
    Root(bool),
    Exported(i64),
    Sweep(i64, i64),
}

fn noun() -> impl Strategy<Value = NounRef> {
    prop_oneof![
        (1..=KEYS).prop_map(|n| NounRef::Key(KeyId::from_bits(n))),
        (1..=FEW).prop_map(|n| NounRef::Role(RoleId::from_bits(n))),
        (1..=FEW).prop_map(|n| NounRef::Plan(PlanId::from_bits(n))),
        (1..=FEW).prop_map(|n| NounRef::Principal(PrincipalId::from_bits(n))),
        (1..=FEW).prop_map(|n| NounRef::Keyspace(KeyspaceId::from_bits(n))),
        (1..=FEW).prop_map(|n| NounRef::Org(OrgId::from_bits(n))),
    ]
}

fn what() -> impl Strategy<Value = What> {
    let there = || prop::bool::weighted(0.75);
    let secrets = prop::collection::btree_set(0_u128..12, 0..3).prop_map(|set| set.into_iter().collect());
    let label = prop::option::of(select(&NAMES[..]));
    let key = (1..=KEYS, select(&NAMES[..]), any::<[bool; 10]>(), label, secrets, 0_i64..6);
    prop_oneof![
        8 => key.prop_map(|(n, name, is, label, secrets, moment)| {
            What::Key { n, name, is, label, secrets, moment }
        }),
        1 => (1..=FEW, there()).prop_map(|(n, there)| What::Org(n, there)),
        2 => (1..=FEW, there()).prop_map(|(n, there)| What::Keyspace(n, there)),
        2 => (1..=FEW, there(), select(&NAMES[..])).prop_map(|(n, there, name)| What::Role(n, there, name)),
        2 => (1..=FEW, there(), select(&NAMES[..])).prop_map(|(n, there, name)| What::Plan(n, there, name)),
        2 => (1..=FEW, there(), any::<bool>(), any::<bool>(), prop::option::of(select(&NAMES[..])))
            .prop_map(|(n, there, role, bot, external)| What::Owner { n, there, role, bot, external }),
        1 => (1..=KEYS).prop_map(What::PurgedKey),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let rely = prop_oneof![
        4 => (noun(), select(vec![0, 0, 0, 1])).prop_map(|(noun, more)| Rely::Version(noun, more)),
        1 => noun().prop_map(Rely::Absent),
        4 => noun().prop_map(Rely::Unused),
        1 => (1..=FEW, 0_u64..3).prop_map(|(n, keys)| Rely::Owns(n, keys)),
        1 => any::<bool>().prop_map(Rely::Root),
    ];
    let rely = prop::collection::vec(rely, 0..2);
    let what = prop::collection::vec(what(), 0..4);
    let (call, wraps) = (prop::option::weighted(0.3, 0_u8..4), prop::option::weighted(0.1, 1_u32..4));
    prop_oneof![
        20 => (what, rely, call, wraps, 0_i64..6, 0_u8..4).prop_map(|(what, rely, call, wraps, moment, by)| {
            Step::Commit { what, rely, call, wraps, moment, by }
        }),
        2 => prop::collection::vec((1..=KEYS, 0_u128..12, 0_i64..6), 1..4).prop_map(Step::Uses),
        1 => (0_u8..4, 0_i64..2, 0_u64..8).prop_map(|(whose, period, units)| Step::Reserve(whose, period, units)),
        1 => (0_u8..4, 0_i64..2, 0_u64..8).prop_map(|(whose, period, units)| Step::Return(whose, period, units)),
        1 => any::<bool>().prop_map(Step::Root),
        1 => (0_i64..6).prop_map(Step::Exported),
        1 => (0_i64..12, 0_i64..4).prop_map(|(now, feed_before)| Step::Sweep(now, feed_before)),
    ]
}

fn actor(by: u8) -> Actor {
    match by {
        0 => Actor::Root,
        1 => Actor::System,
        n => Actor::Key(KeyId::from_bits(n.into())),
    }
}

fn subject(whose: u8) -> QuotaSubject {
    match whose {
        0 => QuotaSubject::Key(KeyId::from_bits(1)),
        1 => QuotaSubject::Principal(PrincipalId::from_bits(1)),
        2 => QuotaSubject::PlanOfKey(PlanId::from_bits(1), KeyId::from_bits(1)),
        _ => QuotaSubject::PlanOfKey(PlanId::from_bits(1), KeyId::from_bits(2)),
    }
}

/// Both backends, each with the same installation.
struct Both {
    sqlite: Arc<dyn Store>,
    postgres: Arc<dyn Store>,
    _folder: TempDir,
}

impl Both {
    async fn new(server: &Server) -> Self {
        let audit_key = || AuditKey::new(&[4; 32]);
        let entropy = || Arc::new(Counting::default());
        let (keyring, folder) = ([wrapped("pepper", 1)], TempDir::new().unwrap());
        let mut file = SqliteFile::open(folder.path()).unwrap();
        file.initialise(&installation(), &keyring, vec![], &audit_key(), entropy()).unwrap();
        let sqlite = file.start(audit_key(), entropy()).unwrap();
        let database = PostgresDatabase::open(&server.database().url).await.unwrap();
        database.initialise(&installation(), &keyring, &[], &audit_key(), entropy()).await.unwrap();
        let postgres = database.start(audit_key(), entropy(), None).await.unwrap();
        Self { sqlite, postgres, _folder: folder }
    }

    /// Asks both the same, and fails unless they say the same.
    async fn ask<T: Debug + PartialEq>(
        &self,
        what: &dyn Debug,
        ask: impl AsyncFn(Arc<dyn Store>) -> T,
    ) -> Result<T, TestCaseError> {
        let (one, other) = (ask(Arc::clone(&self.sqlite)).await, ask(Arc::clone(&self.postgres)).await);
        prop_assert_eq!(&one, &other, "SQLite is left, PostgreSQL right: {:?}", what);
        Ok(one)
    }

    /// What there is of a noun, for the next write about it.
    async fn stored(&self, noun: NounRef) -> Option<Noun> {
        self.sqlite.nouns(&[noun]).await.unwrap().pop().flatten()
    }
}

fn next_meta(stored: Option<&Noun>, moment: i64, by: u8) -> Meta {
    let meta = stored.map(|noun| match noun {
        Noun::Org(org) => org.meta,
        Noun::Keyspace(keyspace) => keyspace.meta,
        Noun::Principal(principal) => principal.meta,
        Noun::Role(role) => role.meta,
        Noun::Plan(plan) => plan.meta,
        Noun::Key(key) => key.meta,
    });
    meta.map_or_else(|| Meta::new(at(moment), actor(by)), |meta| meta.changed(at(moment), actor(by)))
}

async fn change(both: &Both, what: &What, by: u8) -> Change {
    let one = OrgId::from_bits(1);
    match what {
        What::PurgedKey(n) => Change::KeyPurged(one, KeyspaceId::from_bits(1), KeyId::from_bits(*n)),
        What::Org(n, false) => Change::OrgDeleted(OrgId::from_bits(*n)),
        What::Keyspace(n, false) => Change::KeyspaceDeleted(one, KeyspaceId::from_bits(*n)),
        What::Role(n, false, _) => Change::RoleDeleted(one, RoleId::from_bits(*n)),
        What::Plan(n, false, _) => Change::PlanDeleted(one, PlanId::from_bits(*n)),
        What::Owner { n, there: false, .. } => Change::PrincipalDeleted(one, PrincipalId::from_bits(*n)),
        What::Org(n, true) => {
            let mut new = (*org(*n)).clone();
            new.meta = next_meta(both.stored(NounRef::Org(new.id)).await.as_ref(), 0, by);
            Change::OrgChanged(Arc::new(new))
        }
        What::Keyspace(n, true) => {
            let mut new = (*keyspace(1, *n)).clone();
            new.meta = next_meta(both.stored(NounRef::Keyspace(new.id)).await.as_ref(), 0, by);
            Change::KeyspaceChanged(Arc::new(new))
        }
        What::Role(n, true, name) => {
            let mut new = (*role(1, *n)).clone();
            new.spec.name = (*name).to_owned();
            let stored = both.stored(NounRef::Role(new.id)).await;
            if let Some(Noun::Role(stored)) = &stored {
                new.number = stored.number;
            }
            new.meta = next_meta(stored.as_ref(), 0, by);
            Change::RoleChanged(Arc::new(new))
        }
        What::Plan(n, true, name) => {
            let mut new = (*plan(1, *n)).clone();
            new.spec.name = (*name).to_owned();
            new.meta = next_meta(both.stored(NounRef::Plan(new.id)).await.as_ref(), 0, by);
            Change::PlanChanged(Arc::new(new))
        }
        What::Owner { n, there: true, role, bot, external } => {
            let mut new = (*principal(1, *n)).clone();
            new.spec.external_id = external.map(str::to_owned);
            new.spec.kind = if *bot { PrincipalKind::Bot } else { PrincipalKind::User };
            new.spec.roles = if *role { vec![RoleId::from_bits(*n)] } else { vec![] };
            new.meta = next_meta(both.stored(NounRef::Principal(new.id)).await.as_ref(), 0, by);
            Change::PrincipalChanged(Arc::new(new))
        }
        What::Key { n, name, is, label, secrets, moment } => {
            let new = key_of(*n, name, *is, *label, secrets, *moment);
            let stored = both.stored(NounRef::Key(new.id)).await;
            Change::KeyChanged(Arc::new(as_it_goes_on(new, stored.as_ref(), *moment, by)))
        }
    }
}

fn key_of(n: u128, name: &str, is: [bool; 10], label: Option<&str>, secrets: &[u128], moment: i64) -> Key {
    let [role, owned, hidden, revoked, enabled, expires, begins, manages, named, known] = is;
    let mut new = key(1, 1 + n % 2, n);
    new.spec.name = name.to_owned();
    new.spec.roles = if role { vec![RoleId::from_bits(n % FEW + 1)] } else { vec![] };
    new.spec.plans = if role { vec![PlanId::from_bits(1)] } else { vec![] };
    new.spec.owner = owned.then(|| PrincipalId::from_bits(n % FEW + 1));
    new.spec.enabled = enabled;
    new.spec.expires_at = expires.then(|| at(moment));
    new.spec.not_before = begins.then(|| at(moment - 2));
    new.spec.labels = label.map(|label| (label.to_owned(), name.to_owned())).into_iter().collect();
    if manages {
        let admin = serde_json::from_str(r#"{"actions":["*"],"orgs":["*"],"keyspaces":["*"]}"#).unwrap();
        new.spec.rights = Rights::Management { admin, grantable: vec![] };
    }
    new.access_id = known.then(|| format!("access{}", n % 3));
    new.external_id = named.then(|| format!("theirs{name}"));
    new.secrets = secrets.iter().map(|at| secret(*at)).collect();
    new.revocation =
        revoked.then(|| Revocation { at: at(moment), by: Actor::Root, reason: Some(name.to_owned()) });
    new.deleted_at = hidden.then(|| at(moment));
    new
}

/// What is for ever of a key stays, and a secret that it keeps comes without its material.
fn as_it_goes_on(mut new: Key, stored: Option<&Noun>, moment: i64, by: u8) -> Key {
    new.meta = next_meta(stored, moment, by);
    if let Some(Noun::Key(stored)) = stored {
        new.number = stored.number;
        new.access_id.clone_from(&stored.access_id);
        new.external_id.clone_from(&stored.external_id);
        new.spec.rights = stored.spec.rights.clone();
        let kept = |secret: &KeySecret| stored.secrets.iter().any(|known| known.id == secret.id);
        for secret in new.secrets.iter_mut().filter(|secret| kept(secret)) {
            secret.material = None;
        }
    }
    new
}

async fn expectation(both: &Both, rely: &Rely) -> Expect {
    match rely {
        Rely::Version(noun, more) => {
            let version = both.stored(*noun).await.map_or(1, |noun| noun.version().0);
            Expect::Version(*noun, Version(version + more))
        }
        Rely::Absent(noun) => Expect::Absent(*noun),
        Rely::Unused(noun) => Expect::Unused(*noun),
        Rely::Owns(n, keys) => Expect::Owns(PrincipalId::from_bits(*n), *keys),
        Rely::Root(now) => {
            let stored = both.sqlite.installation().await.unwrap().root_digest.unwrap_or(ROOT_DIGEST);
            Expect::Root(if *now { stored } else { keywright_model::digest::Digest([1; 32]) })
        }
    }
}

/// What came of the commits of all cases, so that a generator which makes none of a kind is noticed.
static SEEN: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());

/// What a commit came to. Where several things stand in its way, each backend names the one that it meets first.
fn said(came: Result<Committed, CommitError>) -> Result<Batch, String> {
    let (seen, said) = match came {
        Ok(committed) => ("made", Ok((*committed.batch).clone())),
        Err(CommitError::Conflict(_)) => ("conflict", Err("in the way".to_owned())),
        Err(CommitError::Taken(_)) => ("taken", Err("in the way".to_owned())),
        Err(CommitError::InUse(_)) => ("in use", Err("in the way".to_owned())),
        Err(CommitError::DanglingReference(_)) => ("dangling", Err("in the way".to_owned())),
        Err(CommitError::RootChanged) => ("root", Err("root".to_owned())),
        Err(CommitError::Repeated) => ("repeated", Err("repeated".to_owned())),
        Err(other) => ("other", Err(format!("{other:?}"))),
    };
    SEEN.lock().unwrap().insert(seen);
    said
}

async fn write(both: &Both, step: &Step) -> Result<(), TestCaseError> {
    match step {
        Step::Commit { what, rely, call, wraps, moment, by } => {
            let mut changes: Vec<Change> = Vec::new();
            for one in what {
                let change = change(both, one, *by).await;
                if !changes.iter().any(|other| other.noun() == change.noun()) {
                    changes.push(change);
                }
            }
            let mut wanted = commit(changes);
            for one in rely {
                wanted.expect.push(expectation(both, one).await);
            }
            (wanted.audit.at, wanted.audit.actor) = (at(*moment), actor(*by));
            wanted.idempotency = call.map(|call| IdempotentWrite {
                scope: [call; 32],
                request: [*by; 32],
                secret: None,
                secret_until: at(*moment + 2),
                until: at(*moment + 4),
            });
            wanted.wrapped_keys = wraps.map(|version| wrapped("data:x", version)).into_iter().collect();
            drop(both.ask(&wanted, async |store| said(store.commit(wanted.clone()).await)).await?);
        }
        Step::Uses(uses) => {
            let one_of = |(key, secret, moment): &(u128, u128, i64)| Use {
                key: KeyId::from_bits(*key),
                secret: SecretId::from_bits(*secret),
                at: at(*moment),
            };
            let uses: Vec<Use> = uses.iter().map(one_of).collect();
            both.ask(step, async |store| store.record_uses(&uses).await.is_ok()).await?;
        }
        Step::Reserve(whose, period, units) => {
            let reserve = async |store: Arc<dyn Store>| {
                store.reserve_quota(subject(*whose), at(*period), *units, 10).await.unwrap()
            };
            both.ask(step, reserve).await?;
        }
        Step::Return(whose, period, units) => {
            let give_back = async |store: Arc<dyn Store>| {
                store.return_quota(subject(*whose), at(*period), *units).await.is_ok()
            };
            both.ask(step, give_back).await?;
        }
        Step::Root(there) => {
            let change = InstallationChange::Root(there.then_some(ROOT_DIGEST));
            both.ask(step, async |store| store.reconfigure(change.clone()).await.is_ok()).await?;
        }
        Step::Exported(moment) => {
            let change = InstallationChange::MasterExported(at(*moment));
            both.ask(step, async |store| store.reconfigure(change.clone()).await.is_ok()).await?;
        }
        Step::Sweep(now, feed_before) => {
            both.ask(step, async |store| store.sweep(at(*now), at(*feed_before)).await.is_ok()).await?;
        }
    }
    Ok(())
}

async fn run(server: &Server, steps: Vec<Step>, queries: Vec<KeyQuery>) -> Result<(), TestCaseError> {
    let both = Both::new(server).await;
    let first = [
        What::Org(1, true),
        What::Keyspace(1, true),
        What::Keyspace(2, true),
        What::Role(1, true, "first"),
        What::Plan(1, true, "first"),
    ];
    let first = Step::Commit { what: first.into(), rely: vec![], call: None, wraps: None, moment: 0, by: 0 };
    for step in std::iter::once(&first).chain(&steps) {
        write(&both, step).await?;
        both.ask(step, async |store| store.head().await.unwrap()).await?;
    }
    the_rest(&both).await?;
    lists(&both).await?;
    for query in &queries {
        pages(&both, query).await?;
    }
    Ok(())
}

#[test]
fn the_same_writes_make_the_same_on_both_backends() {
    let Some(server) = shared() else { return };
    let config = ProptestConfig { cases: 16, max_shrink_iters: 60, ..ProptestConfig::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let input = (prop::collection::vec(step(), 8..40), prop::collection::vec(key_query(), 30));
    proptest!(config, |((steps, queries) in input)| {
        runtime.block_on(run(server, steps, queries))?;
    });
    let seen = SEEN.lock().unwrap();
    for word in ["made", "conflict", "taken", "in use", "dangling", "repeated", "root"] {
        assert!(seen.contains(word), "no commit came to {word}: {seen:?}");
    }
}
