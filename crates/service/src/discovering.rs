//! The loop that looks for VMs of this machine.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use tresor_catalog::Catalog;
use tresor_host::{Discovery, StateDir, keep_found, known_on};

const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Looks until it is told to stop, and keeps what it finds.
pub(crate) async fn run(
    catalog: Arc<Catalog>,
    state: StateDir,
    patterns: Vec<String>,
    stop: CancellationToken,
) {
    let known = match known_on(&catalog, None).await {
        Ok(known) => known,
        Err(error) => {
            tracing::warn!(%error, "what was found before cannot be read");
            Vec::new()
        }
    };
    let mut discovery = Discovery::new(state, patterns, known);
    loop {
        let found = discovery.look().await;
        if let Err(error) = keep_found(&catalog, None, &found).await {
            tracing::warn!(%error, "what was found cannot be kept");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}
