//! A process's handle on the simulated disk: counts its changes, and applies its plan.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::disk::{Disk, Node};
use super::plan::{Event, Moment, Plan, Scope};
use crate::Part;
use crate::local::{Content, Entry, FileKind, Fs, FsError, Leftover, Published};

/// Temporary files' directory: a dot hides it from lists, as on a real directory.
const TEMP_DIR: &str = ".tmp";

/// One process's view of a simulated disk. Clones are the same process.
#[derive(Debug, Clone)]
pub struct SimFs {
    disk: Arc<Mutex<Disk>>,
    process: Arc<Process>,
}

#[derive(Debug, Default)]
struct Process {
    plan: Plan,
    changes: AtomicU64,
    killed: AtomicBool,
}

/// An open temporary file of a [`SimFs`].
#[derive(Debug, Clone)]
pub struct SimTemp {
    file: usize,
    path: String,
}

/// What a change does when it is told to fail.
enum OnFault {
    /// It happens all the same, or does not: the seed decides.
    Either,
    /// Something of its own.
    Do(Box<dyn FnOnce(&mut Disk) + Send>),
}

impl SimFs {
    /// An empty disk and its first process. The seed decides how tasks mix and what a failed
    /// operation leaves; what a power cut leaves is decided by [`SimFs::power_cut`].
    #[must_use]
    pub fn new(seed: u64, plan: Plan) -> Self {
        Self::with(Disk::empty(seed), plan)
    }

    fn with(disk: Disk, plan: Plan) -> Self {
        Self {
            disk: Arc::new(Mutex::new(disk)),
            process: Arc::new(Process {
                plan,
                ..Process::default()
            }),
        }
    }

    /// Another process on the same machine, with a plan of its own.
    #[must_use]
    pub fn process(&self, plan: Plan) -> Self {
        Self {
            disk: Arc::clone(&self.disk),
            process: Arc::new(Process {
                plan,
                ..Process::default()
            }),
        }
    }

    /// Cuts the power now (if no plan did before) and gives the disk of the next boot, with one
    /// process that nothing happens to. The same disk can be cut many times, with other seeds.
    #[must_use]
    pub fn power_cut(&self, seed: u64) -> Self {
        let mut disk = self.disk();
        disk.down = true;
        Self::with(disk.after_power_cut(seed), Plan::default())
    }

    /// Changes that this process has begun: the number of its crash points.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.process.changes.load(Ordering::Relaxed)
    }

    /// Whether this process was stopped by its plan, or its machine.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.process.killed.load(Ordering::Relaxed) || self.disk().down
    }

    /// Moves the file system's clock.
    pub fn advance(&self, by: Duration) {
        self.disk().clock += by;
    }

    /// Publishes by a plain rename, which replaces: what the backend must never do. Here for
    /// tests that prove that its checks would see it.
    ///
    /// # Errors
    /// As [`Fs::publish`].
    pub async fn rename_over(&self, temp: &SimTemp, to: &str) -> Result<(), FsError> {
        let (from, file, to) = (temp.path.clone(), temp.file, to.to_owned());
        self.change("rename", &to.clone(), true, OnFault::Either, move |disk| {
            if !disk.set_name(&to, Some(Node::File(file))) {
                return Err(io::ErrorKind::NotFound);
            }
            disk.set_name(&from, None);
            Ok(())
        })
        .await
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets other tasks run, as many turns as the seed gives.
    async fn turn(&self) {
        let plan = &self.process.plan;
        if !plan.delay().is_zero() {
            tokio::time::sleep(plan.delay()).await;
        }
        let turns = match plan.most_yields() {
            0 => 0,
            most => self.disk().rng.below(most + 1),
        };
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    }

    fn check_running(&self, disk: &Disk) -> Result<(), io::Error> {
        match () {
            () if disk.down => Err(io::Error::other("the machine has no power")),
            () if self.process.killed.load(Ordering::Relaxed) => {
                Err(io::Error::other("the process was killed"))
            }
            () => Ok(()),
        }
    }

    /// A read: no change, not counted.
    async fn look<T>(
        &self,
        operation: &'static str,
        path: &str,
        read: impl FnOnce(&Disk) -> T + Send,
    ) -> Result<T, FsError> {
        self.turn().await;
        let disk = self.disk();
        self.check_running(&disk)
            .map_err(|cause| FsError::new(operation, path, cause))?;
        Ok(read(&disk))
    }

    /// A change: counted, and subject to the plan.
    async fn change<T>(
        &self,
        operation: &'static str,
        path: &str,
        needs_space: bool,
        on_fault: OnFault,
        effect: impl FnOnce(&mut Disk) -> Result<T, io::ErrorKind> + Send,
    ) -> Result<T, FsError> {
        self.turn().await;
        let failed = |cause| FsError::new(operation, path, cause);
        let mut disk = self.disk();
        self.check_running(&disk).map_err(failed)?;
        let at = self.process.changes.fetch_add(1, Ordering::Relaxed);
        match self.process.plan.decide(at, needs_space) {
            Event::Fine if disk.stopped => Err(failed(io::ErrorKind::ReadOnlyFilesystem.into())),
            Event::Fine => effect(&mut disk).map_err(|kind| failed(kind.into())),
            Event::Stop(moment, scope) => {
                if moment == Moment::After && !disk.stopped {
                    // Its outcome, good or bad, is what the caller never learns.
                    let _unknown = effect(&mut disk);
                }
                match scope {
                    Scope::Process => self.process.killed.store(true, Ordering::Relaxed),
                    Scope::Machine => disk.down = true,
                }
                Err(failed(io::Error::other("stopped by plan")))
            }
            Event::Fault(kind) => {
                match on_fault {
                    OnFault::Do(partly) => partly(&mut disk),
                    OnFault::Either => {
                        // No space means no effect; other failures say nothing.
                        if kind != io::ErrorKind::StorageFull && disk.rng.coin() {
                            let _unknown = effect(&mut disk);
                        }
                    }
                }
                Err(failed(kind.into()))
            }
        }
    }

    async fn remove(&self, operation: &'static str, path: &str) -> Result<bool, FsError> {
        let target = path.to_owned();
        self.change(
            operation,
            path,
            false,
            OnFault::Either,
            move |disk| match disk.find(&target) {
                None => Ok(false),
                Some(Node::Directory) => Err(io::ErrorKind::IsADirectory),
                Some(Node::File(_)) => Ok(disk.set_name(&target, None)),
            },
        )
        .await
    }
}

/// What publishing does to the live image.
fn link(disk: &mut Disk, file: usize, to: &str) -> Result<Published, io::ErrorKind> {
    if disk.find(to).is_some() {
        return Ok(Published::Taken);
    }
    match disk.set_name(to, Some(Node::File(file))) {
        true => Ok(Published::New),
        false => Err(io::ErrorKind::NotFound),
    }
}

impl Fs for SimFs {
    type Temp = SimTemp;

    fn location(&self) -> String {
        "simulated disk".to_owned()
    }

    async fn create_temp(&self) -> Result<SimTemp, FsError> {
        self.change("create", TEMP_DIR, true, OnFault::Either, |disk| {
            if !disk.has_directory(TEMP_DIR) {
                disk.set_name(TEMP_DIR, Some(Node::Directory));
            }
            disk.temps_made += 1;
            let path = format!("{TEMP_DIR}/put-{}", disk.temps_made);
            let file = disk.create_file();
            disk.set_name(&path, Some(Node::File(file)));
            Ok(SimTemp { file, path })
        })
        .await
    }

    async fn write(&self, temp: &SimTemp, body: Bytes) -> Result<(), FsError> {
        let file = temp.file;
        let prefix = body.clone();
        let partly = OnFault::Do(Box::new(move |disk| {
            let kept = disk.rng.below(prefix.len() + 1);
            disk.append(file, &prefix[..kept]);
        }));
        self.change("write", &temp.path, true, partly, move |disk| {
            disk.append(file, &body);
            Ok(())
        })
        .await
    }

    async fn sync_file(&self, temp: &SimTemp) -> Result<(), FsError> {
        let file = temp.file;
        let poison = OnFault::Do(Box::new(move |disk| disk.poison(file)));
        self.change("sync", &temp.path, false, poison, move |disk| {
            disk.sync_file(file);
            Ok(())
        })
        .await
    }

    async fn publish(&self, temp: &SimTemp, to: &str) -> Result<Published, FsError> {
        let (file, target) = (temp.file, to.to_owned());
        self.change("publish", to, true, OnFault::Either, move |disk| {
            link(disk, file, &target)
        })
        .await
    }

    async fn remove_temp(&self, temp: SimTemp) -> Result<(), FsError> {
        self.remove("remove", &temp.path).await.map(drop)
    }

    async fn make_dir(&self, dir: &str) -> Result<(), FsError> {
        let target = dir.to_owned();
        self.change(
            "make directory",
            dir,
            true,
            OnFault::Either,
            move |disk| match disk.find(&target) {
                Some(Node::Directory) => Ok(()),
                Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory),
                None if disk.set_name(&target, Some(Node::Directory)) => Ok(()),
                None => Err(io::ErrorKind::NotFound),
            },
        )
        .await
    }

    async fn sync_dir(&self, dir: &str) -> Result<(), FsError> {
        let target = dir.to_owned();
        let stop = OnFault::Do(Box::new(|disk| disk.stopped = true));
        self.change("sync directory", dir, false, stop, move |disk| {
            if !disk.has_directory(&target) {
                return Err(io::ErrorKind::NotFound);
            }
            disk.sync_directory(&target);
            Ok(())
        })
        .await
    }

    async fn read(&self, path: &str, part: Part) -> Result<Content, FsError> {
        self.look("read", path, |disk| {
            let Some(Node::File(file)) = disk.find(path) else {
                return Content::Missing;
            };
            let body = disk.body(file);
            let place = part.place_in(disk.size(file));
            match place.and_then(|(at, len)| Some((usize::try_from(at).ok()?, len))) {
                Some((at, len)) => Content::Bytes(body.slice(at..at + len)),
                None => Content::Outside(disk.size(file)),
            }
        })
        .await
    }

    async fn stat(&self, path: &str) -> Result<Option<Entry>, FsError> {
        let leaf = path.rsplit_once('/').map_or(path, |(_, leaf)| leaf);
        self.look("stat", path, |disk| {
            let (kind, size) = match disk.find(path)? {
                Node::File(file) => (FileKind::File, disk.size(file)),
                Node::Directory => (FileKind::Directory, 0),
            };
            let name = leaf.to_owned();
            Some(Entry { name, kind, size })
        })
        .await
    }

    async fn list(&self, dir: &str) -> Result<Vec<Entry>, FsError> {
        let names = self.look("list", dir, |disk| disk.names(dir)).await?;
        let shown = names
            .into_iter()
            .filter(|(name, ..)| !name.starts_with('.'));
        Ok(shown
            .map(|(name, kind, size)| Entry { name, kind, size })
            .collect())
    }

    async fn unlink(&self, path: &str) -> Result<bool, FsError> {
        self.remove("unlink", path).await
    }

    async fn leftovers(&self) -> Result<Vec<Leftover>, FsError> {
        self.look("list", TEMP_DIR, |disk| {
            let names = disk.names(TEMP_DIR).into_iter();
            names
                .filter_map(
                    |(name, ..)| match disk.find(&format!("{TEMP_DIR}/{name}"))? {
                        Node::File(file) => {
                            let age = disk.age(file);
                            Some(Leftover { name, age })
                        }
                        Node::Directory => None,
                    },
                )
                .collect()
        })
        .await
    }

    async fn remove_leftover(&self, name: &str) -> Result<bool, FsError> {
        self.remove("remove", &format!("{TEMP_DIR}/{name}")).await
    }
}
