//! What a host may have recorded. Pure: whoever asks finds out first what an answer needs to know.
//!
//! What a host may see needs no rule: the desk looks for jobs in the host's lane, and for VMs among its
//! own. What it has recorded could stand in others' way, and appear as theirs.

use jiff::{SignedDuration, Timestamp};
use tresor_catalog::VmRecord;
use tresor_model::{HostId, JobId, JobKind, VmId};

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
    /// The job is of a time to come.
    Time,
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
            Self::Time => "time",
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
            Self::Time => "the job is of a time to come",
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
        JobKind::Restore
        | JobKind::Verify
        | JobKind::Copy
        | JobKind::Repair
        | JobKind::Check
        | JobKind::Catalog => false,
    }
}

/// How far ahead of the service's clock a host's may be. Lists of jobs are by their ids, whose first part is
/// a time: one of next year would stand above all others for a year.
const AHEAD: SignedDuration = SignedDuration::from_hours(1);

/// A job that a host wants to have recorded as its own.
#[derive(Debug, Clone, Copy)]
pub struct Claimed {
    /// What it does.
    pub kind: JobKind,
    /// Whose VM its lock key is of, when it has one.
    pub lock: Option<Whose>,
    /// Whose VM it is about, when its parameters are those of a backup.
    pub ordered: Option<Whose>,
    /// Whose VM has the name of its subject. A vault's name is another's.
    pub subject: Whose,
    /// When it was made, by its id and by its word; the later one.
    pub made_at: Timestamp,
}

impl Claimed {
    /// Whether the host may.
    ///
    /// # Errors
    /// Why not.
    pub fn judge(&self, now: Timestamp) -> Result<(), Why> {
        use Whose::{Others, Own};
        if !is_done_by_hosts(self.kind) {
            return Err(Why::Kind);
        }
        // Who holds a key keeps all others from it, for as long as it likes.
        if self.lock.is_some_and(|lock| lock != Own) {
            return Err(Why::Lock);
        }
        // The scheduler takes an unfinished backup for the one it waits for, and its end for a point. What
        // was done last for a vault is known by the subject, and so are the jobs of a VM.
        if self.ordered.is_some_and(|vm| vm != Own) || self.subject == Others {
            return Err(Why::Vm);
        }
        match self.made_at.duration_since(now) <= AHEAD {
            true => Ok(()),
            false => Err(Why::Time),
        }
    }
}

/// When a job was made, by the time in its id and by its own word.
#[must_use]
pub fn made_at(id: JobId, created_at: Timestamp) -> Timestamp {
    let time = id.as_uuid().get_timestamp().map(|time| time.to_unix());
    let by_id = time.and_then(|(seconds, _)| Timestamp::from_second(seconds.try_into().ok()?).ok());
    // An id without a time sorts anywhere.
    by_id.unwrap_or(Timestamp::MAX).max(created_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_records_jobs_of_its_own() {
        use Whose::{Nobodys, Others, Own};
        let now = Timestamp::now();
        let good = Claimed {
            kind: JobKind::Backup,
            lock: Some(Own),
            ordered: Some(Own),
            subject: Own,
            made_at: now,
        };
        let with = |change: fn(&mut Claimed)| {
            let mut claimed = good;
            change(&mut claimed);
            claimed.judge(now)
        };
        assert_eq!(good.judge(now), Ok(()));
        assert_eq!(with(|job| (job.lock, job.ordered) = (None, None)), Ok(()));
        assert_eq!(with(|job| job.subject = Nobodys), Ok(()));
        assert_eq!(with(|job| job.kind = JobKind::Collect), Ok(()));
        assert_eq!(with(|job| job.kind = JobKind::Restore), Err(Why::Kind));
        assert_eq!(with(|job| job.kind = JobKind::Verify), Err(Why::Kind));
        assert_eq!(with(|job| job.lock = Some(Others)), Err(Why::Lock));
        assert_eq!(with(|job| job.lock = Some(Nobodys)), Err(Why::Lock));
        assert_eq!(with(|job| job.ordered = Some(Others)), Err(Why::Vm));
        assert_eq!(with(|job| job.ordered = Some(Nobodys)), Err(Why::Vm));
        assert_eq!(with(|job| job.subject = Others), Err(Why::Vm));
        assert_eq!(with(|job| job.made_at += AHEAD), Ok(()));
        let late = |job: &mut Claimed| job.made_at += AHEAD + SignedDuration::from_secs(1);
        assert_eq!(with(late), Err(Why::Time));
    }

    #[test]
    fn a_job_is_as_old_as_its_id_says() {
        let past = Timestamp::UNIX_EPOCH;
        let now = Timestamp::now();
        let by_id = made_at(JobId::generate(), past);
        assert!(by_id.duration_since(now).abs() < SignedDuration::from_mins(1));
        let later = now + SignedDuration::from_hours(5);
        assert_eq!(made_at(JobId::generate(), later), later);
        for timeless in [uuid::Uuid::max(), uuid::Uuid::nil()] {
            let made_at = made_at(JobId::from_uuid(timeless), past);
            assert_eq!(made_at, Timestamp::MAX, "{timeless}");
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
