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
mod tpm;

pub use boot::{Replacement, boot_script, plan_boot};
pub use tpm::TpmEmulator;

use std::path::PathBuf;

use serde_json::json;
use tresor_jobs::{JobPlan, RecoveryPolicy};
use tresor_model::{JobId, JobKind, RecoveryPoint, StreamName, StreamRecord};
use tresor_transfer::restore::{ImageFormat, Target};
use tresor_vault::Vault;

/// What is wanted.
#[derive(Debug, Clone)]
pub struct RestoreRequest {
    /// The point.
    pub point: RecoveryPoint,
    /// The directory.
    pub to: PathBuf,
    /// Only these disks; empty: all.
    pub only: Vec<StreamName>,
    /// Format of the images; `None`: as each was.
    pub format: Option<ImageFormat>,
    /// Whether images that are there may be replaced.
    pub overwrite: bool,
}

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
    pub(super) request: RestoreRequest,
    /// The files, once they are there.
    pub restored: Vec<RestoredFile>,
}

impl RestoreContext {
    /// A context for a run that has not begun.
    #[must_use]
    pub fn new(vault: Vault, request: RestoreRequest) -> Self {
        Self {
            vault,
            request,
            restored: Vec::new(),
        }
    }

    /// The streams to restore, each with its file.
    fn targets(&self) -> Vec<(StreamRecord, Target)> {
        let request = &self.request;
        let wanted = |name: &StreamName| request.only.is_empty() || request.only.contains(name);
        let target = |path: PathBuf, format| Target {
            path,
            format,
            overwrite: request.overwrite,
        };
        let disks = request
            .point
            .disks
            .iter()
            .filter(|disk| wanted(&disk.stream.name));
        let disks = disks.map(|disk| {
            let name = &disk.stream.name;
            let format = request.format.unwrap_or_else(|| self.original_format(name));
            (
                disk.stream.clone(),
                target(request.to.join(format!("{name}.{format}")), format),
            )
        });
        let attachments = request
            .point
            .attachments
            .iter()
            .filter(|_| request.only.is_empty());
        let attachments = attachments.map(|stream| {
            let path = self.attachment_path(&stream.name);
            (stream.clone(), target(path, ImageFormat::Raw))
        });
        disks.chain(attachments).collect()
    }

    fn attachment_path(&self, name: &StreamName) -> PathBuf {
        let to = &self.request.to;
        let described = &self.request.point.machine.attachments;
        let attachment = described.iter().find(|attachment| attachment.name == *name);
        attachment
            .and_then(|attachment| tpm::state_file(to, attachment))
            .unwrap_or_else(|| to.join(name.as_str()))
    }

    /// The format a disk had; raw when it had one that cannot be written.
    fn original_format(&self, name: &StreamName) -> ImageFormat {
        let disks = &self.request.point.machine.disks;
        let original = disks.iter().find(|disk| disk.name == *name);
        original
            .and_then(|disk| disk.format.parse().ok())
            .unwrap_or(ImageFormat::Raw)
    }
}

/// What restores into one directory exclude each other by.
#[must_use]
pub fn lock_of(request: &RestoreRequest) -> String {
    format!("target:{}", request.to.display())
}

/// The table of sub-tasks.
#[must_use]
pub fn plan(job: JobId, request: &RestoreRequest) -> JobPlan<RestoreContext> {
    JobPlan {
        id: job,
        kind: JobKind::Restore,
        subject: request.point.vm_name.clone(),
        lock: Some(lock_of(request)),
        recovery: RecoveryPolicy::Unwind,
        params: json!({ "point": request.point.id, "to": request.to }),
        sub_tasks: vec![
            Box::new(check::CheckTarget),
            Box::new(disks::RestoreDisks),
            Box::new(machine::WriteMachine),
        ],
    }
}
