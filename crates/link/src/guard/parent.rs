//! The parent's side.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::{Instant, timeout},
};

use super::protocol::{MAX_LINE, Order, Report, Task};
use crate::{FreezeRequest, QuiesceError, QuiesceErrorKind, qga::thaw_until};

/// How long a guard may take to start and to reach the agent.
const START_LIMIT: Duration = Duration::from_secs(20);

/// What the guard itself waits for a thaw before it reports, and a little more.
const THAW_LIMIT: Duration = Duration::from_secs(45);

/// How long this process thaws when the guard is gone.
const OWN_LIMIT: Duration = Duration::from_secs(30);

/// How to start a guard: a program, and arguments that make it call [`super::run`] with the
/// arguments behind them.
#[derive(Debug, Clone)]
pub struct GuardCommand {
    program: PathBuf,
    args: Vec<OsString>,
}

impl GuardCommand {
    /// A guard in this program.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }
}

/// A guard that runs.
#[derive(Debug)]
pub(crate) struct Guard {
    child: Child,
    orders: ChildStdin,
    reports: BufReader<ChildStdout>,
    socket: PathBuf,
    sent: Instant,
}

/// A thaw as the guard reported it.
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
        let task = Task {
            socket: socket.to_owned(),
            request,
        };
        let mut child = Command::new(&command.program)
            .args(&command.args)
            .args(task.to_args())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .current_dir("/")
            .kill_on_drop(false)
            .spawn()
            .map_err(|error| no_guard(&format!("it does not start: {error}")))?;
        let (Some(orders), Some(reports)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(no_guard("it has no pipes"));
        };
        let reports = BufReader::new(reports);
        let socket = task.socket;
        let mut guard = Self {
            child,
            orders,
            reports,
            socket,
            sent: Instant::now(),
        };
        match guard.report(START_LIMIT).await {
            Some(Report::Ready) => Ok(guard),
            Some(Report::Failed { kind, message }) => Err(QuiesceError::new(kind, message)),
            _ => Err(no_guard("it ended before it reached the guest agent")),
        }
    }

    /// Freezes; gives the number of file systems.
    pub(crate) async fn freeze(&mut self, request: FreezeRequest) -> Result<u32, QuiesceError> {
        self.sent = Instant::now();
        let ordered = self.order(Order::Freeze).await;
        let limit = request.freeze_limit + THAW_LIMIT;
        let report = if ordered {
            self.report(limit).await
        } else {
            None
        };
        match report {
            Some(Report::Frozen { file_systems: 0 }) => {
                let text = "the guest agent found no file system to freeze";
                self.thaw_here().await?;
                Err(QuiesceError::new(QuiesceErrorKind::Refused, text))
            }
            Some(Report::Frozen { file_systems }) => Ok(file_systems),
            Some(Report::Failed { kind, message }) => Err(QuiesceError::new(kind, message)),
            _ => {
                self.thaw_here().await?;
                Err(no_guard(
                    "it ended during the freeze; the guest was thawed without it",
                ))
            }
        }
    }

    /// Thaws and ends the guard.
    pub(crate) async fn thaw(mut self) -> Result<Thawed, QuiesceError> {
        let ordered = self.order(Order::Thaw).await;
        let report = if ordered {
            self.report(THAW_LIMIT).await
        } else {
            None
        };
        let result = match report {
            Some(Report::Thawed {
                file_systems,
                frozen_us,
                held,
            }) => Ok(Thawed {
                count: file_systems,
                frozen_for: Duration::from_micros(frozen_us),
                held,
            }),
            Some(Report::Failed { kind, message }) => return Err(QuiesceError::new(kind, message)),
            _ => self.thaw_here().await,
        };
        // It has nothing left to do; not waiting for it would leave a zombie.
        timeout(Duration::from_secs(5), self.child.wait())
            .await
            .ok();
        result
    }

    /// The guard is gone or silent: thaw from here. Nothing is known of how long the freeze held.
    async fn thaw_here(&mut self) -> Result<Thawed, QuiesceError> {
        // A guard that is stopped would keep the agent's socket.
        self.child.start_kill().ok();
        let thawed = thaw_until(&self.socket, None, Instant::now() + OWN_LIMIT).await;
        match thawed {
            Some(thawed) => Ok(Thawed {
                count: thawed.count,
                frozen_for: thawed.answered.duration_since(self.sent),
                held: false,
            }),
            None => Err(QuiesceError::new(
                QuiesceErrorKind::LeftFrozen,
                "the guard died, and the guest agent does not confirm a thaw",
            )),
        }
    }

    async fn order(&mut self, order: Order) -> bool {
        let Ok(mut line) = serde_json::to_vec(&order) else {
            return false;
        };
        line.push(b'\n');
        self.orders.write_all(&line).await.is_ok()
    }

    /// The next report; `None` when the guard is gone, silent or not to be understood.
    async fn report(&mut self, limit: Duration) -> Option<Report> {
        let mut line = String::new();
        let mut bounded = (&mut self.reports).take(MAX_LINE);
        let read = timeout(limit, bounded.read_line(&mut line)).await;
        match read {
            Ok(Ok(_)) => serde_json::from_str(line.trim_end()).ok(),
            _ => None,
        }
    }
}

fn no_guard(why: &str) -> QuiesceError {
    let text = format!("the process that guards the freeze failed: {why}");
    QuiesceError::new(QuiesceErrorKind::NoChannel, text)
}
