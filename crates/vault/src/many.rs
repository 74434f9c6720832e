//! Reading many small objects: sessions, states. One read for each is mostly waiting.

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use tresor_vault_format::limits::SMALL_OBJECT;

use crate::error::{Error, Result};
use crate::store::Store;

/// Objects that are asked for together. They are all held, up to [`SMALL_OBJECT`] bytes of each.
const TOGETHER: usize = 256;
/// How many times so many: the next ones come while these are worked on.
const AHEAD: usize = 2;

/// An object that was asked for by its key.
pub(crate) type Answer<K> = (K, Result<Bytes>);

/// Reads objects of at most `limit` bytes, in their order, and gives them in lots.
pub(crate) fn read_lots<K: Send + 'static>(
    store: &Store,
    wanted: Vec<(K, String)>,
    limit: usize,
) -> impl Stream<Item = Vec<Answer<K>>> + '_ {
    let mut wanted = wanted.into_iter().peekable();
    let lots = std::iter::from_fn(move || {
        wanted.peek()?;
        Some(wanted.by_ref().take(TOGETHER).collect::<Vec<_>>())
    });
    stream::iter(lots)
        .map(move |lot| read_lot(store, lot, limit))
        .buffered(AHEAD)
}

async fn read_lot<K>(store: &Store, lot: Vec<(K, String)>, limit: usize) -> Vec<Answer<K>> {
    let names: Vec<&str> = lot.iter().map(|(_, name)| name.as_str()).collect();
    let bodies = store.get_many(&names, limit.min(SMALL_OBJECT)).await;
    let mut answers = Vec::with_capacity(lot.len());
    for ((key, name), body) in lot.into_iter().zip(bodies) {
        let body = match body {
            // Larger than most: by itself, so that never many of them are held.
            Err(error) if limit > SMALL_OBJECT && is_too_large(&error) => {
                store.get(&name, limit).await
            }
            body => body,
        };
        answers.push((key, body));
    }
    answers
}

fn is_too_large(error: &Error) -> bool {
    use tresor_backend::ErrorKind::BadRange;
    let kind = error.kind();
    matches!(kind, crate::ErrorKind::Storage { kind, .. } if *kind == BadRange)
}
