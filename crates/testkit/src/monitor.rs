//! A small QMP client of the tests' own, so that the product's is not its own witness.

use std::{collections::HashMap, path::Path, sync::Mutex, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Notify, oneshot},
    task::JoinHandle,
};

use crate::LONG;

#[derive(Default)]
struct Inbox {
    waiting: HashMap<u64, oneshot::Sender<Value>>,
    events: Vec<Value>,
    next_id: u64,
    closed: bool,
}

/// A connection to a QEMU monitor.
pub struct Monitor {
    writer: tokio::sync::Mutex<OwnedWriteHalf>,
    inbox: std::sync::Arc<(Mutex<Inbox>, Notify)>,
    reader: JoinHandle<()>,
}

impl std::fmt::Debug for Monitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Monitor").finish_non_exhaustive()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Monitor {
    /// Connects and leaves negotiation mode.
    ///
    /// # Errors
    /// Nobody listens, or it does not speak QMP.
    pub async fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket)
            .await
            .with_context(|| format!("cannot connect to {}", socket.display()))?;
        let (read, write) = stream.into_split();
        let inbox = std::sync::Arc::new((Mutex::new(Inbox::default()), Notify::new()));
        let reader = tokio::spawn(read_all(BufReader::new(read), inbox.clone()));
        let monitor = Self {
            writer: tokio::sync::Mutex::new(write),
            inbox,
            reader,
        };
        monitor.execute("qmp_capabilities", json!({})).await?;
        Ok(monitor)
    }

    /// Runs a command (`arguments` may be null) and gives what it returned.
    ///
    /// # Errors
    /// The command failed (with QEMU's words), or the monitor is gone.
    pub async fn execute(&self, command: &str, arguments: Value) -> Result<Value> {
        let (sender, receiver) = oneshot::channel();
        let id = {
            let mut inbox = lock(&self.inbox.0);
            if inbox.closed {
                bail!("QMP {command}: the monitor is gone");
            }
            inbox.next_id += 1;
            let id = inbox.next_id;
            inbox.waiting.insert(id, sender);
            id
        };
        let mut request = json!({"execute": command, "id": id});
        if !arguments.is_null() {
            request["arguments"] = arguments;
        }
        let line = format!("{request}\n");
        self.writer
            .lock()
            .await
            .write_all(line.as_bytes())
            .await
            .with_context(|| format!("cannot send QMP {command}"))?;
        let answer = tokio::time::timeout(LONG, receiver)
            .await
            .with_context(|| format!("QMP {command} was not answered within {LONG:?}"))?
            .with_context(|| format!("QMP {command}: the monitor went away"))?;
        if let Some(error) = answer.get("error") {
            return Err(anyhow!("QMP {command}: {error}"));
        }
        Ok(answer.get("return").cloned().unwrap_or_default())
    }

    /// The events so far, oldest first, as QEMU sent them.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        lock(&self.inbox.0).events.clone()
    }

    /// Waits until an event of that name is among those after the first `seen`.
    ///
    /// # Errors
    /// It did not come in time, or the monitor went away.
    pub async fn wait_event(&self, name: &str, seen: usize, limit: Duration) -> Result<Value> {
        let wait = async {
            loop {
                let news = self.inbox.1.notified();
                {
                    let inbox = lock(&self.inbox.0);
                    let found = inbox.events.iter().skip(seen);
                    if let Some(event) = found.clone().find(|event| event["event"] == name) {
                        return Ok(event.clone());
                    }
                    if inbox.closed {
                        bail!("the monitor went away before the event {name}");
                    }
                }
                news.await;
            }
        };
        tokio::time::timeout(limit, wait)
            .await
            .with_context(|| format!("no event {name} within {limit:?}"))?
    }

    /// The state in QEMU's words: `running`, `paused`, `io-error`, …
    ///
    /// # Errors
    /// The monitor is gone.
    pub async fn status(&self) -> Result<String> {
        let status = self.execute("query-status", json!({})).await?;
        Ok(status["status"].as_str().unwrap_or_default().to_owned())
    }
}

fn lock(inbox: &Mutex<Inbox>) -> std::sync::MutexGuard<'_, Inbox> {
    inbox
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

async fn read_all(
    mut from: BufReader<OwnedReadHalf>,
    inbox: std::sync::Arc<(Mutex<Inbox>, Notify)>,
) {
    let mut line = String::new();
    loop {
        line.clear();
        let end = !matches!(from.read_line(&mut line).await, Ok(length) if length > 0);
        let mut held = lock(&inbox.0);
        if end {
            held.closed = true;
            held.waiting.clear();
        } else if let Ok(message) = serde_json::from_str::<Value>(&line) {
            if message.get("event").is_some() {
                held.events.push(message);
            } else if let Some(waiting) = message["id"]
                .as_u64()
                .and_then(|id| held.waiting.remove(&id))
            {
                drop(waiting.send(message));
            }
        }
        drop(held);
        inbox.1.notify_waiters();
        if end {
            return;
        }
    }
}
