//! What a policy asks of a backup of a VM.

use std::{num::NonZeroU64, time::Duration};

use tresor_catalog::VmRecord;
use tresor_policy::{Length, Policy};
use tresor_workflows::backup::{BackupCause, BackupLimits, BackupOrder};

/// The order of a job.
#[must_use]
pub fn order(vm: &VmRecord, policy: &Policy, cause: BackupCause) -> BackupOrder {
    let limits = &policy.limits;
    BackupOrder {
        vault: Some(vm.vault.clone()),
        excluded: vm.excluded_disks.iter().cloned().collect(),
        included: vm.included_disks.iter().cloned().collect(),
        required: policy.consistency.lowest,
        wanted: Some(policy.consistency.wanted),
        limits: BackupLimits {
            prepare: duration(limits.prepare),
            snapshot: duration(limits.snapshot),
            transfer: duration(limits.transfer),
            commit: duration(limits.commit),
            release: duration(limits.release),
        },
        read_limit: policy.bandwidth.read_mib_s.and_then(bytes_per_second),
        upload_limit: policy.bandwidth.upload_mib_s.and_then(bytes_per_second),
        cause,
        ..BackupOrder::new(vm.id, &vm.name)
    }
}

fn duration(length: Length) -> Duration {
    Duration::from_secs(length.seconds().into())
}

fn bytes_per_second(mib: u32) -> Option<NonZeroU64> {
    NonZeroU64::new(u64::from(mib) << 20)
}
