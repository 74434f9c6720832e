//! A machine that has a domain's key and the storage, and writes lies.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses its part"
)]

use std::sync::Arc;

use bytes::Bytes;
use tresor_backend::{Backend, MemoryBackend, ObjectName};
use tresor_model::{SessionId, VaultId};
use tresor_vault::{CHUNK_SIZE, KeyMaterial, Vault};
use tresor_vault_format::{
    ChunkId, DomainId, FrameLocation, IndexEntry, IndexHeader, IndexPack, IndexRun, KeyRing,
    KeySlot, Location, PackId, PackKind, PackWriter, frame, name,
};

use crate::support::noise;

pub(crate) struct Hostile {
    backend: Arc<MemoryBackend>,
    vault: VaultId,
    ring: KeyRing,
    epoch: u32,
}

impl Hostile {
    /// With a key file, as an honest machine has one.
    pub(crate) async fn new(backend: &Arc<MemoryBackend>, key: &KeyMaterial) -> Self {
        let KeyMaterial::KeyFile(secret) = key else {
            unreachable!("a key file")
        };
        let opened = Vault::open(Arc::clone(backend) as _, key).await.unwrap();
        let mut found = None;
        for object in objects(backend, "keys/slot-").await {
            let slot = KeySlot::decode(&object).unwrap();
            let Ok(master) = slot.unwrap(secret) else {
                continue;
            };
            for object in objects(backend, &format!("keys/ring-{}", slot.ring.simple())).await {
                found = Some(KeyRing::decode(&object, &master).unwrap().1);
            }
        }
        let ring = found.unwrap();
        // As an honest one, it writes in the shared domain if it can.
        let own = ring.domains[0].domain;
        let epoch = ring
            .current(DomainId([0; 16]))
            .or(ring.current(own))
            .unwrap();
        Self {
            backend: Arc::clone(backend),
            vault: opened.id(),
            ring,
            epoch,
        }
    }

    /// Ids of the chunks of some content.
    fn ids(&self, content: &[u8]) -> Vec<ChunkId> {
        let ids = self.ring.id_key(self.epoch).unwrap();
        let chunks = content.chunks(CHUNK_SIZE);
        chunks.map(|chunk| ids.chunk_id(chunk)).collect()
    }

    /// Puts a pack that says that it holds the content, and holds noise. Gives its name and entries.
    pub(crate) async fn plant_pack(&self, content: &[u8]) -> (String, IndexPack, Vec<IndexEntry>) {
        let mut random = [0; 12];
        random.copy_from_slice(&SessionId::generate().as_uuid().as_bytes()[4..]);
        let id = PackId::new(random, self.epoch);
        let session = SessionId::generate();
        let kind = PackKind::Data;
        let mut pack = PackWriter::new(id, kind, session, &self.ring, Vec::new()).unwrap();
        let mut entries = Vec::new();
        for (seed, ids) in (900..).zip(self.ids(content).chunks(16)) {
            let garbage = noise(seed, ids.len() * CHUNK_SIZE);
            let size = u32::try_from(CHUNK_SIZE).unwrap();
            let parts = ids.iter().map(|id| (id.0, size)).collect();
            let frame = pack.append(&frame::raw(&garbage), parts);
            entries.extend(claims(ids, frame));
        }
        let finished = pack.finish();
        let size = u32::try_from(finished.bytes.len()).unwrap();
        self.put(&name::pack(&id), finished.bytes).await;
        (name::pack(&id), IndexPack { id, size, kind }, entries)
    }

    /// Puts an index run that says so of a pack.
    pub(crate) async fn plant_run(&self, pack: IndexPack, entries: Vec<IndexEntry>) {
        let session = SessionId::generate();
        let header = IndexHeader {
            vault: self.vault,
            session,
            number: 0,
            epoch: self.epoch,
            salt: *session.as_uuid().as_bytes(),
            packs: vec![pack],
        };
        let run = IndexRun { header, entries };
        let encoded = run.encode(&self.ring).unwrap();
        self.put(&name::index_run(session, 0), encoded).await;
    }

    /// All lies at once: a pack, and a run that says the same.
    pub(crate) async fn plant(&self, content: &[u8]) -> String {
        let (object, pack, entries) = self.plant_pack(content).await;
        self.plant_run(pack, entries).await;
        object
    }

    /// Puts a run that says that somebody else's pack holds the content, in its frame at that byte.
    pub(crate) async fn slander(&self, object: &str, at: (u32, u32), content: &[u8]) {
        let id = name::parse_pack(object).unwrap();
        let name = ObjectName::new(object).unwrap();
        let meta = self.backend.stat(&name).await.unwrap();
        let pack = IndexPack {
            id,
            size: u32::try_from(meta.size).unwrap(),
            kind: PackKind::Data,
        };
        let frame = FrameLocation {
            pack: id,
            offset: at.0,
            length: at.1,
        };
        let ids = self.ids(content);
        self.plant_run(pack, claims(&ids[..ids.len().min(16)], frame))
            .await;
    }

    async fn put(&self, object: &str, bytes: Vec<u8>) {
        let name = ObjectName::new(object).unwrap();
        self.backend.put(&name, bytes.into()).await.unwrap();
    }
}

fn claims(ids: &[ChunkId], frame: FrameLocation) -> Vec<IndexEntry> {
    let size = u32::try_from(CHUNK_SIZE).unwrap();
    let numbered = (0..).zip(ids);
    numbered
        .map(|(slot, id)| IndexEntry {
            id: id.0,
            location: Location {
                frame,
                at: slot * size,
                size,
            },
        })
        .collect()
}

async fn objects(backend: &MemoryBackend, prefix: &str) -> Vec<Bytes> {
    let mut found = Vec::new();
    for meta in backend.list(prefix).await.unwrap() {
        found.push(backend.get(&meta.name, 1 << 20).await.unwrap());
    }
    found
}
