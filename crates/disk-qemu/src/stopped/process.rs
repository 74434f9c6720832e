//! The storage daemon's process: started so that it ends in order with this one, ended in order.
//!
//! # What must hold
//! - It is never killed while there is another way: killed, the bitmaps in the images it holds
//!   would be void.
//! - It does not outlive this process. The kernel ends it with the *thread* that started it, so one
//!   thread that lives as long as the process starts them all.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    process::{Child, Command, ExitStatus},
    sync::{
        OnceLock,
        mpsc::{Sender, channel},
    },
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use tokio::sync::watch;

use crate::sys;

/// A storage daemon.
#[derive(Debug)]
pub(super) struct Process {
    pidfd: OwnedFd,
    /// How it ended; closed when it has.
    alive: watch::Receiver<Option<ExitStatus>>,
}

impl Process {
    /// Starts it.
    pub(super) fn start(mut command: Command) -> io::Result<Self> {
        sys::end_with_parent(&mut command);
        let child = spawn(command)?;
        let id = i32::try_from(child.id()).map_err(io::Error::other)?;
        let pid = Pid::from_raw(id).ok_or(io::ErrorKind::InvalidData)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty());
        let (living, alive) = watch::channel(None);
        std::thread::spawn(move || {
            let status = reap(child);
            let _unwanted = living.send(status);
        });
        Ok(Self {
            pidfd: pidfd?,
            alive,
        })
    }

    /// Asks it to end in order. One that has ended is fine.
    pub(super) fn terminate(&self) {
        if let Err(error) = pidfd_send_signal(&self.pidfd, Signal::TERM) {
            tracing::debug!(%error, "the storage daemon has ended already");
        }
    }

    /// Whether it ends within the limit. Blocks: for threads of their own.
    pub(super) fn ends_within(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        loop {
            let left = Timespec::try_from(end.saturating_duration_since(Instant::now()));
            let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
            match poll(&mut fds, left.ok().as_ref()) {
                Ok(0) => return false,
                Ok(_) => return true,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.ends_within(Duration::ZERO)
    }

    /// Waits for its end; says how it ended, if that could be learned.
    pub(super) async fn ended(&self) -> Option<ExitStatus> {
        let mut alive = self.alive.clone();
        while alive.changed().await.is_ok() {}
        *alive.borrow()
    }
}

/// Readable when it has ended.
impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.terminate();
    }
}

/// Takes the end of a child, so that it does not stay as a zombie.
fn reap(mut child: Child) -> Option<ExitStatus> {
    match child.wait() {
        Ok(status) => Some(status),
        Err(error) => {
            tracing::warn!(%error, "the end of a storage daemon cannot be awaited");
            None
        }
    }
}

type Request = (Command, Sender<io::Result<Child>>);

/// Starts a command from the thread that never ends.
fn spawn(command: Command) -> io::Result<Child> {
    static STARTER: OnceLock<Sender<Request>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (sender, requests) = channel::<Request>();
        std::thread::spawn(move || {
            for (mut command, answer) in requests {
                // Whoever asked waits for it, so the answer is always taken.
                drop(answer.send(command.spawn()));
            }
        });
        sender
    });
    let gone = || io::Error::other("the thread that starts storage daemons has ended");
    let (sender, answer) = channel();
    let asked = starter.send((command, sender));
    asked.map_err(|_unsent| gone())?;
    answer.recv().map_err(|_closed| gone())?
}
