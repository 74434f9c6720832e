//! Reading a vault's objects without a key: all of them, those that tell of others, or a choice.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, stream};
use tresor_backend::{Backend, ErrorKind as StorageKind, ObjectMeta};
use tresor_model::VaultId;
use tresor_vault_format::{INDEX_FIXED, IndexHeader, PackId, name};

use crate::error::{Error, ErrorKind, Result};
use crate::pool::CpuPool;
use crate::store::Store;
use crate::vault::{default_workers, read_header};
use crate::verify::objects::{Check, Content, Kind, ObjectsReport};
use crate::verify::{Progress, pack};

/// Packs that are read at once: enough to keep a disk busy, 8 MiB of memory each.
const PACKS_AT_ONCE: usize = 4;
/// Up to so many bytes, objects are read many at once; larger ones one by one.
const LITTLE: u64 = 1 << 20;
/// The first read of an index run: most have fewer packs than fit into it.
const FIRST_READ: u64 = 4 << 10;

/// How much of an object is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Whole,
    /// Of an index run, what needs no key: the packs it tells of.
    Public,
}

/// Reads every object and compares it with its public hash, its name, and what other objects say
/// of it. Tells damage, not lies: whoever can write can also make new hashes.
///
/// # Errors
/// [`ErrorKind::NotAVault`]; when the storage fails.
pub async fn verify_objects(
    backend: Arc<dyn Backend>,
    progress: impl Fn(Progress) + Send,
) -> Result<ObjectsReport> {
    let store = Store::new(backend);
    let listed = store.list("").await?;
    let every = |_: &str| Some(How::Whole);
    examine(&store, &listed, every, |_| (), progress).await
}

/// Looks at the structure of a vault: reads what tells of other objects, and compares it with the
/// list of all. No pack is read, and of index runs only the public part.
///
/// # Errors
/// As for [`verify_objects`].
pub async fn check_structure(
    backend: Arc<dyn Backend>,
    progress: impl Fn(Progress) + Send,
) -> Result<ObjectsReport> {
    let store = Store::new(backend);
    let listed = store.list("").await?;
    let telling = |object: &str| match Kind::of(object)? {
        Kind::Index => Some(How::Public),
        _ => Some(How::Whole),
    };
    examine(&store, &listed, telling, |_| (), progress).await
}

/// The same as [`verify_objects`] for some objects, which `choose` picks from the list of all that
/// are a vault's and not marked as damaged. `good` is told each that is right, as soon as it is read.
///
/// # Errors
/// As for [`verify_objects`].
pub async fn verify_chosen(
    backend: Arc<dyn Backend>,
    choose: impl FnOnce(&[ObjectMeta]) -> BTreeSet<String> + Send,
    good: impl FnMut(&str) + Send,
    progress: impl Fn(Progress) + Send,
) -> Result<ObjectsReport> {
    let store = Store::new(backend);
    let listed = store.list("").await?;
    let chosen = choose(&candidates(&listed));
    let how = |object: &str| chosen.contains(object).then_some(How::Whole);
    examine(&store, &listed, how, good, progress).await
}

/// What of the list can be chosen. Pure. What is wrong with a marked pack is known.
fn candidates(listed: &[ObjectMeta]) -> Vec<ObjectMeta> {
    let names = listed.iter().map(|meta| meta.name.as_str());
    let marked: HashSet<PackId> = names.filter_map(name::parse_damaged).collect();
    let is_candidate = |meta: &&ObjectMeta| {
        let object = meta.name.as_str();
        match name::parse_pack(object) {
            Some(pack) => !marked.contains(&pack),
            None => Kind::of(object).is_some(),
        }
    };
    listed.iter().filter(is_candidate).cloned().collect()
}

/// An object that is no pack.
type Small = (ObjectMeta, Kind, How);

/// What of the list is read.
#[derive(Default)]
struct Plan {
    packs: Vec<(ObjectMeta, PackId)>,
    little: Vec<Small>,
    large: Vec<Small>,
    foreign: Vec<String>,
    /// Bytes of all that is read whole.
    bytes: u64,
}

/// Sorts the list by how its objects are read. Pure.
fn plan(listed: &[ObjectMeta], how: impl Fn(&str) -> Option<How>) -> Plan {
    let mut plan = Plan::default();
    for meta in listed {
        let object = meta.name.as_str();
        let (pack, kind) = (name::parse_pack(object), Kind::of(object));
        if pack.is_none() && kind.is_none() {
            plan.foreign.push(object.to_owned());
        }
        let Some(how) = how(object) else { continue };
        match (pack, kind, how) {
            (Some(id), ..) => plan.packs.push((meta.clone(), id)),
            (None, Some(kind), How::Whole) if meta.size > LITTLE => {
                plan.large.push((meta.clone(), kind, how));
            }
            (None, Some(kind), _) => plan.little.push((meta.clone(), kind, how)),
            (None, None, _) => continue,
        }
        if how == How::Whole {
            plan.bytes += meta.size;
        }
    }
    plan
}

async fn examine(
    store: &Store,
    listed: &[ObjectMeta],
    how: impl Fn(&str) -> Option<How>,
    mut good: impl FnMut(&str) + Send,
    progress: impl Fn(Progress) + Send,
) -> Result<ObjectsReport> {
    let plan = plan(listed, how);
    let mut check = Check::of(listed);
    let vault = match read_header(store).await {
        Ok(header) => Some(header.vault),
        Err(error) => {
            check.note(name::VAULT, &error)?;
            None
        }
    };
    let total = plan.bytes;
    let mut step = |check: &Check, object: &str, right: bool| {
        if right {
            good(object);
        }
        let done = check.report.bytes;
        progress(Progress {
            done,
            total: total.max(done),
        });
    };
    for (part, at_once) in [(plan.little, store.parallelism()), (plan.large, 1)] {
        read_small(store, (part, at_once), vault, &mut check, &mut step).await?;
    }
    check.report.foreign = plan.foreign;
    check.cross_check(listed);
    read_packs(store, plan.packs, &mut check, &mut step).await?;
    check.report.damaged.sort_by(|a, b| a.object.cmp(&b.object));
    Ok(check.report)
}

async fn read_small(
    store: &Store,
    (part, at_once): (Vec<Small>, usize),
    vault: Option<VaultId>,
    check: &mut Check,
    step: &mut impl FnMut(&Check, &str, bool),
) -> Result<()> {
    let fetched = |(meta, kind, how): Small| async move {
        let read = fetch(store, &meta, kind, how).await;
        (meta, kind, read)
    };
    let mut reads = stream::iter(part).map(fetched).buffer_unordered(at_once);
    while let Some((meta, kind, read)) = reads.next().await {
        let object = meta.name.as_str();
        match read {
            Err(error) if is_gone(&error) => {}
            read => {
                let right = check.take(object, kind, read, vault)?;
                step(check, object, right);
            }
        }
    }
    Ok(())
}

async fn read_packs(
    store: &Store,
    packs: Vec<(ObjectMeta, PackId)>,
    check: &mut Check,
    step: &mut impl FnMut(&Check, &str, bool),
) -> Result<()> {
    if packs.is_empty() {
        return Ok(());
    }
    let pool = &CpuPool::new(default_workers())?;
    let checked = |(meta, id): (ObjectMeta, PackId)| async move {
        let result = pack::check(store, pool, id, meta.size).await;
        (meta, result)
    };
    let mut checks = stream::iter(packs)
        .map(checked)
        .buffer_unordered(PACKS_AT_ONCE);
    while let Some((meta, result)) = checks.next().await {
        let object = meta.name.as_str();
        match &result {
            Err(error) if is_gone(error) => continue,
            Err(error) => check.note(object, error)?,
            Ok(_) => {}
        }
        check.count(meta.size);
        step(check, object, result.is_ok());
    }
    Ok(())
}

/// Deleted since it was listed. What is missing though others speak of it is missing in the list.
fn is_gone(error: &Error) -> bool {
    let kind = error.kind();
    matches!(kind, ErrorKind::Storage { kind, .. } if *kind == StorageKind::NotFound)
}

async fn fetch(store: &Store, meta: &ObjectMeta, kind: Kind, how: How) -> Result<Content> {
    let (object, size) = (meta.name.as_str(), meta.size);
    let bytes = match how {
        How::Whole => {
            // No more than was listed: that is what the memory was planned for.
            let listed = usize::try_from(size).unwrap_or(usize::MAX);
            store.get(object, kind.limit().min(listed)).await?
        }
        How::Public => public_part(store, object, size).await?,
    };
    Ok(Content { bytes, size })
}

async fn public_part(store: &Store, object: &str, size: u64) -> Result<Bytes> {
    let first = store.get_range(object, 0..size.min(FIRST_READ)).await?;
    let fixed = &first[..first.len().min(INDEX_FIXED)];
    let length = IndexHeader::public_len(fixed).map_err(|error| Error::format(object, error))?;
    if length <= first.len() {
        return Ok(first.slice(..length));
    }
    if length as u64 > size {
        return Err(Error::damaged(object, "it is too short"));
    }
    store.get_range(object, 0..length as u64).await
}
