//! The guard's side.

use std::{ffi::OsString, io, os::fd::AsFd, process::ExitCode, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::unix::pipe,
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep_until},
};

use super::protocol::{MAX_LINE, Order, Report, Task};
use crate::{
    QuiesceError, QuiesceErrorKind,
    qga::{Connection, freeze, thaw_until},
};

/// How long the agent may take to answer the guard's first question.
const OPEN_LIMIT: Duration = Duration::from_secs(5);

/// How long the parent is kept waiting for a thaw that does not come.
const REPORT_AFTER: Duration = Duration::from_secs(30);

/// How long the guard goes on thawing after that. A guest that has been frozen for a day has been
/// looked at by somebody.
const GIVE_UP_AFTER: Duration = Duration::from_secs(24 * 3600);

/// The guard's whole life. `args` is what [`super::GuardCommand`] added to its command line.
#[must_use]
pub fn run(args: &[OsString]) -> ExitCode {
    let Some(task) = Task::from_args(args) else {
        return ExitCode::from(2);
    };
    // Away from the terminal: its hang-up or Ctrl-C is the parent's business. It fails only where
    // the process leads a group already, and then it is away.
    rustix::process::setsid().ok();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(guard(task)),
        Err(_) => ExitCode::FAILURE,
    }
}

async fn guard(task: Task) -> ExitCode {
    let Ok(mut parent) = Parent::new() else {
        return ExitCode::FAILURE;
    };
    let mut connection = match Connection::open(&task.socket, OPEN_LIMIT).await {
        Ok(connection) => connection,
        Err(error) => return parent.failed(error).await,
    };
    parent.report(&Report::Ready).await;
    if parent.order().await != Order::Freeze {
        return ExitCode::SUCCESS;
    }
    let sent = Instant::now();
    match freeze(&mut connection, task.request.freeze_limit).await {
        Ok(file_systems) => {
            parent.report(&Report::Frozen { file_systems }).await;
            let held = tokio::select! {
                _ = parent.order() => true,
                () = sleep_until(sent + task.request.freeze_limit + task.request.hold_limit) => {
                    false
                }
            };
            end_freeze(task, connection, sent, held, parent).await
        }
        Err(error) => {
            // Out of step, and in the way: the agent's channel serves one client at a time.
            drop(connection);
            end_failed_freeze(task, error, parent).await
        }
    }
}

/// Thaws, and reports once it is known.
async fn end_freeze(
    task: Task,
    connection: Connection,
    sent: Instant,
    held: bool,
    mut parent: Parent,
) -> ExitCode {
    let deadline = Instant::now() + REPORT_AFTER;
    let thawed = thaw_until(&task.socket, Some(connection), deadline).await;
    let Some(thawed) = thawed else {
        let text = "it was frozen, and the guest agent does not thaw it";
        return go_on(&task, text, parent).await;
    };
    let frozen_for = thawed.answered.duration_since(sent);
    let frozen_us = u64::try_from(frozen_for.as_micros()).unwrap_or(u64::MAX);
    parent
        .report(&Report::Thawed {
            file_systems: thawed.count,
            frozen_us,
            held,
        })
        .await;
    ExitCode::SUCCESS
}

/// A freeze that failed may have frozen some file systems, or may still come: thaw until the
/// agent, which works in order, says that the guest is thawed.
async fn end_failed_freeze(task: Task, error: QuiesceError, mut parent: Parent) -> ExitCode {
    let deadline = Instant::now() + REPORT_AFTER;
    if thaw_until(&task.socket, None, deadline).await.is_some() {
        return parent.failed(error).await;
    }
    let text = format!("{}, and it has not confirmed a thaw since", error.message);
    go_on(&task, &text, parent).await
}

async fn go_on(task: &Task, text: &str, mut parent: Parent) -> ExitCode {
    parent
        .failed(QuiesceError::new(QuiesceErrorKind::LeftFrozen, text))
        .await;
    let deadline = Instant::now() + GIVE_UP_AFTER;
    match thaw_until(&task.socket, None, deadline).await {
        Some(_) => ExitCode::SUCCESS,
        None => ExitCode::FAILURE,
    }
}

/// The pipes to the process that started the guard, and the signals that mean the same as its
/// end.
struct Parent {
    orders: BufReader<pipe::Receiver>,
    reports: pipe::Sender,
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Parent {
    fn new() -> io::Result<Self> {
        let orders = io::stdin().as_fd().try_clone_to_owned()?;
        let reports = io::stdout().as_fd().try_clone_to_owned()?;
        Ok(Self {
            orders: BufReader::new(pipe::Receiver::from_owned_fd(orders)?),
            reports: pipe::Sender::from_owned_fd(reports)?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The next order. The end of the pipe, a signal, or a line that is no order mean "thaw".
    async fn order(&mut self) -> Order {
        let mut line = String::new();
        let mut bounded = (&mut self.orders).take(MAX_LINE);
        let read = tokio::select! {
            read = bounded.read_line(&mut line) => read,
            _ = self.terminate.recv() => return Order::Thaw,
            _ = self.interrupt.recv() => return Order::Thaw,
            _ = self.hang_up.recv() => return Order::Thaw,
        };
        match read {
            Ok(_) => serde_json::from_str(line.trim_end()).unwrap_or(Order::Thaw),
            Err(_) => Order::Thaw,
        }
    }

    async fn report(&mut self, report: &Report) {
        let Ok(mut line) = serde_json::to_vec(report) else {
            return;
        };
        line.push(b'\n');
        // A parent that is gone needs no report; what follows does not depend on it.
        self.reports.write_all(&line).await.ok();
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
