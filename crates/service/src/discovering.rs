//! The loop that looks for VMs of this machine.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tresor_catalog::{Catalog, CatalogError, Datasource};
use tresor_host::{Discovery, StateDir, embedded, keep_found, known_on};
use tresor_model::HostId;

use crate::ServiceOptions;

const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Looks until it is told to stop, and keeps what it finds.
pub(crate) async fn run(
    catalog: Arc<Catalog>,
    state: StateDir,
    options: ServiceOptions,
    stop: CancellationToken,
) {
    let host = options.host;
    let known = match known_on(&catalog, host).await {
        Ok(known) => known,
        Err(error) => {
            tracing::warn!(%error, "what was found before cannot be read");
            Vec::new()
        }
    };
    let mut discovery = Discovery::new(state, options.discover, known);
    loop {
        let found = discovery.look().await;
        if let Err(error) = keep(&catalog, host, &found).await {
            tracing::warn!(%error, "what was found cannot be kept");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Keeps what was found. A machine that shares the catalog with others says that it is there as well.
async fn keep(
    catalog: &Catalog,
    host: Option<HostId>,
    found: &[Datasource],
) -> Result<(), CatalogError> {
    if let Some(host) = host {
        let version = env!("CARGO_PKG_VERSION");
        catalog
            .touch_host(host, Timestamp::now(), version, &embedded())
            .await?;
    }
    keep_found(catalog, host, found).await
}
