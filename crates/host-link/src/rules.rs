//! What a host may have recorded. Pure: whoever asks finds out first what an answer needs to know.
//!
//! What a host may see needs no rule: the desk looks for jobs in the host's lane, and for VMs among its
//! own. What it has recorded could stand in others' way, and appear as theirs.

use tresor_catalog::VmRecord;
use tresor_model::{HostId, JobKind, VmId};

/// Why a host may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It is no request, or something in it is too large.
    Malformed,
    /// The lane is another one's.
    Lane,
    /// Hosts do no such jobs.
    Kind,
    /// The lock key is none of a VM of this host.
    Lock,
    /// The VM is another host's.
    Vm,
    /// The vault has a point of that id, of another VM.
    Point,
    /// There are too many jobs, or the job has too long a story.
    TooMany,
}

impl Why {
    /// The word in a failure.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Lane => "lane",
            Self::Kind => "kind",
            Self::Lock => "lock",
            Self::Vm => "vm",
            Self::Point => "point",
            Self::TooMany => "too-many",
        }
    }

    /// In words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Malformed => "this is no request",
            Self::Lane => "a host has jobs in its own lane only",
            Self::Kind => "a host begins no jobs of this kind",
            Self::Lock => "a host holds keys of its own VMs only",
            Self::Vm => "the VM is another host's",
            Self::Point => "the vault has a point of that id, of another VM",
            Self::TooMany => "there is too much of it already",
        }
    }
}

/// Whose a VM is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// This host's.
    Own,
    /// Another host's, or the service's machine's.
    Others,
    /// Nobody knows of it.
    Nobodys,
}

impl Whose {
    /// As it is registered.
    #[must_use]
    pub fn of(vm: Option<&VmRecord>, host: HostId) -> Self {
        match vm {
            Some(vm) if vm.host == Some(host) => Self::Own,
            Some(_) => Self::Others,
            None => Self::Nobodys,
        }
    }
}

/// The VM whose lock key this is (`BackupOrder::lock`).
#[must_use]
pub fn vm_of_lock(lock: &str) -> Option<VmId> {
    lock.strip_prefix("vm:")?.parse().ok()
}

/// Whether hosts do such jobs, so that one may record that it has begun one.
const fn is_done_by_hosts(kind: JobKind) -> bool {
    match kind {
        JobKind::Backup | JobKind::Expire | JobKind::Collect => true,
        JobKind::Restore | JobKind::Verify | JobKind::Copy | JobKind::Repair | JobKind::Check => {
            false
        }
    }
}

/// Whether a host may record a job of its own. `lock` is whose VM its lock key is of, when it has one;
/// `subject` whose VM has that name.
///
/// # Errors
/// Why not.
pub fn judge_job(kind: JobKind, lock: Option<Whose>, subject: Whose) -> Result<(), Why> {
    if !is_done_by_hosts(kind) {
        return Err(Why::Kind);
    }
    match (lock, subject) {
        // Who holds a key keeps all others from it, for as long as it likes.
        (Some(Whose::Others | Whose::Nobodys), _) => Err(Why::Lock),
        // Lists of jobs are by subject: it would appear among the other VM's.
        (_, Whose::Others) => Err(Why::Vm),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_records_jobs_of_its_own() {
        use Whose::{Nobodys, Others, Own};
        let backup = JobKind::Backup;
        for (kind, lock, subject, expected) in [
            (backup, None, Nobodys, Ok(())),
            (backup, Some(Own), Own, Ok(())),
            (backup, Some(Own), Nobodys, Ok(())),
            (JobKind::Expire, None, Nobodys, Ok(())),
            (JobKind::Collect, None, Nobodys, Ok(())),
            (JobKind::Restore, None, Own, Err(Why::Kind)),
            (JobKind::Verify, None, Nobodys, Err(Why::Kind)),
            (backup, Some(Others), Own, Err(Why::Lock)),
            (backup, Some(Nobodys), Own, Err(Why::Lock)),
            (JobKind::Collect, Some(Nobodys), Nobodys, Err(Why::Lock)),
            (backup, None, Others, Err(Why::Vm)),
            (backup, Some(Own), Others, Err(Why::Vm)),
        ] {
            let judged = judge_job(kind, lock, subject);
            assert_eq!(judged, expected, "{kind:?} {lock:?} {subject:?}");
        }
    }

    #[test]
    fn a_lock_key_names_a_vm() {
        let vm = VmId::from_uuid(uuid::Uuid::from_u128(7));
        assert_eq!(vm_of_lock(&format!("vm:{vm}")), Some(vm));
        for other in [
            "",
            "vm:",
            "vm:web01",
            "collect:00000000-0000-0000-0000-000000000007",
        ] {
            assert_eq!(vm_of_lock(other), None, "{other}");
        }
    }
}
