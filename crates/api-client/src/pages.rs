//! Lists, page by page.

use std::{collections::VecDeque, marker::PhantomData};

use futures::{Stream, stream};
use serde::{Serialize, de::DeserializeOwned};
use tresor_api_types::Paged;
use tresor_problem::Problem;

use crate::{
    Client,
    client::Call,
    encode::{path, query},
};

/// No list of a service has so many pages.
const MOST: u32 = 20_000;

/// All of a list, asked for page by page as it is read.
pub struct Pages<T> {
    client: Client,
    /// The path with the filters, which are the same for each page.
    list: String,
    read: VecDeque<T>,
    next: Next,
    pages: u32,
    item: PhantomData<T>,
}

/// Where the list goes on.
enum Next {
    First,
    Cursor(String),
    Nowhere,
}

impl<T: DeserializeOwned> Pages<T> {
    /// `asked` has the filters, and how much a page has; its cursor is ours.
    pub(crate) fn new(client: &Client, parts: &[&str], asked: &impl Serialize) -> Self {
        Self {
            client: client.clone(),
            list: format!("{}{}", path(parts), query(asked)),
            read: VecDeque::new(),
            next: Next::First,
            pages: 0,
            item: PhantomData,
        }
    }

    /// The next one; `None`: there are no more.
    ///
    /// # Errors
    /// Whatever asking for a page gives; `ServerAnswerUnusable` for a list that never ends.
    pub async fn next(&mut self) -> Result<Option<T>, Problem> {
        loop {
            if let Some(item) = self.read.pop_front() {
                return Ok(Some(item));
            }
            let cursor = match &self.next {
                Next::First => None,
                Next::Cursor(cursor) => Some(cursor.clone()),
                Next::Nowhere => return Ok(None),
            };
            let page = self.page(cursor.as_deref()).await?;
            self.pages += 1;
            if page.next.is_some() && (page.next == cursor || self.pages >= MOST) {
                return Err(self.client.unusable("its list does not come to an end"));
            }
            self.next = page.next.map_or(Next::Nowhere, Next::Cursor);
            self.read = page.items.into();
        }
    }

    /// All of them.
    ///
    /// # Errors
    /// As [`Pages::next`].
    pub async fn all(self) -> Result<Vec<T>, Problem> {
        self.first(usize::MAX).await
    }

    /// So many of them.
    ///
    /// # Errors
    /// As [`Pages::next`].
    pub async fn first(mut self, most: usize) -> Result<Vec<T>, Problem> {
        let mut all = Vec::new();
        while all.len() < most
            && let Some(item) = self.next().await?
        {
            all.push(item);
        }
        Ok(all)
    }

    /// The same as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<T, Problem>> {
        stream::try_unfold(self, |mut pages| async move {
            Ok(pages.next().await?.map(|item| (item, pages)))
        })
    }

    async fn page(&self, cursor: Option<&str>) -> Result<Paged<T>, Problem> {
        let mut list = self.list.clone();
        if let Some(cursor) = cursor {
            let cursor = query(&serde_json::json!({ "cursor": cursor }));
            match list.contains('?') {
                true => list.push_str(&cursor.replacen('?', "&", 1)),
                false => list.push_str(&cursor),
            }
        }
        self.client.read(Call::get(list)).await
    }
}
