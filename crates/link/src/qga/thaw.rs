//! Thawing until the guest says that it is thawed.

use std::{path::Path, time::Duration};

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{Connection, commands::is_frozen};
use crate::{QuiesceError, QuiesceErrorKind};

/// How long a channel may take to answer at all.
const OPEN_LIMIT: Duration = Duration::from_secs(5);

/// How long a thaw may take. The guest thaws first and runs its hook then, so a slow script keeps
/// only the answer waiting; a thaw asked for again would count no file system.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);

/// First and longest wait between two tries.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

/// A socket that nobody listened on for so long belongs to a VM that has ended: QEMU listens for
/// as long as it lives. What ended is not frozen.
const GONE_AFTER: Duration = Duration::from_secs(120);

/// A thaw that the guest confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Confirmed {
    /// File systems, all tries together.
    pub(crate) count: u32,
    /// When the thaw was answered.
    pub(crate) answered: Instant,
}

/// Why there is no confirmed thaw.
#[derive(Debug)]
pub(crate) enum NotThawed {
    /// The deadline passed; the last error in words.
    Deadline(String),
    /// The VM has ended.
    Gone,
}

/// Thaws until the guest says that it is thawed, on new connections where the old one fails.
/// Tries at least once.
///
/// # Errors
/// The deadline passed first, or the VM has ended.
pub(crate) async fn thaw_until(
    socket: &Path,
    mut connection: Option<Connection>,
    deadline: Instant,
) -> Result<Confirmed, NotThawed> {
    let mut count = 0;
    let mut wait = BACK_OFF.0;
    let mut absent_since = None;
    loop {
        let answered = match open(socket, connection.take(), deadline).await {
            Ok(mut open) => {
                let tried = try_once(&mut open, &mut count, deadline).await;
                if tried.is_ok() {
                    connection = Some(open); // else it is out of step: a new one
                }
                tried
            }
            Err(error) => Err(error),
        };
        let reason = match answered {
            Ok(Some(answered)) => return Ok(Confirmed { count, answered }),
            Ok(None) => "the guest says that it is frozen".to_owned(),
            Err(error) => {
                absent_since = absence(absent_since, error.kind);
                error.message
            }
        };
        if absent_since.is_some_and(|since: Instant| since.elapsed() >= GONE_AFTER) {
            return Err(NotThawed::Gone);
        }
        if Instant::now() + wait >= deadline {
            return Err(NotThawed::Deadline(reason));
        }
        sleep(wait).await;
        wait = (wait * 2).min(BACK_OFF.1);
    }
}

async fn open(
    socket: &Path,
    open: Option<Connection>,
    deadline: Instant,
) -> Result<Connection, QuiesceError> {
    match open {
        Some(open) => Ok(open),
        None => {
            let left = deadline.saturating_duration_since(Instant::now());
            Connection::open(socket, left.min(OPEN_LIMIT)).await
        }
    }
}

/// Since when nobody has listened, after one more failure.
fn absence(since: Option<Instant>, kind: QuiesceErrorKind) -> Option<Instant> {
    match kind {
        QuiesceErrorKind::NoChannel => since.or_else(|| Some(Instant::now())),
        _ => None,
    }
}

/// One try; when the thaw was answered, if the guest is thawed now.
async fn try_once(
    connection: &mut Connection,
    count: &mut u32,
    deadline: Instant,
) -> Result<Option<Instant>, QuiesceError> {
    let limit = deadline.min(Instant::now() + ANSWER_LIMIT);
    let thawed = connection
        .execute("guest-fsfreeze-thaw", Value::Null, limit)
        .await;
    let answered = Instant::now();
    match thawed {
        Ok(thawed) => {
            let thawed = thawed.as_u64().and_then(|n| u32::try_from(n).ok());
            *count = count.saturating_add(thawed.unwrap_or(0));
        }
        Err(error) if says_nothing_of_the_state(error.kind) => {}
        Err(error) => return Err(error),
    }
    let frozen = is_frozen(connection).await?;
    Ok((!frozen).then_some(answered))
}

/// A refusal to thaw is given by thawed and by frozen guests: ask for the state.
fn says_nothing_of_the_state(kind: QuiesceErrorKind) -> bool {
    matches!(kind, QuiesceErrorKind::Refused | QuiesceErrorKind::Disabled)
}
