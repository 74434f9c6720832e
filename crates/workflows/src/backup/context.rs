//! What a backup works with.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use tresor_disk::{Outcome, Prepared, Session, SnapshotProvider, VmDescription};
use tresor_jobs::Scope;
use tresor_link::Quiescer;
use tresor_model::{
    ConsistencyReport, DiskRecord, Extent, Fact, JobId, MachineDefinition, RecoveryPoint,
    StreamName, StreamRecord,
};
use tresor_problem::Problem;
use tresor_vault::{Ended, Vault, WriteSession};

use super::{BackupOrder, session_of, tag_of};
use crate::translate::{snapshot_problem, vault_problem};

/// What is wanted, and what it needs of the host it runs on.
#[derive(Debug, Clone)]
pub struct BackupRequest {
    /// What is recorded of it.
    pub order: BackupOrder,
    /// The VM's QMP socket, for texts.
    pub socket: String,
    /// Where fleecing images go.
    pub fleecing_dir: PathBuf,
    /// Where this machine keeps what it knows of the vault's index between backups.
    pub index_cache: Option<PathBuf>,
}

/// The ports a backup uses.
pub struct BackupServices {
    /// The VM's disks.
    pub provider: Arc<dyn SnapshotProvider>,
    /// The VM's guest; `None` when no channel is registered.
    pub quiescer: Option<Box<dyn Quiescer>>,
    /// The vault.
    pub vault: Vault,
}

/// A backup's services, request, and what its sub-tasks hand to each other.
pub struct BackupContext {
    pub(super) job: JobId,
    pub(super) request: BackupRequest,
    pub(super) services: BackupServices,
    pub(super) described: Option<VmDescription>,
    /// The point before.
    pub(super) parent: Option<RecoveryPoint>,
    /// Whether the point before is of another domain, so that nothing is built on it.
    pub(super) is_elsewhere: bool,
    /// Disks of the parent that another machine may have written and that the VM vouches for.
    pub(super) vouched: Vec<StreamName>,
    /// Name of each disk in the parent, for those that are there.
    pub(super) bases: BTreeMap<StreamName, StreamName>,
    /// What each of the parent's disks has lost in the vault: it is read from the disk again.
    pub(super) lost: BTreeMap<StreamName, Vec<Extent>>,
    /// Packs that are marked as damaged now.
    pub(super) damage_seen: Vec<String>,
    pub(super) facts: Vec<Fact>,
    /// What the guest's writes took before anything of ours was in their way.
    pub(super) usual_write: Option<Duration>,
    pub(super) writer: Option<WriteSession>,
    pub(super) prepared: Option<Box<dyn Prepared>>,
    pub(super) snapshot: Option<Box<dyn Session>>,
    pub(super) taken_at: Option<jiff::Timestamp>,
    pub(super) consistency: Option<ConsistencyReport>,
    pub(super) disks: Vec<DiskRecord>,
    pub(super) attachments: Vec<StreamRecord>,
    pub(super) warnings: Vec<String>,
    /// The machine as it was seen running, before any policy.
    pub seen: Option<MachineDefinition>,
    /// The point, once it is committed.
    pub point: Option<RecoveryPoint>,
}

impl BackupContext {
    /// A context for a run that has not begun, or for unwinding one that died.
    #[must_use]
    pub fn new(job: JobId, request: BackupRequest, services: BackupServices) -> Self {
        Self {
            job,
            request,
            services,
            described: None,
            parent: None,
            is_elsewhere: false,
            vouched: Vec::new(),
            bases: BTreeMap::new(),
            lost: BTreeMap::new(),
            damage_seen: Vec::new(),
            seen: None,
            facts: Vec::new(),
            usual_write: None,
            writer: None,
            prepared: None,
            snapshot: None,
            taken_at: None,
            consistency: None,
            disks: Vec::new(),
            attachments: Vec::new(),
            warnings: Vec::new(),
            point: None,
        }
    }

    /// Ends what the job left, as the vault says: the new bitmap counts only when the session was
    /// committed.
    pub(super) async fn unwind(&mut self) -> Result<(), Problem> {
        self.writer = None;
        let vault = &self.services.vault;
        let ended = vault.abort_session(session_of(self.job)).await;
        let ended = ended.map_err(|error| vault_problem(&error, vault.location()));
        let outcome = match ended {
            Ok(Ended::WasCommitted) => Outcome::Committed,
            Ok(Ended::AbortedNow | Ended::WasAborted) => Outcome::Abandoned,
            // The VM must not carry a snapshot for as long as its vault is away. Abandoned is
            // safe also when the point should be there after all: its bitmap is gone then, and
            // the next backup reads everything.
            Err(_) => Outcome::Abandoned,
        };
        self.snapshot = None;
        self.prepared = None;
        let released = self
            .services
            .provider
            .release(&tag_of(self.job), outcome)
            .await;
        released.map_err(|error| self.snapshot_problem(&error))?;
        ended.map(|_| ())
    }

    /// Warns whoever watches the job, and whoever restores the point.
    pub(super) fn warn(&mut self, scope: &Scope, text: String) {
        self.warnings.push(text.clone());
        scope.warn(text);
    }

    /// The same for a problem that did not stop the job.
    pub(super) fn warn_of(&mut self, scope: &Scope, problem: Problem) {
        self.warnings.push(problem.to_string());
        scope.warn(problem);
    }

    pub(crate) fn snapshot_problem(&self, error: &tresor_disk::Error) -> Problem {
        snapshot_problem(error, &self.request.order.vm_name, &self.request.socket)
    }

    pub(crate) fn vault_problem(&self, error: &tresor_vault::Error) -> Problem {
        vault_problem(error, self.services.vault.location())
    }
}

/// A hand-over that the order of sub-tasks guarantees.
pub(super) fn handed_over<T>(value: Option<T>, what: &str) -> Result<T, Problem> {
    value.ok_or_else(|| {
        tresor_problem::Kind::Internal {
            what: format!("A sub-task ran without {what}."),
        }
        .into()
    })
}
