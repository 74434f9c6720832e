//! A VM that this command alone works on, with the runner of its jobs.

use std::{num::NonZeroU64, path::PathBuf, sync::Arc, time::Duration};

use tresor_catalog::{Catalog, VmRecord};
use tresor_disk::SnapshotProvider as _;
use tresor_host::{Manner, VaultPlace, VmWork, open_vault_at, vm_problem};
use tresor_jobs::NewJob;
use tresor_model::{Consistency, JobKind, RereadFraction};
use tresor_problem::Problem;
use tresor_workflows::backup::{self, BackupLimits, BackupOrder};

use super::{
    open::{self, find_vault},
    session::{Runner, Session},
};
use crate::args::{BackupArgs, RequiredConsistency, VaultAccess};

/// The VM, until the value is dropped.
pub(super) struct Held<'a> {
    pub(super) place: VaultPlace,
    pub(super) order: BackupOrder,
    pub(super) runner: Runner<'a>,
    pub(super) work: VmWork,
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
        let vm = open::vm(catalog, &args.vm).await?;
        session.expect_here(catalog, &vm).await?;
        let state = session.state()?;
        let place = find_vault(catalog, args.access.vault.as_deref(), Some(&vm)).await?;
        let order = order(args, &vm);
        let manner = Manner {
            upload_limit: order.upload_limit,
            copies: Some(&state.sessions_cache()),
            ..Manner::default()
        };
        let vault = open_vault_at(&place, &args.access.key.choice(), manner).await?;
        let runner = session.runner(catalog);
        let work = VmWork::take(&state, vm, vault, args.fleecing_dir.as_deref()).await?;
        runner.refuse_busy(&order.lock()).await?;
        Ok(Self {
            place,
            order,
            runner,
            work,
        })
    }

    /// Brings what dead processes left to its end. The VM is looked at before: one that cannot be
    /// reached keeps its dead jobs for a better day.
    ///
    /// # Errors
    /// When the VM cannot be reached, or a job cannot be recovered.
    pub(super) async fn recover(&self) -> Result<(), Problem> {
        let described = self.work.provider.describe().await;
        described.map_err(|error| vm_problem(&error, &self.work.vm))?;
        let again = |job: &NewJob| {
            let order = BackupOrder::of_params(&job.params)?;
            let plan = backup::plan(job.id, &order);
            Ok((plan, self.work.context(job.id, order)))
        };
        let lock = self.order.lock();
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
        queue: false,
    }
}

fn order(args: &BackupArgs, vm: &VmRecord) -> BackupOrder {
    let mut limits = BackupLimits::default();
    if let Some(limit) = args.transfer_limit {
        limits.transfer = Duration::from_secs(limit.into());
    }
    BackupOrder {
        vault: Some(vm.vault.clone()),
        excluded: vm.excluded_disks.iter().cloned().collect(),
        included: vm.included_disks.iter().cloned().collect(),
        fleecing_limit: args.fleecing_limit.map(|mib| mib << 20),
        required: match args.require {
            RequiredConsistency::Crash => Consistency::Crash,
            RequiredConsistency::FileSystem => Consistency::FileSystem,
            RequiredConsistency::Application => Consistency::Application,
        },
        freeze_limit: Duration::from_secs(args.freeze_limit.into()),
        limits,
        read_limit: args.read_limit.and_then(mib_per_second),
        upload_limit: args.upload_limit.and_then(mib_per_second),
        reread: args.reread,
        ..BackupOrder::new(vm.id, &vm.name)
    }
}

/// In bytes per second.
fn mib_per_second(limit: u32) -> Option<NonZeroU64> {
    NonZeroU64::new(u64::from(limit) << 20)
}
