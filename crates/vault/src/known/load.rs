//! Filling the table of known chunks from a vault.
//!
//! # Invariants
//! A chunk counts as known only if its pack is listed, in its full size, *now*: a pack that was
//! lost is stored again by the next backup. Index runs name only packs that were durable before
//! the run was put; packs that no run covers (their writer died, or writes right now) were only
//! *seen*, so they are settled before anything may depend on them.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use tresor_vault_format::limits::INDEX_LIMIT;
use tresor_vault_format::{IndexEntry, IndexRun, Location, PackContents, PackId, PackKind, name};

use crate::error::{Error, Result};
use crate::known::KnownChunks;
use crate::session::{PlantedBug, Protocol};
use crate::vault::Inner;
use crate::verify::pack;

/// Reads all index runs, and the footers of packs that no run covers.
pub(crate) async fn load(vault: &Arc<Inner>, protocol: Protocol) -> Result<KnownChunks> {
    let mut packs = listed_packs(vault).await?;
    let mut known = KnownChunks::default();
    let names: Vec<String> = list_names(vault, name::INDEX).await?;
    let mut runs = stream::iter(names)
        .map(|object| read_run(vault, object))
        .buffer_unordered(vault.store.parallelism());
    while let Some(run) = runs.next().await {
        let Some(run) = run? else { continue };
        let is_there = |id: &PackId| packs.contains_key(id);
        let entries = run.entries.into_iter();
        known.extend(entries.filter(|entry| is_there(&entry.location.frame.pack)));
        for pack in &run.header.packs {
            if let Some(state) = packs.get_mut(&pack.id) {
                state.covered |= state.size == u64::from(pack.size);
            }
        }
    }
    let uncovered = packs.into_iter().filter(|(_, state)| !state.covered);
    for (id, contents) in read_footers(vault, uncovered.map(|(id, pack)| (id, pack.size))).await? {
        if !protocol.has(PlantedBug::TrustsWhatItSaw) {
            vault.store.settle(&name::pack(&id)).await?;
        }
        known.extend(entries_of(&contents));
    }
    Ok(known)
}

struct ListedPack {
    size: u64,
    covered: bool,
}

async fn listed_packs(vault: &Inner) -> Result<BTreeMap<PackId, ListedPack>> {
    let listed = vault.store.list(name::PACKS).await?;
    let packs = listed.iter().filter_map(|meta| {
        let id = name::parse_pack(meta.name.as_str())?;
        Some((
            id,
            ListedPack {
                size: meta.size,
                covered: false,
            },
        ))
    });
    Ok(packs.collect())
}

async fn list_names(vault: &Inner, prefix: &str) -> Result<Vec<String>> {
    let listed = vault.store.list(prefix).await?;
    Ok(listed
        .into_iter()
        .map(|meta| meta.name.as_str().to_owned())
        .collect())
}

/// `None` when the run is damaged: its packs' footers say the same.
async fn read_run(vault: &Arc<Inner>, object: String) -> Result<Option<IndexRun>> {
    let Some(bytes) = vault.store.find(&object, INDEX_LIMIT).await? else {
        return Ok(None);
    };
    let of = Arc::clone(vault);
    let decoded = vault
        .pool
        .run(move || IndexRun::decode(&bytes, &of.ring))
        .await;
    let decoded = decoded.map_err(|error| Error::system("read an index run").because(error))?;
    match decoded {
        Ok(run) => Ok(Some(run)),
        Err(error) => {
            let error = Error::format(&object, error);
            tracing::warn!(object, %error, "an index run is not usable; pack footers replace it");
            Ok(None)
        }
    }
}

/// Footers of data packs; those that cannot be read are left out, so that their chunks are
/// stored again.
async fn read_footers(
    vault: &Arc<Inner>,
    packs: impl Iterator<Item = (PackId, u64)>,
) -> Result<Vec<(PackId, PackContents)>> {
    stream::iter(packs)
        .map(
            async |(id, size)| match read_footer(vault, id, size).await {
                Ok(Some(contents)) => Ok(Some((id, contents))),
                Ok(None) => Ok(None),
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

async fn read_footer(vault: &Inner, id: PackId, size: u64) -> Result<Option<PackContents>> {
    let tail = pack::tail(&vault.store, id, size).await?;
    match tail.header().kind {
        PackKind::Data => {
            let opened = tail.open(&vault.ring);
            opened
                .map(Some)
                .map_err(|error| Error::format(&name::pack(&id), error))
        }
        PackKind::Tree => Ok(None),
    }
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
