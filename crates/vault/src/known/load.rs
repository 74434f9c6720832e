//! Filling the table of known chunks from a vault.
//!
//! # Invariants
//! A chunk counts as known only if its pack is listed, in its full size, *now*: a pack that was
//! lost is stored again by the next backup, and so is one that somebody has marked as damaged. Index runs name only packs that were durable before
//! the run was put; packs that no run covers (their writer died, or writes right now) were only
//! *seen*, so they are settled before anything may depend on them. Packs that a plan of collect
//! condemns are as good as gone.
//!
//! What packs hold that this machine wrote is known by what it noted then ([`crate::trust`]), whoever
//! says it; all else is a claim ([`super::claims`]).
//!
//! Only chunks of the domain in which the session writes are in it: others have other ids, and a
//! holder of one domain cannot open them. The number of the data key, which is in a pack's id, tells.
//!
//! # Cost
//! Two lists, the index runs that the cache has not, and the footers of packs without a run. What
//! was read of a run is kept in the cache, and which packs hold nodes; what was read of the footers
//! of data packs is not: it holds for this session, which has settled them.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use tresor_model::VaultId;
use tresor_vault_format::limits::INDEX_LIMIT;
use tresor_vault_format::{
    ChunkId, DomainId, IndexEntry, IndexHeader, IndexRun, LeafChunk, Location, PackContents,
    PackId, PackKind, PackTail, name,
};

use super::cache::{Cache, cache_of};
use super::claims::Claims;
use super::packs::ListedPacks;
use super::said::Said;
use super::stored::StoredChunks;
use super::table::TablePack;
use crate::error::{Error, Result};
use crate::known::KnownChunks;
use crate::read::chunk_at;
use crate::session::{PlantedBug, Protocol};
use crate::vault::Inner;
use crate::verify::pack;

/// Chunks that are collected in memory before they become a table.
const BATCH: usize = 1 << 20;

/// Reads the index runs that the cache in `cache_dir` has not, and the footers of packs that no
/// run covers. `condemned` are the packs that a plan in effect will delete.
pub(crate) async fn load(
    vault: &Arc<Inner>,
    protocol: Protocol,
    cache_dir: Option<&Path>,
    condemned: &[PackId],
) -> Result<KnownChunks> {
    // Runs first: then the keys of all of them are among those of the packs.
    let runs = list_names(vault, name::INDEX).await?;
    let mut listed = ListedPacks::list(vault).await?;
    listed.leave_out(condemned);
    if let Some(epoch) = vault.learn_keys(&listed.epochs()).await? {
        tracing::warn!(
            epoch,
            "packs are sealed by a key that is in no key ring that the storage shows"
        );
    }
    listed.keep(|pack| vault.ring.is_of(pack.epoch(), vault.domain));
    let there = There { listed, runs };
    // Behind the lists: this machine notes a pack before a run tells of it.
    if let Some(dir) = cache_dir {
        let dir = cache_of(dir, vault.id, vault.domain);
        vault.trust.remember_in(&dir, vault.id);
    }
    let (cache, mut tables) = open_cache(vault, cache_dir).await?;
    match fill(vault, protocol, cache, &mut tables, &there).await {
        Ok(()) => {}
        Err(Trouble::Tables(error)) if cache_dir.is_some() => {
            // A cache that cannot be used must not cost a backup.
            tables.believed.give_up(&error);
            tables = Tables::in_memory(vault.id);
            fill(vault, protocol, None, &mut tables, &there).await?;
        }
        Err(trouble) => return Err(trouble.into()),
    }
    let place = cache_dir.map(|dir| (dir.to_owned(), vault.id, vault.domain));
    let claims = Claims::new(tables.claimed, place);
    Ok(KnownChunks::new(tables.believed, claims))
}

/// What the vault has now.
struct There {
    listed: ListedPacks,
    runs: BTreeSet<String>,
}

/// The tables of a session.
struct Tables {
    believed: StoredChunks,
    claimed: StoredChunks,
}

impl Tables {
    fn in_memory(vault: VaultId) -> Self {
        Self {
            believed: StoredChunks::in_memory(vault),
            claimed: StoredChunks::in_memory(vault),
        }
    }

    fn add(&mut self, said: Said, keep: bool) -> io::Result<()> {
        let Said { believed, claimed } = said;
        if !believed.packs.is_empty() {
            self.believed.add(believed.chunks, believed.packs, keep)?;
        }
        if !claimed.packs.is_empty() {
            self.claimed.add(claimed.chunks, claimed.packs, keep)?;
        }
        Ok(())
    }

    /// The packs that tables tell of.
    fn packs(&self) -> impl Iterator<Item = TablePack> {
        self.believed.packs().chain(self.claimed.packs())
    }

    /// The tables that another session may use; `None` when one of them is damaged.
    fn names(&self) -> Option<(Vec<String>, Vec<String>)> {
        Some((self.believed.names()?, self.claimed.names()?))
    }
}

/// What can go wrong while tables are filled.
enum Trouble {
    Vault(Error),
    /// The tables themselves.
    Tables(io::Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Vault(error)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Tables(error)
    }
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Vault(error) => error,
            Trouble::Tables(error) => Self::system("keep the table of known chunks").because(error),
        }
    }
}

/// The cache and its tables; none without a directory, or where it cannot be used.
async fn open_cache(vault: &Arc<Inner>, dir: Option<&Path>) -> Result<(Option<Cache>, Tables)> {
    let Some(dir) = dir else {
        return Ok((None, Tables::in_memory(vault.id)));
    };
    let (shown, id, domain) = (dir.display().to_string(), vault.id, vault.domain);
    let dir = dir.to_owned();
    let opened = tokio::task::spawn_blocking(move || Cache::open(&dir, id, domain)).await;
    let opened = opened.map_err(|error| Error::system("open the index cache").because(error))?;
    Ok(match opened {
        Ok((cache, tables)) => {
            let stored = |tables| StoredChunks::with(id, Some(cache.tables()), tables);
            let tables = Tables {
                believed: stored(tables.believed),
                claimed: stored(tables.claimed),
            };
            (Some(cache), tables)
        }
        Err(error) => {
            tracing::warn!(dir = shown, %error, "no index cache: the whole index is read");
            (None, Tables::in_memory(id))
        }
    })
}

/// Adds to the tables what they lack, and keeps for the next session what may be kept.
async fn fill(
    vault: &Arc<Inner>,
    protocol: Protocol,
    cache: Option<Cache>,
    tables: &mut Tables,
    there: &There,
) -> std::result::Result<(), Trouble> {
    let keep = cache.as_ref().is_some_and(Cache::may_change);
    let before = cache.as_ref().map(|cache| cache.runs.clone());
    let before = before.unwrap_or_default();
    let named_before = tables.names();
    // First: what is merged takes over only packs that are there.
    tables.believed.check_presence(&there.listed);
    tables.claimed.check_presence(&there.listed);
    if keep {
        // Sessions add small tables of what they have verified.
        tables.believed.merge()?;
        if let Err(error) = vault.trust.tidy(|pack| there.listed.has_id(pack)) {
            tracing::warn!(%error, "the list of what this machine wrote stays as it is");
        }
    }
    let mut held = add_runs(vault, tables, &before, there, keep).await?;
    let uncovered = there.listed.without(tables.packs());
    let trees = add_footers(vault, tables, uncovered, protocol).await?;
    if !trees.is_empty() {
        // They hold no chunks: noted, so that nobody looks into them again.
        tables.believed.add(Vec::new(), trees, keep)?;
    }
    let news = tables.names() != named_before || held != before;
    if let (Some(cache), Some(names), true) = (cache, tables.names(), news) {
        held.retain(|name| there.runs.contains(name));
        cache.save(names, held)?;
    }
    Ok(())
}

/// Adds the runs that the tables have not; gives all that they have then.
async fn add_runs(
    vault: &Arc<Inner>,
    tables: &mut Tables,
    before: &BTreeSet<String>,
    there: &There,
    keep: bool,
) -> std::result::Result<BTreeSet<String>, Trouble> {
    let mut held = before.clone();
    let new: Vec<String> = there.runs.difference(before).cloned().collect();
    let mut runs = stream::iter(new)
        .map(async |object| {
            Ok::<_, Error>((
                object.clone(),
                read_run(vault, object, Some(vault.domain)).await?,
            ))
        })
        .buffered(vault.store.parallelism());
    let mut said = Said::default();
    while let Some(run) = runs.next().await {
        // A damaged run is tried again by the next session; its packs' footers say the same.
        let (name, Some(run)) = run? else { continue };
        held.insert(name);
        let Some(run) = run else { continue };
        said.take_run(vault, &run, &there.listed);
        if said.len() >= BATCH {
            tables.add(std::mem::take(&mut said), keep)?;
        }
    }
    tables.add(said, keep)?;
    Ok(held)
}

/// Adds what is in packs that no run covers, for this session alone; gives those of them that
/// hold nodes.
async fn add_footers(
    vault: &Arc<Inner>,
    tables: &mut Tables,
    uncovered: Vec<(PackId, u64)>,
    protocol: Protocol,
) -> std::result::Result<Vec<TablePack>, Trouble> {
    let (mut said, mut trees) = (Said::default(), Vec::new());
    for (pack, contents) in read_footers(vault, uncovered).await? {
        let Some(contents) = contents else {
            trees.push(pack);
            continue;
        };
        if !protocol.has(PlantedBug::TrustsWhatItSaw) {
            vault.store.settle(&name::pack(&pack.id)).await?;
        }
        said.take_footer(vault, pack, &entries_of(&contents));
    }
    tables.add(said, false)?;
    Ok(trees)
}

/// An entry that is a chunk of a frame; nodes are none.
pub(super) fn chunk_of(entry: &IndexEntry) -> Option<LeafChunk> {
    chunk_at(ChunkId(entry.id), &entry.location)
}

pub(crate) async fn list_names(vault: &Inner, prefix: &str) -> Result<BTreeSet<String>> {
    let listed = vault.store.list(prefix).await?;
    Ok(listed
        .into_iter()
        .map(|meta| meta.name.as_str().to_owned())
        .collect())
}

/// `None` when the run is damaged: its packs' footers say the same. `Some(None)` when it is of
/// another domain than the one that is asked for, or, when none is, of one without a key.
pub(crate) async fn read_run(
    vault: &Arc<Inner>,
    object: String,
    domain: Option<DomainId>,
) -> Result<Option<Option<IndexRun>>> {
    let Some(bytes) = vault.store.find(&object, INDEX_LIMIT).await? else {
        return Ok(None);
    };
    if let Ok((header, _)) = IndexHeader::decode(&bytes) {
        let knows = vault.ring.knows(header.epoch);
        let is_elsewhere = match domain {
            Some(domain) => knows && !vault.ring.is_of(header.epoch, domain),
            None => false,
        };
        // To a holder of all domains an unknown key is damage.
        if is_elsewhere || (!knows && !vault.ring.is_whole()) {
            return Ok(Some(None));
        }
    }
    let of = Arc::clone(vault);
    let decoded = vault
        .pool
        .run(move || IndexRun::decode(&bytes, &of.ring.get().ring))
        .await;
    let decoded = decoded.map_err(|error| Error::system("read an index run").because(error))?;
    match decoded {
        Ok(run) => Ok(Some(Some(run))),
        Err(error) => {
            let error = Error::format(&object, error);
            tracing::warn!(object, %error, "an index run is not usable; pack footers replace it");
            Ok(None)
        }
    }
}

/// Footers of data packs, `None` for packs of nodes; those that cannot be read are left out, so
/// that their chunks are stored again.
async fn read_footers(
    vault: &Arc<Inner>,
    packs: Vec<(PackId, u64)>,
) -> Result<Vec<(TablePack, Option<PackContents>)>> {
    stream::iter(packs)
        .map(
            async |(id, size)| match read_footer(vault, id, size).await {
                Ok(contents) => {
                    let size = u32::try_from(size).unwrap_or(u32::MAX);
                    Ok(Some((TablePack { id, size }, contents)))
                }
                Err(error) if error.object_and_reason().is_some() => {
                    tracing::warn!(pack = %id, %error, "a pack's footer is not usable");
                    Ok(None)
                }
                Err(error) => Err(error),
            },
        )
        .buffer_unordered(vault.store.parallelism())
        .try_filter_map(async |found| Ok(found))
        .try_collect()
        .await
}

/// What a data pack says that it holds; `None` for a pack of nodes.
pub(crate) async fn read_footer(
    vault: &Inner,
    id: PackId,
    size: u64,
) -> Result<Option<PackContents>> {
    let tail = pack::tail(&vault.store, id, size).await?;
    match tail.header().kind {
        PackKind::Data => open_tail(vault, id, tail).map(Some),
        PackKind::Tree => Ok(None),
    }
}

/// What a pack of either kind says that it holds.
pub(crate) async fn read_pack(
    vault: &Inner,
    id: PackId,
    size: u64,
) -> Result<(PackKind, PackContents)> {
    let tail = pack::tail(&vault.store, id, size).await?;
    let kind = tail.header().kind;
    Ok((kind, open_tail(vault, id, tail)?))
}

fn open_tail(vault: &Inner, id: PackId, tail: PackTail) -> Result<PackContents> {
    let opened = tail.open(&vault.ring.get().ring);
    opened.map_err(|error| Error::format(&name::pack(&id), error))
}

/// What is in packs of either kind; those whose footers cannot be read are left out.
pub(crate) async fn read_contents(
    vault: &Arc<Inner>,
    packs: Vec<(PackId, u64)>,
) -> Result<Vec<PackContents>> {
    stream::iter(packs)
        .map(async |(id, size)| match read_pack(vault, id, size).await {
            Ok((_, contents)) => Ok(Some(contents)),
            Err(error) if error.object_and_reason().is_some() => Ok(None),
            Err(error) => Err(error),
        })
        .buffer_unordered(vault.store.parallelism())
        .try_filter_map(async |found| Ok(found))
        .try_collect()
        .await
}

/// What a pack holds, as index entries.
pub(crate) fn entries_of(contents: &PackContents) -> Vec<IndexEntry> {
    let mut entries = Vec::new();
    for frame in &contents.frames {
        let mut at = 0_u32;
        for (id, size) in &frame.entries {
            let location = Location {
                frame: frame.location,
                at,
                size: *size,
            };
            entries.push(IndexEntry { id: *id, location });
            at = at.saturating_add(*size);
        }
    }
    entries
}
