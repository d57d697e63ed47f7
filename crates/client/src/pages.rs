//! Lists, page by page.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::http::Transport;

/// One page of a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the list goes on; `None` at its end.
    pub next_cursor: Option<String>,
}

/// A list that is fetched as it is read.
///
/// ```no_run
/// # async fn example(client: keywright_client::Client) -> Result<(), keywright_client::Error> {
/// let mut keys = client.keys().list(&Default::default());
/// while let Some(key) = keys.next().await? {
///     println!("{} {}", key.id, key.name);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Pages<T> {
    transport: Arc<Transport>,
    noun: &'static str,
    query: Vec<(String, String)>,
    ready: VecDeque<T>,
    cursor: Option<String>,
    ended: bool,
}

impl<T: DeserializeOwned> Pages<T> {
    pub(crate) fn new(transport: Arc<Transport>, noun: &'static str, query: Vec<(String, String)>) -> Self {
        Self { transport, noun, query, ready: VecDeque::new(), cursor: None, ended: false }
    }

    /// Goes on at a cursor that an earlier page of the same list gave.
    #[must_use]
    pub fn starting_at(mut self, cursor: Option<String>) -> Self {
        self.cursor = cursor;
        self
    }

    /// The next page; `None` after the last.
    pub async fn next_page(&mut self) -> Result<Option<Page<T>>, Error> {
        if self.ended {
            return Ok(None);
        }
        let mut query = self.query.clone();
        query.extend(self.cursor.take().map(|cursor| ("cursor".to_owned(), cursor)));
        let page: Page<T> = self.transport.get(&[self.noun], &query).await?;
        self.cursor.clone_from(&page.next_cursor);
        self.ended = page.next_cursor.is_none();
        Ok(Some(page))
    }

    /// The next item; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<T>, Error> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(Some(item));
            }
            match self.next_page().await? {
                Some(page) => self.ready.extend(page.items),
                None => return Ok(None),
            }
        }
    }

    /// Where the list goes on after what was fetched so far.
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }
}
