//! One QMP connection, shared while it is in use and closed as soon as it is not: QEMU serves one
//! client per socket, and others (an administrator, a monitoring tool) want their turn.

use std::path::{Path, PathBuf};

use tokio::sync::Mutex;
use tresor_disk::Error;
use tresor_qmp::{Client, ConnectOptions};

use crate::failure;

/// Gives out the connection.
#[derive(Debug)]
pub(crate) struct Connector {
    path: PathBuf,
    options: ConnectOptions,
    current: Mutex<std::sync::Weak<Client>>,
}

/// A use of the connection; it closes when the last one is dropped.
pub(crate) type Lease = std::sync::Arc<Client>;

impl Connector {
    pub(crate) fn new(path: PathBuf, options: ConnectOptions) -> Self {
        Self {
            path,
            options,
            current: Mutex::default(),
        }
    }

    /// Where the socket is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The connection in use, or a new one.
    pub(crate) async fn lease(&self) -> Result<Lease, Error> {
        let mut current = self.current.lock().await;
        if let Some(client) = current.upgrade().filter(|client| !client.is_closed()) {
            return Ok(client);
        }
        let client = Client::connect(&self.path, self.options)
            .await
            .map_err(failure::qmp("connect to QEMU"))?;
        let lease = Lease::new(client);
        *current = Lease::downgrade(&lease);
        Ok(lease)
    }
}
