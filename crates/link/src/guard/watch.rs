//! The parent's eye on a guard: passes its reports on, and thaws in its place when it dies.

use std::{
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, ChildStdout, Command},
    sync::{Notify, mpsc},
    time::Instant,
};

use super::{
    GuardCommand,
    decide::{GuardEnd, must_take_over},
    protocol::{Duty, MAX_LINE, Report, Task},
};
use crate::{
    QuiesceErrorKind,
    qga::{NotThawed, thaw_until},
};

/// How long this process thaws in the place of a guard that died, before it starts another one.
pub(super) const TAKE_OVER_LIMIT: Duration = Duration::from_secs(30);

/// What the parent and the watcher share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// The guard was told to freeze: from here on its end is followed by thaws.
    pub(super) told_to_freeze: AtomicBool,
    /// The guard is to be killed: it neither answers nor ends.
    pub(super) kill: Notify,
}

/// Watches one guard to its end. Owned by a task of the runtime, not by the caller of a freeze: a
/// caller that is dropped in the middle does not stop it.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) child: Child,
    pub(super) reports: BufReader<ChildStdout>,
    pub(super) shared: Arc<Shared>,
    pub(super) news: mpsc::Sender<Report>,
    pub(super) command: GuardCommand,
    pub(super) socket: PathBuf,
}

impl Watcher {
    pub(super) async fn run(mut self) {
        let mut last = None;
        let shared = self.shared.clone();
        loop {
            let report = tokio::select! {
                report = next_report(&mut self.reports) => report,
                () = shared.kill.notified() => {
                    self.child.start_kill().ok(); // fails when it has ended: then the pipe says so
                    continue;
                }
            };
            let Some(report) = report else { break };
            self.news.send(report.clone()).await.ok(); // nobody may be waiting for it any more
            last = Some(report);
        }
        // Its pipe is closed or out of step: a guard that lives on would keep the agent's channel.
        let success = match tokio::time::timeout(LAST_BREATH, self.child.wait()).await {
            Ok(status) => status.is_ok_and(|status| status.success()),
            Err(_) => self.child.kill().await.is_err(),
        };
        let end = GuardEnd {
            told_to_freeze: shared.told_to_freeze.load(Ordering::Acquire),
            last: last.as_ref(),
            success,
        };
        if must_take_over(end) {
            self.take_over().await;
        }
    }

    async fn take_over(self) {
        tracing::warn!(socket = %self.socket.display(), "the guard of a freeze died: thawing");
        let started = Instant::now();
        let thawed = thaw_until(&self.socket, None, started + TAKE_OVER_LIMIT).await;
        let report = match thawed {
            Ok(thawed) => Report::Thawed {
                file_systems: thawed.count,
                frozen_us: None, // the parent knows when it ordered the freeze
                held: false,
            },
            Err(NotThawed::Gone) => Report::Failed {
                kind: QuiesceErrorKind::NoChannel,
                message: "the VM has ended".to_owned(),
            },
            Err(NotThawed::Deadline(why)) => {
                self.start_successor();
                let message = format!("the guard died, and no thaw is confirmed: {why}");
                let kind = QuiesceErrorKind::LeftFrozen;
                Report::Failed { kind, message }
            }
        };
        self.news.send(report).await.ok();
    }

    fn start_successor(&self) {
        let task = Task {
            socket: self.socket.clone(),
            duty: Duty::Thaw,
            log: self.command.log.clone(),
        };
        let started = spawn(&self.command, &task, Stdio::null, Stdio::null);
        if let Err(error) = started {
            tracing::error!(%error, "no new guard starts: the guest may stay frozen");
        }
    }
}

/// How long a guard that has closed its pipe may take to end.
const LAST_BREATH: Duration = Duration::from_secs(5);

pub(super) fn spawn(
    command: &GuardCommand,
    task: &Task,
    stdin: fn() -> Stdio,
    stdout: fn() -> Stdio,
) -> std::io::Result<Child> {
    Command::new(&command.program)
        .arg0("tresor") // for lists of processes: the program may be a link without a name
        .args(&command.args)
        .args(task.to_args())
        .stdin(stdin())
        .stdout(stdout())
        .stderr(Stdio::null())
        .current_dir("/")
        .kill_on_drop(false)
        .spawn()
}

/// The next report; `None` when the guard is gone or not to be understood.
async fn next_report(reports: &mut BufReader<ChildStdout>) -> Option<Report> {
    let mut line = String::new();
    reports.take(MAX_LINE).read_line(&mut line).await.ok()?;
    serde_json::from_str(line.trim_end()).ok()
}
