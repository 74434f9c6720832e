//! Catalogs in a scratch PostgreSQL server.

use sqlx::{AnyConnection, Connection as _};
use tresor_catalog::Catalog;

#[path = "postgres_server.rs"]
mod server;

use server::PostgresServer;

/// A running server.
pub(crate) struct Postgres(PostgresServer);

impl Postgres {
    /// Starts a server and waits until it answers.
    pub(crate) fn start() -> Self {
        Self(PostgresServer::start())
    }

    /// The catalog in this server.
    pub(crate) async fn catalog(&self) -> Catalog {
        let opened = Catalog::connect(&self.0.url(), "scratch server".to_owned()).await;
        opened.expect("open")
    }

    /// A connection of its own.
    #[allow(dead_code, reason = "not every test program looks below the catalog")]
    pub(crate) async fn connection(&self) -> AnyConnection {
        sqlx::any::install_default_drivers();
        let connected = AnyConnection::connect(&self.0.url()).await;
        connected.unwrap_or_else(|error| panic!("{error:?}\n{}", self.0.log()))
    }
}
