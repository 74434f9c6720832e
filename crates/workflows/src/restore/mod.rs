//! A restore: the disks and the machine definition of a recovery point, in a directory.
//!
//! | sub-task | action | undo |
//! | --- | --- | --- |
//! | Check target | nothing there would be overwritten, nothing there is in use | none: changes nothing |
//! | Restore disks | each disk and attachment into an image, verified, durable | none: what is there is used by the next try |
//! | Write machine definition | `machine.json` and `boot.sh`, which starts the TPM's emulator too | none |

mod boot;
mod check;
mod disks;
mod machine;
mod order;
mod tpm;

pub use boot::{Replacement, boot_script, plan_boot};
pub use order::RestoreOrder;
pub use tpm::TpmEmulator;
/// Format of restored images.
pub use tresor_transfer::restore::ImageFormat as RestoreFormat;

use std::path::PathBuf;

use tresor_jobs::{JobPlan, RecoveryPolicy};
use tresor_model::{JobId, JobKind, RecoveryPoint, StreamName, StreamRecord};
use tresor_transfer::restore::{ImageFormat, Target};
use tresor_vault::Vault;

/// A file that a restore made.
#[derive(Debug, Clone, serde::Serialize)]
pub struct RestoredFile {
    /// Name of the disk or attachment.
    pub name: StreamName,
    /// The file.
    pub path: PathBuf,
    /// Size of the stream in bytes.
    pub size: u64,
    /// Bytes of data that were read, verified and written.
    pub written: u64,
    /// Bytes that an earlier, interrupted restore had done.
    pub resumed: u64,
}

/// A restore's services, request and result.
pub struct RestoreContext {
    pub(super) vault: Vault,
    pub(super) point: RecoveryPoint,
    pub(super) order: RestoreOrder,
    /// The files, once they are there.
    pub restored: Vec<RestoredFile>,
}

impl RestoreContext {
    /// A context for a run that has not begun. `point` is the order's, read from the vault.
    #[must_use]
    pub fn new(vault: Vault, point: RecoveryPoint, order: RestoreOrder) -> Self {
        Self {
            vault,
            point,
            order,
            restored: Vec::new(),
        }
    }

    /// The streams to restore, each with its file.
    fn targets(&self) -> Vec<(StreamRecord, Target)> {
        let order = &self.order;
        let wanted = |name: &StreamName| order.only.is_empty() || order.only.contains(name);
        let target = |path: PathBuf, format| Target {
            path,
            format,
            overwrite: order.overwrite,
        };
        let disks = self.point.disks.iter();
        let disks = disks.filter(|disk| wanted(&disk.stream.name));
        let disks = disks.map(|disk| {
            let name = &disk.stream.name;
            let format = order.format.unwrap_or_else(|| self.original_format(name));
            (
                disk.stream.clone(),
                target(order.to.join(format!("{name}.{format}")), format),
            )
        });
        let attachments = self.point.attachments.iter();
        let attachments = attachments.filter(|_| order.only.is_empty());
        let attachments = attachments.map(|stream| {
            let path = self.attachment_path(&stream.name);
            (stream.clone(), target(path, ImageFormat::Raw))
        });
        disks.chain(attachments).collect()
    }

    fn attachment_path(&self, name: &StreamName) -> PathBuf {
        let to = &self.order.to;
        let described = &self.point.machine.attachments;
        let attachment = described.iter().find(|attachment| attachment.name == *name);
        attachment
            .and_then(|attachment| tpm::state_file(to, attachment))
            .unwrap_or_else(|| to.join(name.as_str()))
    }

    /// The format a disk had; raw when it had one that cannot be written.
    fn original_format(&self, name: &StreamName) -> ImageFormat {
        let disks = &self.point.machine.disks;
        let original = disks.iter().find(|disk| disk.name == *name);
        original
            .and_then(|disk| disk.format.parse().ok())
            .unwrap_or(ImageFormat::Raw)
    }
}

/// The table of sub-tasks.
#[must_use]
pub fn plan(job: JobId, order: &RestoreOrder) -> JobPlan<RestoreContext> {
    JobPlan {
        id: job,
        kind: JobKind::Restore,
        subject: order.vm_name.clone(),
        lock: Some(order.lock()),
        recovery: RecoveryPolicy::Unwind,
        // Strings, numbers and lists of them: nothing that JSON refuses.
        params: serde_json::to_value(order).unwrap_or_default(),
        sub_tasks: vec![
            Box::new(check::CheckTarget),
            Box::new(disks::RestoreDisks { limit: order.limit }),
            Box::new(machine::WriteMachine),
        ],
    }
}
