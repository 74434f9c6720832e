//! Creating and opening a vault.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use tresor_backend::Backend;
use tresor_backend::aligned::AlignedPool;
use tresor_model::VaultId;
use tresor_vault_format::limits::SMALL_OBJECT;
use tresor_vault_format::{DomainId, IdKey, RecoveryKey, Secret, VaultHeader, name};
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind, Result};
use crate::keys::{self, KeyMaterial, Master};
use crate::moved::Moved;
use crate::pool::CpuPool;
use crate::random::random;
use crate::read::{AroundLog, Copies, Elsewhere, FrameCache};
use crate::ring::{self, OpenRing, RingCell};
use crate::store::{PutOutcome, Store};
use crate::trust::Trust;
use crate::verify::Witness;

/// Buffers for opened frames that wait for their next use, a MiB each: what a restore has under way.
const FRAMES: usize = 32;

/// A vault with its keys. Cheap to clone; clones share one thread pool and one cache.
#[derive(Clone)]
pub struct Vault {
    pub(crate) inner: Arc<Inner>,
    /// What its readers turn to when something is lost.
    pub(crate) copies: Option<Arc<dyn Copies>>,
}

pub(crate) struct Inner {
    pub(crate) store: Store,
    location: String,
    pub(crate) id: VaultId,
    /// Hash of the header.
    pub(crate) header: [u8; 32],
    pub(crate) ring: RingCell,
    /// The domain in which this holder writes.
    pub(crate) domain: DomainId,
    /// Number of the key for what is written.
    pub(crate) epoch: u32,
    /// Makes the ids of what is written.
    pub(crate) ids: IdKey,
    pub(crate) pool: Arc<CpuPool>,
    pub(crate) cache: FrameCache,
    pub(crate) elsewhere: Elsewhere,
    pub(crate) around: AroundLog,
    /// Where parts of packs that collect deleted are now.
    pub(crate) moved: Moved,
    pub(crate) trust: Trust,
    pub(crate) witness: Witness,
    /// Memory that frames are opened into.
    pub(crate) frames: AlignedPool,
    pub(crate) master: Master,
}

/// What a vault takes in its storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Number of objects.
    pub objects: u64,
    /// Bytes in them.
    pub bytes: u64,
}

/// How to create a vault.
#[derive(Debug, Clone)]
pub struct CreateOptions {
    /// What opens it from day to day; the recovery key is made anyway.
    pub key: KeyMaterial,
    /// A name for that key's slot.
    pub label: String,
    /// The id; `None`: a new one.
    pub id: Option<VaultId>,
}

impl CreateOptions {
    /// Options with that key.
    #[must_use]
    pub fn new(key: KeyMaterial) -> Self {
        Self {
            key,
            label: "first key".to_owned(),
            id: None,
        }
    }
}

impl Vault {
    /// Makes a vault. The recovery key is returned once and stored nowhere.
    ///
    /// The header is put last: a vault that was half made has none, is no vault, and does not
    /// open. Its keys stay behind, so that the place must be emptied before another try.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] when the place is not empty; [`ErrorKind::KeyUnusable`].
    pub async fn create(
        backend: Arc<dyn Backend>,
        options: CreateOptions,
    ) -> Result<(Self, RecoveryKey)> {
        Self::create_on(backend, options, CpuPool::new(default_workers())?).await
    }

    pub(crate) async fn create_on(
        backend: Arc<dyn Backend>,
        options: CreateOptions,
        pool: CpuPool,
    ) -> Result<(Self, RecoveryKey)> {
        let (store, pool) = (Store::new(backend), Arc::new(pool));
        if !store.list("").await?.is_empty() {
            return Err(Error::new(ErrorKind::Exists));
        }
        let header = VaultHeader {
            vault: options.id.unwrap_or_else(VaultId::generate),
            created_ms: Timestamp::now().as_millisecond(),
        };
        let master = Master::generate()?;
        let recovery = RecoveryKey::from_secret(Secret(random()?));
        let recovery_text = KeyMaterial::Recovery(Zeroizing::new(recovery.to_text()));

        let ring = keys::first_ring(&header)?;
        let (name, object) = keys::encode_ring(&ring, header.vault, 1, &master)?;
        let slots = [
            keys::wrap(&pool, header.vault, &master, &options.key, &options.label).await?,
            keys::wrap(&pool, header.vault, &master, &recovery_text, "recovery key").await?,
        ];
        store.put_new(&name, Bytes::from(object)).await?;
        let master = Master {
            slot: Some(slots[0].id),
            ..master
        };
        for slot in slots {
            let name = name::key_slot(slot.id);
            store.put_new(&name, Bytes::from(slot.object)).await?;
        }
        let generation = 1;
        let ring = OpenRing { ring, generation };
        match store.put(name::VAULT, Bytes::from(header.encode())).await? {
            PutOutcome::Stored => Ok((
                Self::assemble(store, pool, &header, ring, master)?,
                recovery,
            )),
            PutOutcome::NameTaken => Err(Error::new(ErrorKind::Exists)),
        }
    }

    /// Opens a vault.
    ///
    /// # Errors
    /// [`ErrorKind::NotAVault`], [`ErrorKind::KeyRejected`], [`ErrorKind::VersionUnknown`],
    /// [`ErrorKind::Damaged`] when the header or the key ring is.
    pub async fn open(backend: Arc<dyn Backend>, key: &KeyMaterial) -> Result<Self> {
        Self::open_on(backend, key, CpuPool::new(default_workers())?).await
    }

    pub(crate) async fn open_on(
        backend: Arc<dyn Backend>,
        key: &KeyMaterial,
        pool: CpuPool,
    ) -> Result<Self> {
        let (store, pool) = (Store::new(backend), Arc::new(pool));
        let header = read_header(&store).await?;
        let master = keys::unlock(&store, &pool, header.vault, key).await?;
        let ring = ring::open_ring(&store, header.vault, header.hash(), &master).await?;
        Self::assemble(store, pool, &header, ring, master)
    }

    /// The id of the vault that lies in a store. Needs no key, so that "there is none" and "a newer
    /// program made it" can be said before anybody is asked for one.
    ///
    /// # Errors
    /// [`ErrorKind::NotAVault`], [`ErrorKind::VersionUnknown`]; when the header is damaged or the
    /// storage fails.
    pub async fn identify(backend: Arc<dyn Backend>) -> Result<VaultId> {
        Ok(read_header(&Store::new(backend)).await?.vault)
    }

    fn assemble(
        store: Store,
        pool: Arc<CpuPool>,
        header: &VaultHeader,
        ring: OpenRing,
        master: Master,
    ) -> Result<Self> {
        let domain = ring::writes_in(&ring.ring);
        let keys = ring.ring.current(domain);
        let keys = keys.and_then(|epoch| Ok((epoch, ring.ring.id_key(epoch)?)));
        let (epoch, ids) = keys.map_err(|error| Error::format("keys/", error))?;
        let cache = FrameCache::default();
        let id = header.vault;
        let location = store.location();
        let inner = Inner {
            store,
            location,
            id,
            header: header.hash(),
            ring: RingCell::new(ring),
            domain,
            epoch,
            ids,
            pool,
            cache,
            elsewhere: Elsewhere::default(),
            around: AroundLog::default(),
            moved: Moved::default(),
            trust: Trust::default(),
            witness: Witness::default(),
            frames: AlignedPool::new(FRAMES),
            master,
        };
        Ok(Self {
            inner: Arc::new(inner),
            copies: None,
        })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> VaultId {
        self.inner.id
    }

    /// Where it is, for people.
    #[must_use]
    pub fn location(&self) -> &str {
        &self.inner.location
    }

    /// What it takes: every object that is there.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn usage(&self) -> Result<Usage> {
        let objects = self.inner.store.list("").await?;
        Ok(Usage {
            objects: objects.len() as u64,
            bytes: objects.iter().map(|object| object.size).sum(),
        })
    }
}

pub(crate) async fn read_header(store: &Store) -> Result<VaultHeader> {
    let object = store.find(name::VAULT, SMALL_OBJECT).await?;
    let object = object.ok_or_else(|| Error::new(ErrorKind::NotAVault))?;
    VaultHeader::decode(&object).map_err(|error| Error::format(name::VAULT, error))
}

/// A thread for each CPU: hashing and compressing never wait.
pub(crate) fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get)
}
