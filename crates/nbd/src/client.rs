//! What callers see: an export, read through one connection or several.

use std::{fmt, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::future::try_join_all;

use crate::{
    address::Address,
    connection::{Connection, within},
    error::{Error, ErrorKind, Result, Violation},
    handshake::Handshake,
    info::ExportInfo,
    plan::{Window, plan_read, plan_status},
    status::{BlockStatus, Gathering, clip},
};

/// Most connections a client opens, whatever it is asked for.
pub const MAX_CONNECTIONS: usize = 16;

/// How to connect.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// Connections wanted, if the server allows several; 1 to [`MAX_CONNECTIONS`]. A server that admits fewer clients
    /// than this lets the rest wait, and connecting passes its limit.
    pub connections: usize,
    /// Metadata contexts that must be there (see [`crate::BASE_ALLOCATION`], [`crate::dirty_bitmap_context`]).
    pub contexts: Vec<String>,
    /// Longest time to connect and negotiate, for each connection.
    pub connect_limit: Duration,
    /// Longest time the server may leave one request unanswered. A connection where that happens is given up.
    pub request_limit: Duration,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            connections: 1,
            contexts: Vec::new(),
            connect_limit: Duration::from_secs(30),
            request_limit: Duration::from_secs(120),
        }
    }
}

/// An export of an NBD server, open for reading.
pub struct Client {
    info: ExportInfo,
    /// Never empty.
    connections: Vec<Connection>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("info", &self.info)
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Opens an export. With several connections all must agree on what it is.
    ///
    /// # Errors
    /// Any [`ErrorKind`] but `Server`; an export, a context or a TLS demand is told apart.
    pub async fn connect(
        address: &Address,
        export: &str,
        options: &ConnectOptions,
    ) -> Result<Self> {
        if !(1..=MAX_CONNECTIONS).contains(&options.connections) {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("1 to {MAX_CONNECTIONS} connections, please"),
            ));
        }
        let open = || {
            Connection::open(
                address,
                export,
                &options.contexts,
                options.connect_limit,
                options.request_limit,
            )
        };
        let first = open().await?;
        let info = first.session().info.clone();
        let more = if info.can_multi_conn {
            options.connections - 1
        } else {
            0
        };
        let mut connections = vec![first];
        connections.extend(try_join_all((0..more).map(|_| open())).await?);
        if connections
            .iter()
            .any(|connection| connection.session().info != info)
        {
            return Err(
                Violation::new("two connections were told different things of one export").into(),
            );
        }
        Ok(Self { info, connections })
    }

    /// The names of the metadata contexts a server offers for an export.
    ///
    /// # Errors
    /// As for [`Client::connect`].
    pub async fn list_contexts(
        address: &Address,
        export: &str,
        limit: Duration,
    ) -> Result<Vec<String>> {
        within(limit, "listing contexts", async {
            let (mut read, mut write) = address.open().await?;
            Handshake::begin(&mut read, &mut write)
                .await?
                .list_contexts(export)
                .await
        })
        .await
    }

    /// What the server said of the export.
    #[must_use]
    pub fn info(&self) -> &ExportInfo {
        &self.info
    }

    /// How many connections are open and sound.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections
            .iter()
            .filter(|connection| connection.failure().is_none())
            .count()
    }

    /// Reads `length` bytes at `offset`; the answer has exactly that length.
    ///
    /// Any alignment will do; whole blocks of the server cost least. The caller's length bounds the memory used.
    /// Dropping the future is safe at any point.
    ///
    /// # Errors
    /// `Invalid` outside the export; `Server` when the server could not read; else the connection is gone.
    pub async fn read(&self, offset: u64, length: u64) -> Result<Bytes> {
        let window = self.window(offset, length)?;
        let pieces = plan_read(window, &self.info);
        let read = |piece| async move { self.pick().read(piece).await };
        match pieces[..] {
            [] => Ok(Bytes::new()),
            [piece] => read(piece).await,
            _ => {
                let parts = try_join_all(pieces.into_iter().map(read)).await?;
                let mut whole = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
                parts.iter().for_each(|part| whole.extend_from_slice(part));
                Ok(whole.freeze())
            }
        }
    }

    /// Asks once for the extents of a window, in every context agreed on.
    ///
    /// A server may cover less than was asked, and of each context a different length, but always some of it.
    /// Nothing beyond the window is reported. [`Client::map`] asks until the window is covered.
    ///
    /// # Errors
    /// `Invalid` outside the export, for an empty window or when no context was agreed on; else as for [`Client::read`].
    pub async fn block_status(&self, offset: u64, length: u64) -> Result<BlockStatus> {
        let window = self.window(offset, length)?;
        let connection = self.pick();
        let contexts = &connection.session().contexts;
        if contexts.is_empty() || length == 0 {
            return Err(Error::new(
                ErrorKind::Invalid,
                "block status needs a context and a window",
            ));
        }
        let asked = plan_status(window, &self.info, connection.is_wide());
        let runs = connection.block_status(asked).await?;
        let names = contexts.iter().map(|(_, name)| name.clone());
        let status: BlockStatus = names
            .zip(runs.iter().map(|run| clip(run, asked.offset, window)))
            .collect();
        if status.values().any(Vec::is_empty) {
            // Shorter than the server's own block, before the first byte that was asked for.
            return Err(Violation::new("block status of less than a block").into());
        }
        Ok(status)
    }

    /// All extents of a window, in every context agreed on; neighbours with equal flags are merged.
    ///
    /// Memory grows with the number of extents; ask for windows, not for a whole large disk.
    ///
    /// # Errors
    /// `TooFragmented` beyond [`crate::MAX_MAP_EXTENTS`]; else as for [`Client::block_status`].
    pub async fn map(&self, offset: u64, length: u64) -> Result<BlockStatus> {
        let window = self.window(offset, length)?;
        let names = self.connections[0]
            .session()
            .contexts
            .iter()
            .map(|(_, name)| name.clone());
        let mut gathering = Gathering::new(window, names);
        while let Some(missing) = gathering.missing() {
            let status = self.block_status(missing.offset, missing.length).await?;
            gathering.add(missing.offset, &status)?;
        }
        Ok(gathering.finish())
    }

    /// Waits for what is outstanding, says goodbye on every connection and closes them.
    ///
    /// Dropping the client instead closes the sockets at once; servers then log a client that vanished.
    ///
    /// # Errors
    /// The first connection that had ended before, with its reason.
    pub async fn disconnect(&self) -> Result<()> {
        let outcomes =
            futures::future::join_all(self.connections.iter().map(Connection::disconnect)).await;
        outcomes.into_iter().collect()
    }

    fn window(&self, offset: u64, length: u64) -> Result<Window> {
        Window::within(offset, length, self.info.size).ok_or_else(|| {
            let size = self.info.size;
            Error::new(
                ErrorKind::Invalid,
                format!("{length} bytes at {offset} of an export of {size}"),
            )
        })
    }

    /// The sound connection with the most room; when none is sound, any will tell why.
    fn pick(&self) -> &Connection {
        let sound = self
            .connections
            .iter()
            .filter(|connection| connection.failure().is_none());
        sound
            .max_by_key(|connection| connection.room())
            .unwrap_or(&self.connections[0])
    }
}
