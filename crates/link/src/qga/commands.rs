//! The agent's commands that are used here.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::Connection;
use crate::{AgentInfo, QuiesceError, QuiesceErrorKind};

/// How long the agent may take for what it does at once.
const PROMPT: Duration = Duration::from_secs(5);

/// First and longest wait between two tries to thaw.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

/// Files of the guest are read up to this size.
const MAX_FILE: u64 = 64 << 10;

/// Asks the agent who it is.
pub(super) async fn info(connection: &mut Connection) -> Result<AgentInfo, QuiesceError> {
    let info = connection
        .execute("guest-info", Value::Null, prompt())
        .await?;
    let commands = info["supported_commands"].as_array();
    let enabled = |name: &str| {
        commands.into_iter().flatten().any(|command| {
            command["name"].as_str() == Some(name) && command["enabled"].as_bool() == Some(true)
        })
    };
    Ok(AgentInfo {
        version: info["version"]
            .as_str()
            .unwrap_or("of no version")
            .chars()
            .take(60)
            .collect(),
        can_freeze: enabled("guest-fsfreeze-freeze") && enabled("guest-fsfreeze-thaw"),
        has_hook: None,
    })
}

/// Runs `sync` in the guest and waits for its end. The agent has no command of its own for it;
/// where running programs is blocked (as Red Hat's packages do), the freeze does the flushing.
pub(super) async fn sync(connection: &mut Connection, limit: Duration) -> Result<(), QuiesceError> {
    let deadline = Instant::now() + limit;
    let started = connection
        .execute("guest-exec", json!({ "path": "sync" }), prompt())
        .await?;
    let pid = started["pid"].clone();
    loop {
        let status = json!({ "pid": pid });
        let status = connection
            .execute("guest-exec-status", status, prompt())
            .await?;
        if status["exited"].as_bool() == Some(true) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let text = "flushing the guest's file systems takes longer than its limit";
            return Err(QuiesceError::new(QuiesceErrorKind::Silent, text));
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// Freezes; gives the number of file systems.
///
/// # Errors
/// `FreezeTimedOut` when the limit passes: the freeze may still come.
pub(crate) async fn freeze(
    connection: &mut Connection,
    limit: Duration,
) -> Result<u32, QuiesceError> {
    let deadline = Instant::now() + limit;
    let frozen = connection
        .execute("guest-fsfreeze-freeze", Value::Null, deadline)
        .await;
    let count = frozen.map_err(|error| match error.kind {
        QuiesceErrorKind::Silent => QuiesceError::new(
            QuiesceErrorKind::FreezeTimedOut,
            format!("the guest did not freeze within {} s", limit.as_secs_f32()),
        ),
        _ => error,
    })?;
    count
        .as_u64()
        .and_then(|count| u32::try_from(count).ok())
        .ok_or_else(|| {
            let text = "the guest agent cannot be understood: it froze no number of file systems";
            QuiesceError::new(QuiesceErrorKind::Garbage, text)
        })
}

/// A thaw that the guest confirmed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Thawed {
    /// How many file systems were thawed in all.
    pub(crate) count: u32,
    /// When the last thaw was answered.
    pub(crate) answered: Instant,
}

/// Thaws until the guest says that it is thawed, on new connections where the old one fails.
/// `None` when `deadline` passed first.
pub(crate) async fn thaw_until(
    socket: &Path,
    mut connection: Option<Connection>,
    deadline: Instant,
) -> Option<Thawed> {
    let mut thawed = Thawed {
        count: 0,
        answered: Instant::now(),
    };
    let mut wait = BACK_OFF.0;
    while Instant::now() < deadline {
        let open = match connection.take() {
            Some(open) => Ok(open),
            None => Connection::open(socket, PROMPT).await,
        };
        if let Ok(mut open) = open {
            match thaw_once(&mut open, &mut thawed).await {
                Ok(true) => return Some(thawed),
                Ok(false) => connection = Some(open),
                Err(_) => {} // the connection is out of step: a new one
            }
        }
        sleep(wait).await;
        wait = (wait * 2).min(BACK_OFF.1);
    }
    None
}

/// One try; says whether the guest is thawed now.
async fn thaw_once(connection: &mut Connection, thawed: &mut Thawed) -> Result<bool, QuiesceError> {
    match connection
        .execute("guest-fsfreeze-thaw", Value::Null, prompt())
        .await
    {
        Ok(count) => {
            let count = count
                .as_u64()
                .and_then(|count| u32::try_from(count).ok())
                .unwrap_or(0);
            thawed.count = thawed.count.saturating_add(count);
            // Confirming it takes time that the guest no longer spends frozen.
            thawed.answered = Instant::now();
        }
        // A refusal says nothing about the state: ask.
        Err(error) if error.kind == QuiesceErrorKind::Refused => {
            thawed.answered = Instant::now();
        }
        Err(error) => return Err(error),
    }
    is_frozen(connection).await.map(|frozen| !frozen)
}

/// Asks whether the guest is frozen.
pub(super) async fn is_frozen(connection: &mut Connection) -> Result<bool, QuiesceError> {
    let status = connection
        .execute("guest-fsfreeze-status", Value::Null, prompt())
        .await?;
    Ok(status.as_str() != Some("thawed"))
}

/// Reads a small file of the guest; `None` when it is not there.
pub(super) async fn read_file(
    connection: &mut Connection,
    path: &str,
) -> Result<Option<Vec<u8>>, QuiesceError> {
    use base64::Engine as _;
    let open = json!({ "path": path, "mode": "r" });
    let handle = match connection.execute("guest-file-open", open, prompt()).await {
        Ok(handle) => handle,
        Err(error) if error.kind == QuiesceErrorKind::Refused => return Ok(None),
        Err(error) => return Err(error),
    };
    let read = json!({ "handle": handle, "count": MAX_FILE });
    let read = connection.execute("guest-file-read", read, prompt()).await;
    let close = json!({ "handle": handle });
    connection
        .execute("guest-file-close", close, prompt())
        .await?;
    let text = read?;
    let text = text["buf-b64"].as_str().unwrap_or_default();
    Ok(base64::engine::general_purpose::STANDARD.decode(text).ok())
}

fn prompt() -> Instant {
    Instant::now() + PROMPT
}
