//! The vault that is damaged: three recovery points and three that have expired, which share nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tresor_backend::{Backend, MemoryBackend, ObjectName};
use tresor_model::RecoveryPoint;
use tresor_vault::{CollectOptions, CreateOptions, KeyMaterial, Vault};
use tresor_vault_format::{VaultLock, name};

use crate::inflict::Damage;
use crate::kinds::Kind;
use crate::support::{back_up, begin, key, memory_vault, noise};

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
    /// Packs that are marked, and gone.
    pub(crate) gone: BTreeSet<String>,
    /// The same vault while a plan of collect waits for a session, and when that plan is done.
    waiting: Objects,
    collected: Objects,
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

/// A pack that no backup wrote.
fn gone(seed: u64) -> String {
    let id = format!("{seed:02x}").repeat(16);
    format!("packs/{seed:02x}/{id}")
}

async fn take(backend: &MemoryBackend, vault: &Vault, seed: u64, expire: bool) -> Backup {
    let before = all(backend).await;
    let content = noise(seed, 6 << 20);
    let point = back_up(vault, &content).await;
    if expire {
        vault.expire(point.id).await.unwrap();
    }
    // Of a pack that is gone already: nothing else is the worse for it.
    let gone = gone(seed);
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
    let of_kind = |(name, body): &(&String, &Bytes)| Kind::of(name, body) == Some(kind);
    let found = match kind {
        // Those of the plan before are there too: the newest.
        Kind::PlanClaim | Kind::Plan => objects.iter().rfind(of_kind),
        _ => objects.iter().find(of_kind),
    };
    found.unwrap()
}

/// A vault in which a second plan is in effect and waits, and what it is like when that plan is done; with
/// the objects of the first plan.
async fn collected_after(backend: &Arc<MemoryBackend>, vault: &Vault) -> [Objects; 3] {
    let options = CollectOptions {
        wait: Duration::ZERO,
        ..CollectOptions::default()
    };
    let mut states = Vec::new();
    for seed in [31, 32] {
        let point = back_up(vault, &noise(seed, 1 << 20)).await;
        vault.expire(point.id).await.unwrap();
        let running = begin(vault).await;
        let report = vault.collect(&options, |_| ()).await.unwrap();
        assert_eq!(report.collected.unwrap().waiting, [running.id()]);
        states.push(all(backend).await);
        running.abort().await.unwrap();
        vault.collect(&options, |_| ()).await.unwrap();
        states.push(all(backend).await);
    }
    let [_, first, waiting, done] = states.try_into().unwrap();
    [first, waiting, done]
}

async fn copy_of(objects: &Objects) -> Arc<MemoryBackend> {
    let copy = Arc::new(MemoryBackend::new());
    for (name, body) in objects {
        let name = ObjectName::new(name).unwrap();
        copy.put(&name, body.clone()).await.unwrap();
    }
    copy
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
        let objects = all(&backend).await;
        let (mut earlier, mut foreign) = (all(&twin).await, all(&other).await);
        let [first, waiting, collected] = collected_after(&backend, &vault).await;
        earlier.extend(
            first
                .into_iter()
                .filter(|(name, _)| name.starts_with(name::PLANS)),
        );
        let [_, theirs_waiting, theirs] = collected_after(&other, &stranger).await;
        let plans = theirs_waiting.into_iter().chain(theirs);
        foreign.extend(plans.filter(|(name, _)| name.starts_with(name::PLANS)));
        let sample = Self {
            gone: (1..4).chain(11..14).map(gone).collect(),
            objects,
            shown,
            expired,
            waiting,
            collected,
            earlier,
            foreign,
            recovery: KeyMaterial::Recovery(recovery.to_text().into()),
        };
        for (name, body) in &sample.objects {
            assert!(Kind::of(name, body).is_some(), "{name} is of no known kind");
        }
        sample
    }

    /// How many objects it has.
    pub(crate) fn count(&self, kind: Kind) -> u64 {
        self.objects(kind).len() as u64
    }

    fn objects(&self, kind: Kind) -> &Objects {
        match kind {
            Kind::PlanClaim | Kind::Plan => &self.waiting,
            Kind::PlanVerdict | Kind::PlanDone => &self.collected,
            _ => &self.objects,
        }
    }

    /// A store of its own in which nothing is damaged.
    pub(crate) async fn whole(&self, kind: Kind) -> Arc<MemoryBackend> {
        copy_of(self.objects(kind)).await
    }

    /// How many objects are no packs.
    pub(crate) fn count_but_packs(&self, kind: Kind) -> u64 {
        let names = self.objects(kind).keys();
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
            (self.objects(kind), &self.foreign, &self.earlier)
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
        let mut objects = self.objects(kind).clone();
        let object = object.to_owned();
        match damage.inflict(good, later, older) {
            Some(body) => objects.insert(object, body),
            None => objects.remove(&object),
        };
        copy_of(&objects).await
    }
}
