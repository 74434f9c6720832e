//! A workload of racing processes, what it was promised, and whether the promises were kept.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tresor_backend::local::Fs;
use tresor_backend::sim::{Plan, Rng, SimFs};
use tresor_backend::{Backend, ErrorKind, LocalBackend, ObjectName};

/// What callers were told.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    /// Every body that a put of this name was ever given.
    pub(crate) tried: BTreeMap<ObjectName, Vec<Bytes>>,
    /// Puts that returned success.
    pub(crate) stored: Vec<(ObjectName, Bytes)>,
    /// Puts that were told that the name is taken.
    pub(crate) taken: BTreeSet<ObjectName>,
    /// Deletes that were begun, and those that returned.
    pub(crate) deleting: BTreeSet<ObjectName>,
    pub(crate) deleted: BTreeSet<ObjectName>,
}

impl Promises {
    fn absorb(&mut self, other: Self) {
        for (name, bodies) in other.tried {
            self.tried.entry(name).or_default().extend(bodies);
        }
        self.stored.extend(other.stored);
        self.taken.extend(other.taken);
        self.deleting.extend(other.deleting);
        self.deleted.extend(other.deleted);
    }

    async fn put(&mut self, backend: &dyn Backend, name: &str, body: Bytes) {
        let name = ObjectName::new(name).unwrap();
        let tried = self.tried.entry(name.clone()).or_default();
        tried.push(body.clone());
        match backend.put(&name, body.clone()).await {
            Ok(()) => self.stored.push((name, body)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                self.taken.insert(name);
            }
            Err(_) => {}
        }
    }

    async fn delete(&mut self, backend: &dyn Backend, name: &str) {
        let name = ObjectName::new(name).unwrap();
        self.deleting.insert(name.clone());
        if backend.delete(&name).await.is_ok() {
            self.deleted.insert(name);
        }
    }
}

/// Where the name is that all tasks race for.
pub(crate) const RACED_DIR: &str = "ends";

/// One task: objects of its own, in directories it shares, a name that all race for, and an
/// object that it removes again.
async fn work(backend: LocalBackend<impl Fs>, task: u64, seed: u64) -> Promises {
    let mut rng = Rng::new(seed ^ (task << 32));
    let mut promises = Promises::default();
    let own = format!("packs/0{}/{task}", task % 2);
    promises.put(&backend, &own, body(&mut rng)).await;
    let raced = format!("{RACED_DIR}/session");
    promises.put(&backend, &raced, body(&mut rng)).await;
    // Not in the root: its sync would make good what another call owes.
    let fleeting = format!("{own}-fleeting");
    promises.put(&backend, &fleeting, body(&mut rng)).await;
    promises.delete(&backend, &fleeting).await;
    promises
}

fn body(rng: &mut Rng) -> Bytes {
    let len = 1 + rng.below(9000);
    (0..len).map(|_| rng.next_u64().to_le_bytes()[0]).collect()
}

/// Runs three processes at once on one machine; the plan is the first one's. `wrap` makes the
/// file system that each uses of the simulated one.
pub(crate) fn run<F: Fs>(seed: u64, plan: &Plan, wrap: impl Fn(SimFs) -> F) -> (SimFs, Promises) {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.build().unwrap();
    let first = SimFs::new(seed, plan.clone().interleave(3));
    let promises = runtime.block_on(async {
        let tasks: Vec<_> = (0..3)
            .map(|task| {
                let fs = match task {
                    0 => first.clone(),
                    _ => first.process(Plan::default().interleave(3)),
                };
                tokio::spawn(work(LocalBackend::on(wrap(fs)), task, seed))
            })
            .collect();
        let mut all = Promises::default();
        for task in tasks {
            all.absorb(task.await.unwrap());
        }
        all
    });
    (first, promises)
}

/// Whether the disk, read by a new process, keeps every promise; if not, which is broken.
pub(crate) fn check(disk: &SimFs, promises: &Promises) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.build().unwrap();
    runtime.block_on(async {
        let backend = LocalBackend::on(disk.clone());
        check_winners(promises)?;
        check_kept(&backend, promises).await?;
        check_listed(&backend, promises).await?;
        let swept = backend.sweep(std::time::Duration::ZERO).await;
        swept.map_err(|error| format!("sweep: {error}"))?;
        check_kept(&backend, promises).await?;
        check_listed(&backend, promises).await?;
        let again = backend.sweep(std::time::Duration::ZERO).await;
        match again {
            Ok(0) => Ok(()),
            other => Err(format!("a second sweep: {other:?}")),
        }
    })
}

fn check_winners(promises: &Promises) -> Result<(), String> {
    let mut winners = BTreeSet::new();
    for (name, _) in &promises.stored {
        if !winners.insert(name) {
            return Err(format!("two puts of {name} succeeded"));
        }
    }
    Ok(())
}

async fn check_kept(backend: &dyn Backend, promises: &Promises) -> Result<(), String> {
    for (name, body) in &promises.stored {
        match backend.get(name, u64::MAX).await {
            Ok(found) if found == *body => {}
            Ok(_) => return Err(format!("{name} has other bytes")),
            Err(_) if promises.deleting.contains(name) => {}
            Err(error) => return Err(format!("a stored object: {error}")),
        }
    }
    for name in &promises.taken {
        if let Err(error) = backend.stat(name).await {
            return Err(format!("an object that was in the way: {error}"));
        }
    }
    for name in &promises.deleted {
        if backend.stat(name).await.is_ok() {
            return Err(format!("{name} came back"));
        }
    }
    Ok(())
}

async fn check_listed(backend: &dyn Backend, promises: &Promises) -> Result<(), String> {
    let listed = backend.list("").await;
    for meta in listed.map_err(|error| format!("list: {error}"))? {
        let Some(tried) = promises.tried.get(&meta.name) else {
            return Err(format!("{} was never put", meta.name));
        };
        let found = backend.get(&meta.name, u64::MAX).await;
        let found = found.map_err(|error| format!("a listed object: {error}"))?;
        if !tried.contains(&found) || meta.size != found.len() as u64 {
            return Err(format!("{} is not whole", meta.name));
        }
    }
    Ok(())
}
