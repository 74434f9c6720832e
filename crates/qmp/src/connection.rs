//! The task that owns the socket: writes what it is handed, gives replies to who waits.

use std::{collections::HashMap, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
    sync::{broadcast, mpsc, oneshot},
    time::Instant,
};
use tracing::{debug, warn};

use crate::{
    CommandError,
    error::{Error, ErrorKind},
    message::{Event, MAX_LINE_BYTES, Message},
};

/// How long the last replies are awaited when no [`crate::Client`] is left.
const FAREWELL: Duration = Duration::from_secs(30);

/// Who waits for one reply. The reply is dropped when nobody does any more.
pub(crate) type Waiter = oneshot::Sender<Result<Value, CommandError>>;

/// Commands that are written back to back.
pub(crate) struct Batch {
    /// Complete lines.
    pub(crate) bytes: Vec<u8>,
    /// For each line its id and who waits for the reply.
    pub(crate) waiters: Vec<(u64, Waiter)>,
}

/// Reads lines of bounded length. Cancel safe: a partial line stays in the buffer.
pub(crate) struct LineReader<R> {
    socket: R,
    buffer: Vec<u8>,
    /// Bytes of `buffer` known to hold no line end.
    scanned: usize,
}

impl<R: tokio::io::AsyncRead + Unpin> LineReader<R> {
    pub(crate) fn new(socket: R) -> Self {
        Self {
            socket,
            buffer: Vec::new(),
            scanned: 0,
        }
    }

    /// The next line without its end; `None` at the end of the stream.
    pub(crate) async fn next_line(&mut self) -> Result<Option<Vec<u8>>, Error> {
        loop {
            let unscanned = self.buffer.get(self.scanned..).unwrap_or_default();
            if let Some(at) = unscanned.iter().position(|&byte| byte == b'\n') {
                let rest = self.buffer.split_off(self.scanned + at + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                self.scanned = 0;
                line.pop();
                return Ok(Some(line));
            }
            self.scanned = self.buffer.len();
            if self.buffer.len() > MAX_LINE_BYTES {
                return Err(Error::new(
                    ErrorKind::Protocol,
                    format!("QEMU sent a line longer than {MAX_LINE_BYTES} bytes"),
                ));
            }
            let read = self.socket.read_buf(&mut self.buffer).await;
            match read {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(source) => {
                    return Err(
                        Error::new(ErrorKind::Closed, "read from the QMP socket").because(source)
                    );
                }
            }
        }
    }
}

/// Runs until the connection ends, or until no client is left and every reply has come. Dropping
/// the waiters tells those who still wait that the connection is gone.
pub(crate) async fn run(
    mut lines: LineReader<OwnedReadHalf>,
    mut socket: OwnedWriteHalf,
    mut batches: mpsc::Receiver<Batch>,
    events: broadcast::Sender<Event>,
) {
    let mut waiting: HashMap<u64, Waiter> = HashMap::new();
    let mut unwritten: Vec<u8> = Vec::new();
    let mut written = 0;
    let mut farewell: Option<Instant> = None;
    loop {
        if farewell.is_some() && written == unwritten.len() && waiting.is_empty() {
            return;
        }
        let writing = written < unwritten.len();
        tokio::select! {
            line = lines.next_line() => match line {
                Ok(Some(line)) => {
                    if let Err(error) = dispatch(&line, &mut waiting, &events) {
                        warn!(%error, "the QMP connection is given up");
                        return;
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    warn!(%error, "the QMP connection is given up");
                    return;
                }
            },
            count = socket.write(unwritten.get(written..).unwrap_or_default()), if writing => {
                match count {
                    Ok(count) => written += count,
                    Err(error) => {
                        debug!(%error, "cannot write to the QMP socket");
                        return;
                    }
                }
            }
            batch = batches.recv(), if !writing && farewell.is_none() => match batch {
                Some(batch) => {
                    unwritten = batch.bytes;
                    written = 0;
                    waiting.extend(batch.waiters);
                }
                None => farewell = Some(Instant::now() + FAREWELL),
            },
            () = tokio::time::sleep_until(farewell.unwrap_or_else(Instant::now)),
                if farewell.is_some() => return,
        }
    }
}

fn dispatch(
    line: &[u8],
    waiting: &mut HashMap<u64, Waiter>,
    events: &broadcast::Sender<Event>,
) -> Result<(), Error> {
    match Message::decode(line)? {
        Message::Reply {
            id: Some(id),
            result,
        } => match waiting.remove(&id) {
            // The caller may have given up: then the reply is dropped here.
            Some(waiter) => drop(waiter.send(result)),
            None => warn!(id, "a QMP reply to nothing that was asked"),
        },
        Message::Reply { id: None, result } => {
            return Err(Error::new(
                ErrorKind::Protocol,
                format!("QEMU could not read a command: {result:?}"),
            ));
        }
        // An error only says that nobody listens.
        Message::Event(event) => drop(events.send(event)),
        Message::Greeting(_) | Message::Unknown => debug!("a QMP message of no use"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(bytes: &[u8]) -> Vec<Vec<u8>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("runtime");
        runtime.block_on(async {
            let mut reader = LineReader::new(bytes);
            let mut lines = Vec::new();
            while let Some(line) = reader.next_line().await.expect("in memory") {
                lines.push(line);
            }
            lines
        })
    }

    proptest! {
        #[test]
        fn lines_are_what_was_between_the_line_ends(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut expected: Vec<Vec<u8>> = bytes.split(|&b| b == b'\n').map(<[u8]>::to_vec).collect();
            expected.pop(); // what follows the last line end is no line
            prop_assert_eq!(split(&bytes), expected);
        }
    }

    #[tokio::test]
    async fn an_endless_line_is_refused_at_the_bound() {
        let endless = tokio::io::repeat(b'x');
        let error = LineReader::new(endless)
            .next_line()
            .await
            .expect_err("too long");
        assert_eq!(error.kind(), ErrorKind::Protocol);
    }
}
