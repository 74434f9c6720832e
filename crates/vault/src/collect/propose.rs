//! From looking to the claim: steps 1 to 5.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use tresor_model::SessionId;
use tresor_vault_format::limits::CHUNK_SIZE;
use tresor_vault_format::{
    HEADER_LEN, Location, MovedTo, PackHeader, PackId, PackKind, Plan, PlanClaim, name,
};

use super::choose::{Candidate, choose_sparse};
use super::index::free_a_run;
use super::live::{Live, LivePack};
use super::rewrite::{self, Rewritten};
use super::walk::Walk;
use super::{CollectChoice, CollectOptions, CollectStep};
use crate::damage;
use crate::error::{Error, Result};
use crate::known::{list_packs, read_pack};
use crate::plans::{self, PlanNames};
use crate::record;
use crate::roster::{self, Roster};
use crate::session::PlantedBug;
use crate::store::PutOutcome;
use crate::vault::Inner;

/// How often a small object is put again, with an index run less each time, when there is no room.
const TRIES_WHEN_FULL: u32 = 16;

/// What the vault is like, and what is to be done.
pub(super) struct Found {
    /// The number that the plan can have.
    number: u32,
    pub(super) choice: CollectChoice,
    listed: HashMap<PackId, u64>,
    dead: Vec<PackId>,
    /// Packs that are gone and marked as damaged, and nothing is missed of them: the marks can go.
    healed: Vec<PackId>,
    /// Packs that are gone and missed.
    unhealed: BTreeSet<PackId>,
    sparse: Vec<Candidate>,
    live: Live,
    hinted: BTreeSet<(PackId, PackId)>,
    walked: BTreeSet<SessionId>,
    dropped: BTreeSet<SessionId>,
}

/// Steps 1 to 3. The list that gave the number showed that no plan is in effect: what a plan before
/// has condemned is gone, and nothing goes unless somebody else takes the number.
pub(super) async fn look(
    vault: &Arc<Inner>,
    number: u32,
    options: &CollectOptions,
    progress: &(impl Fn(CollectStep) + Send + Sync),
) -> Result<Found> {
    let number = match options.protocol().has(PlantedBug::NumberListedAgain) {
        true => PlanNames::list(vault).await?.next(),
        false => number,
    };
    let listed = list_packs(vault).await?;
    // Behind the packs: the session of each of them is in the list.
    let roster = Roster::judged(vault).await?;
    if !options.protocol().has(PlantedBug::UnsettledMarks) {
        roster::settle(vault).await?;
    }
    let mut walk = Walk::begin(vault, &listed, 0).await?;
    let (walked, dropped) = walk_kept(vault, &roster, &mut walk, progress).await?;
    walk.finish().await?;
    let healed = walk.healed();
    let missing_chunks = walk.missing_chunks;
    let unhealed = std::mem::take(&mut walk.unhealed);
    let (live, hinted) = (walk.live, walk.hinted);
    let mut found = Found {
        number,
        choice: CollectChoice {
            points: walked.len() as u64,
            sessions: dropped.len() as u64,
            packs: listed.len() as u64,
            bytes: listed.values().sum(),
            missing_chunks,
            ..CollectChoice::default()
        },
        listed,
        dead: Vec::new(),
        healed,
        unhealed,
        sparse: Vec::new(),
        live,
        hinted,
        walked,
        dropped,
    };
    found.choose_dead(vault, &roster.open()).await?;
    found.choose_sparse(vault, options).await?;
    Ok(found)
}

/// Walks over all points that are kept; gives their sessions, and those that are nobody's.
async fn walk_kept(
    vault: &Arc<Inner>,
    roster: &Roster,
    walk: &mut Walk<'_>,
    progress: &(impl Fn(CollectStep) + Send + Sync),
) -> Result<(BTreeSet<SessionId>, BTreeSet<SessionId>)> {
    let (mut walked, mut dropped) = (BTreeSet::new(), BTreeSet::new());
    let total = roster.ended.len() as u64;
    for (done, session) in (0..).zip(&roster.ended) {
        progress(CollectStep::Walks { done, total });
        if roster.may_go.contains(session) {
            dropped.insert(*session);
            continue;
        }
        let begun = roster.begun.contains(session);
        match keep(vault, *session, walk).await {
            Ok(true) => drop(walked.insert(*session)),
            // An abort without a begin may have been there first: its writer must find it.
            Ok(false) if begun => drop(dropped.insert(*session)),
            Ok(false) => {}
            // What a writer left that came back after its session was over.
            Err(error) if !begun && error.is_damage() => {
                tracing::warn!(%session, %error, "an end without a begin is removed");
                dropped.insert(*session);
            }
            Err(error) => return Err(error),
        }
    }
    progress(CollectStep::Walks { done: total, total });
    Ok((walked, dropped))
}

/// Whether the session is a point; then all that it needs is noted.
async fn keep(vault: &Inner, session: SessionId, walk: &mut Walk<'_>) -> Result<bool> {
    match record::read(vault, session).await? {
        Some(point) => walk.point(&point).await.map(|()| true),
        None => Ok(false),
    }
}

impl Found {
    /// Marks packs that somebody has taken away: the index will not tell of them any more.
    pub(super) async fn mark_missing(&self, vault: &Inner) -> Result<()> {
        for pack in &self.unhealed {
            tracing::warn!(%pack, "a pack is missing");
        }
        damage::mark(vault, &self.unhealed).await.map(drop)
    }

    /// Whether packs are gone that points need.
    pub(super) fn misses(&self) -> bool {
        !self.unhealed.is_empty()
    }

    /// Whether there has been a plan before.
    pub(super) fn is_collected(&self) -> bool {
        self.number > 1
    }

    /// Packs without a live part, but those of sessions that may yet commit.
    async fn choose_dead(&mut self, vault: &Inner, open: &BTreeSet<SessionId>) -> Result<()> {
        let mut unused: Vec<PackId> = self.listed.keys().copied().collect();
        unused.retain(|id| self.live.pack(id).is_none());
        unused.sort_unstable();
        if !open.is_empty() {
            let before = unused.len();
            unused = stream::iter(unused)
                .map(async |id| Ok::<_, Error>((id, writer_of(vault, id).await?)))
                .buffered(vault.store.parallelism())
                .try_filter_map(async |(id, writer)| {
                    let busy = writer.is_some_and(|writer| open.contains(&writer));
                    Ok((!busy).then_some(id))
                })
                .try_collect()
                .await?;
            self.choice.busy_packs = (before - unused.len()) as u64;
        }
        let sizes = unused.iter().filter_map(|id| self.listed.get(id));
        self.choice.dead_bytes = sizes.sum();
        self.choice.dead_packs = unused.len() as u64;
        self.dead = unused;
        Ok(())
    }

    async fn choose_sparse(&mut self, vault: &Inner, options: &CollectOptions) -> Result<()> {
        let mut candidates = Vec::new();
        let keep = u64::from(100_u8.saturating_sub(options.min_gain));
        let mut thin: Vec<(PackId, u64)> = Vec::new();
        for (id, size) in &self.listed {
            // What is guessed too low is looked at more closely below.
            let about = self.live.pack(id).map(LivePack::about);
            if about.is_some_and(|live| live.saturating_mul(100) <= size.saturating_mul(keep)) {
                thin.push((*id, *size));
            }
        }
        thin.sort_unstable();
        if options.min_gain > 100 {
            thin.clear();
        }
        for (id, size) in thin {
            match self.measure(vault, id, size).await {
                Ok(candidate) => candidates.push(candidate),
                Err(error) if error.object_and_reason().is_some() => {
                    tracing::warn!(pack = %id, %error, "a damaged pack is left alone");
                    self.choice.damaged_packs += 1;
                }
                Err(error) => return Err(error),
            }
        }
        self.sparse = choose_sparse(candidates, options.min_gain, options.most_moved);
        self.choice.sparse_packs = self.sparse.len() as u64;
        self.choice.sparse_bytes = self.sparse.iter().map(|pack| pack.size).sum();
        self.choice.moved_bytes = self.sparse.iter().map(|pack| pack.live).sum();
        Ok(())
    }

    /// How much of a pack is live, by its footer.
    async fn measure(&self, vault: &Inner, id: PackId, size: u64) -> Result<Candidate> {
        let (kind, contents) = read_pack(vault, id, size).await?;
        let (mut frames, mut live) = (0, 0);
        for frame in &contents.frames {
            let length = u64::from(frame.location.length);
            let plain: u64 = frame.entries.iter().map(|(_, size)| u64::from(*size)).sum();
            let (mut at, mut of_frame) = (0, 0);
            for (_, size) in &frame.entries {
                let location = Location {
                    frame: frame.location,
                    at,
                    size: *size,
                };
                if is_live(&self.live, kind, &location) {
                    of_frame += u64::from(*size);
                }
                at += size;
            }
            frames += length;
            live += (length * of_frame).checked_div(plain).unwrap_or(0);
        }
        Ok(Candidate {
            id,
            size,
            frames,
            live,
        })
    }
}

/// Whether a part of a pack is live.
pub(super) fn is_live(live: &Live, kind: PackKind, part: &Location) -> bool {
    let pack = live.pack(&part.frame.pack);
    let slot = u32::try_from(part.at as usize / CHUNK_SIZE).unwrap_or(u32::MAX);
    pack.is_some_and(|pack| match kind {
        PackKind::Data => pack.has_chunk(part, slot),
        PackKind::Tree => pack.has_node(part),
    })
}

/// The session that wrote a pack; `None` when its header cannot be read.
async fn writer_of(vault: &Inner, id: PackId) -> Result<Option<SessionId>> {
    let object = name::pack(&id);
    match vault.store.get_range(&object, 0..HEADER_LEN as u64).await {
        Ok(bytes) => Ok(PackHeader::decode(&bytes).ok().map(|header| header.writer)),
        Err(error) if error.is_damage() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Steps 3 (moving) to 5. Gives the number; `None` when another collector was faster.
pub(super) async fn claim(
    vault: &Arc<Inner>,
    options: &CollectOptions,
    found: Found,
    progress: &(impl Fn(CollectStep) + Send + Sync),
) -> Result<Option<u32>> {
    let collector = super::collectors_id()?;
    let mut rewritten = rewrite::rewrite(
        vault,
        options,
        collector,
        &found.sparse,
        &found.live,
        progress,
    )
    .await?;
    let late = std::mem::take(&mut rewritten.late);
    let plan = plan_of(vault, options, collector, &found, &rewritten);
    if !plan.fits() {
        return Err(Error::misuse("a plan has at most four million entries"));
    }
    let object = Bytes::from(plan.encode());
    let number = found.number;
    let claim = PlanClaim {
        vault: vault.id,
        number,
        collector,
        made_ms: Timestamp::now().as_millisecond(),
        plan: *blake3::hash(&object).as_bytes(),
    };
    put_small(vault, &name::plan(number, collector), object).await?;
    let claimed = put_small(
        vault,
        &name::plan_claim(number),
        Bytes::from(claim.encode()),
    )
    .await?;
    for (name, body) in late {
        vault.store.put_new(&name, body).await?;
    }
    if claimed == PutOutcome::Stored || plans::read_claim(vault, number).await? == claim {
        return Ok(Some(number));
    }
    vault.store.delete(&name::plan(number, collector)).await?;
    Ok(None)
}

fn plan_of(
    vault: &Inner,
    options: &CollectOptions,
    collector: SessionId,
    found: &Found,
    rewritten: &Rewritten,
) -> Plan {
    let mut condemned = found.dead.clone();
    condemned.extend(&found.healed);
    condemned.extend(rewritten.targets.keys());
    condemned.extend(&rewritten.void);
    condemned.sort_unstable();
    condemned.dedup();
    let mut moved = Vec::new();
    for (from, targets) in &rewritten.targets {
        moved.extend(moved_to(*from, targets));
    }
    let hinted = found
        .hinted
        .iter()
        .filter(|_| !options.protocol().has(PlantedBug::ForgetsMoved));
    for (from, place) in hinted {
        match (rewritten.targets.get(place), found.listed.get(place)) {
            (Some(targets), _) => moved.extend(moved_to(*from, targets)),
            (None, size) => moved.push(MovedTo {
                from: *from,
                to: *place,
                size: size.and_then(|size| u32::try_from(*size).ok()).unwrap_or(0),
            }),
        }
    }
    moved.sort_unstable();
    moved.dedup();
    Plan {
        vault: vault.id,
        number: found.number,
        collector,
        condemned,
        moved,
        walked: found.walked.iter().copied().collect(),
        dropped: found.dropped.iter().copied().collect(),
    }
}

fn moved_to(from: PackId, targets: &BTreeSet<(PackId, u32)>) -> impl Iterator<Item = MovedTo> {
    let targets = targets.iter();
    targets.map(move |(to, size)| MovedTo {
        from,
        to: *to,
        size: *size,
    })
}

/// Puts an object without which nothing can be freed: index runs, which can be made again, make
/// room for it.
pub(super) async fn put_small(vault: &Inner, name: &str, body: Bytes) -> Result<PutOutcome> {
    let mut tries = 1;
    loop {
        match vault.store.put(name, body.clone()).await {
            Err(error) if error.is_full() && tries < TRIES_WHEN_FULL => {
                if !free_a_run(vault).await? {
                    return Err(error);
                }
                tries += 1;
            }
            outcome => return outcome,
        }
    }
}
