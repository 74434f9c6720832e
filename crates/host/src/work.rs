//! A VM that this process alone works on, with all that backups of it need.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use tresor_catalog::VmRecord;
use tresor_disk_qemu::VmProvider;
use tresor_link::Quiescer;
use tresor_model::{JobId, MachineDefinition};
use tresor_problem::Problem;
use tresor_vault::Vault;
use tresor_workflows::{
    backup::{BackupContext, BackupOrder, BackupRequest, BackupServices},
    last_point_of, vault_problem,
};

use crate::{
    lock::HostLock,
    state::{StateDir, absolute},
    vm::{guest_agent, provider},
};

/// The VM, until the value is dropped.
pub struct VmWork {
    /// The VM.
    pub vm: VmRecord,
    /// Where its points go.
    pub vault: Vault,
    /// Its disks.
    pub provider: VmProvider,
    fleecing_dir: PathBuf,
    index_cache: PathBuf,
    lock: HostLock,
}

impl VmWork {
    /// Takes the VM's lock on this machine. Fleecing images go where `fleecing_dir` says, else to the
    /// usual place.
    ///
    /// # Errors
    /// `VmBusy` with its holder; `StateUnusable`; what reading the vault says.
    pub async fn take(
        state: &StateDir,
        mut vm: VmRecord,
        vault: Vault,
        fleecing_dir: Option<&Path>,
    ) -> Result<Self, Problem> {
        // Asked first: another job may hold the VM's only QMP connection.
        let lock = HostLock::take(&state.lock_dir(), (vm.id, &vm.name), state.path())?;
        if vm.machine.is_none() {
            vm.machine = last_machine(&vault, &vm).await?;
        }
        let usual = absolute(&state.fleecing_dir());
        let fleecing_dir = fleecing_dir.map_or_else(|| usual.clone(), absolute);
        let provider = provider(&vm, state, vec![fleecing_dir.clone(), usual]);
        Ok(Self {
            vm,
            vault,
            provider,
            fleecing_dir,
            index_cache: absolute(&state.index_cache()),
            lock,
        })
    }

    /// Says in the lock which job it is held for.
    ///
    /// # Errors
    /// `StateUnusable` when the lock file cannot be written.
    pub fn note(&mut self, job: JobId) -> Result<(), Problem> {
        self.lock.note(job)
    }

    /// Where the VM is reached, for texts.
    #[must_use]
    pub fn socket(&self) -> String {
        self.vm.qmp_socket.display().to_string()
    }

    /// What a job on this machine works with: one that begins, or one that is to be unwound.
    #[must_use]
    pub fn context(&self, job: JobId, order: BackupOrder) -> BackupContext {
        let quiescer = guest_agent(&self.vm);
        let services = BackupServices {
            provider: Arc::new(self.provider.clone()),
            quiescer: quiescer.map(|agent| Box::new(agent) as Box<dyn Quiescer>),
            vault: self.vault.clone(),
        };
        let request = BackupRequest {
            order,
            socket: self.socket(),
            fleecing_dir: self.fleecing_dir.clone(),
            index_cache: Some(self.index_cache.clone()),
        };
        BackupContext::new(job, request, services)
    }
}

/// The machine of the newest recovery point: for a VM that was registered by an older release.
async fn last_machine(vault: &Vault, vm: &VmRecord) -> Result<Option<MachineDefinition>, Problem> {
    let point = last_point_of(vault, vm.id).await;
    let point = point.map_err(|error| vault_problem(&error, vault.location()))?;
    Ok(point.map(|point| point.machine))
}
