//! What a backup is asked to do: what the job log keeps of it, on whatever host it runs.

use std::{collections::BTreeSet, num::NonZeroU64, time::Duration};

use serde::{Deserialize, Serialize};
use tresor_model::{Consistency, RereadFraction, StreamName, VmId};
use tresor_problem::{Kind, Problem};

use crate::written::{seconds, text};

/// How long a transfer may take unless asked otherwise: a day.
pub const DEFAULT_TRANSFER_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// What is wanted. As JSON it is the job's parameters: a field may be added with a default, none may
/// change its meaning, since jobs of an older release may have to be unwound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackupOrder {
    /// The VM's identity.
    pub vm: VmId,
    /// The name it is registered under.
    pub vm_name: String,
    /// The name of the vault; `None`: whoever runs the job knows it.
    #[serde(default)]
    pub vault: Option<String>,
    /// Disks to leave out.
    #[serde(default)]
    pub excluded: BTreeSet<StreamName>,
    /// Disks to back up though they are shared.
    #[serde(default)]
    pub included: BTreeSet<StreamName>,
    /// Most bytes of fleecing for a disk.
    #[serde(default)]
    pub fleecing_limit: Option<u64>,
    /// The lowest consistency that is accepted.
    pub required: Consistency,
    /// What is tried for; `None`: the best that can be had.
    #[serde(default)]
    pub wanted: Option<Consistency>,
    /// How long the guest may take to freeze.
    #[serde(default = "freeze_limit", rename = "freeze_limit_s", with = "seconds")]
    pub freeze_limit: Duration,
    /// How long each sub-task may take.
    #[serde(flatten)]
    pub limits: BackupLimits,
    /// Most bytes per second that are read from the disks; `None`: no limit but the guest's health.
    #[serde(default)]
    pub read_limit: Option<NonZeroU64>,
    /// Most bytes per second that are stored; `None`: no limit.
    #[serde(default)]
    pub upload_limit: Option<NonZeroU64>,
    /// Which fraction of the clean blocks is read again and compared.
    #[serde(default, with = "text")]
    pub reread: RereadFraction,
    /// Why there is this job.
    #[serde(default)]
    pub cause: BackupCause,
}

/// Time limits of the sub-tasks. They are part of the recorded table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupLimits {
    /// "Prepare".
    #[serde(default = "prepare", rename = "prepare_limit_s", with = "seconds")]
    pub prepare: Duration,
    /// "Take snapshot".
    #[serde(default = "snapshot", rename = "snapshot_limit_s", with = "seconds")]
    pub snapshot: Duration,
    /// "Transfer data to vault".
    #[serde(default = "transfer", rename = "transfer_limit_s", with = "seconds")]
    pub transfer: Duration,
    /// "Commit recovery point".
    #[serde(default = "commit", rename = "commit_limit_s", with = "seconds")]
    pub commit: Duration,
    /// "Release snapshot".
    #[serde(default = "release", rename = "release_limit_s", with = "seconds")]
    pub release: Duration,
}

/// Why there is a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "why")]
pub enum BackupCause {
    /// Somebody asked for it.
    #[default]
    Asked,
    /// Its start window had come.
    Scheduled {
        /// When the window opened.
        window: jiff::Timestamp,
        /// How often it was tried for this window, with this time.
        attempt: u32,
    },
    /// Its start window was missed.
    CaughtUp {
        /// When the window opened.
        window: jiff::Timestamp,
        /// How often it was tried for this window, with this time.
        attempt: u32,
    },
}

impl Default for BackupLimits {
    fn default() -> Self {
        Self {
            prepare: prepare(),
            snapshot: snapshot(),
            transfer: transfer(),
            commit: commit(),
            release: release(),
        }
    }
}

impl BackupOrder {
    /// An order with nothing special about it.
    #[must_use]
    pub fn new(vm: VmId, vm_name: &str) -> Self {
        Self {
            vm,
            vm_name: vm_name.to_owned(),
            vault: None,
            excluded: BTreeSet::new(),
            included: BTreeSet::new(),
            fleecing_limit: None,
            required: Consistency::Crash,
            wanted: None,
            freeze_limit: freeze_limit(),
            limits: BackupLimits::default(),
            read_limit: None,
            upload_limit: None,
            reread: RereadFraction::default(),
            cause: BackupCause::Asked,
        }
    }

    /// The order of a recorded job.
    ///
    /// # Errors
    /// `Internal` when the parameters are not a backup's.
    pub fn of_params(params: &serde_json::Value) -> Result<Self, Problem> {
        Self::deserialize(params).map_err(|error| {
            let what = format!("The job's parameters are not those of a backup: {error}.");
            Kind::Internal { what }.into()
        })
    }

    /// What the job log keeps of it.
    pub(super) fn to_params(&self) -> serde_json::Value {
        // Strings, numbers and lists of them: nothing that JSON refuses.
        serde_json::to_value(self).unwrap_or_default()
    }

    /// What backups of the VM exclude each other by.
    #[must_use]
    pub fn lock(&self) -> String {
        format!("vm:{}", self.vm)
    }
}

const fn freeze_limit() -> Duration {
    Duration::from_secs(20)
}

const fn prepare() -> Duration {
    Duration::from_secs(600)
}

const fn snapshot() -> Duration {
    Duration::from_secs(300)
}

const fn transfer() -> Duration {
    DEFAULT_TRANSFER_LIMIT
}

const fn commit() -> Duration {
    Duration::from_secs(600)
}

const fn release() -> Duration {
    Duration::from_secs(120)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_comes_back_from_the_log_as_it_was() {
        let mut order = BackupOrder::new(VmId::generate(), "web01");
        order.limits.transfer = Duration::from_secs(77);
        order.read_limit = NonZeroU64::new(1 << 20);
        order.reread = "all".parse().unwrap();
        order.wanted = Some(Consistency::Application);
        order.cause = BackupCause::Scheduled {
            window: jiff::Timestamp::UNIX_EPOCH,
            attempt: 2,
        };
        let again = BackupOrder::of_params(&order.to_params()).unwrap();
        assert_eq!(again, order);
    }

    #[test]
    fn what_the_first_release_recorded_is_understood() {
        let vm = VmId::generate();
        let order = BackupOrder::of_params(&serde_json::json!({
            "vm": vm, "vm_name": "web01", "excluded": ["vdb"], "required": "crash",
            "reread": "1/50", "transfer_limit_s": 3600,
        }));
        let order = order.unwrap();
        assert_eq!(order.limits.transfer, Duration::from_secs(3600));
        assert_eq!(order.limits.prepare, Duration::from_secs(600));
        assert_eq!(order.cause, BackupCause::Asked);
        assert_eq!(order.excluded.len(), 1);
    }

    #[test]
    fn other_parameters_are_refused() {
        let problem = BackupOrder::of_params(&serde_json::json!({ "points": [] })).unwrap_err();
        assert!(
            problem.is("Internal") || problem.is("InternalError"),
            "{problem}"
        );
    }
}
