//! Secrets: rotated, chosen, shown again, ended.

use keywright_control::keys::{KeyRef, NewSecret, OVERLAP_SECONDS_MAX, Rotation};
use keywright_control::{AuditFilter, Caller, Done, Error, NounKind, WriteOptions, keys::KeyWithSecret};
use keywright_model::denial::Denial;
use keywright_model::key::SECRETS_MAX;
use keywright_model::secret::Secret;
use keywright_testkit::{TestNode, canary, origin};
use keywright_verifier::{Asked, Credential, Decided, Deferred, Request};
use serde_json::json;

use crate::setup::{
    allow, by_id, create, denial, faults, management, manager, merge, rotate, secret_of, update_noun,
};

async fn allowing(what: serde_json::Value) -> (TestNode, Caller) {
    let node = TestNode::start().await;
    let root = node.root().await;
    update_noun(&node, &root, (NounKind::Keyspace, "default"), what).await.unwrap();
    (node, root)
}

async fn rotate_to(
    node: &TestNode,
    caller: &Caller,
    key: &KeyRef,
    custom: &str,
) -> Result<Done<KeyWithSecret>, Error> {
    canary::note_secret(custom);
    let custom = Some(Secret::new(custom));
    let rotation = Rotation { overlap_seconds: 0, custom, secret: NewSecret::Generated };
    node.control.rotate_key(caller, key, &rotation, &WriteOptions::default()).await?.done()
}

#[tokio::test]
async fn an_old_secret_counts_for_its_overlap_and_no_longer() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let made = create(&node, &root, json!({"name": "k"})).await.unwrap();
    let key = by_id(&made.value);
    let second = rotate(&node, &root, &key, 60).await.unwrap();
    let ask = |made: &Done<KeyWithSecret>| denial(&node, root.org(), secret_of(made), None);
    node.clock.advance_ms(59_999);
    assert_eq!((ask(&made), ask(&second)), (None, None));
    node.clock.advance_ms(1);
    assert_eq!((ask(&made), ask(&second)), (Some(Denial::Superseded), None));
    let third = rotate(&node, &root, &key, 0).await.unwrap();
    assert_eq!((ask(&second), ask(&third)), (Some(Denial::Superseded), None));
    // A longer overlap brings nothing back, a shorter one is not made longer.
    let fourth = rotate(&node, &root, &key, 10).await.unwrap();
    rotate(&node, &root, &key, 1_000).await.unwrap();
    node.clock.advance_seconds(10);
    assert_eq!(
        (ask(&second), ask(&third), ask(&fourth)),
        (Some(Denial::Superseded), Some(Denial::Superseded), None)
    );
    for (overlap_seconds, good) in [(OVERLAP_SECONDS_MAX, true), (OVERLAP_SECONDS_MAX + 1, false)] {
        assert_eq!(rotate(&node, &root, &key, overlap_seconds).await.is_ok(), good);
    }
}

#[tokio::test]
async fn a_record_keeps_so_many_secrets_and_forgets_none_that_counts() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let made = create(&node, &root, json!({"name": "k"})).await.unwrap();
    let key = by_id(&made.value);
    for _ in 1..SECRETS_MAX {
        rotate(&node, &root, &key, 3_600).await.unwrap();
    }
    assert_eq!(denial(&node, root.org(), secret_of(&made), None), None);
    let refused = rotate(&node, &root, &key, 3_600).await;
    assert!(matches!(refused, Err(Error::WrongState { code: "too_many_secrets", .. })), "{refused:?}");
    // Without an overlap all of them end, so that the oldest may go: it is unknown then.
    let last = rotate(&node, &root, &key, 0).await.unwrap();
    assert_eq!(last.value.record.key.secrets.len(), SECRETS_MAX);
    assert_eq!(denial(&node, root.org(), secret_of(&made), None), Some(Denial::NotFound));
    assert_eq!(denial(&node, root.org(), secret_of(&last), None), None);
}

#[tokio::test]
async fn one_secret_is_ended_by_itself() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let made = create(&node, &root, json!({"name": "k"})).await.unwrap();
    let (key, first) = (by_id(&made.value), made.value.record.key.secrets[0].id);
    let second = rotate(&node, &root, &key, 3_600).await.unwrap();
    let expire = async |id| node.control.expire_secret(&root, &key, id, &WriteOptions::default()).await;
    expire(first).await.unwrap();
    let ask = |made: &Done<KeyWithSecret>| denial(&node, root.org(), secret_of(made), None);
    assert_eq!((ask(&made), ask(&second)), (Some(Denial::Superseded), None));
    let before = node.control.key(&root, &key).await.unwrap().key.meta.version;
    node.clock.advance_seconds(5);
    expire(first).await.unwrap();
    assert_eq!(node.control.key(&root, &key).await.unwrap().key.meta.version, before);
    let unknown = expire(keywright_model::id::SecretId::new(1, 1)).await.map(drop);
    assert!(matches!(unknown, Err(Error::NotFound("secret"))), "{unknown:?}");
}

#[tokio::test]
async fn a_secret_is_shown_again_only_where_it_was_kept_for_that() {
    let (node, root) = allowing(json!({"recoverable_secrets": true})).await;
    let made = create(&node, &root, json!({"name": "k", "grants": allow("*", "**")})).await.unwrap();
    let (key, id) = (by_id(&made.value), made.value.record.key.secrets[0].id);
    let shown = node.control.reveal_secret(&root, &key, id).await.unwrap();
    assert_eq!(shown.expose(), secret_of(&made));
    let filter = AuditFilter { limit: 9, verb: Some("key.reveal".to_owned()), ..AuditFilter::default() };
    assert_eq!(node.control.audit(&root, &filter).await.unwrap().items.len(), 1);
    let lesser = manager(&node, management(&["*"], &allow("get", "**"))).await;
    let refused = node.control.reveal_secret(&lesser, &key, id).await;
    assert!(matches!(refused, Err(Error::BeyondGrantable { .. })), "{refused:?}");
    assert!(node.control.reveal_current(&lesser, &[&made.value.record.key]).await.unwrap()[0].is_none());
    let full = manager(&node, management(&["*"], &allow("*", "**"))).await;
    assert!(node.control.reveal_current(&full, &[&made.value.record.key]).await.unwrap()[0].is_some());
    assert_eq!(node.control.audit(&root, &filter).await.unwrap().items.len(), 2);
    // What was kept only to check signatures is not shown, and stays so when the keyspace changes its mind.
    update_noun(&node, &root, (NounKind::Keyspace, "default"), json!({"recoverable_secrets": false}))
        .await
        .unwrap();
    let signing = create(&node, &root, json!({"name": "s", "access_id": "access_1"})).await.unwrap();
    let (key, secret) = (by_id(&signing.value), &signing.value.record.key.secrets[0]);
    assert!(secret.material.as_ref().is_some_and(|material| material.secret_sealed.is_some()));
    update_noun(&node, &root, (NounKind::Keyspace, "default"), json!({"recoverable_secrets": true}))
        .await
        .unwrap();
    let refused = node.control.reveal_secret(&root, &key, secret.id).await;
    assert!(matches!(refused, Err(Error::WrongState { code: "not_recoverable", .. })), "{refused:?}");
    let plain = create(&node, &root, json!({"name": "p"})).await.unwrap().value.record.key;
    assert!(plain.secrets[0].recoverable);
}

#[tokio::test]
async fn a_custom_secret_needs_a_keyspace_that_allows_it_and_an_access_id() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let body = || json!({"name": "k", "access_id": "access_1", "secret": "chosen_secret"});
    let code = ("/secret".to_owned(), "custom_secrets_not_allowed");
    assert_eq!(faults(create(&node, &root, body()).await), [code]);
    update_noun(&node, &root, (NounKind::Keyspace, "default"), json!({"allow_custom_secrets": true}))
        .await
        .unwrap();
    let made = create(&node, &root, body()).await.unwrap();
    let secret = &made.value.record.key.secrets[0];
    let material = secret.material.as_ref().unwrap();
    assert!(material.argon2.is_some() && material.digest.is_none() && secret.hint.is_none() && secret.custom);
    // Never a bare bearer, and never what a self-revocation takes.
    assert_eq!(denial(&node, root.org(), "chosen_secret", None), Some(Denial::NotFound));
    let ended = node
        .control
        .revoke_self(&Secret::new("chosen_secret"), None, origin(), &WriteOptions::default())
        .await;
    assert!(matches!(ended, Err(Error::Unauthenticated { .. })), "{ended:?}");
    // It is not unique.
    create(&node, &root, json!({"name": "l", "access_id": "access_2", "secret": "chosen_secret"}))
        .await
        .unwrap();
    let plain = by_id(&create(&node, &root, json!({"name": "p"})).await.unwrap().value);
    assert_eq!(
        faults(rotate_to(&node, &root, &plain, "chosen_secret").await),
        [("/secret".to_owned(), "access_id_required")]
    );
    rotate_to(&node, &root, &by_id(&made.value), "another_secret").await.unwrap();
}

#[tokio::test]
async fn a_custom_secret_is_proven_once_and_then_remembered() {
    let (node, root) = allowing(json!({"allow_custom_secrets": true})).await;
    create(&node, &root, json!({"name": "k", "access_id": "access_1", "secret": "chosen_secret"}))
        .await
        .unwrap();
    let ask = |secret: &'static str| {
        let request = Request { keyspaces: Asked::whole(root.org()), checks: &[], ip: None, cost: 1 };
        node.verifier.verify(&Credential::Custom { access_id: "access_1", secret }, &request, node.now())
    };
    let prove = async |secret: &'static str| {
        let Decided::Deferred(Deferred::WeakSecret(weak)) = ask(secret) else { panic!("decided {secret}") };
        let phc = weak.hashes().next().unwrap().to_owned();
        let hash = keywright_model::digest::SecretHash::of_text(secret);
        let is = node.control.is_weak_secret(phc.as_str().into(), hash).await.unwrap();
        if is {
            node.verifier.remember_proven(&weak, 0, secret);
        }
        is
    };
    assert!(!prove("guessed_secret").await);
    assert!(prove("chosen_secret").await);
    let Decided::Verdict(verdict) = ask("chosen_secret") else { panic!("not decided") };
    assert!(verdict.allowed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_weak_secrets_are_tried_at_once_and_no_more() {
    let node = std::sync::Arc::new(TestNode::start().await);
    let phc: std::sync::Arc<str> = node.vault.dummy_argon2().unwrap().into();
    let tries: Vec<_> = (0..120_u8)
        .map(|nth| {
            let (node, phc) = (std::sync::Arc::clone(&node), std::sync::Arc::clone(&phc));
            let hash = keywright_model::digest::SecretHash::from_bytes([nth; 32]);
            tokio::spawn(async move { node.control.is_weak_secret(phc, hash).await })
        })
        .collect();
    let mut refused = 0;
    for tried in tries {
        match tried.await.unwrap() {
            Ok(is) => assert!(!is),
            Err(Error::Throttled { retry_after_seconds: 1 }) => refused += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(refused > 0);
}

#[tokio::test]
async fn whoever_holds_a_secret_may_end_its_key() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let end = async |secret: &Secret, reason: Option<&str>| {
        let reason = reason.map(str::to_owned);
        node.control.revoke_self(secret, reason, origin(), &WriteOptions::default()).await?.done()
    };
    let made = create(&node, &root, json!({"name": "k", "grants": allow("get", "**")})).await.unwrap();
    let secret = made.value.secret.clone().unwrap();
    let long = "x".repeat(1_001);
    assert_eq!(faults(end(&secret, Some(&long)).await), [("/reason".to_owned(), "invalid_length")]);
    let done = end(&secret, Some("found on a forum")).await.unwrap();
    let key = &done.value.key;
    let revocation = key.revocation.as_ref().unwrap();
    assert_eq!(revocation.by, keywright_model::noun::Actor::Key(key.id));
    assert_eq!(denial(&node, root.org(), secret.expose(), None), Some(Denial::Revoked));
    // Ending it again changes nothing, its reason included.
    let again = end(&secret, Some("again")).await.unwrap();
    assert_eq!(again.value.key.revocation.as_ref().unwrap().reason.as_deref(), Some("found on a forum"));
    // A secret that was rotated out ends nothing any more, and an unknown one or a deleted key's tells nothing.
    let made = create(&node, &root, json!({"name": "k"})).await.unwrap();
    let new = rotate(&node, &root, &by_id(&made.value), 0).await.unwrap();
    let old = end(made.value.secret.as_ref().unwrap(), None).await;
    assert!(matches!(old, Err(Error::Unauthenticated { denial: Some(Denial::Superseded) })), "{old:?}");
    node.control.delete_key(&root, &by_id(&made.value), &WriteOptions::default()).await.unwrap();
    for gone in [
        new.value.secret.as_ref().unwrap(),
        &Secret::new("kw_unknown"),
        &Secret::new(keywright_testkit::ROOT),
    ] {
        let answer = end(gone, None).await;
        assert!(matches!(answer, Err(Error::Unauthenticated { denial: None })), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_ended_by_itself_however_busy_it_is() {
    let node = std::sync::Arc::new(TestNode::start().await);
    let root = node.root().await;
    let made = create(&node, &root, json!({"name": "k"})).await.unwrap();
    let (secret, key) = (made.value.secret.clone().unwrap(), by_id(&made.value));
    let writer = {
        let (node, root, key) = (std::sync::Arc::clone(&node), root.clone(), key.clone());
        tokio::spawn(async move {
            for nth in 0.. {
                let edit = merge(json!({"name": format!("k{nth}")}));
                match node.control.update_key(&root, &key, &edit, &WriteOptions::default()).await {
                    Ok(_) | Err(Error::Conflict) => {}
                    Err(Error::KeyRevoked) => return,
                    Err(error) => panic!("{error:?}"),
                }
            }
        })
    };
    loop {
        match node.control.revoke_self(&secret, None, origin(), &WriteOptions::default()).await {
            Ok(_) => break,
            Err(Error::Conflict) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    writer.await.unwrap();
    assert_eq!(denial(&node, root.org(), secret.expose(), None), Some(Denial::Revoked));
}
