//! Putting the index in order: step 11.
//!
//! # Invariants
//! A run is deleted when everything in it that is there lies in runs that are durable. Runs are made
//! of other runs and of footers, so this is right at any time and by anybody, twice too.
//!
//! # Cost
//! Reads each run, so that a damaged one is not believed, and those that are rewritten again; a run is rewritten when it
//! names a pack that is gone, or while it is small and there are many. Holds a million entries.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use tresor_model::SessionId;
use tresor_vault_format::limits::INDEX_LIMIT;
use tresor_vault_format::{DomainId, IndexEntry, IndexHeader, IndexPack, IndexRun, PackId, name};

use crate::error::{Error, ErrorKind, Result};
use crate::known::{entries_of, list_packs, read_pack, read_run};
use crate::random::random;
use crate::vault::Inner;

/// Entries of a new run, about: 52 MB.
const ENTRIES: usize = 1 << 20;
/// Packs of a new run.
const PACKS: usize = 1 << 14;
/// Bytes below which a run counts as small.
const SMALL: u64 = 26 << 20;
/// Small runs that may lie beside each other.
const MOST_SMALL: usize = 16;
/// A run that is worth deleting when a small object needs its room.
const ROOM: u64 = 64 << 10;

/// Whether there are so many small runs that they should be put together.
pub(super) async fn is_due(vault: &Inner) -> Result<bool> {
    let runs = vault.store.list(name::INDEX).await?;
    Ok(runs.iter().filter(|meta| meta.size < SMALL).count() > MOST_SMALL)
}

/// `gone` are packs that this collect deleted.
pub(super) async fn consolidate(vault: &Arc<Inner>, gone: &[PackId]) -> Result<()> {
    let runs = vault.store.list(name::INDEX).await?;
    let runs: Vec<(String, u64)> = runs
        .into_iter()
        .filter(|meta| name::parse_index_run(meta.name.as_str()).is_some())
        .map(|meta| (meta.name.as_str().to_owned(), meta.size))
        .collect();
    let mut there = list_packs(vault).await?;
    for pack in gone {
        there.remove(pack);
    }
    let mut work = Work::sort(vault, runs, &there).await?;
    if work.rewrite.is_empty() && work.uncovered.is_empty() {
        return Ok(());
    }
    // A run is sealed with a key of the domain of its packs.
    let mut writers = Writers::new(vault);
    for object in std::mem::take(&mut work.rewrite) {
        let Some(run) = read_run(vault, object.clone(), None).await?.flatten() else {
            continue;
        };
        let writer = writers.of(run.header.epoch)?;
        writer.add_run(run, &there, object).await?;
    }
    let uncovered = std::mem::take(&mut work.uncovered);
    let mut footers = stream::iter(uncovered)
        .map(async |(id, size)| read_uncovered(vault, id, size).await)
        .buffered(vault.store.parallelism());
    while let Some(found) = footers.try_next().await? {
        if let Some((pack, entries)) = found {
            writers.of(pack.id.epoch())?.add(pack, entries).await?;
        }
    }
    writers.flush().await
}

/// A writer for each domain.
struct Writers<'a> {
    vault: &'a Arc<Inner>,
    of: HashMap<DomainId, Writer<'a>>,
}

impl<'a> Writers<'a> {
    fn new(vault: &'a Arc<Inner>) -> Self {
        let of = HashMap::new();
        Self { vault, of }
    }

    /// The writer for what is sealed with that key.
    fn of(&mut self, epoch: u32) -> Result<&mut Writer<'a>> {
        let ring = &self.vault.ring.get().ring;
        let domain = self.vault.ring.domain_of(epoch);
        let domain = domain.ok_or_else(|| {
            let object = name::INDEX.to_owned();
            Error::new(ErrorKind::KeyMissing { object, epoch })
        })?;
        let key = ring.current(domain);
        let key = key.map_err(|error| Error::format("keys/", error))?;
        Ok(match self.of.entry(domain) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(vacant) => vacant.insert(Writer::new(self.vault, key)?),
        })
    }

    async fn flush(self) -> Result<()> {
        for mut writer in self.of.into_values() {
            writer.flush().await?;
        }
        Ok(())
    }
}

/// What is to be done.
struct Work {
    rewrite: Vec<String>,
    uncovered: Vec<(PackId, u64)>,
}

impl Work {
    async fn sort(
        vault: &Arc<Inner>,
        runs: Vec<(String, u64)>,
        there: &HashMap<PackId, u64>,
    ) -> Result<Self> {
        let (mut rewrite, mut small) = (Vec::new(), Vec::new());
        let mut covered: HashSet<PackId> = HashSet::new();
        let mut headers = stream::iter(runs)
            .map(async |(object, size)| {
                let header = read_header(vault, &object).await?;
                Ok::<_, Error>((object, size, header))
            })
            .buffered(vault.store.parallelism());
        while let Some((object, size, header)) = headers.try_next().await? {
            // One that is damaged stays, to be named by whoever looks for damage.
            let Some(header) = header else { continue };
            let mut whole = true;
            for pack in &header.packs {
                let here = there.get(&pack.id) == Some(&u64::from(pack.size));
                whole &= here && !covered.contains(&pack.id);
            }
            covered.extend(header.packs.iter().map(|pack| pack.id));
            if !whole {
                rewrite.push(object);
            } else if size < SMALL {
                small.push(object);
            }
        }
        if small.len() > MOST_SMALL {
            rewrite.extend(small);
        }
        let mut uncovered: Vec<(PackId, u64)> = there
            .iter()
            .filter(|(id, _)| !covered.contains(id))
            .map(|(id, size)| (*id, *size))
            .collect();
        uncovered.sort_unstable();
        Ok(Self { rewrite, uncovered })
    }
}

/// Collects entries and puts runs.
struct Writer<'a> {
    vault: &'a Arc<Inner>,
    /// Number of the data key.
    epoch: u32,
    session: SessionId,
    number: u32,
    packs: Vec<IndexPack>,
    entries: Vec<IndexEntry>,
    /// Packs that are in a run of this writer.
    done: HashSet<PackId>,
    /// Runs whose content is in what was added.
    replaced: Vec<String>,
}

impl<'a> Writer<'a> {
    fn new(vault: &'a Arc<Inner>, epoch: u32) -> Result<Self> {
        Ok(Self {
            vault,
            epoch,
            session: super::collectors_id()?,
            number: 0,
            packs: Vec::new(),
            entries: Vec::new(),
            done: HashSet::new(),
            replaced: Vec::new(),
        })
    }

    /// Takes over what is there of a run.
    async fn add_run(
        &mut self,
        run: IndexRun,
        there: &HashMap<PackId, u64>,
        object: String,
    ) -> Result<()> {
        let mut taken = HashSet::new();
        for pack in run.header.packs {
            let here = there.get(&pack.id) == Some(&u64::from(pack.size));
            if here && self.done.insert(pack.id) {
                taken.insert(pack.id);
                self.packs.push(pack);
            }
        }
        let entries = run.entries.into_iter();
        self.entries
            .extend(entries.filter(|entry| taken.contains(&entry.location.frame.pack)));
        self.replaced.push(object);
        self.flush_if_full().await
    }

    async fn add(&mut self, pack: IndexPack, entries: Vec<IndexEntry>) -> Result<()> {
        if self.done.insert(pack.id) {
            self.packs.push(pack);
            self.entries.extend(entries);
        }
        self.flush_if_full().await
    }

    async fn flush_if_full(&mut self) -> Result<()> {
        match self.entries.len() >= ENTRIES || self.packs.len() >= PACKS {
            true => self.flush().await,
            false => Ok(()),
        }
    }

    /// Puts a run, then deletes those that it replaces.
    async fn flush(&mut self) -> Result<()> {
        if !self.packs.is_empty() {
            let object = name::index_run(self.session, self.number);
            let header = IndexHeader {
                vault: self.vault.id,
                session: self.session,
                number: self.number,
                epoch: self.epoch,
                salt: random()?,
                packs: std::mem::take(&mut self.packs),
            };
            let run = IndexRun {
                header,
                entries: std::mem::take(&mut self.entries),
            };
            let of = Arc::clone(self.vault);
            let encoded = self
                .vault
                .pool
                .run(move || run.encode(&of.ring.get().ring))
                .await;
            let encoded = encoded.map_err(|error| Error::system("make a run").because(error))?;
            let encoded = encoded.map_err(|error| Error::format(&object, error))?;
            self.vault
                .store
                .put_new(&object, Bytes::from(encoded))
                .await?;
            self.number += 1;
        }
        delete(self.vault, &std::mem::take(&mut self.replaced)).await
    }
}

async fn delete(vault: &Inner, runs: &[String]) -> Result<()> {
    for object in runs {
        // One that stays tells of packs that are gone: whoever reads it looks for them in the list.
        vault.store.delete_unless_held(object).await?;
    }
    Ok(())
}

/// `None` when it is gone or damaged.
async fn read_header(vault: &Arc<Inner>, object: &str) -> Result<Option<IndexHeader>> {
    let Some(bytes) = vault.store.find(object, INDEX_LIMIT).await? else {
        return Ok(None);
    };
    let decoded = vault.pool.run(move || IndexHeader::decode(&bytes)).await;
    let decoded = decoded.map_err(|error| Error::system("read an index run").because(error))?;
    match decoded {
        Ok((header, _)) => Ok(Some(header)),
        Err(error) => {
            let error = Error::format(object, error);
            tracing::warn!(object, %error, "an index run is not usable, and left alone");
            Ok(None)
        }
    }
}

/// A pack that no run covers, made durable: it was only seen.
async fn read_uncovered(
    vault: &Inner,
    id: PackId,
    size: u64,
) -> Result<Option<(IndexPack, Vec<IndexEntry>)>> {
    let read = async {
        let (kind, contents) = read_pack(vault, id, size).await?;
        vault.store.settle(&name::pack(&id)).await?;
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        Ok::<_, Error>((IndexPack { id, size, kind }, entries_of(&contents)))
    };
    match read.await {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.object_and_reason().is_some() => {
            tracing::warn!(pack = %id, %error, "a damaged pack stays without an index");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Deletes an index run, so that a small object finds room; says whether there was one. It is made
/// again from footers when there is space.
pub(super) async fn free_a_run(vault: &Inner) -> Result<bool> {
    let runs = vault.store.list(name::INDEX).await?;
    let enough = runs.iter().filter(|meta| meta.size >= ROOM);
    let chosen = enough
        .min_by_key(|meta| meta.size)
        .or_else(|| runs.iter().max_by_key(|meta| meta.size));
    match chosen {
        Some(meta) => {
            let object = meta.name.as_str();
            tracing::warn!(object, "an index run makes room; it will be made again");
            vault.store.delete(object).await.map(|()| true)
        }
        None => Ok(false),
    }
}
