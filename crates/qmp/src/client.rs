//! The client: connect, run commands, hear events.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Map, Value, json};
use tokio::{
    net::UnixStream,
    sync::{broadcast, mpsc, oneshot},
    time::timeout,
};

use crate::{
    CommandError,
    commands::Command,
    connection::{Batch, LineReader, run},
    error::{Error, ErrorKind},
    holder::holder_of,
    message::{Event, Greeting, Message},
};

/// Events kept for a slow listener before it loses the oldest.
const EVENT_QUEUE: usize = 256;
/// Batches handed over and not yet written.
const BATCH_QUEUE: usize = 16;

/// Time limits of a connection.
#[derive(Debug, Clone, Copy)]
pub struct ConnectOptions {
    /// For connect, greeting and negotiation together.
    pub connect_limit: Duration,
    /// For each command, unless the call says otherwise.
    pub command_limit: Duration,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            connect_limit: Duration::from_secs(5),
            command_limit: Duration::from_secs(30),
        }
    }
}

/// Who listens on the socket (`SO_PEERCRED`: as of the moment the socket began to listen).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its process id, where the kernel tells.
    pub pid: Option<u32>,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// A connection to one QEMU. Clones share it; it closes when the last one is dropped and every
/// reply that is due has come.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    greeting: Greeting,
    peer: Peer,
    limit: Duration,
    next_id: AtomicU64,
    batches: mpsc::Sender<Batch>,
    events: broadcast::WeakSender<Event>,
}

impl Client {
    /// Connects to the QMP socket at `path` and enters command mode.
    ///
    /// # Errors
    /// [`ErrorKind::Unreachable`], [`ErrorKind::Busy`] when no greeting comes in time, or
    /// [`ErrorKind::Protocol`] when something else than QMP answers.
    pub async fn connect(path: impl AsRef<Path>, options: ConnectOptions) -> Result<Self, Error> {
        let path = path.as_ref();
        let greeted = timeout(options.connect_limit, open(path)).await;
        let (socket, lines, greeting, peer) = match greeted {
            Ok(opened) => opened?,
            Err(_elapsed) => return Err(busy(path, options.connect_limit).await),
        };
        let (batches, receiver) = mpsc::channel(BATCH_QUEUE);
        let (sender, _listener) = broadcast::channel(EVENT_QUEUE);
        let events = sender.downgrade();
        // The task ends by itself: with the socket, or with the last client (see `connection`).
        tokio::spawn(run(lines, socket, receiver, sender));
        let client = Self {
            shared: Arc::new(Shared {
                path: path.to_owned(),
                greeting,
                peer,
                limit: options.command_limit,
                next_id: AtomicU64::new(1),
                batches,
                events,
            }),
        };
        client.execute("qmp_capabilities", json!({})).await?;
        Ok(client)
    }

    /// What QEMU said of itself.
    #[must_use]
    pub fn greeting(&self) -> &Greeting {
        &self.shared.greeting
    }

    /// Who listens on the socket.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.shared.peer
    }

    /// Where the socket is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Whether the connection has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.batches.is_closed()
    }

    /// Events from now on. A listener that falls 256 events behind loses the oldest.
    #[must_use]
    pub fn events(&self) -> Events {
        Events(
            self.shared
                .events
                .upgrade()
                .map(|sender| sender.subscribe()),
        )
    }

    /// Runs a typed command.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn run<C: Command>(&self, command: &C) -> Result<C::Reply, Error> {
        let reply = self.execute(C::NAME, command.arguments()?).await?;
        serde_json::from_value(reply).map_err(|source| {
            Error::new(
                ErrorKind::Protocol,
                format!("the reply to `{}` has an unexpected shape", C::NAME),
            )
            .because(source)
        })
    }

    /// Runs any command; `arguments` is a JSON object.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn execute(&self, name: &str, arguments: Value) -> Result<Value, Error> {
        let mut results = self
            .pipeline(vec![(name.to_owned(), arguments)], self.shared.limit)
            .await?;
        results.pop().unwrap_or_else(|| Err(self.closed(name)))
    }

    /// Hands over several commands in one write and waits for all replies. They run back to back,
    /// each whether or not the one before it was refused. The results are in the same order.
    ///
    /// # Errors
    /// The outer error says that nothing was handed over, or that the replies did not all come
    /// within `limit`: then any of the commands may have run.
    pub async fn pipeline(
        &self,
        commands: Vec<(String, Value)>,
        limit: Duration,
    ) -> Result<Vec<Result<Value, Error>>, Error> {
        let mut bytes = Vec::new();
        let mut waiters = Vec::with_capacity(commands.len());
        let mut replies = Vec::with_capacity(commands.len());
        for (name, arguments) in commands {
            let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
            bytes.extend(encode(id, &name, arguments));
            let (waiter, reply) = oneshot::channel();
            waiters.push((id, waiter));
            replies.push((name, reply));
        }
        let first = replies
            .first()
            .map_or("nothing", |(name, _)| name)
            .to_owned();
        let batch = Batch { bytes, waiters };
        let all = async {
            if self.shared.batches.send(batch).await.is_err() {
                return Err(self.closed(&first));
            }
            let mut results = Vec::with_capacity(replies.len());
            for (name, reply) in replies {
                results.push(self.settle(&name, reply.await));
            }
            Ok(results)
        };
        timeout(limit, all).await.unwrap_or_else(|_elapsed| {
            Err(Error::new(
                ErrorKind::Timeout,
                format!("QEMU did not answer `{first}` within {limit:?}"),
            ))
        })
    }

    fn settle(
        &self,
        name: &str,
        reply: Result<Result<Value, CommandError>, oneshot::error::RecvError>,
    ) -> Result<Value, Error> {
        match reply {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(Error::refused(name, error)),
            Err(_gone) => Err(self.closed(name)),
        }
    }

    fn closed(&self, name: &str) -> Error {
        Error::new(
            ErrorKind::Closed,
            format!(
                "the QMP connection to {} ended before `{name}` was answered",
                self.shared.path.display()
            ),
        )
    }
}

/// A subscription to events.
#[derive(Debug)]
pub struct Events(Option<broadcast::Receiver<Event>>);

impl Events {
    /// The next event; `None` when the connection has ended. Cancel safe. Events lost because
    /// this listener was too slow are skipped: state is to be asked for, not inferred.
    pub async fn next(&mut self) -> Option<Event> {
        let receiver = self.0.as_mut()?;
        loop {
            match receiver.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(count)) => {
                    tracing::warn!(count, "QMP events were lost: the listener was too slow");
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

fn encode(id: u64, name: &str, arguments: Value) -> Vec<u8> {
    let mut command = Map::new();
    command.insert("execute".to_owned(), Value::from(name));
    if arguments
        .as_object()
        .is_some_and(|object| !object.is_empty())
    {
        command.insert("arguments".to_owned(), arguments);
    }
    command.insert("id".to_owned(), Value::from(id));
    let mut line = Value::Object(command).to_string().into_bytes();
    line.push(b'\n');
    line
}

type Opened = (
    tokio::net::unix::OwnedWriteHalf,
    LineReader<tokio::net::unix::OwnedReadHalf>,
    Greeting,
    Peer,
);

async fn open(path: &Path) -> Result<Opened, Error> {
    let socket = UnixStream::connect(path).await.map_err(|source| {
        // A full listen queue: many clients wait already.
        let kind = match source.kind() {
            std::io::ErrorKind::WouldBlock => ErrorKind::Busy,
            _ => ErrorKind::Unreachable,
        };
        Error::new(
            kind,
            format!("connect to the QMP socket {}", path.display()),
        )
        .because(source)
    })?;
    let credentials = socket.peer_cred().map_err(|source| {
        Error::new(ErrorKind::Unreachable, "ask who listens on the QMP socket").because(source)
    })?;
    let peer = Peer {
        pid: credentials.pid().and_then(|pid| u32::try_from(pid).ok()),
        uid: credentials.uid(),
        gid: credentials.gid(),
    };
    let (reader, writer) = socket.into_split();
    let mut lines = LineReader::new(reader);
    let line = lines.next_line().await?.ok_or_else(|| {
        Error::new(
            ErrorKind::Closed,
            format!("{} was closed without a greeting", path.display()),
        )
    })?;
    let Message::Greeting(greeting) = Message::decode(&line)? else {
        return Err(Error::new(
            ErrorKind::Protocol,
            format!("{} does not speak QMP", path.display()),
        ));
    };
    Ok((writer, lines, greeting, peer))
}

/// No greeting came: another client is served.
async fn busy(path: &Path, waited: Duration) -> Error {
    let at = path.to_owned();
    let holder = tokio::task::spawn_blocking(move || holder_of(&at)).await;
    let who = holder.ok().flatten();
    let who = who
        .as_deref()
        .unwrap_or("another client, not to be seen from here,");
    Error::new(
        ErrorKind::Busy,
        format!(
            "{who} is connected to {}: no greeting came within {:.1} s",
            path.display(),
            waited.as_secs_f32()
        ),
    )
}
