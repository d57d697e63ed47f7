//! What lists have in common: a page of them, filters that all must hold, each with values of which one must.

use keywright_control::KeyQuery;
use keywright_control::keys::{KeyList, KeyRecord};
use keywright_model::id::PlanId;
use keywright_model::key::{Key, KeyKind};

use super::error::{Code, Refusal};
use super::map;
use super::parameters::Parameters;
use super::signed::Call;
use crate::dialects::Wire;

const LIMIT_DEFAULT: i64 = 20;
const LIMIT_MAX: i64 = 100;
/// How many keys are read at a time.
const KEYS_PAGE: usize = 500;

/// Which of what is found shall be shown. All of it is counted, as `TotalCount` wants it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    limit: usize,
    offset: usize,
}

/// What fell into a window.
pub(super) struct Found<T> {
    window: Window,
    pub(super) total: usize,
    pub(super) items: Vec<T>,
}

impl Window {
    pub(super) const EVERYTHING: Self = Self { limit: usize::MAX, offset: 0 };

    pub(super) fn read(parameters: &Parameters) -> Result<Self, Refusal> {
        let limit = parameters.whole("Limit")?.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Refusal::value_error(&format!("`Limit` must be from 1 to {LIMIT_MAX}")));
        }
        let offset = parameters.whole("Offset")?.unwrap_or(0);
        let usize = |number| usize::try_from(number).ok();
        let (limit, offset) = usize(limit)
            .zip(usize(offset))
            .ok_or_else(|| Refusal::value_error("`Offset` must not be negative"))?;
        Ok(Self { limit, offset })
    }

    pub(super) const fn empty<T>(self) -> Found<T> {
        Found { window: self, total: 0, items: Vec::new() }
    }
}

impl<T> Found<T> {
    pub(super) fn add(&mut self, item: T) {
        let Window { limit, offset } = self.window;
        if (offset..offset.saturating_add(limit)).contains(&self.total) {
            self.items.push(item);
        }
        self.total += 1;
    }
}

/// One filter: a name, and values of which one must fit.
pub(super) struct Filter {
    pub(super) name: String,
    pub(super) values: Vec<String>,
}

/// The filters of a call, of which there are only those with these names.
pub(super) fn filters(parameters: &Parameters, names: &[&str]) -> Result<Vec<Filter>, Refusal> {
    let mut filters = Vec::new();
    for filter in parameters.objects("Filters")? {
        filter.require_known(&["Name", "Values"])?;
        let (name, values) = (filter.required_text("Name")?, filter.required_texts("Values")?);
        if !names.contains(&name.as_str()) {
            return Err(Refusal::about(Code::InvalidFilterNotSupportedName, name));
        }
        filters.push(Filter { name, values });
    }
    Ok(filters)
}

/// Which of the caller's key pairs.
pub(super) enum Of<'a> {
    Plan(PlanId),
    All(&'a [&'a (dyn Fn(&Key) -> bool + Sync)]),
}

/// The key pairs that exist for the caller, newest first.
pub(super) async fn keys(
    wire: &Wire,
    call: &Call,
    window: Window,
    of: Of<'_>,
) -> Result<Found<KeyRecord>, Refusal> {
    let (plan, tests): (_, &[_]) = match of {
        Of::Plan(plan) => (Some(plan), &[]),
        Of::All(tests) => (None, tests),
    };
    let all = KeyQuery::all(call.caller.org(), wire.now(), KEYS_PAGE);
    let query = KeyQuery { kind: Some(KeyKind::Api), plan, ..all };
    let mut list = KeyList { keyspace: None, query, can: None };
    let mut found = window.empty();
    loop {
        let page = wire.control().keys(&call.caller, &list).await?;
        let fits = |record: &KeyRecord| {
            map::is_pair(&record.key).is_ok() && tests.iter().all(|test| test(&record.key))
        };
        page.items.into_iter().filter(fits).for_each(|record| found.add(record));
        list.query.after = page.next;
        if page.next.is_none() {
            return Ok(found);
        }
    }
}
