//! The parent's side.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    io::{AsyncWriteExt as _, BufReader},
    process::ChildStdin,
    sync::mpsc,
    time::{Instant, timeout},
};

use super::{
    protocol::{Duty, Order, Report, Task},
    watch::{Shared, TAKE_OVER_LIMIT, Watcher, spawn},
};
use crate::{FreezeRequest, QuiesceError, QuiesceErrorKind};

/// How long a guard may take to start and to reach the agent.
const START_LIMIT: Duration = Duration::from_secs(20);

/// What the guard itself waits for a thaw before it reports, and more than a little.
const THAW_LIMIT: Duration = Duration::from_secs(45);

/// How long a dead guard's place may be taken, from its kill to the report.
const REPLACED_LIMIT: Duration = Duration::from_secs(45);
const _: () = assert!(REPLACED_LIMIT.as_secs() > TAKE_OVER_LIMIT.as_secs());

/// How to start a guard: a program, and arguments that make it call [`super::run`] with the
/// arguments behind them.
#[derive(Debug, Clone)]
pub struct GuardCommand {
    pub(super) program: PathBuf,
    pub(super) args: Vec<OsString>,
    pub(super) log: Option<PathBuf>,
}

impl GuardCommand {
    /// A guard in this program.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            log: None,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Where guards write what they do (an absolute path). Several may share a file.
    #[must_use]
    pub fn log(mut self, path: impl Into<PathBuf>) -> Self {
        self.log = Some(path.into());
        self
    }
}

/// A guard that runs. Dropped, it thaws.
#[derive(Debug)]
pub(crate) struct Guard {
    orders: ChildStdin,
    news: mpsc::Receiver<Report>,
    shared: Arc<Shared>,
    sent: Instant,
}

/// A thaw as the guard, or who took its place, reported it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Thawed {
    pub(crate) count: u32,
    pub(crate) frozen_for: Duration,
    pub(crate) held: bool,
}

impl Guard {
    /// Starts a guard and waits until it has reached the agent.
    pub(crate) async fn start(
        command: &GuardCommand,
        socket: &Path,
        request: FreezeRequest,
    ) -> Result<Self, QuiesceError> {
        // The guard has a working directory of its own.
        let socket = std::path::absolute(socket).unwrap_or_else(|_| socket.to_owned());
        let task = Task {
            socket: socket.clone(),
            duty: Duty::Freeze(request),
            log: command.log.clone(),
        };
        let mut child = spawn(command, &task, Stdio::piped, Stdio::piped)
            .map_err(|error| no_guard(&format!("it does not start: {error}")))?;
        let (Some(orders), Some(reports)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(no_guard("it has no pipes"));
        };
        let (sender, news) = mpsc::channel(8);
        let shared = Arc::<Shared>::default();
        let watcher = Watcher {
            child,
            reports: BufReader::new(reports),
            shared: shared.clone(),
            news: sender,
            command: command.clone(),
            socket,
        };
        tokio::spawn(watcher.run());
        let sent = Instant::now();
        let mut guard = Self {
            orders,
            news,
            shared,
            sent,
        };
        match guard.news_within(START_LIMIT).await {
            Some(Report::Ready) => Ok(guard),
            Some(Report::Failed { kind, message }) => Err(QuiesceError::new(kind, message)),
            _ => Err(no_guard("it ended before it reached the guest agent")),
        }
    }

    /// Freezes; gives the number of file systems.
    pub(crate) async fn freeze(&mut self, request: FreezeRequest) -> Result<u32, QuiesceError> {
        self.shared.told_to_freeze.store(true, Ordering::Release);
        self.sent = Instant::now();
        self.order(Order::Freeze).await;
        match self.last_word(request.freeze_limit + THAW_LIMIT).await? {
            Report::Frozen { file_systems: 0 } => {
                self.end().await?;
                let text = "the guest agent found no file system to freeze";
                Err(QuiesceError::new(QuiesceErrorKind::Refused, text))
            }
            Report::Frozen { file_systems } => Ok(file_systems),
            _ => Err(no_guard(
                "it ended during the freeze; the guest was thawed without it",
            )),
        }
    }

    /// Thaws and ends the guard.
    pub(crate) async fn thaw(mut self) -> Result<Thawed, QuiesceError> {
        self.end().await
    }

    async fn end(&mut self) -> Result<Thawed, QuiesceError> {
        self.order(Order::Thaw).await;
        match self.last_word(THAW_LIMIT).await? {
            Report::Thawed {
                file_systems,
                frozen_us,
                held,
            } => Ok(Thawed {
                count: file_systems,
                frozen_for: match frozen_us {
                    0 => self.sent.elapsed(), // the guard took its clock with it
                    known => Duration::from_micros(known),
                },
                held,
            }),
            _ => Err(no_guard("it does not say what came of the thaw")),
        }
    }

    /// An order that does not arrive is told by the watcher: the guard is dead.
    async fn order(&mut self, order: Order) {
        if let Ok(mut line) = serde_json::to_vec(&order) {
            line.push(b'\n');
            self.orders.write_all(&line).await.ok();
        }
    }

    /// The next report of the guard; of the watcher in its place, when it is dead or silent.
    async fn last_word(&mut self, limit: Duration) -> Result<Report, QuiesceError> {
        let mut report = self.news_within(limit).await;
        if report.is_none() {
            // Alive but silent, stopped perhaps: it would keep the agent's channel.
            self.shared.kill.notify_one();
            report = self.news_within(REPLACED_LIMIT).await;
        }
        match report {
            Some(Report::Failed { kind, message }) => Err(QuiesceError::new(kind, message)),
            Some(report) => Ok(report),
            None => Err(QuiesceError::new(
                QuiesceErrorKind::LeftFrozen,
                "neither the guard nor its watcher confirms a thaw",
            )),
        }
    }

    async fn news_within(&mut self, limit: Duration) -> Option<Report> {
        timeout(limit, self.news.recv()).await.ok().flatten()
    }
}

fn no_guard(why: &str) -> QuiesceError {
    let text = format!("the process that guards the freeze failed: {why}");
    QuiesceError::new(QuiesceErrorKind::NoChannel, text)
}
