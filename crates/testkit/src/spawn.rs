//! Child processes that cannot outlive us.
//!
//! The kernel kills the child when the *thread* that started it ends, and worker threads come and
//! go: so one thread that lives as long as the process starts them all.

use std::{
    io,
    process::{Child, Command},
    sync::{
        OnceLock,
        mpsc::{Sender, channel},
    },
    thread,
};

use anyhow::{Context, Result};

type Request = (Command, Sender<io::Result<Child>>);

/// Starts `program` so that it dies with this process (by `setpriv`, which becomes it: the
/// child's pid is the program's).
pub(crate) fn bound_to_us(program: &std::path::Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Starts a command from the thread that never ends.
pub(crate) fn spawn(command: Command) -> Result<Child> {
    static STARTER: OnceLock<Sender<Request>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (sender, requests) = channel::<Request>();
        thread::spawn(move || {
            for (mut command, answer) in requests {
                // Whoever asked may have gone; then the child goes with the answer's value.
                drop(answer.send(command.spawn()));
            }
        });
        sender
    });
    let (sender, answer) = channel();
    starter
        .send((command, sender))
        .ok()
        .context("the thread that starts programs has ended")?;
    answer
        .recv()
        .context("the thread that starts programs has ended")?
        .context("cannot start QEMU (by setpriv of util-linux)")
}
