//! Jobs: unknown, in each other's way, too slow, overtaken.

use std::sync::Arc;

use tresor_backend::LocalBackend;
use tresor_model::SessionId;
use tresor_testkit::Guest;
use tresor_vault::{Ended, KeyMaterial, Vault};

use crate::{
    lab::{Lab, VM, assert_unharmed, bitmaps, finish},
    problems::small_guest,
    running::{Backup, HeldFreeze, guest_with_data, signal},
};

/// Long enough for a test to do what it wants while the guest freezes.
const PATIENT: [&str; 2] = ["--freeze-limit", "200"];

#[tokio::test]
async fn a_job_that_nobody_knows() {
    let lab = Lab::new().await;
    let id = "0192f3c1-0000-7000-8000-000000000000";
    for verb in ["show", "cancel"] {
        let problem = lab.run(&["jobs", verb, id]).await.raises("JobNotFound");
        assert_eq!(problem["fields"]["job"], id);
    }
}

/// The id of the backup that is under way.
async fn running_job(lab: &Lab) -> String {
    let jobs = lab.run(&["jobs", "list"]).await.lines();
    let job = jobs.iter().find(|job| job["state"] == "in_progress");
    let job = job.unwrap_or_else(|| panic!("{jobs:?}"));
    job["job"].as_str().unwrap().to_owned()
}

/// The first backup holds the VM's only QMP connection at this moment; the second one says that
/// it is a backup that is in its way, not an unreachable VM.
#[tokio::test]
async fn a_second_backup_of_the_same_vm() {
    let guest = Guest::builder().data_disk().start().await.unwrap();
    let lab = Lab::with(&guest).await;
    let held = HeldFreeze::install(&guest).await;
    let first = Backup::start(&lab, &PATIENT).into_child();
    held.reached().await;
    let problem = lab.run(&["backup", VM]).await.raises("VmBusy");
    assert_eq!(problem["fields"]["job"], running_job(&lab).await.as_str());
    assert_eq!(problem["fields"]["vm"], VM);
    held.let_go().await;
    finish(&["backup"], first).await.ok();
    assert_unharmed(&guest).await;
}

/// Somebody else who has the vault's key took this backup for dead and ended its session. No
/// second machine can reach the VM's sockets, so the test ends the session itself, as a backup on
/// another machine would.
#[tokio::test]
async fn a_session_that_was_ended_by_another_process() {
    let guest = Guest::builder().data_disk().start().await.unwrap();
    let lab = Lab::with(&guest).await;
    let held = HeldFreeze::install(&guest).await;
    let backup = Backup::start(&lab, &PATIENT).into_child();
    held.reached().await;

    let session: SessionId = running_job(&lab).await.parse().unwrap();
    let backend = LocalBackend::open(&lab.vault()).await.unwrap();
    let key = std::fs::read(lab.state().join("keys/vault.key")).unwrap();
    let key = KeyMaterial::KeyFile(key.into());
    let vault = Vault::open(Arc::new(backend), &key).await.unwrap();
    let ended = vault.abort_session(session).await.unwrap();
    assert_eq!(ended, Ended::AbortedNow);

    held.let_go().await;
    let problem = finish(&["backup"], backup).await.raises("SessionLost");
    assert_eq!(problem["fields"]["session"], session.to_string());
    assert_unharmed(&guest).await;
    assert_eq!(
        bitmaps(&guest).await.len(),
        0,
        "none of a point that is not"
    );
    lab.backup().await;
    lab.run(&["verify"]).await.ok();
}

/// QEMU stands still in the transfer until the limit has passed.
#[tokio::test]
async fn a_transfer_that_takes_too_long() {
    let guest = guest_with_data().await;
    let lab = Lab::with(&guest).await;
    let mut backup = Backup::start(&lab, &["--transfer-limit", "1"]);
    backup.wait_for("Take snapshot: done").await;
    signal(guest.pid().unwrap(), "STOP");
    backup.wait_for("Transfer data to vault: failed").await;
    signal(guest.pid().unwrap(), "CONT");
    let problem = finish(&["backup"], backup.into_child()).await;
    let problem = problem.raises("SubTaskTimedOut");
    assert_eq!(problem["fields"]["limit_s"], "1", "{problem}");
    assert_unharmed(&guest).await;
    lab.backup().await;
}

/// A backup with a limit of its own dies; the next one has another limit and takes it back.
#[tokio::test]
async fn a_dead_backup_with_another_limit_is_taken_back() {
    let guest = small_guest().await;
    let lab = Lab::with(&guest).await;
    let held = HeldFreeze::install(&guest).await;
    let args = [&PATIENT[..], &["--transfer-limit", "4000"]].concat();
    let mut dead = Backup::start(&lab, &args).into_child();
    held.reached().await;
    let job = running_job(&lab).await;
    dead.kill().await.unwrap();
    held.let_go().await;
    lab.backup().await;
    lab.records("JobAbandoned", &job).await;
}
