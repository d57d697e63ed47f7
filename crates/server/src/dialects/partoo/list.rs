//! `GET /v2/api_keys`: keys by pages that have numbers, newest first.

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use keywright_control::keys::{KeyRef, NumberedPage};
use keywright_control::{Caller, Error, KeyQuery};
use keywright_model::key::KeyKind;
use keywright_model::noun::PrincipalKind;
use keywright_model::secret::Secret;

use super::error::Refusal;
use super::people::Reader;
use super::query::{self, ListQuery};
use super::seen::Seen;
use super::wire::{self, KeyPage};
use super::{WIRE, answered, caller};
use crate::dialects::Wire;

pub(super) async fn answer(State(wire): State<Wire>, request: Request) -> Response {
    answered(list(&wire, request).await)
}

async fn list(wire: &Wire, request: Request) -> Result<Response, Refusal> {
    let incoming = wire.take(WIRE, request).await?;
    let caller = caller(wire, &incoming).await?;
    let asked = query::of_list(&incoming.parts.uri)?;
    let found = found(wire, &caller, &asked).await?;
    let (mut reader, mut items) = (Reader::new(wire, &caller), Vec::new());
    for record in &found.items {
        items.push(reader.shown(record, asked.include_all_permissions).await?);
    }
    let max_page = found.total.div_ceil(asked.per_page.into()).max(1);
    let page = KeyPage { page: asked.page, max_page, count: found.total, items };
    Ok(wire::answer(StatusCode::OK, &page))
}

async fn found(wire: &Wire, caller: &Caller, asked: &ListQuery) -> Result<NumberedPage, Error> {
    let limit = usize::from(asked.per_page);
    let before = usize::try_from(asked.page - 1).unwrap_or(usize::MAX);
    let mut query = KeyQuery {
        kind: Some(KeyKind::Api),
        standing: asked.status,
        owner_kind: asked.user_type,
        skip: before.saturating_mul(limit),
        ..KeyQuery::all(caller.org(), wire.now(), limit)
    };
    match Seen::by(wire, caller).await? {
        Seen::All => {}
        // A person's keys are no bot's.
        Seen::OwnedBy(person) if asked.user_type != Some(PrincipalKind::Bot) => query.owner = Some(person),
        Seen::OwnedBy(_) | Seen::None => return Ok(NumberedPage { items: Vec::new(), total: 0 }),
    }
    if let Some(text) = &asked.search_text {
        match key_itself(wire, caller, text).await? {
            Some(number) => query.number = Some(number),
            None => query.name_part = Some(text.clone()),
        }
    }
    wire.control().numbered_keys(caller, None, &query).await
}

/// The number of the key whose secret this text is.
async fn key_itself(wire: &Wire, caller: &Caller, text: &str) -> Result<Option<u32>, Error> {
    match wire.control().key(caller, &KeyRef::Secret(Secret::new(text))).await {
        Ok(record) => Ok(Some(record.key.number)),
        Err(Error::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
