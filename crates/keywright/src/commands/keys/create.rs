//! `keywright keys create`.

use keywright_client::Client;
use serde_json::json;

use super::super::write::test_secret_file;
use super::super::{Outcome, Session, json_object};
use super::fields;
use crate::cli::keys::CreateArgs;

/// Makes a key and shows its secret, once.
pub(super) async fn create(session: &Session, client: &Client, args: &CreateArgs) -> anyhow::Result<Outcome> {
    test_secret_file(args.secret_file.as_deref())?;
    let mut body = args.body_json.as_deref().map(json_object).transpose()?.unwrap_or_default();
    body.extend(fields::document(client, &args.fields).await?);
    let texts = [
        ("keyspace", &args.keyspace),
        ("kind", &args.kind),
        ("access_id", &args.access_id),
        ("external_id", &args.external_id),
    ];
    body.extend(texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), json!(text.as_ref()?)))));
    if args.custom_secret {
        body.insert("secret".to_owned(), json!(session.secret()?.expose()));
    }
    let answer = client.keys().create(&body, &args.write.options()).await?;
    session.tell_secret(answer, args.secret_file.as_deref(), "made")
}
