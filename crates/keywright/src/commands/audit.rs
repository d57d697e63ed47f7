//! `keywright audit list`.

use keywright_client::{AuditFilter, Pages};
use serde::de::DeserializeOwned;

use super::{Outcome, Session, usage};
use crate::ambient::now;
use crate::cli::{AuditListArgs, PageArgs};
use crate::parse::expiry::parse_past;
use crate::progress::Progress;
use crate::render;

/// The largest page that a server gives.
const PAGE_MAX: u32 = 200;

/// Lists who did what.
pub(crate) async fn list(session: &Session, args: &AuditListArgs) -> anyhow::Result<Outcome> {
    let now = now();
    let past = |text: &Option<String>| {
        let at = text.as_deref().map(|text| parse_past(text, now)).transpose();
        at.map(|at| at.map(|at| at.to_string())).map_err(usage)
    };
    let filter = AuditFilter {
        subject: args.subject.clone(),
        actor: args.actor.clone(),
        verb: args.verb.clone(),
        since: past(&args.since)?,
        until: past(&args.until)?,
        page_size: Some(page_size(args.page)),
    };
    let entries = collect(session.client()?.audit(&filter), args.page, "reading the audit").await?;
    if session.output.json {
        session.output.say_json(&entries.items);
    } else {
        session.output.say(&render::noun::audit(&entries.items, session.layout()));
        entries.tell_more(session);
    }
    Ok(Outcome::Done)
}

/// How large pages are asked for.
pub(crate) fn page_size(page: PageArgs) -> u32 {
    if page.all { PAGE_MAX } else { page.first.min(PAGE_MAX) }
}

/// What was read of a list.
#[derive(Debug)]
pub(crate) struct Collected<T> {
    /// The items.
    pub items: Vec<T>,
    /// Whether the list goes on.
    pub more: bool,
}

impl<T> Collected<T> {
    /// Says that the list goes on.
    pub(crate) fn tell_more(&self, session: &Session) {
        if self.more {
            let count = self.items.len();
            session
                .output
                .note(&format!("these are the first {count}; --first N shows more, --all shows all"));
        }
    }
}

/// Reads as much of a list as was asked for.
pub(crate) async fn collect<T: DeserializeOwned>(
    mut pages: Pages<T>,
    page: PageArgs,
    what: &str,
) -> anyhow::Result<Collected<T>> {
    let wanted = if page.all { usize::MAX } else { usize::try_from(page.first).unwrap_or(usize::MAX) };
    let progress = Progress::counting(what);
    let mut items: Vec<T> = Vec::new();
    let mut more = false;
    while items.len() < wanted {
        let Some(read) = pages.next_page().await? else { break };
        items.extend(read.items);
        more = read.next_cursor.is_some();
        progress.at(u64::try_from(items.len()).unwrap_or(u64::MAX));
    }
    more = more || items.len() > wanted;
    items.truncate(wanted);
    Ok(Collected { items, more })
}
