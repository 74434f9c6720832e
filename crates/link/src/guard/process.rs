//! The guard's side.

use std::{ffi::OsString, io, os::fd::AsFd, path::Path, process::ExitCode, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::unix::pipe,
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep_until},
};

use super::{
    decide::may_be_frozen,
    log::Log,
    protocol::{Duty, MAX_LINE, Order, Report, Task},
};
use crate::{
    FreezeRequest, QuiesceError, QuiesceErrorKind,
    qga::{Connection, NotThawed, freeze, info, thaw_until},
    sys,
};

/// How long the agent may take to answer the guard's first question.
const OPEN_LIMIT: Duration = Duration::from_secs(5);

/// How long the parent is kept waiting for a thaw that does not come.
const REPORT_AFTER: Duration = Duration::from_secs(30);

/// How long the guard goes on thawing after that. A guest that has been frozen for a day has been
/// looked at by somebody.
const GIVE_UP_AFTER: Duration = Duration::from_secs(24 * 3600);

/// The guard's whole life. `args` is what [`super::GuardCommand`] added to its command line.
///
/// Call it first in `main`: it closes every file descriptor that this process inherited.
#[must_use]
pub fn run(args: &[OsString]) -> ExitCode {
    let Some(task) = Task::from_args(args) else {
        return ExitCode::from(2);
    };
    sys::close_inherited();
    // Away from the terminal: its hang-up or Ctrl-C is the parent's business. It fails only where
    // the process leads a group already, and then it is away.
    rustix::process::setsid().ok();
    let log = Log::open(task.log.as_deref());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let code = match runtime {
        Ok(runtime) => runtime.block_on(guard(&task, &log)),
        Err(_) => ExitCode::FAILURE,
    };
    log.finish();
    code
}

async fn guard(task: &Task, log: &Log) -> ExitCode {
    // From here on a signal does not end this process.
    let Ok(signals) = Signals::new() else {
        return ExitCode::FAILURE;
    };
    match task.duty {
        Duty::Freeze(request) => match Parent::new(signals) {
            Ok(parent) => own_freeze(&task.socket, request, parent, log).await,
            Err(_) => ExitCode::FAILURE,
        },
        Duty::Thaw => go_on(&task.socket, log).await,
    }
}

async fn own_freeze(
    socket: &Path,
    request: FreezeRequest,
    mut parent: Parent,
    log: &Log,
) -> ExitCode {
    let mut connection = match reach(socket).await {
        Ok(connection) => connection,
        Err(error) => return parent.failed(error).await,
    };
    parent.report(&Report::Ready).await;
    if parent.order().await != Some(Order::Freeze) {
        return ExitCode::SUCCESS;
    }
    log.note(&format!("freezing through {}", socket.display()));
    let sent = Instant::now();
    match freeze(&mut connection, request.freeze_limit).await {
        Ok(file_systems) => {
            let hold_until = Instant::now() + request.hold_limit;
            parent.report(&Report::Frozen { file_systems }).await;
            log.note("frozen");
            // Only the parent's word says that it has what it froze for. Whatever else ends the
            // freeze may have come before that.
            let held = tokio::select! {
                order = parent.order() => order == Some(Order::Thaw),
                () = sleep_until(hold_until) => false,
            };
            end_freeze(socket, connection, sent, held, parent, log).await
        }
        Err(error) => {
            // Out of step, and in the way: the agent's channel serves one client at a time.
            drop(connection);
            end_failed_freeze(socket, error, parent, log).await
        }
    }
}

/// An agent that may freeze and thaw: one that may not thaw is not asked to freeze.
async fn reach(socket: &Path) -> Result<Connection, QuiesceError> {
    let mut connection = Connection::open(socket, OPEN_LIMIT).await?;
    if info(&mut connection).await?.can_freeze {
        return Ok(connection);
    }
    let text = "the guest agent is told not to freeze or thaw file systems";
    Err(QuiesceError::new(QuiesceErrorKind::Disabled, text))
}

/// Thaws, and reports once it is known.
async fn end_freeze(
    socket: &Path,
    connection: Connection,
    sent: Instant,
    held: bool,
    mut parent: Parent,
    log: &Log,
) -> ExitCode {
    let deadline = Instant::now() + REPORT_AFTER;
    match thaw_until(socket, Some(connection), deadline).await {
        Ok(thawed) => {
            let frozen_for = thawed.answered.saturating_duration_since(sent);
            let report = Report::Thawed {
                file_systems: thawed.count,
                frozen_us: u64::try_from(frozen_for.as_micros()).unwrap_or(u64::MAX),
                held,
            };
            parent.report(&report).await;
            log.note("thawed");
            ExitCode::SUCCESS
        }
        Err(why) => {
            let text = format!("it was frozen, and no thaw is confirmed: {}", words(why));
            parent.left_frozen(text).await;
            go_on(socket, log).await
        }
    }
}

/// A freeze that failed may have frozen some file systems, or may still come: thaw until the
/// agent, which works in order, says that the guest is thawed.
async fn end_failed_freeze(
    socket: &Path,
    error: QuiesceError,
    mut parent: Parent,
    log: &Log,
) -> ExitCode {
    log.note(&format!("the freeze failed: {}", error.message));
    if !may_be_frozen(error.kind) {
        return parent.failed(error).await;
    }
    let deadline = Instant::now() + REPORT_AFTER;
    match thaw_until(socket, None, deadline).await {
        Ok(_) => {
            log.note("thawed");
            parent.failed(error).await
        }
        Err(why) => {
            let text = format!("{}; no thaw is confirmed: {}", error.message, words(why));
            parent.left_frozen(text).await;
            go_on(socket, log).await
        }
    }
}

/// Thaws for as long as it takes: nobody waits for it any more.
async fn go_on(socket: &Path, log: &Log) -> ExitCode {
    log.note(&format!("going on to thaw through {}", socket.display()));
    match thaw_until(socket, None, Instant::now() + GIVE_UP_AFTER).await {
        Ok(_) => {
            log.note("thawed");
            ExitCode::SUCCESS
        }
        Err(NotThawed::Gone) => {
            log.note("nobody listens on the socket any more: the VM has ended");
            ExitCode::SUCCESS
        }
        Err(NotThawed::Deadline(why)) => {
            log.note(&format!("gave up, the guest may be frozen: {why}"));
            ExitCode::FAILURE
        }
    }
}

fn words(why: NotThawed) -> String {
    match why {
        NotThawed::Deadline(why) => why,
        NotThawed::Gone => "nobody listens on the guest agent's socket any more".to_owned(),
    }
}

/// The signals that would end a process. To the guard they mean what its parent's end means.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}

/// The pipes to the process that started the guard.
struct Parent {
    orders: BufReader<pipe::Receiver>,
    reports: pipe::Sender,
    signals: Signals,
}

impl Parent {
    fn new(signals: Signals) -> io::Result<Self> {
        let orders = io::stdin().as_fd().try_clone_to_owned()?;
        let reports = io::stdout().as_fd().try_clone_to_owned()?;
        Ok(Self {
            orders: BufReader::new(pipe::Receiver::from_owned_fd(orders)?),
            reports: pipe::Sender::from_owned_fd(reports)?,
            signals,
        })
    }

    /// The next order; `None` when there will be none: the end of the pipe, a signal, a line that
    /// is no order.
    async fn order(&mut self) -> Option<Order> {
        let mut line = String::new();
        let mut bounded = (&mut self.orders).take(MAX_LINE);
        tokio::select! {
            read = bounded.read_line(&mut line) => read.ok()?,
            () = self.signals.any() => return None,
        };
        serde_json::from_str(line.trim_end()).ok()
    }

    async fn report(&mut self, report: &Report) {
        let Ok(mut line) = serde_json::to_vec(report) else {
            return;
        };
        line.push(b'\n');
        // A parent that is gone needs no report; what follows does not depend on it.
        self.reports.write_all(&line).await.ok();
    }

    async fn left_frozen(&mut self, message: String) {
        let kind = QuiesceErrorKind::LeftFrozen;
        self.report(&Report::Failed { kind, message }).await;
    }

    async fn failed(&mut self, error: QuiesceError) -> ExitCode {
        self.report(&Report::Failed {
            kind: error.kind,
            message: error.message,
        })
        .await;
        ExitCode::FAILURE
    }
}
