//! A connection to the agent: JSON, one object a line.
//!
//! Source: QEMU's `docs/interop/qemu-ga-ref`. The serial line may hold bytes of an earlier client:
//! half a command in the guest, late answers on the way out. `guest-sync-delimited` clears both:
//! a 0xFF byte makes the agent's parser start anew, and its answer is preceded by one.

use std::{io, path::Path, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::{Instant, sleep, timeout_at},
};

use crate::{QuiesceError, QuiesceErrorKind};

/// Longest answer that is taken. The agent's own limit is larger; nothing asked here needs more.
const MAX_LINE: usize = 1 << 20;

/// Most stale bytes that are thrown away while looking for an answer.
const MAX_STALE: usize = 8 << 20;

/// Longest text of the guest that is passed on.
const MAX_QUOTE: usize = 300;

/// Between two tries to connect to a channel whose queue of clients is full.
const BUSY_WAIT: Duration = Duration::from_millis(20);

/// Precedes the answer to `guest-sync-delimited`; never part of JSON.
const DELIMITER: u8 = 0xff;

/// A synchronised connection. After an error it must not be used again.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    /// Bytes behind the last line that was taken.
    ahead: Vec<u8>,
}

impl Connection {
    /// Connects and synchronises within `limit`.
    ///
    /// # Errors
    /// `NoChannel` when nobody listens on the socket, `Silent` when the agent does not answer,
    /// `Garbage` when it answers something else.
    pub async fn open(socket: &Path, limit: Duration) -> Result<Self, QuiesceError> {
        let deadline = Instant::now() + limit;
        let stream = match timeout_at(deadline, connect(socket)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(no_channel(socket, &error)),
            Err(_) => return Err(silent("another client holds its channel")),
        };
        let mut connection = Self {
            stream,
            ahead: Vec::new(),
        };
        connection.sync(deadline).await?;
        Ok(connection)
    }

    /// Clears the line: what comes next answers what is sent next.
    ///
    /// # Errors
    /// See [`Connection::open`].
    pub async fn sync(&mut self, deadline: Instant) -> Result<(), QuiesceError> {
        let id = fresh_id();
        let request = json!({ "execute": "guest-sync-delimited", "arguments": { "id": id } });
        let mut bytes = vec![DELIMITER];
        bytes.extend_from_slice(request.to_string().as_bytes());
        bytes.push(b'\n');
        self.send(&bytes, deadline).await?;
        let mut stale = 0;
        loop {
            stale += self
                .skip_past_delimiter(deadline, MAX_STALE - stale)
                .await?;
            let line = self.line(deadline).await?;
            stale += line.len();
            // The answer to an earlier sync has another id: go on.
            let answer: Option<Value> = serde_json::from_slice(behind_delimiter(&line)).ok();
            if answer.is_some_and(|answer| answer["return"].as_u64() == Some(id)) {
                return Ok(());
            }
            if stale >= MAX_STALE {
                return Err(garbage(
                    "it floods the channel with something else than an answer",
                ));
            }
        }
    }

    /// Sends a command and takes its answer.
    ///
    /// # Errors
    /// `Disabled` or `Refused` when the agent says so, `Silent` when the deadline passes,
    /// `Garbage` when the answer is none.
    pub async fn execute(
        &mut self,
        command: &str,
        arguments: Value,
        deadline: Instant,
    ) -> Result<Value, QuiesceError> {
        let mut request = json!({ "execute": command });
        if !arguments.is_null() {
            request["arguments"] = arguments;
        }
        self.send(format!("{request}\n").as_bytes(), deadline)
            .await?;
        let line = self.line(deadline).await?;
        let answer: Value = serde_json::from_slice(&line)
            .map_err(|_| garbage(&format!("to {command} it answers `{}`", quote(&line))))?;
        decide_answer(command, answer)
    }

    async fn send(&mut self, bytes: &[u8], deadline: Instant) -> Result<(), QuiesceError> {
        match timeout_at(deadline, self.stream.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(lost(&error)),
            Err(_) => Err(silent("it does not read its channel")),
        }
    }

    /// Throws bytes away up to and with the delimiter; gives how many.
    async fn skip_past_delimiter(
        &mut self,
        deadline: Instant,
        most: usize,
    ) -> Result<usize, QuiesceError> {
        let mut skipped = 0;
        loop {
            if let Some(at) = self.ahead.iter().position(|byte| *byte == DELIMITER) {
                self.ahead.drain(..=at);
                return Ok(skipped + at + 1);
            }
            skipped += self.ahead.len();
            self.ahead.clear();
            if skipped >= most {
                return Err(garbage(
                    "it floods the channel with something else than an answer",
                ));
            }
            self.fill(deadline).await?;
        }
    }

    /// The next line, without its end.
    async fn line(&mut self, deadline: Instant) -> Result<Vec<u8>, QuiesceError> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.ahead[searched..]
                .iter()
                .position(|byte| *byte == b'\n')
            {
                let mut line: Vec<u8> = self.ahead.drain(..=searched + at).collect();
                line.pop();
                return Ok(line);
            }
            searched = self.ahead.len();
            if searched > MAX_LINE {
                return Err(garbage("its answer is longer than any answer can be"));
            }
            self.fill(deadline).await?;
        }
    }

    async fn fill(&mut self, deadline: Instant) -> Result<(), QuiesceError> {
        let mut buffer = [0; 4096];
        match timeout_at(deadline, self.stream.read(&mut buffer)).await {
            Ok(Ok(0)) => Err(lost(&io::ErrorKind::UnexpectedEof.into())),
            Ok(Ok(count)) => {
                self.ahead.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            Ok(Err(error)) => Err(lost(&error)),
            Err(_) => Err(silent("it does not answer in time")),
        }
    }
}

/// Connects. QEMU serves one client; the next one waits in the socket's queue, and a full queue
/// says "try again" at once.
async fn connect(socket: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(socket).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(BUSY_WAIT).await,
            other => return other,
        }
    }
}

/// An answer of an earlier session may have been cut after its delimiter: what counts is behind
/// the last one. Pure.
pub(super) fn behind_delimiter(line: &[u8]) -> &[u8] {
    let from = line.iter().rposition(|byte| *byte == DELIMITER);
    &line[from.map_or(0, |at| at + 1)..]
}

/// What an answer means. Pure.
pub(super) fn decide_answer(command: &str, mut answer: Value) -> Result<Value, QuiesceError> {
    if let Some(value) = answer.get_mut("return") {
        return Ok(value.take());
    }
    let Some(error) = answer.get("error") else {
        return Err(garbage(&format!(
            "to {command} it answers neither a value nor an error"
        )));
    };
    let text = error["desc"].as_str().unwrap_or_default();
    let text: String = text.chars().take(MAX_QUOTE).collect();
    let kind = match error["class"].as_str() {
        Some("CommandNotFound") => QuiesceErrorKind::Disabled,
        _ if text.contains("disabled") || text.contains("not allowed") => {
            QuiesceErrorKind::Disabled
        }
        _ => QuiesceErrorKind::Refused,
    };
    Err(QuiesceError::new(
        kind,
        format!("the guest agent refuses {command}: {text}"),
    ))
}

fn fresh_id() -> u64 {
    // The agent's integers are signed 64 bit.
    u64::from_le_bytes(
        *uuid::Uuid::new_v4()
            .as_bytes()
            .first_chunk()
            .unwrap_or(&[7; 8]),
    ) >> 1
}

fn quote(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .take(MAX_QUOTE)
        .collect()
}

fn no_channel(socket: &Path, error: &io::Error) -> QuiesceError {
    let text = format!(
        "nobody listens on the guest agent's socket {}: {error}",
        socket.display()
    );
    QuiesceError::new(QuiesceErrorKind::NoChannel, text)
}

fn silent(why: &str) -> QuiesceError {
    QuiesceError::new(
        QuiesceErrorKind::Silent,
        format!("the guest agent is silent: {why}"),
    )
}

fn lost(error: &io::Error) -> QuiesceError {
    QuiesceError::new(
        QuiesceErrorKind::Silent,
        format!("the guest agent's channel broke: {error}"),
    )
}

fn garbage(why: &str) -> QuiesceError {
    QuiesceError::new(
        QuiesceErrorKind::Garbage,
        format!("the guest agent cannot be understood: {why}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(answer: Value) -> QuiesceErrorKind {
        decide_answer("guest-fsfreeze-freeze", answer)
            .unwrap_err()
            .kind
    }

    #[test]
    fn errors_are_told_apart() {
        let class = |class: &str, desc: &str| json!({"error": {"class": class, "desc": desc}});
        assert_eq!(
            kind(class("CommandNotFound", "no such")),
            QuiesceErrorKind::Disabled
        );
        let disabled = "Command guest-fsfreeze-freeze has been disabled";
        assert_eq!(
            kind(class("GenericError", disabled)),
            QuiesceErrorKind::Disabled
        );
        assert_eq!(
            kind(class("GenericError", "hook failed")),
            QuiesceErrorKind::Refused
        );
        assert_eq!(kind(json!({"event": "x"})), QuiesceErrorKind::Garbage);
        assert_eq!(
            decide_answer("x", json!({"return": 3, "new": 1})).unwrap(),
            3
        );
    }

    #[test]
    fn a_cut_answer_does_not_hide_the_next() {
        assert_eq!(
            behind_delimiter(b"{\"ret\xff{\"return\":1}"),
            b"{\"return\":1}"
        );
        assert_eq!(behind_delimiter(b"{}"), b"{}");
        assert_eq!(behind_delimiter(b"{}\xff"), b"");
    }

    #[test]
    fn a_guests_text_is_cut() {
        let answer = json!({"error": {"class": "GenericError", "desc": "x".repeat(100_000)}});
        let error = decide_answer("x", answer).unwrap_err();
        assert!(error.message.len() < 500);
    }
}
