//! The vault that holders try themselves on.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tresor_backend::{Backend, MemoryBackend, ObjectName};
use tresor_model::{RecoveryPoint, SessionId, VmId};
use tresor_vault::{KeyMaterial, SessionOptions, Vault};

use crate::holder::Holder;
use crate::support::{key, memory_vault, noise, point, write_all};

pub(crate) const SIZE: usize = 1 << 20;
/// Names of VMs, one of each domain.
pub(crate) const SHARED_NAME: &str = "ledger-db";
pub(crate) const HOST_NAME: &str = "mail-relay";

/// A vault with a point of each domain.
pub(crate) struct Scene {
    pub(crate) backend: Arc<MemoryBackend>,
    /// Opened before the holder comes.
    pub(crate) owner: Vault,
    pub(crate) shared: RecoveryPoint,
    pub(crate) own: RecoveryPoint,
    recovery: KeyMaterial,
}

pub(crate) fn shared_content() -> Vec<u8> {
    noise(71, SIZE)
}

pub(crate) fn own_content() -> Vec<u8> {
    noise(72, SIZE)
}

fn passphrase() -> KeyMaterial {
    KeyMaterial::Passphrase("correct horse".to_owned().into())
}

pub(crate) fn host_key() -> KeyMaterial {
    KeyMaterial::KeyFile(b"host".repeat(16).into())
}

/// One point in one session of that id.
pub(crate) async fn write(
    vault: &Vault,
    id: SessionId,
    vm: (VmId, &str),
    content: &[u8],
) -> tresor_vault::Result<(RecoveryPoint, u64)> {
    let session = vault.begin_session(SessionOptions::new(id)).await?;
    let (disk, stats) = write_all(&session, "vda", content, None, SIZE).await?;
    let mut made = point(id, vec![disk]);
    (made.vm, made.vm_name) = (vm.0, vm.1.to_owned());
    session.commit(made.clone()).await?;
    Ok((made, stats.new))
}

impl Scene {
    pub(crate) async fn make() -> Self {
        let (backend, owner, recovery) = memory_vault().await;
        owner.add_key_slot(&passphrase(), "office").await.unwrap();
        owner.add_host_domain(&host_key(), "host7").await.unwrap();
        let host = Vault::open(Arc::clone(&backend) as _, &host_key())
            .await
            .unwrap();
        let (id, vm) = (SessionId::generate(), VmId::generate());
        let shared = write(&owner, id, (vm, SHARED_NAME), &shared_content()).await;
        let (id, vm) = (SessionId::generate(), VmId::generate());
        let own = write(&host, id, (vm, HOST_NAME), &own_content()).await;
        Self {
            backend,
            owner,
            shared: shared.unwrap().0,
            own: own.unwrap().0,
            recovery: KeyMaterial::Recovery(recovery.to_text().into()),
        }
    }

    /// The vault as the holder opens it; `None` for who has no key.
    pub(crate) async fn opened(&self, holder: Holder) -> Option<Vault> {
        let key = match holder {
            Holder::Reader | Holder::Writer | Holder::Verifier => return None,
            Holder::OwnDomain => host_key(),
            Holder::Shared => key(),
            Holder::Passphrase => passphrase(),
            Holder::Recovery => self.recovery.clone(),
        };
        let opened = Vault::open(Arc::clone(&self.backend) as _, &key).await;
        Some(opened.unwrap())
    }

    pub(crate) async fn objects(&self) -> BTreeMap<String, Bytes> {
        let mut objects = BTreeMap::new();
        for meta in self.backend.list("").await.unwrap() {
            let bytes = self.backend.get(&meta.name, u64::MAX).await.unwrap();
            objects.insert(meta.name.as_str().to_owned(), bytes);
        }
        objects
    }

    pub(crate) async fn put(&self, object: &str, bytes: Bytes) {
        let name = ObjectName::new(object).unwrap();
        self.backend.put(&name, bytes).await.unwrap();
    }

    pub(crate) async fn delete(&self, object: &str) {
        let name = ObjectName::new(object).unwrap();
        self.backend.delete(&name).await.unwrap();
    }

    /// Whether anything in the storage holds these bytes as they are.
    pub(crate) async fn shows(&self, bytes: &[u8]) -> bool {
        let objects = self.objects().await;
        let mut all = objects.iter();
        all.any(|(name, body)| {
            let mut places = body.windows(bytes.len());
            name.as_bytes().windows(bytes.len()).any(|at| at == bytes)
                || places.any(|at| at == bytes)
        })
    }
}
