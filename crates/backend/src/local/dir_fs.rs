//! A real directory as [`Fs`]: each operation runs on the runtime's blocking threads.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use tokio::sync::Semaphore;

use super::backend::PARALLELISM;
use super::failure::failed;
use super::fs::{Content, Entry, Fs, FsError, Leftover, Published};
use super::tree::{self, TempFile};
use crate::{Error, ErrorKind, LocalBackend, Part};

/// A directory of the machine, held open: whatever is later mounted over its path, the vault
/// stays the vault.
#[derive(Debug, Clone)]
pub struct DirFs {
    root: Arc<OwnedFd>,
    location: PathBuf,
    /// Bounds the blocking threads that this vault occupies at once.
    permits: Arc<Semaphore>,
}

/// An open temporary file of a [`DirFs`].
#[derive(Debug, Clone)]
pub struct DirTemp(Arc<TempFile>);

impl DirFs {
    fn open(path: &Path) -> rustix::io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self {
            root: Arc::new(root),
            location: path.to_owned(),
            permits: Arc::new(Semaphore::new(PARALLELISM)),
        })
    }

    /// Runs `job` on a blocking thread. If the caller is dropped meanwhile, the job still ends,
    /// and keeps its permit until then.
    async fn run<T, J>(&self, operation: &'static str, path: &str, job: J) -> Result<T, FsError>
    where
        T: Send + 'static,
        J: FnOnce(BorrowedFd<'_>) -> rustix::io::Result<T> + Send + 'static,
    {
        let failed = |cause| FsError::new(operation, path, cause);
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|closed| failed(std::io::Error::other(closed)))?;
        let root = Arc::clone(&self.root);
        let task = tokio::task::spawn_blocking(move || {
            let _held = permit;
            job(root.as_fd())
        });
        match task.await {
            Ok(done) => done.map_err(|errno| failed(errno.into())),
            // The runtime is shutting down.
            Err(join) => Err(failed(std::io::Error::other(join))),
        }
    }
}

/// 128 random bits: no two writers of any process or machine share a temporary name.
fn fresh_name() -> std::io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

impl Fs for DirFs {
    type Temp = DirTemp;

    fn location(&self) -> String {
        self.location.display().to_string()
    }

    async fn create_temp(&self) -> Result<DirTemp, FsError> {
        let name = fresh_name().map_err(|cause| FsError::new("name", tree::TEMP_DIR, cause))?;
        self.run("create", tree::TEMP_DIR, move |root| {
            tree::create_temp(root, &name)
        })
        .await
        .map(|temp| DirTemp(Arc::new(temp)))
    }

    async fn write(&self, temp: &DirTemp, body: Bytes) -> Result<(), FsError> {
        let file = Arc::clone(&temp.0);
        self.run("write", &temp.0.name, move |_| tree::write(&file, &body))
            .await
    }

    async fn sync_file(&self, temp: &DirTemp) -> Result<(), FsError> {
        let file = Arc::clone(&temp.0);
        self.run("sync", &temp.0.name, move |_| tree::sync_file(&file))
            .await
    }

    async fn publish(&self, temp: &DirTemp, to: &str) -> Result<Published, FsError> {
        let file = Arc::clone(&temp.0);
        let target = to.to_owned();
        self.run("publish", to, move |root| {
            tree::publish(root, &file, &target)
        })
        .await
    }

    async fn remove_temp(&self, temp: DirTemp) -> Result<(), FsError> {
        let file = Arc::clone(&temp.0);
        self.run("remove", &temp.0.name, move |root| {
            tree::remove_temp(root, &file.name).map(drop)
        })
        .await
    }

    async fn make_dir(&self, dir: &str) -> Result<(), FsError> {
        let path = dir.to_owned();
        self.run("make directory", dir, move |root| {
            tree::make_dir(root, &path)
        })
        .await
    }

    async fn sync_dir(&self, dir: &str) -> Result<(), FsError> {
        let path = dir.to_owned();
        self.run("sync directory", dir, move |root| {
            tree::sync_dir(root, &path)
        })
        .await
    }

    async fn read(&self, path: &str, part: Part) -> Result<Content, FsError> {
        let wanted = path.to_owned();
        self.run("read", path, move |root| tree::read(root, &wanted, &part))
            .await
    }

    /// In one go: going to a blocking thread and back costs more than reading a small file.
    async fn read_each(&self, paths: Vec<String>, max_size: u64) -> Vec<Result<Content, FsError>> {
        let wanted = paths.clone();
        let read = self.run("read", "several files", move |root| {
            Ok(tree::read_each(root, &wanted, max_size))
        });
        match read.await {
            Ok(contents) => {
                let read = paths.iter().zip(contents);
                let failed = |(path, read): (&String, rustix::io::Result<Content>)| {
                    read.map_err(|errno| FsError::new("read", path, errno.into()))
                };
                read.map(failed).collect()
            }
            // The runtime is shutting down.
            Err(error) => {
                let reason = error.to_string();
                let failed =
                    |path| FsError::new("read", path, std::io::Error::other(reason.clone()));
                paths.into_iter().map(|path| Err(failed(path))).collect()
            }
        }
    }

    async fn stat(&self, path: &str) -> Result<Option<Entry>, FsError> {
        let wanted = path.to_owned();
        self.run("stat", path, move |root| tree::stat(root, &wanted))
            .await
    }

    async fn list(&self, dir: &str) -> Result<Vec<Entry>, FsError> {
        let path = dir.to_owned();
        self.run("list", dir, move |root| tree::list(root, &path))
            .await
    }

    async fn unlink(&self, path: &str) -> Result<bool, FsError> {
        let wanted = path.to_owned();
        self.run("unlink", path, move |root| tree::unlink(root, &wanted))
            .await
    }

    async fn leftovers(&self) -> Result<Vec<Leftover>, FsError> {
        let probe = fresh_name().map_err(|cause| FsError::new("name", tree::TEMP_DIR, cause))?;
        self.run("list", tree::TEMP_DIR, move |root| {
            tree::leftovers(root, &probe)
        })
        .await
    }

    async fn remove_leftover(&self, name: &str) -> Result<bool, FsError> {
        let wanted = name.to_owned();
        self.run("remove", name, move |root| tree::remove_temp(root, &wanted))
            .await
    }
}

impl LocalBackend<DirFs> {
    /// Opens the directory of a vault.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such directory.
    pub async fn open(path: &Path) -> Result<Self, Error> {
        let dir = path.to_owned();
        blocking(path, move || DirFs::open(&dir))
            .await
            .map(Self::on)
    }

    /// Makes the directory (mode 0700) if it is not there, durably, and opens it. Its parent
    /// must be there: a parent that is missing is more likely a disk that is not mounted.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the parent is missing.
    pub async fn create(path: &Path) -> Result<Self, Error> {
        let dir = path.to_owned();
        let fs = blocking(path, move || {
            match rustix::fs::mkdir(&dir, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
            let fs = DirFs::open(&dir)?;
            // Its own `..`: right also when the path ends in a link or has one segment.
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let parent = rustix::fs::openat(&fs.root, "..", flags, Mode::empty())?;
            rustix::fs::fsync(parent)?;
            Ok(fs)
        });
        fs.await.map(Self::on)
    }
}

/// Runs `job` on a blocking thread, for calls before there is a [`DirFs`].
async fn blocking<T, J>(path: &Path, job: J) -> Result<T, Error>
where
    T: Send + 'static,
    J: FnOnce() -> rustix::io::Result<T> + Send + 'static,
{
    let text = path.display().to_string();
    let done = match tokio::task::spawn_blocking(job).await {
        Ok(done) => done.map_err(std::io::Error::from),
        Err(join) => Err(std::io::Error::other(join)),
    };
    done.map_err(|cause| match cause.kind() {
        std::io::ErrorKind::NotFound => {
            Error::new(ErrorKind::NotFound, "open", &text).because(cause)
        }
        _ => failed("open", &text, FsError::new("open", &text, cause)),
    })
}
