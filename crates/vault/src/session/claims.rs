//! Looking before anything is relied on that others say to have stored.
//!
//! Of a chunk that is claimed its frame is read, and the ids of *all* chunks in it are made from the
//! bytes that are there: those are known then, whatever had been claimed. What was claimed in vain is
//! stored by this session, the pack is asked no more, and where the pack itself says so, it is marked as
//! damaged for everybody.
//!
//! # Pace
//! Each write of a stream is looked up as soon as its ids are made, [`super::stream`] has some of them
//! under way. Frames that lie together are read together; one that several need is read once.
//!
//! # Cost
//! A frame is read at most once by a machine that keeps an index cache. Where nobody else writes,
//! nothing is claimed and nothing is read.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Semaphore, watch};
use tresor_vault_format::limits::CHUNK_SIZE;
use tresor_vault_format::{ChunkId, FrameLocation, LeafChunk, name};

use crate::damage::mark;
use crate::error::{Error, ErrorKind, Result};
use crate::known::read_footer;
use crate::read::{self, PlannedRead, plan_reads};
use crate::session::core::Core;
use crate::vault::Inner;

/// Reads under way, of up to 4 MiB each.
const READS: usize = 4;

/// A pack of which something was claimed that is not so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// The object.
    pub object: String,
    /// In words.
    pub reason: String,
    /// Whether the pack itself is to blame, and was marked as damaged; else an index run says of it
    /// what is not so.
    pub marked: bool,
}

/// What of a session is being looked at, and what came out wrong.
pub(crate) struct ClaimChecks {
    /// Frames that somebody reads now, with what tells when that is over.
    under_way: Mutex<HashMap<FrameLocation, watch::Receiver<()>>>,
    reads: Semaphore,
    doubts: Mutex<Vec<Doubt>>,
}

impl ClaimChecks {
    pub(super) fn new() -> Self {
        Self {
            under_way: Mutex::default(),
            reads: Semaphore::new(READS),
            doubts: Mutex::default(),
        }
    }

    pub(super) fn doubts(&self) -> Vec<Doubt> {
        lock(&self.doubts).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Frames that this caller reads. Dropping it lets others go on.
struct Turn<'a> {
    checks: &'a ClaimChecks,
    frames: Vec<FrameLocation>,
    _over: watch::Sender<()>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut under_way = lock(&self.checks.under_way);
        for frame in &self.frames {
            under_way.remove(frame);
        }
    }
}

impl Core {
    /// Looks at all claims of these chunks. Afterwards those that are true are known.
    pub(super) async fn check_claims(self: &Arc<Self>, ids: &[Option<ChunkId>]) -> Result<()> {
        let claims: Vec<LeafChunk> = {
            let known = self.known();
            let ids = ids.iter().flatten();
            ids.filter_map(|id| known.claim(id)).collect()
        };
        if claims.is_empty() {
            return Ok(());
        }
        let (turn, ours, others) = self.take_turn(claims);
        let reads = plan_reads((0..).zip(ours)).into_iter();
        let looks = reads.map(|read| self.check_read(read));
        futures::future::try_join_all(looks).await?;
        drop(turn);
        for mut other in others {
            // An error says that its sender is gone: the frame was looked at.
            while other.changed().await.is_ok() {}
        }
        Ok(())
    }

    /// Parts claims into those whose frames nobody reads, which the caller does now, and the others.
    fn take_turn(
        &self,
        claims: Vec<LeafChunk>,
    ) -> (Turn<'_>, Vec<LeafChunk>, Vec<watch::Receiver<()>>) {
        let (over, receiver) = watch::channel(());
        let mut turn = Turn {
            checks: &self.claims,
            frames: Vec::new(),
            _over: over,
        };
        let (mut ours, mut others) = (Vec::new(), Vec::new());
        let mut under_way = lock(&self.claims.under_way);
        for claim in claims {
            match under_way.get(&claim.frame) {
                Some(other) if !other.same_channel(&receiver) => others.push(other.clone()),
                Some(_) => ours.push(claim),
                None => {
                    under_way.insert(claim.frame, receiver.clone());
                    turn.frames.push(claim.frame);
                    ours.push(claim);
                }
            }
        }
        (turn, ours, others)
    }

    async fn check_read(self: &Arc<Self>, read: PlannedRead) -> Result<()> {
        let permit = self.claims.reads.acquire().await;
        let permit = permit.map_err(|_| Error::new(ErrorKind::Cancelled))?;
        let object = name::pack(&read.pack);
        let range = u64::from(read.range.start)..u64::from(read.range.end);
        let stored = match self.vault.store.get_range(&object, range).await {
            Ok(stored) => stored,
            // One claim of several may lead nowhere: each is looked at by itself.
            Err(error) if read.frames.len() > 1 && error.object_and_reason().is_some() => {
                drop(permit);
                for frame in read.frames {
                    Box::pin(self.check_read(PlannedRead::of(frame))).await?;
                }
                return Ok(());
            }
            Err(error) if error.object_and_reason().is_some() => {
                return self.doubt(&first_of(&read), &error).await;
            }
            Err(error) => return Err(error),
        };
        for frame in &read.frames {
            let at = frame.location;
            let start = (at.offset - read.range.start) as usize;
            let part = stored.slice(start..start + at.length as usize);
            let of = Arc::clone(&self.vault);
            let made = self.pool.run(move || chunks_in(&of, &at, &part)).await;
            let made = made.map_err(|error| Error::system("open a frame").because(error))?;
            let claimed = frame.chunks.iter().map(|(_, claim)| claim);
            match made {
                Ok(made) => {
                    let wrong = claimed
                        .filter(|claim| !made.contains(claim))
                        .copied()
                        .next();
                    self.known().verify(made);
                    if let Some(claim) = wrong {
                        let error = Error::damaged(&object, other_bytes(&claim));
                        self.doubt(&claim, &error).await?;
                    }
                }
                Err(error) if error.object_and_reason().is_some() => {
                    self.doubt(&first_of(&read), &error).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// A claim that is not true. Whoever says so is told apart by the pack's own footer, which only
    /// its writer can have made.
    async fn doubt(&self, claim: &LeafChunk, error: &Error) -> Result<()> {
        let pack = claim.frame.pack;
        if !self.known().doubt(pack) {
            return Ok(());
        }
        // It was there when the session began. Collect has deleted it since, and ended the session
        // before; or somebody has taken it away, which the next one sees. No claim of it is false.
        if error.is_gone() {
            return Ok(());
        }
        let size = self.known().size_of_claim(claim);
        let marked = match pack_says(&self.vault, claim, size).await {
            Ok(says) => says,
            Err(error) if error.is_gone() => return Ok(()),
            Err(error) if error.object_and_reason().is_some() => true,
            Err(error) => return Err(error),
        };
        let object = name::pack(&pack);
        let (_, why) = error.object_and_reason().unwrap_or_default();
        let reason = if marked {
            format!("{why}; it was written by another machine, and none of it is used")
        } else {
            format!("an index run of another machine says what is not so of it: {why}")
        };
        tracing::warn!(object, reason, marked, "a claim is not true");
        if marked && let Err(error) = mark(&self.vault, &BTreeSet::from([pack])).await {
            tracing::warn!(object, %error, "the pack could not be marked as damaged");
        }
        lock(&self.claims.doubts).push(Doubt {
            object,
            reason,
            marked,
        });
        Ok(())
    }
}

fn first_of(read: &PlannedRead) -> LeafChunk {
    read.frames[0].chunks[0].1
}

fn other_bytes(claim: &LeafChunk) -> String {
    let LeafChunk { id, frame, slot } = claim;
    format!(
        "it does not hold chunk {id}, which it should at place {slot} of its frame at byte {}",
        frame.offset
    )
}

/// Whether the pack's own footer claims it.
async fn pack_says(vault: &Inner, claim: &LeafChunk, size: u64) -> Result<bool> {
    let contents = read_footer(vault, claim.frame.pack, size).await?;
    let frames = contents.iter().flat_map(|contents| &contents.frames);
    let mut frames = frames.filter(|frame| frame.location == claim.frame);
    let entry = |entries: &[([u8; 32], u32)]| entries.get(usize::from(claim.slot)).copied();
    let size = u32::try_from(CHUNK_SIZE).unwrap_or(u32::MAX);
    Ok(frames.any(|frame| entry(&frame.entries) == Some((claim.id.0, size))))
}

/// The chunks that lie in a frame, with ids made from their bytes. Runs on the pool.
fn chunks_in(vault: &Inner, at: &FrameLocation, stored: &Bytes) -> Result<Vec<LeafChunk>> {
    let plain = read::open_whole(vault, at, stored)?;
    let ids = vault.ring.id_key(at.pack.epoch());
    let ids = ids.map_err(|error| Error::format(&name::pack(&at.pack), error))?;
    let (chunks, _) = plain.as_chunks::<CHUNK_SIZE>();
    let numbered = (0_u8..).zip(chunks);
    Ok(numbered
        .map(|(slot, plain)| LeafChunk {
            id: ids.chunk_id(plain),
            frame: *at,
            slot,
        })
        .collect())
}
