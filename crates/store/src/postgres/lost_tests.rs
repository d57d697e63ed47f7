//! Commits whose answer is lost, links that swallow everything, and a standby that does not come: nothing is said to be done
//! that may not be, nothing is done twice, and callers hear in time.

use std::time::Duration;

use keywright_model::change::NounRef;
use keywright_model::id::KeyId;
use keywright_testkit::link::{Link, Passing};
use keywright_testkit::postgres::{Server, shared};
use tokio::time::Instant;

use super::tests::PostgresBackend;
use super::*;
use crate::contract::fixture::{commit, key, of_key, stored_key, world};

/// What a caller waits for at most, and a busy machine.
const IN_TIME: Duration = Duration::from_secs(12);

/// A store behind a link, with a world as revision 1 and a key as revision 2: its connections are there.
async fn behind_a_link() -> Option<(&'static Server, PostgresBackend, Link, Arc<dyn Store>)> {
    let server = shared()?;
    let backend = PostgresBackend { database: server.database() };
    let link = Link::to(server.port()).await;
    let through = PostgresBackend { database: link.through(&backend.database) };
    let store: Arc<dyn Store> = through.start().await;
    world(&store).await;
    made(&store, 1).await.unwrap();
    assert!(stored_key(&store, 1).await.is_some());
    Some((server, backend, link, store))
}

async fn made(store: &Arc<dyn Store>, n: u128) -> Result<Revision, CommitError> {
    let committed = tokio::time::timeout(IN_TIME, store.commit(commit(vec![of_key(key(1, 1, n))]))).await;
    committed.expect("a caller hears in time").map(|committed| committed.batch.revision)
}

fn entries(server: &Server, backend: &PostgresBackend) -> String {
    server.sql(&backend.database.name, "SELECT revision || ' ' || entries FROM head")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_found_and_was_made_once() {
    let Some((server, backend, link, store)) = behind_a_link().await else { return };
    assert_eq!(entries(server, &backend), "2 6");
    let mut hints = store.committed();
    for (n, head) in [(2, "3 7"), (3, "4 8")] {
        link.set(Passing::NoAnswerToCommit);
        let revision = made(&store, n).await.unwrap();
        assert_eq!(revision, store.head().await.unwrap());
        assert_eq!(entries(server, &backend), head);
        // It is hinted at as any other, if only as something to read.
        hints.recv().await.unwrap();
        let batches = store.batches_after(Revision(revision.0 - 1), 10).await.unwrap().unwrap();
        assert_eq!(batches.iter().map(|batch| batch.revision).collect::<Vec<_>>(), [revision]);
    }
    made(&store, 4).await.unwrap();
    assert_eq!(entries(server, &backend), "5 9");
    assert!(store.audit_verify().await.unwrap().findings.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_never_arrived_is_refused_and_is_not_there() {
    let Some((server, backend, link, store)) = behind_a_link().await else { return };
    link.set(Passing::NoCommit);
    let refused = made(&store, 2).await.unwrap_err();
    assert!(matches!(refused, CommitError::Store(StoreError::Unavailable(_))), "{refused:?}");
    assert_eq!(entries(server, &backend), "2 6");
    assert_eq!(made(&store, 2).await.unwrap(), Revision(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_link_that_swallows_everything_callers_hear_in_time_and_nothing_is_written() {
    let Some((server, backend, link, store)) = behind_a_link().await else { return };
    // Several connections stand idle, each of which could be tried.
    let ids = [NounRef::Key(KeyId::from_bits(1))];
    let read = || store.nouns(&ids);
    let _ = tokio::join!(read(), read(), read(), read());
    link.set(Passing::Nothing);
    let begun = Instant::now();
    let (one, other, read) = tokio::join!(made(&store, 2), made(&store, 3), store.nouns(&ids));
    assert!(begun.elapsed() < IN_TIME, "{:?}", begun.elapsed());
    for refused in [one.unwrap_err(), other.unwrap_err()] {
        assert!(matches!(refused, CommitError::Store(StoreError::Unavailable(_))), "{refused:?}");
    }
    assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
    assert_eq!(entries(server, &backend), "2 6");
    link.set(Passing::All);
    assert_eq!(made(&store, 2).await.unwrap(), Revision(3));
    assert!(stored_key(&store, 2).await.is_some() && stored_key(&store, 3).await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_nobody_can_be_asked_the_outcome_is_said_to_be_unknown_in_time() {
    let Some((server, backend, link, store)) = behind_a_link().await else { return };
    link.set(Passing::NoAnswerToCommitThenNothing);
    let unknown = made(&store, 2).await.unwrap_err();
    assert!(matches!(unknown, CommitError::Unknown(_)), "{unknown:?}");
    assert_eq!(entries(server, &backend), "3 7", "it was made");
    link.set(Passing::All);
    assert_eq!(made(&store, 3).await.unwrap(), Revision(4));
}

/// What waits for a standby: the writer's `COMMIT`.
const WAITING: &str = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";

async fn cancelled(server: &Server) {
    while server.sql("postgres", WAITING) == "0" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    server
        .sql("postgres", "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
}

fn standby(server: &Server, names: &str) {
    server.sql("postgres", &format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'"));
    server.sql("postgres", "SELECT pg_reload_conf()");
    while server.sql("postgres", "SHOW synchronous_standby_names") != names {
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_the_server_warned_about_is_unknown_until_a_later_one_is_replicated() {
    let Some(server) = Server::start(&[]) else { return };
    let backend = PostgresBackend { database: server.database() };
    let store: Arc<dyn Store> = backend.start().await;
    world(&store).await;
    standby(&server, "nobody");
    // The wait is cancelled, and so the server answers the COMMIT, with WARNING 01000. Nobody may be told that it is done.
    let (unknown, ()) = tokio::join!(made(&store, 1), cancelled(&server));
    let unknown = unknown.unwrap_err();
    assert!(matches!(unknown, CommitError::Unknown(_)), "{unknown:?}");
    assert_eq!(entries(&server, &backend), "2 6", "the primary has it");
    // The same, but a standby comes (here: is waited for no longer) before the caller is answered.
    let healed = async {
        cancelled(&server).await;
        standby(&server, "");
    };
    let (known, ()) = tokio::join!(made(&store, 2), healed);
    assert_eq!(known.unwrap(), Revision(3));
    assert_eq!(entries(&server, &backend), "3 7", "it was made once");
}
