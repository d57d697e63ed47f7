//! `keywright keys …`: one file for making, one for changing, the rest here.

mod create;
mod fields;
mod list;
mod update;

use anyhow::{Context as _, bail};
use keywright_client::{Client, Key, KeyFilter, Secret, WriteOptions};
use serde_json::json;

use super::nouns::confirmed;
use super::write::test_secret_file;
use super::{Outcome, Session};
use crate::cli::keys::{ExpireSecretArgs, KeysCommand, RevokeArgs, RevokeSelfArgs, RotateArgs, SecretArgs};
use crate::render;

/// Runs a command on keys.
pub(crate) async fn run(session: &Session, command: &KeysCommand) -> anyhow::Result<Outcome> {
    if let KeysCommand::RevokeSelf(args) = command {
        return revoke_self(session, args).await;
    }
    let client = &session.client()?;
    match command {
        KeysCommand::Create(args) => create::create(session, client, args).await,
        KeysCommand::Get(args) => {
            let key = find(client, &args.key).await?;
            Ok(tell_key(session, &key))
        }
        KeysCommand::List(args) => list::list(session, client, args).await,
        KeysCommand::Update(args) => update::update(session, client, args).await,
        KeysCommand::Rotate(args) => rotate(session, client, args).await,
        KeysCommand::Revoke(args) => revoke(session, client, args).await,
        KeysCommand::Enable(args) => {
            let id = find_id(client, &args.key.key).await?;
            Ok(session
                .tell(client.keys().enable(&id, &args.write.options()).await?, |key| shown(session, key)))
        }
        KeysCommand::Disable(args) => {
            let id = find_id(client, &args.key.key).await?;
            if !confirmed(session, &args.write, &format!("Switch {id} off? It can be switched on again.")) {
                return Ok(Outcome::No);
            }
            Ok(session
                .tell(client.keys().disable(&id, &args.write.options()).await?, |key| shown(session, key)))
        }
        KeysCommand::Delete(args) => {
            let id = find_id(client, &args.key.key).await?;
            if !confirmed(
                session,
                &args.write,
                &format!("End and hide {id}? Only its record can come back, revoked."),
            ) {
                return Ok(Outcome::No);
            }
            Ok(session
                .tell_gone(client.keys().delete(&id, &args.write.options()).await?, &format!("deleted {id}")))
        }
        KeysCommand::Undelete(args) => {
            // A hidden key is in no list, so only its id finds it.
            let answer = client.keys().undelete(&args.key.key, &args.write.options()).await?;
            Ok(session.tell(answer, |key| shown(session, key)))
        }
        KeysCommand::Lookup => {
            let key = client.keys().lookup(&session.secret()?).await?;
            Ok(tell_key(session, &key))
        }
        KeysCommand::Reveal(args) => reveal(session, client, args).await,
        KeysCommand::ExpireSecret(args) => expire_secret(session, client, args).await,
        KeysCommand::RevokeSelf(args) => revoke_self(session, args).await,
    }
}

fn shown(session: &Session, key: &Key) -> String {
    render::key::key(key, session.layout())
}

fn tell_key(session: &Session, key: &Key) -> Outcome {
    if session.output.json {
        session.output.say_json(key);
    } else {
        session.output.say(&shown(session, key));
    }
    Outcome::Done
}

/// Finds a key by what people call it: an id, a number, `access:…` or `external:…`.
pub(crate) async fn find(client: &Client, text: &str) -> anyhow::Result<Key> {
    let filter = if let Ok(number) = text.parse::<u32>() {
        KeyFilter { number: Some(number), ..KeyFilter::default() }
    } else if let Some(access_id) = text.strip_prefix("access:") {
        KeyFilter { access_id: Some(access_id.to_owned()), ..KeyFilter::default() }
    } else if let Some(external_id) = text.strip_prefix("external:") {
        KeyFilter { external_id: Some(external_id.to_owned()), ..KeyFilter::default() }
    } else {
        return Ok(client.keys().get(text).await?);
    };
    let mut found = client.keys().list(&KeyFilter { page_size: Some(2), ..filter });
    let key = found.next().await?.with_context(|| NotFound(text.to_owned()))?;
    if found.next().await?.is_some() {
        bail!("more than one key is called {text}: name it by its id");
    }
    Ok(key)
}

/// The same, without asking the server when the id is there already.
async fn find_id(client: &Client, text: &str) -> anyhow::Result<String> {
    if text.starts_with("key_") { Ok(text.to_owned()) } else { Ok(find(client, text).await?.id) }
}

/// No key is called so.
#[derive(Debug)]
pub(crate) struct NotFound(String);

impl std::fmt::Display for NotFound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no key is called {}", self.0)
    }
}

impl std::error::Error for NotFound {}

async fn rotate(session: &Session, client: &Client, args: &RotateArgs) -> anyhow::Result<Outcome> {
    test_secret_file(args.secret_file.as_deref())?;
    let id = find_id(client, &args.key.key).await?;
    let ends = format!("Give {id} a new secret and end the present one now?");
    if args.overlap == 0 && !confirmed(session, &args.write, &ends) {
        return Ok(Outcome::No);
    }
    let custom = if args.custom_secret { Some(session.secret()?) } else { None };
    let answer = client.keys().rotate(&id, args.overlap, custom.as_ref(), &args.write.options()).await?;
    session.tell_secret(answer, args.secret_file.as_deref(), "rotated")
}

async fn revoke(session: &Session, client: &Client, args: &RevokeArgs) -> anyhow::Result<Outcome> {
    let key = find(client, &args.key.key).await?;
    let question = format!("Revoke {} ({})? This is final.", key.id, key.name);
    if !confirmed(session, &args.write, &question) {
        return Ok(Outcome::No);
    }
    let answer = client.keys().revoke(&key.id, args.reason.as_deref(), &args.write.options()).await?;
    Ok(session.tell(answer, |key| shown(session, key)))
}

async fn reveal(session: &Session, client: &Client, args: &SecretArgs) -> anyhow::Result<Outcome> {
    let key = find(client, &args.key.key).await?;
    let current = || key.secrets.last().map(|secret| secret.id.clone());
    let id = args.secret_id.clone().or_else(current).context("this key has no secret")?;
    let secret = client.keys().reveal_secret(&key.id, &id).await?;
    if session.output.json {
        session.output.say_json(&json!({"secret": secret.expose()}));
    } else {
        session.output.say(secret.expose());
    }
    Ok(Outcome::Done)
}

async fn expire_secret(
    session: &Session,
    client: &Client,
    args: &ExpireSecretArgs,
) -> anyhow::Result<Outcome> {
    let id = find_id(client, &args.key.key).await?;
    if !confirmed(session, &args.write, &format!("End {} of {id} now?", args.secret_id)) {
        return Ok(Outcome::No);
    }
    let answer = client.keys().expire_secret(&id, &args.secret_id, &args.write.options()).await?;
    Ok(session.tell(answer, |key| shown(session, key)))
}

/// The key itself is the caller, so that whoever found it can end it.
async fn revoke_self(session: &Session, args: &RevokeSelfArgs) -> anyhow::Result<Outcome> {
    let secret: Secret = session.secret()?;
    let client = session.client_with(Some(secret))?;
    let answer = client.keys().revoke_self(args.reason.as_deref(), &WriteOptions::default()).await?;
    Ok(session.tell(answer, |key| shown(session, key)))
}
