//! Moving the live parts of sparse packs into new ones. Parts keep their ids and their bytes.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use tresor_model::SessionId;
use tresor_vault_format::limits::{CHUNK_SIZE, FRAME_CHUNKS, FRAME_LIMIT};
use tresor_vault_format::{
    ChunkId, DomainId, FinishedPack, Location, Node, NodeId, PackId, PackKind, frame, name,
};

use super::choose::Candidate;
use super::live::Live;
use super::propose::is_live;
use super::{CollectOptions, CollectStep};
use crate::error::{Error, ErrorKind, Result};
use crate::known::{entries_of, read_pack};
use crate::read::{self, chunk_at, verified};
use crate::session::{DEFAULT_LEVEL, Packer, PlantedBug, Spare};
use crate::vault::Inner;

/// Plain bytes at which nodes are put into a frame, as sessions do.
const NODE_FRAME: usize = 64 << 10;

/// What was moved where.
#[derive(Default)]
pub(super) struct Rewritten {
    /// Packs whose live parts all lie in other ones now, with the sizes of those.
    pub(super) targets: BTreeMap<PackId, BTreeSet<(PackId, u32)>>,
    /// New packs that hold nothing that is needed: the storage became full.
    pub(super) void: Vec<PackId>,
    /// What a planted bug left for after the claim.
    pub(super) late: Vec<(String, Bytes)>,
}

/// Step 3, its end. Everything in the answer is durable. When the storage is full, nothing was
/// moved: dead packs go first.
pub(super) async fn rewrite(
    vault: &Arc<Inner>,
    options: &CollectOptions,
    collector: SessionId,
    sparse: &[Candidate],
    live: &Live,
    progress: &(impl Fn(CollectStep) + Send + Sync),
) -> Result<Rewritten> {
    let mut mover = Mover::new(vault, options, collector);
    match mover.all(sparse, live, progress).await {
        Ok(done) => Ok(mover.finish(done)),
        Err(error) if error.is_full() => {
            tracing::warn!(%error, "there is no room to rewrite packs: only dead ones are deleted");
            Ok(Rewritten {
                void: mover.sizes.into_keys().collect(),
                ..Rewritten::default()
            })
        }
        Err(error) => Err(error),
    }
}

struct Mover<'a> {
    vault: &'a Arc<Inner>,
    collector: SessionId,
    pack_size: usize,
    /// Parts stay in their domain.
    fillings: HashMap<(DomainId, PackKind), Filling>,
    /// The packs that parts of each pack were put into.
    into: HashMap<PackId, BTreeSet<PackId>>,
    /// New packs.
    sizes: HashMap<PackId, u32>,
    late: Vec<(String, Bytes)>,
    put_late: bool,
}

/// A frame that is being filled, and the pack it goes to.
struct Filling {
    packer: Option<Packer>,
    kind: PackKind,
    parts: Vec<([u8; 32], u32)>,
    from: BTreeSet<PackId>,
    plain: Vec<u8>,
}

impl Filling {
    fn new(packer: Packer, kind: PackKind) -> Self {
        Self {
            packer: Some(packer),
            kind,
            parts: Vec::new(),
            from: BTreeSet::new(),
            plain: Vec::new(),
        }
    }

    fn has_room(&self, size: usize) -> bool {
        match self.kind {
            PackKind::Data => self.parts.len() < FRAME_CHUNKS,
            PackKind::Tree => self.plain.is_empty() || self.plain.len() + size <= NODE_FRAME,
        }
    }
}

impl<'a> Mover<'a> {
    fn new(vault: &'a Arc<Inner>, options: &CollectOptions, collector: SessionId) -> Self {
        Self {
            vault,
            collector,
            pack_size: options.pack_size(),
            fillings: HashMap::new(),
            into: HashMap::new(),
            sizes: HashMap::new(),
            late: Vec::new(),
            put_late: options.protocol().has(PlantedBug::ClaimsBeforeMoved),
        }
    }

    /// Gives the packs of which everything live was moved.
    async fn all(
        &mut self,
        sparse: &[Candidate],
        live: &Live,
        progress: &(impl Fn(CollectStep) + Send + Sync),
    ) -> Result<Vec<PackId>> {
        let mut moved = Vec::new();
        let total = sparse.len() as u64;
        for (done, candidate) in (0..).zip(sparse) {
            progress(CollectStep::Moves { done, total });
            match self.pack(candidate, live).await {
                Ok(()) => moved.push(candidate.id),
                Err(error) if error.is_full() => return Err(error),
                Err(error) if error.object_and_reason().is_some() => {
                    tracing::warn!(pack = %candidate.id, %error, "a damaged pack is left alone");
                }
                Err(error) => return Err(error),
            }
        }
        for to in self.fillings.keys().copied().collect::<Vec<_>>() {
            self.end_frame(to).await?;
            let packer = self.filling(to)?.packer.as_mut();
            if let Some(pack) = packer.and_then(Packer::close) {
                self.put(pack).await?;
            }
        }
        progress(CollectStep::Moves { done: total, total });
        Ok(moved)
    }

    fn filling(&mut self, to: (DomainId, PackKind)) -> Result<&mut Filling> {
        let vacant = match self.fillings.entry(to) {
            Entry::Occupied(there) => return Ok(there.into_mut()),
            Entry::Vacant(vacant) => vacant,
        };
        let (domain, kind) = to;
        let key = self.vault.ring.get().ring.current(domain);
        let key = key.map_err(|error| Error::format("keys/", error))?;
        let size = match kind {
            PackKind::Data => self.pack_size,
            PackKind::Tree => self.pack_size / 4,
        };
        let (vault, of) = (Arc::clone(self.vault), (self.collector, kind));
        let packer = Packer::new(vault, of, size, Spare::new(1)).with_key(key);
        Ok(vacant.insert(Filling::new(packer, kind)))
    }

    async fn pack(&mut self, candidate: &Candidate, live: &Live) -> Result<()> {
        let (kind, contents) = read_pack(self.vault, candidate.id, candidate.size).await?;
        self.into.entry(candidate.id).or_default();
        for entry in entries_of(&contents) {
            if is_live(live, kind, &entry.location) {
                self.part(kind, entry.id, &entry.location).await?;
            }
        }
        Ok(())
    }

    /// Copies one part, if it is what its id says.
    async fn part(&mut self, kind: PackKind, id: [u8; 32], part: &Location) -> Result<()> {
        let opened = read::frame(self.vault, &part.frame, kind, FRAME_LIMIT).await?;
        let bytes = part_bytes(self.vault, kind, id, part, &opened)?;
        let from = part.frame.pack;
        let domain = self.vault.ring.domain_of(from.epoch());
        let domain = domain.ok_or_else(|| {
            let (object, epoch) = (name::pack(&from), from.epoch());
            Error::new(ErrorKind::KeyMissing { object, epoch })
        })?;
        let to = (domain, kind);
        if !self.filling(to)?.has_room(bytes.len()) {
            self.end_frame(to).await?;
        }
        let filling = self.filling(to)?;
        filling.parts.push((id, part.size));
        filling.from.insert(from);
        filling.plain.extend_from_slice(&bytes);
        Ok(())
    }

    async fn end_frame(&mut self, to: (DomainId, PackKind)) -> Result<()> {
        let filling = self.filling(to)?;
        if filling.parts.is_empty() {
            return Ok(());
        }
        let parts = std::mem::take(&mut filling.parts);
        let plain = std::mem::take(&mut filling.plain);
        let from = std::mem::take(&mut filling.from);
        let Some(mut packer) = filling.packer.take() else {
            return Err(Error::system("fill a pack"));
        };
        let kind = to.1;
        let appended = self.vault.pool.run(move || {
            let mut scratch = Vec::new();
            let coded = match kind {
                PackKind::Data => frame::encode(&plain, DEFAULT_LEVEL, &mut scratch),
                PackKind::Tree => frame::raw(&plain),
            };
            let appended = packer.append(&coded, parts);
            (packer, appended)
        });
        let (packer, appended) = appended
            .await
            .map_err(|error| Error::system("compress a frame").because(error))?;
        self.filling(to)?.packer = Some(packer);
        let (location, full) = appended?;
        for source in from {
            self.into.entry(source).or_default().insert(location.pack);
        }
        match full {
            Some(pack) => self.put(pack).await,
            None => Ok(()),
        }
    }

    async fn put(&mut self, pack: FinishedPack) -> Result<()> {
        let (id, body) = (pack.header.id, Bytes::from(pack.bytes));
        let size = u32::try_from(body.len()).unwrap_or(u32::MAX);
        self.sizes.insert(id, size);
        if self.put_late {
            self.late.push((name::pack(&id), body));
            return Ok(());
        }
        self.vault.store.put_new(&name::pack(&id), body).await?;
        if pack.header.kind == PackKind::Data {
            // Each part was read, and is what its id says.
            let entries = entries_of(&pack.contents);
            self.vault.trust.note_pack(id, &entries);
        }
        Ok(())
    }

    fn finish(self, moved: Vec<PackId>) -> Rewritten {
        let mut targets = BTreeMap::new();
        for id in moved {
            let into = self.into.get(&id).into_iter().flatten();
            let sized = into.map(|to| (*to, self.sizes.get(to).copied().unwrap_or(0)));
            targets.insert(id, sized.collect());
        }
        Rewritten {
            targets,
            void: Vec::new(),
            late: self.late,
        }
    }
}

/// The bytes of a part in its opened frame, if they are what its id says.
pub(super) fn part_bytes(
    vault: &Inner,
    kind: PackKind,
    id: [u8; 32],
    part: &Location,
    opened: &Bytes,
) -> Result<Bytes> {
    match kind {
        PackKind::Data => chunk_bytes(vault, id, part, opened),
        PackKind::Tree => node_bytes(vault, id, part, opened),
    }
}

fn chunk_bytes(vault: &Inner, id: [u8; 32], part: &Location, opened: &Bytes) -> Result<Bytes> {
    let outside = || Error::damaged(name::pack(&part.frame.pack), "it lists what is no chunk");
    let chunk = chunk_at(ChunkId(id), part).ok_or_else(outside)?;
    let bytes = verified(vault, opened, &chunk)?;
    debug_assert_eq!(bytes.len(), CHUNK_SIZE);
    Ok(bytes)
}

fn node_bytes(vault: &Inner, id: [u8; 32], part: &Location, opened: &Bytes) -> Result<Bytes> {
    let object = name::pack(&part.frame.pack);
    let (at, size) = (part.at as usize, part.size as usize);
    let outside = || Error::damaged(&object, "a manifest node lies outside of its frame");
    if at + size > opened.len() || size < 2 {
        return Err(outside());
    }
    let bytes = opened.slice(at..at + size);
    let ids = vault.ring.id_key(part.frame.pack.epoch());
    let checked = ids.and_then(|ids| Node::decode(&bytes, &NodeId(id), bytes[1], &ids));
    checked.map_err(|error| Error::format(&object, error))?;
    Ok(bytes)
}
