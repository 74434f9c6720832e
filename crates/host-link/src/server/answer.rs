//! Bodies on their way, and the memory for them.

use serde::Serialize;
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;
use tresor_channel::{BodyReader, Reply};

use super::{Inner, Stop};
use crate::wire::{self, Malformed, Page};

/// The unit in which memory is given out.
const UNIT: u32 = 1024;
/// What is made of a body takes several times its bytes.
const TIMES: u32 = 4;

pub(super) fn units(bytes: u32) -> u32 {
    bytes.div_ceil(UNIT).max(1)
}

/// What a call has come to.
pub(super) struct Answer<'a> {
    head: Vec<u8>,
    body: Option<Vec<u8>>,
    _room: Option<SemaphorePermit<'a>>,
}

impl Answer<'_> {
    pub(super) fn head<T: Serialize>(head: &T) -> Result<Self, Stop> {
        Ok(Self {
            head: encode(head)?,
            body: None,
            _room: None,
        })
    }

    pub(super) fn done() -> Result<Self, Stop> {
        Self::head(&wire::Nothing {})
    }

    pub(super) fn lease(epoch: u64) -> Result<Self, Stop> {
        Self::head(&wire::LeaseAnswer { epoch })
    }
}

impl<'a> Answer<'a> {
    pub(super) fn document<T: Serialize>(
        document: &T,
        room: SemaphorePermit<'a>,
    ) -> Result<Self, Stop> {
        Ok(Self {
            body: Some(encode(document)?),
            _room: Some(room),
            ..Self::done()?
        })
    }

    pub(super) fn page(page: Page, room: SemaphorePermit<'a>) -> Result<Self, Stop> {
        Ok(Self {
            body: Some(page.body),
            _room: Some(room),
            ..Self::head(&wire::More { more: page.more })?
        })
    }
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Stop> {
    serde_json::to_vec(value).map_err(|error| Stop::Malformed(Malformed(error.to_string())))
}

impl Inner {
    /// Waits until there is memory for a body of so many bytes. A call takes once, so calls do not wait
    /// for each other in a ring.
    pub(super) async fn room(&self, bytes: usize) -> Result<SemaphorePermit<'_>, Stop> {
        let wanted = u32::try_from(bytes)
            .unwrap_or(u32::MAX)
            .saturating_mul(TIMES);
        let most = units(self.limits.in_flight);
        let taken = self.room.acquire_many(units(wanted).min(most)).await;
        taken.map_err(|_| Stop::Broken)
    }

    /// A body of at most `limit` bytes, for which there is room.
    pub(super) async fn receive(
        &self,
        mut body: BodyReader,
        limit: usize,
    ) -> Result<(Vec<u8>, SemaphorePermit<'_>), Stop> {
        let room = self.room(limit).await?;
        let mut received = Vec::new();
        let all = async {
            while let Some(piece) = body.read().await.map_err(|_| Stop::Broken)? {
                if piece.len() > limit - received.len() {
                    let long = format!("the body is larger than {limit} bytes");
                    return Err(Stop::Malformed(Malformed(long)));
                }
                received.extend_from_slice(&piece);
            }
            Ok(())
        };
        // Small enough that one limit does for all of it: neither who sends nothing nor who sends a byte
        // now and then keeps the room.
        timeout(self.limits.stall, all)
            .await
            .map_err(|_| Stop::Broken)??;
        Ok((received, room))
    }

    /// Sends an answer. Who does not wait for it any more gets no rest of it.
    pub(super) async fn send(&self, reply: Reply, method: &str, answer: Answer<'_>) {
        let sent = match &answer.body {
            None => reply.answer(&answer.head).is_ok(),
            Some(body) => self.send_body(reply, &answer.head, body).await.is_some(),
        };
        if !sent {
            tracing::debug!(host = %self.host, method, "an answer was not taken");
        }
    }

    async fn send_body(&self, reply: Reply, head: &[u8], body: &[u8]) -> Option<()> {
        let mut writer = reply.with_body(head).ok()?;
        let written = timeout(self.limits.stall, writer.write(body)).await;
        written.ok()?.ok()?;
        writer.finish().ok()
    }
}
