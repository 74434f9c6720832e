//! The story: protect, change, protect again, destroy, restore elsewhere, look inside.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tresor_testkit::{Booted, Guest, check_ext4};

use super::{checks::Checks, program::Tresor, table};
use crate::term::say;

/// How long the writers work between two steps.
const WORK: Duration = Duration::from_secs(2);

/// The writers inside, each with the check that reads what it left.
const WRITERS: [&str; 3] = [
    "tresor-workload log --dir /log --interval-ms 5",
    "tresor-workload rename-journal --dir /data/quiesced",
    "tresor-workload alternate --a /pair --b /data/pair",
];

/// Waits until each of them has written something.
const BEGUN: &str = "while [ ! -e /run/tresor/log.last ] || [ ! -s /data/quiesced/journal ] \
                     || [ ! -e /run/tresor/alternate.last ]; do sleep 0.05; done";

/// A backup as the table shows it.
pub(crate) struct Backup {
    pub(crate) name: &'static str,
    pub(crate) result: Value,
    pub(crate) wall: Duration,
    /// The last log record that was fsynced before the backup began.
    pub(crate) last_record: u64,
}

/// Tells it; what goes wrong on the way is an error, what is not as promised a failed check.
pub(crate) async fn tell(program: &Path, dir: &Path) -> Result<Checks> {
    let mut checks = Checks::default();
    let home = Tresor::new(program, &dir.join("state"));
    say("booting a virtual machine: Debian's kernel, its own root, ext4 on two qcow2 disks");
    let guest = Guest::builder()
        .name("demo")
        .data_disk()
        .iothread(true)
        .saved_state(false)
        .start()
        .await?;
    for writer in WRITERS {
        guest.start_background(writer).await?;
    }
    guest.exec(BEGUN).await?.ok()?;
    tokio::time::sleep(WORK).await;

    let recovery_key = register(&home, &guest, dir).await?;
    let first = back_up(&home, &guest, "first (full)").await?;
    say("changing about 8 MiB on the data disk");
    guest
        .exec("tresor-workload churn --dir /data/churn --mib 8 && sync")
        .await?
        .ok()?;
    tokio::time::sleep(WORK).await;
    let second = back_up(&home, &guest, "second (incremental)").await?;
    check_second(&mut checks, &second);
    check_guest(&mut checks, &guest).await;

    say("killing the virtual machine, deleting its disks and everything Tresor knew on this host");
    destroy(guest, dir).await?;
    let restored = restore(program, dir, &recovery_key).await?;
    check_disks(&mut checks, &restored.dir).await?;
    say("booting the restored machine from its stored definition");
    let booted = Booted::start(&restored.dir.join("boot.sh"), &restored.dir.join("run")).await?;
    look_inside(&mut checks, &booted, second.last_record).await;

    table::print(&[first, second], &restored.result, restored.wall, &checks);
    Ok(checks)
}

/// Makes the vault and registers the VM; gives the recovery key.
async fn register(home: &Tresor, guest: &Guest, dir: &Path) -> Result<String> {
    let vault = dir.join("vault");
    let created = home.run(&["vault", "create", text(&vault)?]).await?;
    let key = created["recovery_key"]
        .as_str()
        .context("no recovery key was printed")?;
    let (qmp, agent) = (guest.qmp_socket(), guest.agent_socket());
    home.run(&[
        "vm",
        "add",
        "demo",
        "--qmp",
        text(&qmp)?,
        "--agent",
        text(&agent)?,
    ])
    .await?;
    Ok(key.to_owned())
}

async fn back_up(home: &Tresor, guest: &Guest, name: &'static str) -> Result<Backup> {
    say(&format!("backup: {name}"));
    let last = guest.exec("cat /run/tresor/log.last").await?.ok()?;
    let begun = Instant::now();
    let result = home.run(&["backup", "demo"]).await?;
    let last_record = last.trim().parse().context("the writer keeps no count")?;
    Ok(Backup {
        name,
        result,
        wall: begun.elapsed(),
        last_record,
    })
}

fn check_second(checks: &mut Checks, second: &Backup) {
    let total = &second.result["total"];
    checks.note("the second backup read only what had changed", {
        let modes = second.result["disks"].as_array().into_iter().flatten();
        let all = modes
            .clone()
            .all(|disk| disk["read_mode"]["mode"] == "incremental");
        if all {
            Ok(format!("{} bytes", total["read"]))
        } else {
            Err(anyhow::anyhow!("{total}"))
        }
    });
    let consistency = &second.result["consistency"];
    checks.note(
        "the guest's applications were quiesced",
        if consistency["achieved"] == "application" {
            Ok(consistency["proof"].as_str().unwrap_or_default().to_owned())
        } else {
            Err(anyhow::anyhow!("{consistency}"))
        },
    );
}

async fn check_guest(checks: &mut Checks, guest: &Guest) {
    let unharmed = async {
        let status = guest.monitor()?.status().await?;
        ensure!(status == "running", "the VM is {status}");
        guest.exec("test ! -e /run/tresor/io-error").await?.ok()?;
        guest.exec("echo x > /data/after && sync").await?.ok()?;
        Ok("running, thawed, no writer saw an error".to_owned())
    };
    checks.note("the guest came to no harm", unharmed.await);
}

async fn destroy(mut guest: Guest, dir: &Path) -> Result<()> {
    guest.kill().await?;
    let disks: Vec<_> = guest.disks().iter().map(|disk| disk.path.clone()).collect();
    drop(guest);
    for disk in disks {
        ensure!(!disk.exists(), "{} is still there", disk.display());
    }
    fs::remove_dir_all(dir.join("state"))?;
    Ok(())
}

struct Restored {
    dir: std::path::PathBuf,
    result: Value,
    wall: Duration,
}

/// Restores with nothing but the vault and its recovery key.
async fn restore(program: &Path, dir: &Path, recovery_key: &str) -> Result<Restored> {
    say("restoring on a machine that knows nothing but the vault and its recovery key");
    let key = dir.join("recovery-key.txt");
    fs::write(&key, format!("{recovery_key}\n"))?;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
    let elsewhere = Tresor::new(program, &dir.join("state-elsewhere"));
    let (vault, to) = (dir.join("vault"), dir.join("restored"));
    let access = ["--vault", text(&vault)?, "--key-file", text(&key)?];
    elsewhere
        .run(&[&["verify", "latest:demo"], &access[..]].concat())
        .await?;
    let begun = Instant::now();
    let args = [&["restore", "latest:demo", "--to", text(&to)?], &access[..]].concat();
    let result = elsewhere.run(&args).await?;
    Ok(Restored {
        dir: to,
        result,
        wall: begun.elapsed(),
    })
}

/// Before anything boots: a frozen file system has nothing to replay.
async fn check_disks(checks: &mut Checks, dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let image = entry?.path();
        if image
            .extension()
            .is_some_and(|extension| extension == "qcow2")
        {
            let raw = image.with_extension("check");
            let name = image
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let result = async {
                tresor_testkit::raw_copy(&image, &raw).await?;
                check_ext4(&raw).await?;
                Ok("e2fsck finds nothing to replay and nothing to repair".to_owned())
            };
            checks.note(&format!("the file system on {name} is clean"), result.await);
            fs::remove_file(&raw)?;
        }
    }
    Ok(())
}

async fn look_inside(checks: &mut Checks, booted: &Booted, last_record: u64) {
    let at_least = format!("tresor-workload verify log --dir /log --at-least {last_record}");
    let verdicts = [
        (
            "every record fsynced before the freeze is there",
            at_least.as_str(),
        ),
        (
            "what is consistent only when quiesced has not one checksum off",
            "tresor-workload verify rename-journal --dir /data/quiesced",
        ),
        (
            "both disks are of one moment",
            "tresor-workload verify alternate --a /pair --b /data/pair",
        ),
    ];
    for (what, command) in verdicts {
        let verdict = async { booted.exec(command).await?.ok() };
        checks.note(what, verdict.await);
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path is not UTF-8")
}
