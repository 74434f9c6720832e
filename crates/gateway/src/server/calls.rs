//! What each method does, up to its answer.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use tokio::time::timeout;
use tresor_backend::{Backend as _, Error, ErrorKind, ObjectMeta, ObjectName};
use tresor_channel::BodyReader;

use super::answer::{Answer, PIECE};
use super::{Inner, Share, Stop};
use crate::rules::{Refusal, Why};
use crate::wire::{self, Request};

/// Objects that are made durable at once.
const SETTLED_AT_ONCE: usize = 8;
/// Bytes a second of a body that comes as slowly as it may: as for requests to object stores.
const SLOWEST: u64 = 64 << 10;

impl Inner {
    pub(super) async fn call(
        &self,
        method: &str,
        asked: Request,
        body: BodyReader,
    ) -> Result<Answer, Stop> {
        if asked == Request::Destroys {
            return Err(Refusal::saying(Why::Destroys, method).into());
        }
        let share = self.shared(asked.vault());
        let share = &share.ok_or_else(|| Refusal::new(Why::Vault))?;
        match asked {
            Request::Open(open) => self.open(share, &open),
            Request::Put(put) => self.put(share, &put, body).await,
            Request::Get(get) => self.get(share, &get).await,
            Request::Range(range) => self.range(share, &range).await,
            Request::Many(many) => Ok(Answer::Lot {
                share: share.clone(),
                most: many.most.min(wire::MANY_OBJECT),
                names: many.names,
            }),
            Request::Stat(stat) => {
                let object = readable(share, &stat.name).await?;
                let size = share.backend.stat(&object).await?.size;
                head(&wire::Sized { size })
            }
            Request::List(list) => {
                let listed = self.list(share, &list.prefix).await?;
                Ok(Answer::Listing(listed))
            }
            Request::Settle(settle) => self.settle(share, &settle.prefix).await,
            Request::Destroys => Err(Refusal::new(Why::Destroys).into()),
        }
    }

    fn open(&self, share: &Share, open: &wire::Open) -> Result<Answer, Stop> {
        if open.version < wire::VERSION {
            return Err(Error::new(ErrorKind::Unfit, "open", open.vault.as_str()).into());
        }
        let parallelism = share.backend.properties().parallelism;
        let parallelism = u16::try_from(parallelism).unwrap_or(u16::MAX);
        head(&wire::Opened {
            version: wire::VERSION,
            id: share.id,
            parallelism: parallelism.clamp(1, self.limits.calls.max(1)),
            largest: self.budget.most().min(wire::OBJECT),
        })
    }

    async fn put(&self, share: &Share, put: &wire::Put, body: BodyReader) -> Result<Answer, Stop> {
        let name = object_name(&put.name)?;
        if put.size > self.budget.most().min(wire::OBJECT) {
            return Err(Refusal::new(Why::TooLarge).into());
        }
        share.access.admit(&name, put.size).await?;
        let _room = self.budget.take(put.size).await.ok_or(Stop::Broken)?;
        let object = self.receive(body, put.size).await?;
        share.access.check(&name, &object).await?;
        match share.backend.put(&name, object.clone()).await {
            Ok(()) => head(&wire::Nothing {}),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                match is_same(share, &name, &object).await {
                    Ok(same) => Err(Stop::Taken { same }),
                    // Collected meanwhile, or the store fails: the same put again will tell.
                    Err(error) => {
                        let unclear = Error::new(ErrorKind::Unavailable, "put", name.as_str());
                        Err(unclear.because(error).into())
                    }
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A body of exactly `size` bytes, for which there is room. Neither who sends nothing nor who sends
    /// a byte now and then keeps the room.
    async fn receive(&self, body: BodyReader, size: u64) -> Result<Bytes, Stop> {
        let limit = self.limits.stall + Duration::from_secs(size / SLOWEST);
        let received = timeout(limit, self.receive_all(body, size)).await;
        received.map_err(|_| Stop::Broken)?
    }

    async fn receive_all(&self, mut body: BodyReader, size: u64) -> Result<Bytes, Stop> {
        let size = usize::try_from(size).map_err(|_| Refusal::new(Why::TooLarge))?;
        let mut object = Vec::with_capacity(size);
        loop {
            match timeout(self.limits.stall, body.read()).await {
                Ok(Ok(Some(piece))) if piece.len() <= size - object.len() => {
                    object.extend_from_slice(&piece);
                }
                Ok(Ok(None)) if object.len() == size => return Ok(object.into()),
                Ok(Ok(_)) => {
                    let other = "its body has another size than was announced";
                    return Err(Refusal::saying(Why::Malformed, other).into());
                }
                // Cut off, given up, or silent.
                Ok(Err(_)) | Err(_) => return Err(Stop::Broken),
            }
        }
    }

    async fn get(&self, share: &Share, get: &wire::Get) -> Result<Answer, Stop> {
        let name = readable(share, &get.name).await?;
        if get.most <= PIECE {
            let room = self.budget.take(get.most).await.ok_or(Stop::Broken)?;
            let object = share.backend.get(&name, get.most).await?;
            return Ok(Answer::Bytes(object, room));
        }
        let size = share.backend.stat(&name).await?.size;
        if size > get.most {
            return Err(Error::new(ErrorKind::BadRange, "get", get.name.as_str()).into());
        }
        self.part(share, name, 0, size).await
    }

    async fn range(&self, share: &Share, range: &wire::Range) -> Result<Answer, Stop> {
        let name = readable(share, &range.name).await?;
        let (start, end) = (range.start, range.end);
        if end.checked_sub(start).is_none_or(|len| len > PIECE) {
            // Also what is no range at all: the error is the store's own.
            let size = share.backend.stat(&name).await?.size;
            if start > end || end > size {
                let name = range.name.as_str();
                return Err(Error::new(ErrorKind::BadRange, "get_range", name).into());
            }
        }
        self.part(share, name, start, end).await
    }

    /// A part that is there, whole when it is small, else piece by piece.
    async fn part(
        &self,
        share: &Share,
        name: ObjectName,
        start: u64,
        end: u64,
    ) -> Result<Answer, Stop> {
        let room = self.budget.take((end - start).min(PIECE)).await;
        let room = room.ok_or(Stop::Broken)?;
        if end - start <= PIECE {
            let bytes = share.backend.get_range(&name, start..end).await?;
            return Ok(Answer::Bytes(bytes, room));
        }
        let backend = share.backend.clone();
        Ok(Answer::Pieces {
            backend,
            name,
            part: start..end,
            room,
        })
    }

    async fn list(&self, share: &Share, prefix: &str) -> Result<Vec<ObjectMeta>, Stop> {
        if prefix.len() > ObjectName::MAX_LEN {
            return Ok(Vec::new());
        }
        let _place = self.lists.acquire().await.map_err(|_| Stop::Broken)?;
        let listed = share.backend.list(prefix).await?;
        let seen = share.access.show(listed).await?;
        if seen.len() as u64 > wire::ENTRIES {
            return Err(Error::new(ErrorKind::Unfit, "list", prefix).into());
        }
        Ok(seen)
    }

    async fn settle(&self, share: &Share, prefix: &str) -> Result<Answer, Stop> {
        let seen = self.list(share, prefix).await?;
        if seen.len() > self.limits.settled {
            let many = format!("{} objects begin with {prefix}", seen.len());
            return Err(Refusal::saying(Why::Malformed, many).into());
        }
        let settled = seen
            .iter()
            .map(|meta| share.backend.settle(meta.name.as_str()));
        stream::iter(settled.collect::<Vec<_>>())
            .buffer_unordered(SETTLED_AT_ONCE)
            .try_collect::<()>()
            .await?;
        head(&wire::Nothing {})
    }
}

fn head<T: Serialize>(head: &T) -> Result<Answer, Stop> {
    let head = serde_json::to_vec(head);
    let head = head.map_err(|error| Error::new(ErrorKind::Io, "answer", "").because(error))?;
    Ok(Answer::Head(head))
}

pub(super) fn object_name(name: &str) -> Result<ObjectName, Stop> {
    ObjectName::new(name).map_err(|_| Refusal::new(Why::Malformed).into())
}

/// The object, if the host may read it.
pub(super) async fn readable(share: &Share, name: &str) -> Result<ObjectName, Stop> {
    let name = object_name(name)?;
    share.access.read(&name).await?;
    Ok(name)
}

/// Whether the object that is there is this one: then an earlier try of the same put has arrived.
async fn is_same(share: &Share, name: &ObjectName, object: &Bytes) -> Result<bool, Error> {
    let size = share.backend.stat(name).await?.size;
    if size != object.len() as u64 {
        return Ok(false);
    }
    let mut at = 0;
    while at < size {
        let end = size.min(at + PIECE);
        let there = share.backend.get_range(name, at..end).await?;
        let ours = usize::try_from(at).ok().and_then(|at| object.get(at..));
        if !ours.is_some_and(|ours| ours.starts_with(&there)) {
            return Ok(false);
        }
        at = end;
    }
    Ok(true)
}
