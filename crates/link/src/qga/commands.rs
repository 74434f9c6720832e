//! The agent's commands that are used here.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::Connection;
use crate::{AgentInfo, QuiesceError, QuiesceErrorKind};

/// How long the agent may take for what it does at once.
const PROMPT: Duration = Duration::from_secs(5);

/// Files of the guest are read up to this size.
const MAX_FILE: u64 = 64 << 10;

/// Asks the agent who it is.
pub(crate) async fn info(connection: &mut Connection) -> Result<AgentInfo, QuiesceError> {
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
        // A channel that broke is silent too, but earlier.
        QuiesceErrorKind::Silent if Instant::now() >= deadline => QuiesceError::new(
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

/// Asks whether the guest is frozen.
pub(super) async fn is_frozen(connection: &mut Connection) -> Result<bool, QuiesceError> {
    let status = connection
        .execute("guest-fsfreeze-status", Value::Null, prompt())
        .await?;
    Ok(status.as_str() != Some("thawed"))
}

/// Reads a small file of the guest: at most [`MAX_FILE`] bytes of it.
///
/// # Errors
/// `Refused` when the guest cannot open it, with the guest's reason; `Disabled` where the agent
/// may not read files.
pub(super) async fn read_file(
    connection: &mut Connection,
    path: &str,
) -> Result<Vec<u8>, QuiesceError> {
    use base64::Engine as _;
    let open = json!({ "path": path, "mode": "r" });
    let handle = connection
        .execute("guest-file-open", open, prompt())
        .await?;
    let read = json!({ "handle": handle, "count": MAX_FILE });
    let read = connection.execute("guest-file-read", read, prompt()).await;
    let close = json!({ "handle": handle });
    connection
        .execute("guest-file-close", close, prompt())
        .await?;
    let text = read?;
    let text = text["buf-b64"].as_str().unwrap_or_default();
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .map_err(|_| {
            let text = "the guest agent cannot be understood: a file's content is not base64";
            QuiesceError::new(QuiesceErrorKind::Garbage, text)
        })
}

fn prompt() -> Instant {
    Instant::now() + PROMPT
}
