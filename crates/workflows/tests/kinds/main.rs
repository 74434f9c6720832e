//! Every kind of job: each sub-task run twice, each one failing, the process dying at each record. A kind
//! without these tests does not compile.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod acts;
mod world;

use tresor_jobs::testing::check_plan;
use tresor_model::JobKind;

use acts::{
    BackUpDatabase, CheckAll, CollectAll, CopyAll, ExpireOne, RepairAll, RestoreOne, VerifyAll,
    VerifyPart,
};
use world::Of;

async fn check(kind: JobKind) {
    match kind {
        // It acts on a VM: killed at each of its records with real guests in crates/tresor/tests/e2e
        // (`interrupts`), which goes through all of these points.
        JobKind::Backup => assert!(!tresor_workflows::backup::kill_points().is_empty()),
        JobKind::Restore => check_plan(&Of::new(RestoreOne)).await,
        JobKind::Verify => {
            check_plan(&Of::new(VerifyAll)).await;
            check_plan(&Of::new(VerifyPart)).await;
        }
        JobKind::Copy => check_plan(&Of::new(CopyAll)).await,
        JobKind::Repair => check_plan(&Of::new(RepairAll)).await,
        JobKind::Check => check_plan(&Of::new(CheckAll)).await,
        JobKind::Expire => check_plan(&Of::new(ExpireOne)).await,
        JobKind::Collect => check_plan(&Of::new(CollectAll)).await,
        JobKind::Catalog => check_plan(&Of::new(BackUpDatabase)).await,
    }
}

#[tokio::test]
async fn every_kind_survives_repetition_failure_and_crash() {
    for kind in JobKind::ALL {
        check(kind).await;
    }
}

/// What has nothing to take back is ended by its record alone, whatever its sub-tasks are called.
#[tokio::test]
async fn what_the_host_role_ends_without_a_plan_has_no_undo() {
    let recorded = [
        acts::recorded(&Of::new(RestoreOne)).await,
        acts::recorded(&Of::new(VerifyAll)).await,
        acts::recorded(&Of::new(CopyAll)).await,
        acts::recorded(&Of::new(ExpireOne)).await,
        acts::recorded(&Of::new(CollectAll)).await,
    ];
    for job in recorded {
        let plan = tresor_jobs::JobPlan::nothing_to_take_back(&job);
        assert_eq!(plan.specs(), job.sub_tasks, "{:?}", job.kind);
    }
}
