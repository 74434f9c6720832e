//! The provider: what it is configured with, and the port.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use tresor_disk::{
    Capabilities, Error, GuestWrites, Orphan, Outcome, PrepareRequest, Prepared, ReleaseReport,
    SnapshotProvider, VmDescription,
};
use tresor_model::{MachineDefinition, SnapshotTag, TrackingLedger};
use tresor_qmp::ConnectOptions;

use crate::{
    connect::{Connector, Lease},
    describe, latency, prepare, release,
    session::Holder,
};

/// Where a VM's QEMU is, and where this provider may leave things.
#[derive(Debug, Clone)]
pub struct QemuConfig {
    /// The QMP socket. Best one of its own: QEMU serves one client per socket, and the provider
    /// holds it from `prepare` until the first use of the session.
    pub qmp: PathBuf,
    /// Directory of the NBD sockets; a short path (a socket's path has at most 107 bytes).
    pub runtime_dir: PathBuf,
    /// Directories searched for fleecing files that no QEMU knows any more: those that
    /// `prepare` is ever given.
    pub fleecing_dirs: Vec<PathBuf>,
    /// Time limits.
    pub limits: ConnectOptions,
    /// What the VM was when it was last seen running; without it there is no backup of a VM that
    /// does not run.
    pub machine: Option<MachineDefinition>,
    /// The program that opens the images of a VM that does not run.
    pub storage_daemon: PathBuf,
}

impl QemuConfig {
    /// Default directories and limits.
    #[must_use]
    pub fn new(qmp: impl Into<PathBuf>) -> Self {
        Self {
            qmp: qmp.into(),
            runtime_dir: PathBuf::from("/run/tresor"),
            fleecing_dirs: Vec::new(),
            limits: ConnectOptions::default(),
            machine: None,
            storage_daemon: PathBuf::from("qemu-storage-daemon"),
        }
    }
}

/// The snapshot provider of one QEMU process.
#[derive(Debug, Clone)]
pub struct QemuProvider {
    host: Arc<Host>,
}

/// What all parts of a provider share.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) config: QemuConfig,
    pub(crate) connector: Connector,
}

#[async_trait]
impl Holder for Host {
    async fn lease(&self) -> Result<Lease, Error> {
        self.connector.lease().await
    }

    async fn release(&self, tag: &SnapshotTag, outcome: Outcome) -> Result<(), Error> {
        release::release(self, tag, outcome).await.map(|_| ())
    }
}

impl QemuProvider {
    /// A provider for the QEMU behind `config.qmp`, after checking that it answers. The
    /// connection is not kept: the VM may be restarted while the provider lives.
    ///
    /// # Errors
    /// [`tresor_disk::ErrorKind::Unreachable`]; [`tresor_disk::ErrorKind::Busy`] when another
    /// client holds the socket.
    pub async fn connect(config: QemuConfig) -> Result<Self, Error> {
        let provider = Self::unconnected(config);
        provider.look().await?;
        Ok(provider)
    }

    /// Whether QEMU answers.
    ///
    /// # Errors
    /// As `connect`.
    pub(crate) async fn look(&self) -> Result<(), Error> {
        self.host.connector.lease().await.map(|_| ())
    }

    /// A provider that finds out at its first use whether QEMU answers.
    #[must_use]
    pub fn unconnected(config: QemuConfig) -> Self {
        let connector = Connector::new(config.qmp.clone(), config.limits);
        Self {
            host: Arc::new(Host { config, connector }),
        }
    }
}

#[async_trait]
impl SnapshotProvider for QemuProvider {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            multi_disk: true,
            persistent_tracking: true,
            guest_safe_fleecing: true,
        }
    }

    async fn describe(&self) -> Result<VmDescription, Error> {
        let client = self.host.connector.lease().await?;
        describe::describe(&client, self.host.connector.path()).await
    }

    async fn guest_writes(&self) -> Option<GuestWrites> {
        latency::guest_writes(&self.host.connector).await
    }

    async fn prepare(&self, request: PrepareRequest) -> Result<Box<dyn Prepared>, Error> {
        prepare::prepare(Arc::clone(&self.host), request).await
    }

    async fn release(&self, tag: &SnapshotTag, outcome: Outcome) -> Result<ReleaseReport, Error> {
        release::release(&self.host, tag, outcome).await
    }

    async fn find_orphans(&self, keep: &[TrackingLedger]) -> Result<Vec<Orphan>, Error> {
        release::find_orphans(&self.host, keep).await
    }
}
