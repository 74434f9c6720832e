//! Key rings: all data keys of a vault, sealed by a master key; and what is derived from them.

use tresor_model::{SessionId, VaultId};
use uuid::Uuid;

use crate::codec::{Reader, append_check, checked, len_u32};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{ChunkId, DomainId, NodeId, PackId};
use crate::keys::{Secret, derive};
use crate::pack::PackKind;
use crate::seal::{Purpose, SealKey};

const MAGIC: [u8; 8] = *b"TRESORKR";
const VERSION: u16 = 1;
const PART: &str = "key ring";
const MAX_KEYS: usize = 512;

const RING_CONTEXT: &str = "tresor vault 1 key ring";
const PACK_CONTEXT: &str = "tresor vault 1 pack";
const INDEX_CONTEXT: &str = "tresor vault 1 index run";
const END_CONTEXT: &str = "tresor vault 1 session end";
const CHUNK_CONTEXT: &str = "tresor vault 1 chunk id";
const NODE_CONTEXT: &str = "tresor vault 1 node id";

/// What tells one generation of a ring from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingHeader {
    /// Its vault.
    pub vault: VaultId,
    /// The ring.
    pub ring: Uuid,
    /// Counts from 1; a rotation writes the next one.
    pub generation: u32,
    /// Random; makes the sealing key unique.
    pub salt: [u8; 16],
}

/// A deduplication domain's secret: what its ids are made with. It never changes, or nothing
/// would be found again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainKeys {
    /// The domain.
    pub domain: DomainId,
    /// Root of its id keys.
    pub root: Secret,
}

/// A data key. Its number is unique in the vault, so that it also tells the domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataKey {
    /// Its number.
    pub epoch: u32,
    /// The domain whose objects it seals.
    pub domain: DomainId,
    /// The key from which the keys of objects are derived.
    pub key: Secret,
}

/// All keys that a holder of the master key has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRing {
    /// Hash of the vault header: see [`crate::VaultHeader::hash`].
    pub vault_header: [u8; 32],
    /// Domains.
    pub domains: Vec<DomainKeys>,
    /// Data keys; for new objects a domain uses its highest.
    pub keys: Vec<DataKey>,
}

/// Makes the ids of one domain.
#[derive(Clone)]
pub struct IdKey {
    chunk: Secret,
    node: Secret,
}

impl IdKey {
    /// The id of a chunk's plain bytes.
    #[must_use]
    pub fn chunk_id(&self, plain: &[u8]) -> ChunkId {
        ChunkId(*blake3::keyed_hash(&self.chunk.0, plain).as_bytes())
    }

    /// The id of a node's content.
    #[must_use]
    pub(crate) fn node_id(&self, content: &[u8]) -> NodeId {
        NodeId(*blake3::keyed_hash(&self.node.0, content).as_bytes())
    }
}

impl KeyRing {
    /// The key that a domain's new objects use.
    ///
    /// # Errors
    /// [`ErrorKind::KeyUnknown`] when the ring has none for it.
    pub fn current(&self, domain: DomainId) -> Result<u32> {
        let numbers = self.keys.iter().filter(|key| key.domain == domain);
        numbers
            .map(|key| key.epoch)
            .max()
            .ok_or(Error::new(ErrorKind::KeyUnknown { epoch: 0 }, PART))
    }

    fn data_key(&self, epoch: u32, part: &'static str) -> Result<&DataKey> {
        let found = self.keys.iter().find(|key| key.epoch == epoch);
        found.ok_or(Error::new(ErrorKind::KeyUnknown { epoch }, part))
    }

    /// The key of a pack.
    ///
    /// # Errors
    /// [`ErrorKind::KeyUnknown`] when it is sealed by a key that the ring does not have.
    pub fn pack_key(&self, pack: &PackId, kind: PackKind) -> Result<SealKey> {
        let key = self.data_key(pack.epoch(), "pack")?;
        let secret = derive(PACK_CONTEXT, &[&key.key.0, &[kind.code()], &pack.0]);
        Ok(SealKey::new(&secret.0))
    }

    /// The id keys of the domain to which a data key belongs.
    ///
    /// # Errors
    /// [`ErrorKind::KeyUnknown`] as for [`Self::pack_key`].
    pub fn id_key(&self, epoch: u32) -> Result<IdKey> {
        let domain = self.data_key(epoch, "pack")?.domain;
        let keys = self.domains.iter().find(|keys| keys.domain == domain);
        let root = &keys
            .ok_or(Error::new(ErrorKind::KeyUnknown { epoch }, PART))?
            .root;
        Ok(IdKey {
            chunk: derive(CHUNK_CONTEXT, &[&root.0]),
            node: derive(NODE_CONTEXT, &[&root.0]),
        })
    }

    pub(crate) fn index_key(&self, epoch: u32, salt: &[u8; 16]) -> Result<SealKey> {
        let key = self.data_key(epoch, "index run")?;
        Ok(SealKey::new(&derive(INDEX_CONTEXT, &[&key.key.0, salt]).0))
    }

    pub(crate) fn end_key(
        &self,
        epoch: u32,
        session: SessionId,
        salt: &[u8; 16],
    ) -> Result<SealKey> {
        let key = self.data_key(epoch, "session end")?;
        let session = session.as_uuid().as_bytes();
        Ok(SealKey::new(
            &derive(END_CONTEXT, &[&key.key.0, session, salt]).0,
        ))
    }

    /// The object's bytes: the ring, sealed by `master`.
    #[must_use]
    pub fn encode(&self, header: &RingHeader, master: &Secret) -> Vec<u8> {
        let mut out = header.encode();
        let aad = out.clone();
        let plain = zeroize::Zeroizing::new(self.encode_plain());
        out.extend_from_slice(&len_u32(plain.len() + crate::seal::TAG_LEN).to_le_bytes());
        let start = out.len();
        out.extend_from_slice(&plain);
        header
            .key(master)
            .seal(Purpose::Ring, 0, &aad, &mut out, start);
        append_check(&mut out);
        out
    }

    /// Reads and opens the object's bytes.
    ///
    /// # Errors
    /// [`ErrorKind::SealBroken`] when `master` is not its master key; else when the bytes are
    /// not those of a key ring that this version can read.
    pub fn decode(object: &[u8], master: &Secret) -> Result<(RingHeader, Self)> {
        let body = checked(object, MAGIC, VERSION, PART)?;
        let mut reader = Reader::new(body, PART);
        let header = RingHeader::decode(&mut reader)?;
        let len = reader.len32(crate::limits::SMALL_OBJECT)?;
        let mut sealed = zeroize::Zeroizing::new(reader.take(len)?.to_vec());
        reader.finish()?;
        let key = header.key(master);
        let plain = key.open(Purpose::Ring, 0, &header.encode(), &mut sealed, PART)?;
        Ok((header, Self::decode_plain(plain)?))
    }

    /// Checks what can be checked without a key.
    ///
    /// # Errors
    /// When the bytes are not those of a key ring that this version can read.
    pub fn check(object: &[u8]) -> Result<RingHeader> {
        let body = checked(object, MAGIC, VERSION, PART)?;
        RingHeader::decode(&mut Reader::new(body, PART))
    }

    fn encode_plain(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&self.vault_header);
        out.extend_from_slice(&len_u32(self.domains.len()).to_le_bytes());
        for keys in &self.domains {
            out.extend_from_slice(&keys.domain.0);
            out.extend_from_slice(&keys.root.0);
        }
        out.extend_from_slice(&len_u32(self.keys.len()).to_le_bytes());
        for key in &self.keys {
            out.extend_from_slice(&key.epoch.to_le_bytes());
            out.extend_from_slice(&key.domain.0);
            out.extend_from_slice(&key.key.0);
        }
        out
    }

    fn decode_plain(plain: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(plain, PART);
        let vault_header = reader.array()?;
        let mut domains = Vec::new();
        for _ in 0..reader.len32(MAX_KEYS)? {
            domains.push(DomainKeys {
                domain: DomainId(reader.array()?),
                root: Secret(reader.array()?),
            });
        }
        let mut keys = Vec::new();
        for _ in 0..reader.len32(MAX_KEYS)? {
            keys.push(DataKey {
                epoch: reader.u32()?,
                domain: DomainId(reader.array()?),
                key: Secret(reader.array()?),
            });
        }
        reader.finish()?;
        Ok(Self {
            vault_header,
            domains,
            keys,
        })
    }
}

impl RingHeader {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(self.vault.as_uuid().as_bytes());
        out.extend_from_slice(self.ring.as_bytes());
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.salt);
        out
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        reader.preamble(MAGIC, VERSION)?;
        Ok(Self {
            vault: VaultId::from_uuid(Uuid::from_bytes(reader.array()?)),
            ring: Uuid::from_bytes(reader.array()?),
            generation: reader.u32()?,
            salt: reader.array()?,
        })
    }

    fn key(&self, master: &Secret) -> SealKey {
        SealKey::new(&derive(RING_CONTEXT, &[&master.0, &self.salt]).0)
    }
}
