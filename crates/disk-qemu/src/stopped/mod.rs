//! The snapshot provider for a VM that does not run: `qemu-storage-daemon` opens its images.
//!
//! # How it differs from a VM that runs
//! Nobody writes, so there is no fleecing and nothing to swap: the images' own nodes are exported,
//! for reading. Everything else is the same, and shares its code: names, judgement of bitmaps,
//! what is read, how a snapshot ends. The bitmaps lie in the images, so a backup of the stopped VM
//! continues one of the running VM and the other way round. A raw image keeps none: it is read
//! whole, and after it the running VM's next backup does as well.
//!
//! # What must hold
//! - The VM is taken to be stopped only when nobody listens at its QMP socket *and* the daemon gets
//!   the images' locks. An image that is missing, or that somebody else holds, is an error.
//! - While the daemon holds the locks nobody else writes the images; it gives way to a start of the
//!   VM (module `give_way`).
//! - The daemon ends in order: at the session's end, at its drop, and with this process, also when
//!   that is killed (module `process`). Killed itself, it leaves bitmaps that QEMU calls
//!   inconsistent, and the next backup reads everything.
//! - QEMU's image locks have to hold between all hosts that may run the VM: on a network file system
//!   without them nobody could tell that another host has the image open.
//! - Bitmaps are added and the previous ones disabled in one transaction; committed or abandoned,
//!   they end as for a running VM, by the same plan (`release::plan`).
//!
//! # Ordering
//! ```text
//! prepare   daemon, watch for a start of the VM, images (locked from here), judgement, NBD server
//! take      one transaction: new bitmaps, previous ones disabled
//! activate  exports
//! end       exports, bitmaps, daemon (writes them into the images), files
//! ```
//!
//! # After a crash
//! `release` ends a daemon that was left behind (known by the lock on its log, which it holds from
//! before its start to its end), opens the images anew and looks at their bitmaps.
//! Seen of QEMU 10.0.2's daemon: SIGTERM and `quit` write all persistent bitmaps, also disabled ones
//! and with clients connected; it knows nodes and no drives, and has no `query-status`.

mod daemon;
mod emulator;
mod give_way;
mod images;
mod launch;
mod process;
mod release;
mod snapshot;

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use tresor_disk::{
    Capabilities, Error, ErrorKind, Orphan, Outcome, PrepareRequest, Prepared, ReleaseReport,
    SnapshotProvider, VmDescription, VmState,
};
use tresor_model::{Fact, MachineDefinition, MachineDisk, SnapshotTag, TrackingLedger};

pub(crate) use self::daemon::is_held;
use crate::provider::QemuConfig;

/// The snapshot provider of a VM that does not run.
#[derive(Debug, Clone)]
pub struct StoppedProvider {
    config: Arc<QemuConfig>,
}

impl StoppedProvider {
    /// A provider for the VM that `config.machine` describes.
    #[must_use]
    pub fn new(config: QemuConfig) -> Self {
        Self {
            config: Arc::new(config),
        }
    }

    /// Whether it knows what the VM was.
    pub(crate) fn knows(&self) -> bool {
        self.config.machine.is_some()
    }
}

fn machine(config: &QemuConfig) -> Result<&MachineDefinition, Error> {
    let step = "find out what a VM is that does not run and was never seen running";
    let machine = config.machine.as_ref();
    machine.ok_or_else(|| Error::new(ErrorKind::Unreachable, step))
}

/// The disks whose images may hold bitmaps of ours.
fn tracked(machine: &MachineDefinition) -> impl Iterator<Item = &MachineDisk> {
    machine.disks.iter().filter(|disk| {
        let writable = !disk.read_only && !disk.shared;
        disk.excluded.is_none() && writable && disk.format == "qcow2" && disk.path.is_some()
    })
}

#[async_trait]
impl SnapshotProvider for StoppedProvider {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            multi_disk: true,
            persistent_tracking: true,
            guest_safe_fleecing: true,
        }
    }

    /// The machine as it was last seen. Opens nothing, so it does not know whether the images are
    /// there and free.
    async fn describe(&self) -> Result<VmDescription, Error> {
        let mut machine = machine(&self.config)?.clone();
        let (observer, now) = ("last-seen", Timestamp::now());
        let mut facts = vec![Fact::absent("qemu.pid", observer, now)];
        let mut kept = Vec::with_capacity(machine.attachments.len());
        for mut attachment in machine.attachments {
            match tokio::fs::metadata(&attachment.path).await {
                Ok(metadata) => {
                    attachment.size = metadata.len();
                    kept.push(attachment);
                }
                Err(error) => {
                    let name = format!("machine.{}", attachment.name);
                    facts.push(Fact::not_observed(&name, error.to_string(), observer, now));
                }
            }
        }
        machine.attachments = kept;
        Ok(VmDescription {
            id: machine.id,
            state: VmState::Stopped,
            machine,
            facts,
        })
    }

    async fn prepare(&self, request: PrepareRequest) -> Result<Box<dyn Prepared>, Error> {
        snapshot::prepare(Arc::clone(&self.config), request).await
    }

    async fn release(&self, tag: &SnapshotTag, outcome: Outcome) -> Result<ReleaseReport, Error> {
        release::release(&self.config, tag, outcome).await
    }

    async fn find_orphans(&self, keep: &[TrackingLedger]) -> Result<Vec<Orphan>, Error> {
        release::find_orphans(&self.config, keep).await
    }
}
