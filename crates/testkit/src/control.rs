//! The tests' own way into a guest: commands over a virtio-serial port that the product does not
//! know. The other end is `tresor-workload control` (crates/guest-workload/src/control.rs, where
//! the framing is described).

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::oneshot,
    task::JoinHandle,
};

/// An answer is read into memory whole: bounded.
const MAX_OUTPUT: usize = 4 << 20;
const MAX_HEADER: u64 = 128;

/// What a command in the guest came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its exit code; 128 + signal when it was killed.
    pub code: i32,
    /// Standard output and error, as they came.
    pub output: String,
}

impl Answer {
    /// The output of a command that must succeed.
    ///
    /// # Errors
    /// It did not; the message has what it printed.
    pub fn ok(self) -> Result<String> {
        if self.code != 0 {
            bail!(
                "the guest's command ended with {}:\n{}",
                self.code,
                self.output
            );
        }
        Ok(self.output)
    }
}

type Waiting = Arc<Mutex<HashMap<String, oneshot::Sender<Answer>>>>;

/// A connection to the command loop.
pub(crate) struct Control {
    writer: tokio::sync::Mutex<OwnedWriteHalf>,
    waiting: Waiting,
    reader: JoinHandle<()>,
}

impl Drop for Control {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Control {
    pub(crate) async fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket)
            .await
            .with_context(|| format!("cannot connect to {}", socket.display()))?;
        let (read, write) = stream.into_split();
        let waiting = Waiting::default();
        let reader = tokio::spawn(read_all(BufReader::new(read), waiting.clone()));
        Ok(Self {
            writer: tokio::sync::Mutex::new(write),
            waiting,
            reader,
        })
    }

    /// Runs a shell command in the guest. Several may be under way at once.
    pub(crate) async fn exec(&self, command: &str, limit: Duration) -> Result<Answer> {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let (sender, receiver) = oneshot::channel();
        self.lock().insert(id.clone(), sender);
        // The leading newline ends whatever an earlier, cut connection left unfinished.
        let mut request = format!("\nT1 {id} {}\n", command.len()).into_bytes();
        request.extend_from_slice(command.as_bytes());
        let answered = async {
            self.writer
                .lock()
                .await
                .write_all(&request)
                .await
                .context("cannot send to the guest")?;
            receiver.await.context("the guest's control port is gone")
        };
        let answer = tokio::time::timeout(limit, answered).await;
        self.lock().remove(&id);
        answer.with_context(|| format!("the guest did not answer within {limit:?}: {command}"))?
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, oneshot::Sender<Answer>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read_all(mut from: BufReader<OwnedReadHalf>, waiting: Waiting) {
    // Ends when the guest is gone; then nobody waits for ever.
    while let Ok(Some((id, answer))) = next(&mut from).await {
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = id.and_then(|id| waiting.remove(&id)) {
            drop(sender.send(answer));
        }
    }
    waiting
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clear();
}

/// The next answer; no id when the line was no header; `None` at the end.
async fn next(
    from: &mut BufReader<OwnedReadHalf>,
) -> std::io::Result<Option<(Option<String>, Answer)>> {
    let mut line = Vec::new();
    let length = from.take(MAX_HEADER).read_until(b'\n', &mut line).await?;
    if length == 0 {
        return Ok(None);
    }
    let mut answer = Answer {
        code: 0,
        output: String::new(),
    };
    let Some((id, code, length)) = parse_header(&line) else {
        return Ok(Some((None, answer)));
    };
    let mut output = vec![0; length];
    from.read_exact(&mut output).await?;
    answer.code = code;
    answer.output = String::from_utf8_lossy(&output).into_owned();
    Ok(Some((Some(id), answer)))
}

fn parse_header(line: &[u8]) -> Option<(String, i32, usize)> {
    let text = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let mut words = text.strip_prefix("T1 ")?.split(' ');
    let id = words.next()?.to_owned();
    let code = words.next()?.parse().ok()?;
    let length = words.next()?.parse().ok()?;
    (words.next().is_none() && length <= MAX_OUTPUT).then_some((id, code, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_and_bounded_header_counts() {
        assert_eq!(parse_header(b"T1 a 0 3\n"), Some(("a".to_owned(), 0, 3)));
        for bad in [&b"T1 a 0 3"[..], b"T1 a 0 99999999\n", b"T1 a 0\n", b"x\n"] {
            assert_eq!(parse_header(bad), None, "{bad:?}");
        }
    }
}
