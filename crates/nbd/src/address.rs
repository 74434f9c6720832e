//! Where a server listens, and the byte stream to it.

use std::{fmt, path::PathBuf};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

use crate::error::{Error, ErrorKind, Result};

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// A unix socket of this machine.
    Unix(PathBuf),
    /// TCP, in the clear: only for a network that is trusted.
    Tcp {
        /// Host name or IP address.
        host: String,
        /// Port; the registered one is 10809.
        port: u16,
    },
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp { host, port } => write!(f, "tcp:{host}:{port}"),
        }
    }
}

pub(crate) type ReadHalf = Box<dyn AsyncRead + Send + Unpin>;
pub(crate) type WriteHalf = Box<dyn AsyncWrite + Send + Unpin>;

impl Address {
    /// Opens a byte stream; the caller bounds the time.
    pub(crate) async fn open(&self) -> Result<(ReadHalf, WriteHalf)> {
        let failed = |source| Error::caused(ErrorKind::Connect, self.to_string(), source);
        match self {
            Self::Unix(path) => {
                let (read, write) = UnixStream::connect(path)
                    .await
                    .map_err(failed)?
                    .into_split();
                Ok((Box::new(read), Box::new(write)))
            }
            Self::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port))
                    .await
                    .map_err(failed)?;
                // Requests are small and each is waited for: holding them back to fill a segment only adds delay.
                stream.set_nodelay(true).map_err(failed)?;
                let (read, write) = stream.into_split();
                Ok((Box::new(read), Box::new(write)))
            }
        }
    }
}
