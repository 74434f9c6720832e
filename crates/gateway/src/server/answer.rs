//! Answers on their way to the host. None of them is in memory whole but what is small.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use serde::Serialize;
use tokio::time::timeout;
use tresor_backend::{Backend, Error, ErrorKind, ObjectMeta, ObjectName};
use tresor_channel::{BodyWriter, Reply};

use super::budget::Reserved;
use super::calls::readable;
use super::{Inner, Share, Stop};
use crate::wire;

/// Most bytes of an object that are in memory for one call.
pub(super) const PIECE: u64 = 4 << 20;
/// Bytes of a list that go out together.
const LIST_PIECE: usize = 64 << 10;
/// Objects of a lot whose readers are asked for at once.
const AT_ONCE: usize = 16;

/// What a call has come to.
pub(super) enum Answer {
    Head(Vec<u8>),
    Bytes(Bytes, Reserved),
    Pieces {
        backend: Arc<dyn Backend>,
        name: ObjectName,
        part: Range<u64>,
        room: Reserved,
    },
    Listing(Vec<ObjectMeta>),
    Lot {
        share: Share,
        names: Vec<String>,
        most: u64,
    },
}

/// The host has gone, or takes nothing.
struct Gone;

impl Inner {
    /// Sends an answer. Who does not wait for it any more gets no rest of it.
    pub(super) async fn send(&self, reply: Reply, method: &str, vault: &str, answer: Answer) {
        let sent = match answer {
            Answer::Head(head) => reply.answer(&head).map_err(|_| Gone),
            Answer::Bytes(bytes, _room) => self.send_bytes(reply, &bytes).await,
            Answer::Pieces {
                backend,
                name,
                part,
                room: _room,
            } => self.send_pieces(reply, &*backend, &name, part).await,
            Answer::Listing(listed) => self.send_list(reply, &listed).await,
            Answer::Lot { share, names, most } => {
                self.send_lot(reply, (method, vault), &share, &names, most)
                    .await
            }
        };
        if sent.is_err() {
            tracing::debug!(host = %self.host, method, "an answer was not taken");
        }
    }

    async fn write(&self, body: &mut BodyWriter, bytes: &[u8]) -> Result<(), Gone> {
        let written = timeout(self.limits.stall, body.write(bytes)).await;
        written.map_err(|_| Gone)?.map_err(|_| Gone)
    }

    async fn send_bytes(&self, reply: Reply, bytes: &Bytes) -> Result<(), Gone> {
        let size = bytes.len() as u64;
        let mut body = begin(reply, &wire::Sized { size })?;
        self.write(&mut body, bytes).await?;
        body.finish().map_err(|_| Gone)
    }

    async fn send_pieces(
        &self,
        reply: Reply,
        backend: &dyn Backend,
        name: &ObjectName,
        part: Range<u64>,
    ) -> Result<(), Gone> {
        let size = part.end - part.start;
        let mut body = begin(reply, &wire::Sized { size })?;
        let mut at = part.start;
        while at < part.end {
            let end = part.end.min(at + PIECE);
            match backend.get_range(name, at..end).await {
                Ok(piece) => self.write(&mut body, &piece).await?,
                Err(error) => {
                    let failure = wire::failure_of(error.kind(), &error.to_string());
                    return body.fail(&failure).map_err(|_| Gone);
                }
            }
            at = end;
        }
        body.finish().map_err(|_| Gone)
    }

    async fn send_list(&self, reply: Reply, listed: &[ObjectMeta]) -> Result<(), Gone> {
        let entries = listed.len() as u64;
        let mut body = begin(reply, &wire::Entries { entries })?;
        let mut page = Vec::with_capacity(LIST_PIECE + 256);
        for meta in listed {
            wire::write_entry(&mut page, meta);
            if page.len() >= LIST_PIECE {
                self.write(&mut body, &page).await?;
                page.clear();
            }
        }
        self.write(&mut body, &page).await?;
        body.finish().map_err(|_| Gone)
    }

    /// As many at once as fit a piece, however large they may be.
    async fn send_lot(
        &self,
        reply: Reply,
        (method, vault): (&str, &str),
        share: &Share,
        names: &[String],
        most: u64,
    ) -> Result<(), Gone> {
        let entries = names.len() as u64;
        let mut body = begin(reply, &wire::Entries { entries })?;
        let together = usize::try_from(PIECE / most.max(1)).unwrap_or(usize::MAX);
        for names in names.chunks(together.clamp(1, wire::MANY)) {
            let room = self.budget.take(most * names.len() as u64).await;
            let _room = room.ok_or(Gone)?;
            let mut lot = Vec::new();
            for (name, found) in names.iter().zip(self.read_lot(share, names, most).await) {
                match found {
                    Ok(object) => wire::write_object(&mut lot, &object),
                    Err(Stop::Failed(error)) => {
                        wire::write_failed(&mut lot, error.kind(), &error.to_string());
                    }
                    Err(stop) => {
                        let failure = self.stopped(&stop, method, vault, name).ok_or(Gone)?;
                        wire::write_failed(&mut lot, wire::kind_of(&failure), &failure.text);
                    }
                }
            }
            self.write(&mut body, &lot).await?;
        }
        body.finish().map_err(|_| Gone)
    }

    async fn read_lot(
        &self,
        share: &Share,
        names: &[String],
        most: u64,
    ) -> Vec<Result<Bytes, Stop>> {
        let asked: Vec<_> = names.iter().map(|name| readable(share, name)).collect();
        let readable: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
        let wanted = readable
            .iter()
            .filter_map(|name| name.as_ref().ok().cloned());
        let wanted: Vec<ObjectName> = wanted.collect();
        let mut objects = share.backend.get_many(&wanted, most).await.into_iter();
        let unanswered = || Error::new(ErrorKind::Io, "get", "");
        let answers = readable.into_iter().map(|name| {
            name?;
            Ok(objects.next().unwrap_or_else(|| Err(unanswered()))?)
        });
        answers.collect()
    }
}

fn begin<T: Serialize>(reply: Reply, head: &T) -> Result<BodyWriter, Gone> {
    let head = serde_json::to_vec(head).map_err(|_| Gone)?;
    reply.with_body(&head).map_err(|_| Gone)
}
