//! The one task that owns the stream: it reads, writes and watches the time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::{Instant, interval, timeout};
use tokio_util::sync::CancellationToken;
use tresor_link_proto::{Notice, codes};

use crate::error::{Error, ErrorKind};
use crate::options::Timing;
use crate::shared::Shared;

/// Bytes read at once, and gathered before they are written.
const READ: usize = 128 << 10;
const WRITE: usize = 256 << 10;
/// For the last words, and for the other end to close after both said goodbye.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What a timer is set to at least.
const SHORTEST: Duration = Duration::from_millis(1);

/// When something came last.
struct Heard(Mutex<Instant>);

impl Heard {
    fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the connection until it ends.
pub(crate) async fn run<S: AsyncRead + AsyncWrite>(
    stream: S,
    shared: Arc<Shared>,
    timing: Timing,
    close: CancellationToken,
) {
    let (mut read, write) = tokio::io::split(stream);
    let mut writer = Writer {
        write,
        buffer: Vec::with_capacity(WRITE),
        at: 0,
    };
    let heard = Heard(Mutex::new(Instant::now()));
    let ended = tokio::select! {
        error = receive(&mut read, &shared, &heard) => error,
        error = writer.run(&shared) => error,
        error = watch(&shared, timing, &heard) => error,
        () = close.cancelled() => {
            let why = "the owner of this end let go of it";
            break_off(&shared, codes::DROPPED, Error::new(ErrorKind::Dropped, why))
        }
    };
    tracing::debug!(error = &ended as &dyn std::error::Error, "a link ended");
    let clean = ended.kind() == ErrorKind::Closed;
    shared.end(ended);
    // A peer that takes nothing any more is not waited for.
    let last_words = async {
        writer.last_words(&shared).await?;
        if clean {
            // Closing while something lies unread could take our last words from the other end.
            tokio::io::copy(&mut read, &mut tokio::io::sink()).await?;
        }
        std::io::Result::Ok(())
    };
    if let Ok(Err(error)) = timeout(LAST_WORDS, last_words).await {
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "last words of a link"
        );
    }
    shared.finished.cancel();
}

/// Ends the link from this side; the other end is told why.
fn break_off(shared: &Shared, code: u16, error: Error) -> Error {
    shared.with(|inner| {
        inner.link.reset(&Notice::new(code, error.to_string()));
        inner.fail(error.clone());
    });
    error
}

fn lost(shared: &Shared, error: Option<std::io::Error>) -> Error {
    if shared.with(|inner| inner.link.is_drained()) {
        return closed();
    }
    let context = "the connection was lost";
    match error {
        Some(error) => Error::because(ErrorKind::Lost, context, error),
        None => Error::new(ErrorKind::Lost, context),
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the connection was closed")
}

async fn receive<S: AsyncRead>(read: &mut ReadHalf<S>, shared: &Shared, heard: &Heard) -> Error {
    let mut buffer = vec![0; READ];
    loop {
        let got = match read.read(&mut buffer).await {
            Ok(0) => return lost(shared, None),
            Ok(got) => got,
            Err(error) => return lost(shared, Some(error)),
        };
        heard.now();
        let received = shared.with(|inner| {
            let received = inner.link.receive(&buffer[..got]).map_err(Error::of_link);
            if let Err(error) = &received {
                inner.fail(error.clone());
            }
            received
        });
        if let Err(error) = received {
            return error;
        }
    }
}

struct Writer<S> {
    write: WriteHalf<S>,
    buffer: Vec<u8>,
    /// How much of the buffer is written: a frame that was begun is always completed.
    at: usize,
}

impl<S: AsyncRead + AsyncWrite> Writer<S> {
    async fn run(&mut self, shared: &Shared) -> Error {
        loop {
            let drained = shared.take_output(&mut self.buffer, WRITE);
            if self.buffer.is_empty() {
                if drained {
                    return closed();
                }
                shared.output.notified().await;
                continue;
            }
            if let Err(error) = self.flush().await {
                return lost(shared, Some(error));
            }
        }
    }

    async fn flush(&mut self) -> std::io::Result<()> {
        while self.at < self.buffer.len() {
            match self.write.write(&self.buffer[self.at..]).await? {
                0 => return Err(std::io::ErrorKind::WriteZero.into()),
                written => self.at += written,
            }
        }
        self.buffer.clear();
        self.at = 0;
        self.write.flush().await
    }

    /// What was begun, then what the link has to say at its end.
    async fn last_words(&mut self, shared: &Shared) -> std::io::Result<()> {
        self.flush().await?;
        shared.take_output(&mut self.buffer, WRITE);
        self.flush().await?;
        self.write.shutdown().await
    }
}

/// Greets until somebody answers; then asks now and then whether somebody is there.
async fn watch(shared: &Shared, timing: Timing, heard: &Heard) -> Error {
    let begun = Instant::now();
    let mut greet = interval(timing.greet_every.max(SHORTEST));
    greet.tick().await;
    while shared.with(|inner| inner.link.peer().is_none()) {
        if begun.elapsed() >= timing.greet_limit {
            return Error::new(
                ErrorKind::NobodyThere,
                format!("nobody answered for {:?}", timing.greet_limit),
            );
        }
        tokio::select! {
            _ = greet.tick() => shared.with(|inner| inner.link.greet()),
            () = shared.changed.notified() => {}
        }
    }
    let mut asked = Instant::now();
    // Twice as often as pings go out, so that a silence is seen soon after its limit.
    let mut look = interval((timing.ping_every / 2).max(SHORTEST));
    loop {
        look.tick().await;
        let last = heard.last();
        let waits = shared.with(|inner| inner.link.awaits_pong());
        let silent = last.elapsed() >= timing.silence_limit;
        if waits && (silent || asked.elapsed() >= timing.silence_limit * 4) {
            let why = format!("the other end was silent for {:?}", last.elapsed());
            return break_off(shared, codes::SILENCE, Error::new(ErrorKind::Silent, why));
        }
        if !waits && asked.elapsed() >= timing.ping_every {
            shared.with(|inner| inner.link.ping());
            asked = Instant::now();
        }
    }
}
