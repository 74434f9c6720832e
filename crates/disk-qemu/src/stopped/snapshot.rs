//! A snapshot of a VM that does not run: its images, held.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use tresor_disk::{
    BitmapJudgement, Error, ErrorKind, Outcome, PauseMode, PrepareRequest, Prepared, Session,
};
use tresor_model::{Fact, MachineDisk, SnapshotTag, StreamName};
use tresor_qmp::commands::bitmap::{Action, Transaction};

use super::{
    images::{Access, Opened},
    machine, release,
};
use crate::{
    connect::Lease,
    describe::NamedDisk,
    facts, failure,
    layout::Layout,
    prepare::{self, PlannedDisk},
    provider::QemuConfig,
    session::{Holder, QemuSession, Taken},
    take::{add_bitmap, roll},
};

/// The images, held for one snapshot.
struct Held {
    config: Arc<QemuConfig>,
    tag: SnapshotTag,
    opened: Opened,
}

/// A snapshot that is ready to be taken.
struct StoppedSnapshot {
    held: Arc<Held>,
    disks: Vec<PlannedDisk>,
}

/// Opens the images, judges, lets the NBD server listen.
pub(super) async fn prepare(
    config: Arc<QemuConfig>,
    request: PrepareRequest,
) -> Result<Box<dyn Prepared>, Error> {
    let machine = machine(&config)?;
    if machine.id != request.vm {
        let step = format!(
            "prepare a snapshot of VM {}: {} is known",
            request.vm, machine.id
        );
        return Err(Error::new(ErrorKind::WrongVm, step));
    }
    let mut disks = Vec::with_capacity(request.disks.len());
    for wanted in &request.disks {
        let disk = machine.disks.iter().find(|disk| disk.name == wanted.name);
        disks.push(disk.ok_or_else(|| {
            let step = "find the disk in the VM as it was last seen";
            Error::new(ErrorKind::Unsupported, step).on_disk(wanted.name.as_str())
        })?);
    }
    let opened = Opened::open(Access::Hold, &config, &request.tag, request.vm, &disks).await?;
    match plan(&opened, &request, &disks).await {
        Ok(planned) => Ok(Box::new(StoppedSnapshot {
            held: Arc::new(Held {
                tag: request.tag,
                opened,
                config,
            }),
            disks: planned,
        })),
        Err(error) => {
            let error = opened.explain(error);
            if let Err(left) = opened.close().await {
                tracing::warn!(error = %left, "a failed prepare left a storage daemon");
            }
            Err(error)
        }
    }
}

async fn plan(
    opened: &Opened,
    request: &PrepareRequest,
    disks: &[&MachineDisk],
) -> Result<Vec<PlannedDisk>, Error> {
    let client = opened.daemon.client();
    let known = named_disks(&opened.layout, disks);
    let mut planned = prepare::plan_disks(client, &opened.layout, &known, request).await?;
    for disk in &mut planned {
        disk.filtered = false; // nobody writes
        if !disk.persistent {
            disk.bitmap = None; // it would end with the daemon
        }
    }
    prepare::start_server(client, &opened.daemon.socket).await?;
    Ok(planned)
}

/// The opened images as disks of the VM.
fn named_disks(layout: &Layout, disks: &[&MachineDisk]) -> Vec<NamedDisk> {
    let named = layout.disks().filter_map(|disk| {
        let known = disks
            .iter()
            .find(|known| known.name.as_str() == disk.qdev)?;
        Some(NamedDisk {
            name: known.name.clone(),
            device: disk.qdev.clone(),
            front_end: known.front_end.clone(),
            iothread: None, // it belongs to QEMU
            shared: known.shared,
            disk,
        })
    });
    named.collect()
}

#[async_trait]
impl Prepared for StoppedSnapshot {
    fn judgements(&self) -> Vec<(StreamName, BitmapJudgement)> {
        let judged = self.disks.iter();
        judged
            .map(|disk| (disk.name.clone(), disk.judgement.clone()))
            .collect()
    }

    fn facts(&self) -> Vec<Fact> {
        facts::of_disks(&self.disks, Timestamp::now())
    }

    async fn take(self: Box<Self>, _pause: PauseMode) -> Result<Box<dyn Session>, Error> {
        let client = self.held.opened.daemon.client();
        let added = self.disks.iter().filter_map(add_bitmap);
        let actions: Vec<Action> = added.chain(self.disks.iter().flat_map(roll)).collect();
        if !actions.is_empty() {
            let rolled = client.run(&Transaction { actions }).await;
            let rolled = rolled.map_err(failure::qmp("roll the bitmaps"));
            rolled.map_err(|error| self.held.explain(error))?;
        }
        Ok(Box::new(QemuSession::new(Taken {
            lease: Lease::clone(client),
            tag: self.held.tag.clone(),
            socket: self.held.opened.daemon.socket.clone(),
            holder: self.held,
            disks: self.disks,
            paused_for: None,
        })))
    }

    async fn abandon(self: Box<Self>) -> Result<(), Error> {
        let tag = self.held.tag.clone();
        Holder::release(&*self.held, &tag, Outcome::Abandoned).await
    }
}

#[async_trait]
impl Holder for Held {
    async fn lease(&self) -> Result<Lease, Error> {
        Ok(Lease::clone(self.opened.daemon.client()))
    }

    async fn release(&self, tag: &SnapshotTag, outcome: Outcome) -> Result<(), Error> {
        let ended = release::end(&self.config, &self.opened, tag, outcome).await;
        ended.map(|_| ()).map_err(|error| self.explain(error))
    }

    fn explain(&self, error: Error) -> Error {
        self.opened.explain(error)
    }
}
