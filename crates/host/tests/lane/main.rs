//! The host role with jobs of vaults and recovery points: two vaults in directories, a catalog, a lane.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod place;

use std::{fs, path::Path};

use jiff::Timestamp;
use tresor_jobs::{JobLog as _, JobPlan, NewJob, Owner, testing::dead_owner};
use tresor_model::{JobId, JobKind, JobState};
use tresor_workflows::{
    check, collect,
    copy::{self, CopyOrder},
    expire::{self, Request},
    restore::{self, RestoreFormat, RestoreOrder},
    verify::{VerifyOrder, VerifyWhat},
};

use place::{Place, bytes};

fn now_of<C: Send>(plan: &JobPlan<C>) -> NewJob {
    plan.new_job(Timestamp::now())
}

fn verify(what: VerifyWhat) -> NewJob {
    VerifyOrder::new("main", what).new_job(JobId::generate(), Timestamp::now())
}

fn copy_of(place: &Place) -> NewJob {
    let order = CopyOrder::new(("main", place.main), ("away", place.away));
    now_of(&copy::plan(JobId::generate(), &order))
}

fn restore_to(place: &Place, to: &Path, overwrite: bool) -> NewJob {
    let order = RestoreOrder {
        format: Some(RestoreFormat::Raw),
        overwrite,
        ..RestoreOrder::new("main", (place.point, "web01"), to.to_owned())
    };
    now_of(&restore::plan(JobId::generate(), &order))
}

#[tokio::test]
async fn what_was_queued_is_done_here() {
    let place = Place::new().await;
    let jobs = [
        verify(VerifyWhat::All),
        verify(VerifyWhat::Point { point: place.point }),
        verify(VerifyWhat::SinceLast),
        verify(VerifyWhat::Share {
            share: "50%".parse().unwrap(),
        }),
        copy_of(&place),
        restore_to(&place, Path::new("web"), false),
    ];
    for job in &jobs {
        let ended = place.run(job).await;
        assert_eq!(
            ended.state,
            JobState::Completed,
            "{:?}: {ended:?}",
            job.kind
        );
    }
    let restored = place.state.restored().join("web/vda.raw");
    assert!(fs::read(&restored).unwrap() == bytes());
    let copied = place.catalog.points(&Default::default()).await.unwrap();
    let mut copied = copied.iter().filter_map(|point| point.copied_from);
    assert_eq!(copied.next().unwrap().point, place.point);
    let known = place.catalog.verified(place.main).await.unwrap();
    assert!(known.values().any(|(_, verified)| verified.is_some()));
}

#[tokio::test]
async fn a_restore_stays_below_what_was_allowed_and_replaces_nothing_unasked() {
    let place = Place::new().await;
    let outside = place.dir.path().join("outside");
    let refused = place.run(&restore_to(&place, &outside, true)).await;
    assert_eq!(refused.state, JobState::Failed);
    assert!(refused.cause.unwrap().is("RestoreTargetNotAllowed"));
    assert!(!outside.exists());
    let there = place.state.restored().join("web");
    fs::create_dir_all(&there).unwrap();
    let image = there.join("vda.raw");
    fs::write(&image, "mine").unwrap();
    let refused = place
        .run(&restore_to(&place, Path::new("web"), false))
        .await;
    assert!(refused.cause.unwrap().is("RestoreTargetExists"));
    assert_eq!(fs::read(&image).unwrap(), b"mine");
    let done = place.run(&restore_to(&place, Path::new("web"), true)).await;
    assert_eq!(done.state, JobState::Completed, "{done:?}");
    assert!(fs::read(&image).unwrap() == bytes());
}

#[tokio::test]
async fn what_this_host_cannot_do_is_refused_with_its_cause() {
    let place = Place::new().await;
    let none = VerifyWhat::Vm {
        vm: tresor_model::VmId::generate(),
    };
    let mut elsewhere = verify(VerifyWhat::All);
    elsewhere.params["vault"] = "none".into();
    let mut other = verify(VerifyWhat::All);
    other.params = serde_json::json!({ "points": [] });
    for (job, code) in [
        (
            now_of(&check::plan(JobId::generate(), "main", false)),
            "JobNotHere",
        ),
        (verify(none), "PointNotFound"),
        (elsewhere, "VaultNotFound"),
        (other, "Internal"),
    ] {
        let refused = place.run(&job).await;
        assert_eq!(refused.state, JobState::Failed);
        let cause = refused.cause.unwrap();
        assert!(cause.is(code), "{cause}");
    }
    // A host without a catalog restores, and looks after no vault.
    for job in [verify(VerifyWhat::All), copy_of(&place)] {
        let refused = place.run_without_catalog(&job).await;
        assert!(refused.cause.unwrap().is("JobNotHere"));
    }
    let restore = restore_to(&place, Path::new("web"), false);
    let done = place.run_without_catalog(&restore).await;
    assert_eq!(done.state, JobState::Completed, "{done:?}");
}

/// Also when nothing that they worked with is there any more.
#[tokio::test]
async fn jobs_of_a_dead_process_are_ended() {
    let place = Place::new().await;
    let request = Request {
        vault: place.main,
        rules: Default::default(),
        unwanted: Default::default(),
        zone: "UTC".to_owned(),
        grace: "7d".to_owned(),
    };
    let jobs = [
        verify(VerifyWhat::All),
        copy_of(&place),
        restore_to(&place, Path::new("web"), false),
        now_of(&expire::plan(JobId::generate(), "main", &request)),
        now_of(&collect::plan(JobId::generate(), "main", place.main)),
    ];
    for vault in ["main", "away"] {
        fs::remove_dir_all(place.dir.path().join(vault)).unwrap();
    }
    for job in &jobs {
        let owner: Owner = dead_owner();
        let ended = place.run_abandoned(job, &owner).await;
        assert_eq!(ended.state, JobState::Failed, "{:?}", job.kind);
    }
    let cut_off = place.catalog.list(&Default::default()).await.unwrap();
    let kinds: Vec<JobKind> = cut_off.iter().map(|header| header.job.kind).collect();
    assert_eq!(kinds.len(), jobs.len(), "{kinds:?}");
}
