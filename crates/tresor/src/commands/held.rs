//! A VM that this process alone works on, with all that jobs on it need.

use std::{num::NonZeroU64, path::PathBuf, sync::Arc, time::Duration};

use tresor_catalog::{Catalog, VmRecord};
use tresor_disk::SnapshotProvider as _;
use tresor_disk_qemu::VmProvider;
use tresor_jobs::NewJob;
use tresor_link::Quiescer;
use tresor_model::{Consistency, JobId, JobKind, MachineDefinition, RereadFraction};
use tresor_problem::Problem;
use tresor_vault::Vault;
use tresor_workflows::{
    backup::{self, BackupContext, BackupRequest, BackupServices, DEFAULT_TRANSFER_LIMIT},
    last_point_of, vault_problem,
};

use super::{
    open::{self, Manner, VaultPlace, find_vault, open_with},
    session::{Runner, Session},
    vm::{guest_agent, provider, vm_problem},
};
use crate::{
    args::{BackupArgs, RequiredConsistency, VaultAccess},
    host_lock::HostLock,
};

/// The VM, until the value is dropped.
pub(super) struct Held<'a> {
    pub(super) vm: VmRecord,
    pub(super) place: VaultPlace,
    pub(super) vault: Vault,
    pub(super) provider: VmProvider,
    pub(super) request: BackupRequest,
    pub(super) runner: Runner<'a>,
    lock: HostLock,
}

impl<'a> Held<'a> {
    /// Takes the VM's host lock, opens its vault.
    ///
    /// # Errors
    /// `VmNotFound`, `VmBusy`, what opening a vault says.
    pub(super) async fn take(
        session: &'a Session,
        catalog: &Arc<Catalog>,
        args: &BackupArgs,
    ) -> Result<Self, Problem> {
        let mut vm = open::vm(catalog, &args.vm).await?;
        let state = session.state()?;
        let place = find_vault(catalog, args.access.vault.as_deref(), Some(&vm)).await?;
        let manner = Manner {
            upload_limit: args.upload_limit.and_then(mib_per_second),
            copies: Some(&state.sessions_cache()),
            ..Manner::default()
        };
        let vault = open_with(&place, &args.access, manner).await?;
        let request = request(args, &vm, session)?;
        let runner = session.runner(catalog);
        // Asked first: the other job may hold the VM's only QMP connection.
        let lock = HostLock::take(&state.lock_dir(), (vm.id, &vm.name), state.path())?;
        runner.refuse_busy(&backup::lock_of(&request)).await?;
        if vm.machine.is_none() {
            vm.machine = last_machine(&vault, &vm).await?;
        }
        let fleecing_dirs = fleecing_dirs(&request, session)?;
        let provider = provider(&vm, &state, fleecing_dirs);
        // Checked once, so that the jobs below cannot fail by it.
        guest_agent(&vm)?;
        Ok(Self {
            vm,
            place,
            vault,
            provider,
            request,
            runner,
            lock,
        })
    }

    /// Says in the lock which job it is held for.
    pub(super) fn note(&mut self, job: JobId) -> Result<(), Problem> {
        self.lock.note(job)
    }

    /// A job's services and request.
    pub(super) fn context(&self, job: JobId, request: &BackupRequest) -> BackupContext {
        let quiescer = guest_agent(&self.vm).ok().flatten();
        let services = BackupServices {
            provider: Arc::new(self.provider.clone()),
            quiescer: quiescer.map(|agent| Box::new(agent) as Box<dyn Quiescer>),
            vault: self.vault.clone(),
        };
        BackupContext::new(job, request.clone(), services)
    }

    /// Brings what dead processes left to its end. The VM is looked at before: one that cannot be
    /// reached keeps its dead jobs for a better day.
    ///
    /// # Errors
    /// When the VM cannot be reached, or a job cannot be recovered.
    pub(super) async fn recover(&self) -> Result<(), Problem> {
        let described = self.provider.describe().await;
        described.map_err(|error| vm_problem(&error, &self.vm))?;
        let lock = backup::lock_of(&self.request);
        let again = |job: &NewJob| {
            let request = self.request.as_recorded(&job.params);
            let context = self.context(job.id, &request);
            (backup::plan(job.id, &request), context)
        };
        self.runner
            .recover(JobKind::Backup, Some(&lock), again)
            .await
    }
}

/// Options for work on a VM that is no backup.
pub(super) fn no_backup(
    vm: &str,
    access: VaultAccess,
    fleecing_dir: Option<PathBuf>,
) -> BackupArgs {
    BackupArgs {
        vm: vm.to_owned(),
        access,
        fleecing_dir,
        fleecing_limit: None,
        require: RequiredConsistency::Crash,
        freeze_limit: 20,
        transfer_limit: None,
        read_limit: None,
        upload_limit: None,
        reread: RereadFraction::default(),
    }
}

fn fleecing_dirs(request: &BackupRequest, session: &Session) -> Result<Vec<PathBuf>, Problem> {
    let usual = open::absolute(&session.state()?.fleecing_dir());
    Ok(vec![request.fleecing_dir.clone(), usual])
}

/// The machine of the newest recovery point: for a VM that was registered by an older release.
async fn last_machine(vault: &Vault, vm: &VmRecord) -> Result<Option<MachineDefinition>, Problem> {
    let point = last_point_of(vault, vm.id).await;
    let point = point.map_err(|error| vault_problem(&error, vault.location()))?;
    Ok(point.map(|point| point.machine))
}

fn request(args: &BackupArgs, vm: &VmRecord, session: &Session) -> Result<BackupRequest, Problem> {
    let fleecing_dir = match &args.fleecing_dir {
        Some(dir) => open::absolute(dir),
        None => open::absolute(&session.state()?.fleecing_dir()),
    };
    Ok(BackupRequest {
        vm: vm.id,
        vm_name: vm.name.clone(),
        socket: vm.qmp_socket.display().to_string(),
        excluded: vm.excluded_disks.iter().cloned().collect(),
        included: vm.included_disks.iter().cloned().collect(),
        fleecing_dir,
        index_cache: Some(open::absolute(&session.state()?.index_cache())),
        fleecing_limit: args.fleecing_limit.map(|mib| mib << 20),
        required: match args.require {
            RequiredConsistency::Crash => Consistency::Crash,
            RequiredConsistency::FileSystem => Consistency::FileSystem,
            RequiredConsistency::Application => Consistency::Application,
        },
        freeze_limit: Duration::from_secs(args.freeze_limit.into()),
        transfer_limit: args.transfer_limit.map_or(DEFAULT_TRANSFER_LIMIT, |limit| {
            Duration::from_secs(limit.into())
        }),
        read_limit: args.read_limit.and_then(mib_per_second),
        reread: args.reread,
    })
}

/// In bytes per second.
fn mib_per_second(limit: u32) -> Option<NonZeroU64> {
    NonZeroU64::new(u64::from(limit) << 20)
}
