//! Giving way: a VM whose images we hold can be started at any time.
//!
//! # What must hold
//! - Where the kernel can tell who opens an image before it does (fanotify permission events: root,
//!   `CONFIG_FANOTIFY_ACCESS_PERMISSIONS`, as distributions have it), an open by a QEMU system
//!   emulator is held for the milliseconds in which the storage daemon writes its bitmaps and ends;
//!   then it goes on and finds the image free. The start is not refused at all.
//! - Every open is answered within [`ANSWER_LIMIT`], whatever happens; those of other programs at
//!   once. The answers come from a thread of its own, that waits for nothing else and opens none of
//!   the files. Closing the descriptor, also by this process's death, lets all openers go on. (While
//!   this process is suspended, by SIGSTOP or a debugger, nobody answers: openers wait.)
//! - Elsewhere (inotify) an open is seen after it took place: that start of the VM is refused by
//!   the image's lock, and within a second the next one is not.

use std::{
    io,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fd::{AsFd, OwnedFd},
    fs::inotify,
};
use tresor_disk::{Error, ErrorKind};

use super::{emulator, process::Process};
use crate::sys::{Opener, Opens};

/// How long an opener may be held at the worst.
const ANSWER_LIMIT: Duration = Duration::from_millis(900);

/// Watches the images of one storage daemon until that has ended.
#[derive(Debug)]
pub(super) struct GiveWay {
    fired: Arc<AtomicBool>,
    /// Its other end is the thread's sign to stop.
    _stop: UnixStream,
}

impl GiveWay {
    /// Begins to watch.
    pub(super) fn watch(images: &[&Path], daemon: Arc<Process>) -> io::Result<Self> {
        match Opens::of(images) {
            Ok(opens) => Self::start(daemon, opens),
            Err(error) => {
                tracing::info!(%error, "no fanotify: a start of the VM is seen a little late");
                Self::start(daemon, Seen::of(images)?)
            }
        }
    }

    fn start(daemon: Arc<Process>, watcher: impl Watcher) -> io::Result<Self> {
        let (stop, stopped) = UnixStream::pair()?;
        let fired = Arc::new(AtomicBool::new(false));
        let yielding = Yielding {
            daemon,
            fired: Arc::clone(&fired),
        };
        std::thread::Builder::new()
            .name("give-way".to_owned())
            .spawn(move || {
                if let Err(error) = run(&watcher, &stopped, &yielding) {
                    tracing::warn!(%error, "starts of the VM are not watched for any more");
                }
            })?;
        Ok(Self { fired, _stop: stop })
    }

    /// Whether the images were let go because the VM was started.
    pub(super) fn has_fired(&self) -> bool {
        self.fired.load(Ordering::Acquire)
    }

    /// What an error means once the images were let go.
    pub(super) fn explain(&self, error: Error) -> Error {
        if self.has_fired() && error.kind() != ErrorKind::GaveWay {
            let step = "hold the images of a VM that was started meanwhile";
            return Error::new(ErrorKind::GaveWay, step).because(error);
        }
        error
    }
}

/// What is done when the VM is started.
struct Yielding {
    daemon: Arc<Process>,
    fired: Arc<AtomicBool>,
}

impl Yielding {
    fn give_way(&self) {
        self.fired.store(true, Ordering::Release);
        self.daemon.terminate();
        if !self.daemon.ends_within(ANSWER_LIMIT) {
            tracing::warn!(
                "the storage daemon takes long to end: a start of the VM may be refused"
            );
        }
    }
}

/// A way to see who opens the images.
trait Watcher: AsFd + Send + 'static {
    /// Deals with what has come.
    fn step(&self, yielding: &Yielding) -> io::Result<()>;
}

/// Watches until it is told to stop *and* the daemon has ended: as long as that holds the images, a
/// start of the VM has to be seen.
fn run(watcher: &impl Watcher, stopped: &UnixStream, yielding: &Yielding) -> io::Result<()> {
    let mut stopping = false;
    loop {
        let end = if stopping {
            PollFd::new(yielding.daemon.as_ref(), PollFlags::IN)
        } else {
            PollFd::new(stopped, PollFlags::IN)
        };
        let mut fds = [PollFd::new(watcher, PollFlags::IN), end];
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [seen, end] = fds.map(|fd| !fd.revents().is_empty());
        if seen {
            watcher.step(yielding)?;
        }
        match (stopping, end) {
            (true, true) => return Ok(()),
            (false, true) => stopping = true,
            _ => {}
        }
    }
}

impl Watcher for Opens {
    fn step(&self, yielding: &Yielding) -> io::Result<()> {
        for opener in self.next()? {
            if emulator::is_one(opener.pid) {
                yielding.give_way();
            }
            answer(self, &opener)?;
        }
        Ok(())
    }
}

fn answer(opens: &Opens, opener: &Opener) -> io::Result<()> {
    match opens.allow(opener) {
        // It was killed while it waited.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Opens that have taken place.
struct Seen {
    inotify: OwnedFd,
    images: Vec<PathBuf>,
}

impl Seen {
    fn of(images: &[&Path]) -> io::Result<Self> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let inotify = inotify::init(flags)?;
        for image in images {
            inotify::add_watch(&inotify, *image, inotify::WatchFlags::OPEN)?;
        }
        Ok(Self {
            inotify,
            images: images.iter().map(|&path| path.to_owned()).collect(),
        })
    }
}

impl AsFd for Seen {
    fn as_fd(&self) -> rustix::fd::BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

impl Watcher for Seen {
    fn step(&self, yielding: &Yielding) -> io::Result<()> {
        let mut bytes = [0; 4096];
        match rustix::io::read(&self.inotify, &mut bytes) {
            Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        // The event does not tell who it was.
        if !yielding.fired.load(Ordering::Acquire) && emulator::runs_on(&self.images) {
            yielding.give_way();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// A sleeping process in the daemon's place, and a file in an image's.
    fn scene() -> (tempfile::TempDir, PathBuf, Arc<Process>) {
        let dir = tempfile::tempdir().expect("temp dir");
        let image = dir.path().join("image");
        std::fs::write(&image, [0; 4096]).expect("image");
        let mut sleep = Command::new("sleep");
        sleep.arg("600");
        let process = Process::start(sleep).expect("starts");
        (dir, image, Arc::new(process))
    }

    /// A process that calls itself an emulator and opens the image.
    fn open_as(name: &str, dir: &Path, image: &Path) {
        let program = dir.join(name);
        std::fs::copy("/bin/cat", &program).expect("copies");
        let output = Command::new(&program).arg(image).output().expect("runs");
        assert!(output.status.success(), "{output:?}");
    }

    #[test]
    fn others_may_open_and_an_emulator_finds_the_daemon_gone() {
        let (dir, image, process) = scene();
        let opens = Opens::of(&[&image]).expect("permission events (root; see the module)");
        let give_way = GiveWay::start(Arc::clone(&process), opens).expect("starts");
        std::fs::read(&image).expect("reads");
        open_as("qemu-img", dir.path(), &image);
        assert!(!give_way.has_fired() && !process.has_ended());
        open_as("qemu-system-x86_64", dir.path(), &image);
        assert!(give_way.has_fired() && process.has_ended());
    }

    #[test]
    fn an_opener_that_was_held_goes_on_when_the_watch_ends() {
        let (_dir, image, process) = scene();
        let opens = Opens::of(&[&image]).expect("permission events (root; see the module)");
        let reader = std::thread::spawn(move || std::fs::read(image));
        // Nobody answers: the reader is held until the descriptor is closed.
        let mut fds = [PollFd::new(&opens, PollFlags::IN)];
        poll(&mut fds, None).expect("polls");
        drop(opens);
        assert_eq!(reader.join().expect("joins").expect("reads").len(), 4096);
        drop(process);
    }

    #[test]
    fn without_permission_events_an_open_is_seen_afterwards() {
        let (dir, image, process) = scene();
        let seen = Seen::of(&[&image]).expect("inotify");
        let give_way = GiveWay::start(Arc::clone(&process), seen).expect("starts");
        // Long enough alive to be found: it waits for the end of its input.
        let program = dir.path().join("qemu-system-x86_64");
        std::fs::copy("/bin/cat", &program).expect("copies");
        let mut emulator = Command::new(&program)
            .arg(&image)
            .arg("-")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("runs");
        assert!(process.ends_within(Duration::from_secs(60)));
        assert!(give_way.has_fired());
        drop(emulator.stdin.take());
        emulator.wait().expect("ends");
    }
}
