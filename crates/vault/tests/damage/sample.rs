//! The vault that is damaged: three recovery points and three that have expired, which share nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tresor_backend::{Backend, MemoryBackend, ObjectName};
use tresor_model::RecoveryPoint;
use tresor_vault::{CreateOptions, KeyMaterial, Vault};
use tresor_vault_format::{VaultLock, name};

use crate::inflict::Damage;
use crate::kinds::Kind;
use crate::support::{back_up, key, memory_vault, noise};

type Objects = BTreeMap<String, Bytes>;

/// A point, its content, and the objects that its backup (and its mark) added.
pub(crate) struct Backup {
    pub(crate) point: RecoveryPoint,
    pub(crate) content: Vec<u8>,
    added: Objects,
}

pub(crate) struct Sample {
    objects: Objects,
    /// Older, the target, later.
    pub(crate) shown: Vec<Backup>,
    pub(crate) expired: Vec<Backup>,
    /// An earlier vault of the same id and key, and another one.
    earlier: Objects,
    foreign: Objects,
    /// Opens the other slot.
    pub(crate) recovery: KeyMaterial,
}

/// Which of three backups is damaged.
pub(crate) const TARGET: usize = 1;

async fn all(backend: &MemoryBackend) -> Objects {
    let mut objects = Objects::new();
    for meta in backend.list("").await.unwrap() {
        let body = backend.get(&meta.name, u64::MAX).await.unwrap();
        objects.insert(meta.name.as_str().to_owned(), body);
    }
    objects
}

async fn take(backend: &MemoryBackend, vault: &Vault, seed: u64, expire: bool) -> Backup {
    let before = all(backend).await;
    let content = noise(seed, 6 << 20);
    let point = back_up(vault, &content).await;
    if expire {
        vault.expire(point.id).await.unwrap();
    }
    // Of a pack that is gone already: nothing else is the worse for it.
    let gone = format!("{seed:02x}").repeat(16);
    let gone = format!("packs/{seed:02x}/{gone}");
    assert_eq!(vault.mark_damaged([gone.as_str()]).await.unwrap(), 1);
    let mut added = all(backend).await;
    added.retain(|name, _| !before.contains_key(name));
    Backup {
        point,
        content,
        added,
    }
}

/// A lock of no days: it holds nothing as long as it can be read.
async fn lock(backend: &MemoryBackend, vault: &Vault) {
    let lock = VaultLock {
        vault: vault.id(),
        number: 1,
        made_ms: 0,
        min_days: 0,
    };
    let name = ObjectName::new(name::lock(1)).unwrap();
    backend.put(&name, lock.encode().into()).await.unwrap();
}

fn find(objects: &Objects, kind: Kind) -> (&String, &Bytes) {
    let mut found = objects.iter();
    found
        .find(|(name, body)| Kind::of(name, body) == Some(kind))
        .unwrap()
}

impl Sample {
    pub(crate) async fn make() -> Self {
        let (backend, vault, recovery) = memory_vault().await;
        lock(&backend, &vault).await;
        let (mut shown, mut expired) = (Vec::new(), Vec::new());
        for seed in 0..3 {
            shown.push(take(&backend, &vault, 1 + seed, false).await);
            expired.push(take(&backend, &vault, 11 + seed, true).await);
        }
        let mut options = CreateOptions::new(key());
        options.id = Some(vault.id());
        let twin = Arc::new(MemoryBackend::new());
        let (earlier, _) = Vault::create(Arc::clone(&twin) as _, options)
            .await
            .unwrap();
        lock(&twin, &earlier).await;
        let (other, stranger, _) = memory_vault().await;
        lock(&other, &stranger).await;
        let sample = Self {
            objects: all(&backend).await,
            shown,
            expired,
            earlier: all(&twin).await,
            foreign: all(&other).await,
            recovery: KeyMaterial::Recovery(recovery.to_text().into()),
        };
        for (name, body) in &sample.objects {
            assert!(Kind::of(name, body).is_some(), "{name} is of no known kind");
        }
        sample
    }

    /// How many objects it has.
    pub(crate) fn count(&self) -> u64 {
        self.objects.len() as u64
    }

    /// How many objects are no packs.
    pub(crate) fn count_but_packs(&self) -> u64 {
        let names = self.objects.keys();
        names
            .filter(|name| name::parse_pack(name).is_none())
            .count() as u64
    }

    /// The backups to which an object of this kind belongs.
    pub(crate) fn backups(&self, kind: Kind) -> &[Backup] {
        match kind {
            Kind::ExpiryMark | Kind::PointState => &self.expired,
            _ => &self.shown,
        }
    }

    /// The object that is damaged, what replaces it in a swap, and in a replay.
    pub(crate) fn object(&self, kind: Kind) -> (&str, &Bytes, &Bytes, &Bytes) {
        let (of, later, older) = if kind.is_shared() {
            (&self.objects, &self.foreign, &self.earlier)
        } else {
            let backups = self.backups(kind);
            (
                &backups[TARGET].added,
                &backups[TARGET + 1].added,
                &backups[TARGET - 1].added,
            )
        };
        let (name, good) = find(of, kind);
        (name, good, find(later, kind).1, find(older, kind).1)
    }

    /// A store of its own with the same objects, one of them damaged.
    pub(crate) async fn damaged(&self, kind: Kind, damage: Damage) -> Arc<MemoryBackend> {
        let (object, good, later, older) = self.object(kind);
        let copy = Arc::new(MemoryBackend::new());
        let body = damage.inflict(good, later, older);
        for (name, kept) in &self.objects {
            let body = if name == object {
                body.clone()
            } else {
                Some(kept.clone())
            };
            if let Some(body) = body {
                copy.put(&ObjectName::new(name).unwrap(), body)
                    .await
                    .unwrap();
            }
        }
        copy
    }
}
