//! A host's process: its loops, from start to end.
//!
//! # Order of the end
//! What runs ends first, then what it needs: jobs tell of their end over the connection.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio_util::sync::CancellationToken;
use tresor_host::{Discovery, HostRole, RoleOptions, StateDir, Stop};
use tresor_host_link::{Connections, Options, RemoteLog, RemoteRegistry, Reports};
use tresor_identity::HostIdentity;

use super::{Address, HostVaults, Pause, Shortcuts, Uplink};

/// How often the service hears from this host, whatever else is said.
const ALIVE_EVERY: Duration = Duration::from_secs(20);
/// How often VMs are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Before what failed is tried again.
const PAUSE: Duration = Duration::from_secs(5);

/// A host that is enrolled.
pub struct Host {
    /// Where the service is.
    pub server: Address,
    /// Who this host is.
    pub identity: Arc<HostIdentity>,
    /// Where it keeps what it knows.
    pub state: StateDir,
    /// Where QMP sockets of VMs may be: paths with `*` and `?`.
    pub discover: Vec<String>,
    /// Vaults that it may reach itself.
    pub shortcuts: Shortcuts,
    /// How it waits for the service.
    pub options: Options,
}

impl Host {
    /// Works until it is told to stop and nothing runs any more.
    pub async fn run(self, stop: &Stop) {
        let lane = self.identity.id().to_string();
        let uplink = Uplink::new(self.server, self.identity, Pause::default());
        let connections = uplink.connections();
        let (linked, told) = (CancellationToken::new(), CancellationToken::new());
        let uplink = tokio::spawn(uplink.run(linked.clone()));
        let reports = tokio::spawn(report(
            Reports::new(connections.clone(), self.options),
            self.state.clone(),
            self.discover,
            told.clone(),
        ));
        let vaults = HostVaults::new(self.state.clone(), connections.clone(), self.shortcuts);
        role(&lane, &connections, self.options, self.state, vaults)
            .run(stop)
            .await;
        told.cancel();
        linked.cancel();
        for (what, ended) in [("reports", reports.await), ("uplink", uplink.await)] {
            if let Err(error) = ended {
                tracing::error!(%error, what, "a loop panicked");
            }
        }
    }
}

fn role(
    lane: &str,
    connections: &Connections,
    options: Options,
    state: StateDir,
    vaults: HostVaults,
) -> Arc<HostRole> {
    let log = RemoteLog::new(connections.clone(), options);
    let registry = RemoteRegistry::new(connections.clone(), options, Arc::new(vaults));
    let role = HostRole::new(
        Arc::new(log),
        Arc::new(registry),
        state,
        RoleOptions::new(lane),
    );
    Arc::new(role)
}

/// Tells the service that this host is alive, and what is on it.
async fn report(reports: Reports, state: StateDir, patterns: Vec<String>, stop: CancellationToken) {
    let alive = async {
        let capabilities = json!({ "jobs": ["backup"] });
        loop {
            let said = reports
                .alive(env!("CARGO_PKG_VERSION"), &capabilities)
                .await;
            let pause = match said {
                Ok(_) => ALIVE_EVERY,
                Err(problem) => {
                    tracing::debug!(%problem, "the service does not hear this host");
                    PAUSE
                }
            };
            tokio::time::sleep(pause).await;
        }
    };
    let found = async {
        let known = loop {
            match reports.known().await {
                Ok(known) => break known,
                Err(problem) => tracing::debug!(%problem, "what was found before is not known yet"),
            }
            tokio::time::sleep(PAUSE).await;
        };
        let mut discovery = Discovery::new(state, patterns, known);
        loop {
            let found = discovery.look().await;
            if let Err(problem) = reports.report(&found).await {
                tracing::warn!(%problem, "what was found could not be reported");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = async { tokio::join!(alive, found); } => {}
    }
}
