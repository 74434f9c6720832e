//! One try of a call, on one connection.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::timeout;
use tresor_backend::{ErrorKind, ObjectMeta};
use tresor_channel::{Answer, BodyReader, Connection, Error as LinkError, ErrorKind as LinkKind};

use crate::wire::{self, Listing, Lot, Malformed};

/// Why a try has not succeeded.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The connection ended: another try may succeed.
    Link(LinkError),
    /// No answer came, on a connection that is alive.
    Late,
    /// The answer says so, or is none: another try would end as this one.
    Store(ErrorKind, String),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Link(_) => f.write_str("the connection to the service was lost"),
            Self::Late => f.write_str("the service does not answer"),
            Self::Store(_, why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Trouble {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Link(error) => Some(error),
            Self::Late | Self::Store(..) => None,
        }
    }
}

impl From<LinkError> for Trouble {
    fn from(error: LinkError) -> Self {
        match (error.kind(), error.failure()) {
            (LinkKind::Refused, Some(failure)) => {
                Self::Store(wire::kind_of(failure), failure.text.clone())
            }
            (LinkKind::Invalid | LinkKind::TooLarge, _) => {
                Self::Store(ErrorKind::Io, error.to_string())
            }
            (LinkKind::Incompatible, _) => Self::Store(ErrorKind::Unfit, error.to_string()),
            _ => Self::Link(error),
        }
    }
}

impl From<Malformed> for Trouble {
    fn from(malformed: Malformed) -> Self {
        Self::Store(ErrorKind::Io, malformed.to_string())
    }
}

/// What became of a put.
pub(super) enum PutOutcome {
    Stored,
    /// The name is taken; whether by the same bytes.
    Taken {
        same: bool,
    },
}

/// One try: where, and how long it waits for each step.
pub(super) struct Once {
    pub(super) connection: Connection,
    pub(super) limit: Duration,
}

impl Once {
    async fn within<T, E>(&self, step: impl Future<Output = Result<T, E>>) -> Result<T, Trouble>
    where
        Trouble: From<E>,
    {
        let done = timeout(self.limit, step).await;
        Ok(done.map_err(|_| Trouble::Late)??)
    }

    async fn begin<H: Serialize>(&self, method: &str, head: &H) -> Result<Answer, Trouble> {
        let head = encode(head)?;
        let method = format!("{}{method}", wire::PREFIX);
        self.within(self.connection.call(&method, &head)).await
    }

    /// A call whose answer is a head.
    pub(super) async fn ask<H: Serialize, A: DeserializeOwned>(
        &self,
        method: &str,
        head: &H,
    ) -> Result<A, Trouble> {
        let answer = self.begin(method, head).await?;
        Ok(wire::answer_head(&answer.head)?)
    }

    /// A call whose answer is at most `most` bytes; `exactly` so many where the caller knows.
    pub(super) async fn bytes<H: Serialize>(
        &self,
        method: &str,
        head: &H,
        most: u64,
        exactly: Option<u64>,
    ) -> Result<Bytes, Trouble> {
        let Answer { head, mut body } = self.begin(method, head).await?;
        let sized: wire::Sized = wire::answer_head(&head)?;
        let wrong = exactly.is_some_and(|exactly| exactly != sized.size);
        if wrong || sized.size > most.min(wire::OBJECT) {
            return Err(Malformed("an object has another size than was asked for").into());
        }
        let size = usize::try_from(sized.size)
            .map_err(|_| Malformed("an object is larger than memory"))?;
        let mut bytes = Vec::with_capacity(size);
        while let Some(piece) = self.read(&mut body).await? {
            if piece.len() > size - bytes.len() {
                return Err(Malformed("an object is longer than it said").into());
            }
            bytes.extend_from_slice(&piece);
        }
        if bytes.len() < size {
            return Err(Malformed("an object is shorter than it said").into());
        }
        Ok(bytes.into())
    }

    async fn read(&self, body: &mut BodyReader) -> Result<Option<Vec<u8>>, Trouble> {
        self.within(body.read()).await
    }

    pub(super) async fn list(&self, head: &wire::List) -> Result<Vec<ObjectMeta>, Trouble> {
        let answer = self.begin("list", head).await?;
        let entries: wire::Entries = wire::answer_head(&answer.head)?;
        let mut listing = Listing::new(&head.prefix, entries.entries)?;
        let mut body = answer.body;
        while let Some(piece) = self.read(&mut body).await? {
            listing.take(&piece)?;
        }
        Ok(listing.finish()?)
    }

    pub(super) async fn many(&self, head: &wire::Many) -> Result<Vec<wire::Found>, Trouble> {
        let answer = self.begin("many", head).await?;
        let entries: wire::Entries = wire::answer_head(&answer.head)?;
        if entries.entries != head.names.len() as u64 {
            return Err(Malformed("there are not as many answers as names").into());
        }
        let most = usize::try_from(head.most).unwrap_or(usize::MAX);
        let mut lot = Lot::new(head.names.len(), most);
        let mut body = answer.body;
        while let Some(piece) = self.read(&mut body).await? {
            lot.take(&piece)?;
        }
        Ok(lot.finish()?)
    }

    pub(super) async fn put(&self, head: &wire::Put, object: &[u8]) -> Result<PutOutcome, Trouble> {
        let head = encode(head)?;
        let method = format!("{}put", wire::PREFIX);
        let call = self.connection.call_with_body(&method, &head);
        let mut call = self.within(call).await?;
        for piece in object.chunks(1 << 20) {
            match timeout(self.limit, call.body.write(piece)).await {
                Ok(Ok(())) => {}
                // Answered already: the answer says why.
                Ok(Err(error)) if error.kind() == LinkKind::NotWanted => break,
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => return Err(Trouble::Late),
            }
        }
        let answered = timeout(self.limit, call.finish()).await;
        match answered.map_err(|_| Trouble::Late)? {
            Ok(answer) => {
                let wire::Nothing {} = wire::answer_head(&answer.head)?;
                Ok(PutOutcome::Stored)
            }
            Err(error) => taken(&error).ok_or_else(|| error.into()),
        }
    }
}

fn taken(error: &LinkError) -> Option<PutOutcome> {
    let failure = error.failure()?;
    let is_taken = wire::kind_of(failure) == ErrorKind::AlreadyExists;
    let same = failure.fields.get("same").is_some_and(|same| same == "yes");
    is_taken.then_some(PutOutcome::Taken { same })
}

fn encode<H: Serialize>(head: &H) -> Result<Vec<u8>, Trouble> {
    serde_json::to_vec(head).map_err(|error| Trouble::Store(ErrorKind::Io, error.to_string()))
}
