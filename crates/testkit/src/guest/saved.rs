//! Starting from a saved state: booted once per kind of guest, kept in `target/guest/states`.
//!
//! The name of a state is made from everything that it depends on; a state whose inputs changed
//! is simply not found. It counts only when its `complete` file is there, so a state whose making
//! was cut short is made again.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::json;

use super::{
    Guest,
    builder::private_dir,
    command::{Machine, Places, arguments},
    disk::{DiskPlan, GuestDisk, copy_file},
    lock_file,
};
use crate::{Assets, LONG, QemuProgram};

pub(super) async fn start(
    machine: Machine,
    assets: Assets,
    program: QemuProgram,
    plans: &[DiskPlan],
) -> Result<Guest> {
    let state = prepare(&machine, &assets, &program, plans).await?;
    let dir = private_dir()?;
    let mut disks = Vec::new();
    for plan in plans {
        let disk = plan.in_dir(dir.path());
        copy_file(&plan.in_dir(&state).path, &disk.path).await?;
        disks.push(disk);
    }
    let memory = state.join("memory");
    let mut guest = Guest::new(machine, assets, program, disks, dir);
    guest.launch(Some(&memory)).await?;
    Ok(guest)
}

/// The directory of a complete state; makes it when it is not there.
async fn prepare(
    machine: &Machine,
    assets: &Assets,
    program: &QemuProgram,
    plans: &[DiskPlan],
) -> Result<PathBuf> {
    let all = Assets::dir().join("states");
    fs::create_dir_all(&all)?;
    let key = key(machine, assets, program, plans);
    let state = all.join(&key);
    if state.join("complete").exists() {
        return Ok(state);
    }
    let _lock = lock_file(&all.join(format!("{key}.lock"))).await?;
    if state.join("complete").exists() {
        return Ok(state);
    }
    if state.exists() {
        fs::remove_dir_all(&state)?;
    }
    fs::create_dir_all(&state)?;
    make(machine, assets, program, plans, &state)
        .await
        .context("cannot make the saved state")?;
    Ok(state)
}

async fn make(
    machine: &Machine,
    assets: &Assets,
    program: &QemuProgram,
    plans: &[DiskPlan],
    state: &Path,
) -> Result<()> {
    let dir = private_dir()?;
    let mut disks = Vec::new();
    for plan in plans {
        disks.push(plan.make(assets, state).await?);
    }
    let (machine, assets, program) = (machine.clone(), assets.clone(), program.clone());
    let mut guest = Guest::new(machine, assets, program, disks, dir);
    guest.launch(None).await?;
    guest.exec("sync").await?.ok()?;
    let uri = format!("file:{}", state.join("memory").display());
    let monitor = guest.monitor()?;
    monitor.execute("stop", json!({})).await?;
    monitor.execute("migrate", json!({ "uri": uri })).await?;
    tokio::time::timeout(LONG, migrated(&guest))
        .await
        .context("saving the state takes too long")??;
    guest.quit().await?;
    fs::write(state.join("complete"), "")?;
    Ok(())
}

async fn migrated(guest: &Guest) -> Result<()> {
    loop {
        let answer = guest.monitor()?.execute("query-migrate", json!({})).await?;
        match answer["status"].as_str() {
            Some("completed") => return Ok(()),
            Some("failed" | "cancelled") => anyhow::bail!("QEMU cannot save its state: {answer}"),
            _ => tokio::time::sleep(super::POLL).await,
        }
    }
}

/// Everything that the state depends on, and nothing that may differ between two starts.
fn key(machine: &Machine, assets: &Assets, program: &QemuProgram, plans: &[DiskPlan]) -> String {
    let nowhere = Places {
        dir: PathBuf::from("/"),
    };
    let disks: Vec<GuestDisk> = plans
        .iter()
        .map(|plan| plan.in_dir(Path::new("/")))
        .collect();
    // Neither name nor UUID is seen by what runs in the guest.
    let nameless = Machine {
        name: String::new(),
        uuid: uuid::Uuid::nil(),
        ..machine.clone()
    };
    let words = arguments(&nameless, assets, program, &disks, &nowhere);
    let mut hasher = DefaultHasher::new();
    (&words, plans, &assets.stamp, &program.version).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
