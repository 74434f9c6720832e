//! The Debian package: built, installed on a machine with systemd, started, upgraded while a backup runs, removed.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

#[path = "package/machine.rs"]
mod machine;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use machine::{Machine, wait};
use serde_json::Value;
use tresor_testkit::Guest;

/// Builds the package around the program that the tests have.
fn package(out: &Path, version: &str) -> PathBuf {
    let xtask = Path::new(env!("CARGO_BIN_EXE_xtask"));
    let program = xtask.with_file_name("tresor");
    assert!(program.exists(), "build it first: cargo build -p tresor");
    let built = Command::new(xtask)
        .args(["package", "--package-version", version, "--program"])
        .arg(program)
        .arg("--out")
        .arg(out)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{stderr}");
    let found = fs::read_dir(out)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let start = format!("tresor_{version}_");
    let mut found = found.filter(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with(&start) && name.ends_with(".deb")
    });
    found.next().unwrap()
}

/// Rows of a `tresor` command there.
fn tresor(machine: &Machine, args: &str) -> Vec<Value> {
    let text = machine.ok(&format!("tresor --output json --progress none {args}"));
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn configure(machine: &Machine, shared: &Path) {
    let state = shared.join("state");
    let config = format!(
        "state_dir = \"{}\"\n[serve]\nlisten = \"127.0.0.1:7440\"\nstart_gap = \"1s\"\n",
        state.display()
    );
    let mine = shared.join("tresor.toml");
    fs::write(&mine, config).unwrap();
    machine.ok(&format!("cp {} /etc/tresor/tresor.toml", mine.display()));
}

/// A backup that takes a while, and starts soon.
fn protect(machine: &Machine, shared: &Path, guest: &Guest) {
    let policy = "name = \"slow\"\n[[schedules]]\ncalendar = \"*:*\"\nwindow = \"1m\"\n\
                  [retention]\ndaily = 7\n[bandwidth]\nupload_mib_s = 8\n";
    fs::write(shared.join("slow.toml"), policy).unwrap();
    let dir = shared.display();
    tresor(machine, &format!("vault create {dir}/vault"));
    tresor(machine, &format!("policies set {dir}/slow.toml"));
    let (qmp, agent) = (guest.qmp_socket(), guest.agent_socket());
    tresor(
        machine,
        &format!(
            "vm add web01 --qmp {} --agent {}",
            qmp.display(),
            agent.display()
        ),
    );
    tresor(machine, "protect web01 --policy slow");
}

/// The backup that transfers.
fn in_transfer(machine: &Machine) -> Option<String> {
    let jobs = tresor(machine, "jobs list --limit 9");
    let mut jobs = jobs
        .iter()
        .filter(|job| job["kind"] == "backup" && job["state"] == "in_progress");
    let job = jobs.next()?["job"].as_str()?.to_owned();
    let shown = tresor(machine, &format!("jobs show {job}"));
    let tasks = shown[0]["view"]["sub_tasks"].as_array()?.iter();
    let mut tasks = tasks.filter(|task| task["name"] == "Transfer data to vault");
    (tasks.next()?["state"] == "started").then_some(job)
}

fn assert_installed_as_it_should_be(machine: &Machine) {
    assert_eq!(machine.ok("dpkg --verify tresor"), "");
    machine.ok("tresor --version");
    machine.ok("gzip -t /usr/share/man/man1/tresor-serve.1.gz /usr/share/man/man1/tresor.1.gz");
    machine.ok("bash -n /usr/share/bash-completion/completions/tresor");
    machine.ok("tresor config check /etc/tresor/tresor.toml");
    for unit in ["tresor.service", "tresor-host.service"] {
        assert_eq!(machine.property(unit, "ActiveState"), "inactive", "{unit}");
        assert_eq!(
            machine.property(unit, "UnitFileState"),
            "disabled",
            "{unit}"
        );
        let said = machine.ok(&format!("systemd-analyze verify --man=no {unit} 2>&1"));
        assert!(!said.contains("tresor"), "{said}");
        machine.ok(&format!("systemd-analyze security --threshold=42 {unit}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_package_is_installed_started_upgraded_under_a_backup_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let shared = dir.path().to_owned();
    let old = package(&shared, "0.1.0");
    let new = package(&shared, "0.1.1");
    let guest = Guest::builder().data_disk().start().await.unwrap();
    let filled = guest
        .exec("tresor-workload churn --dir /data/big --mib 192 --file-mib 192 && sync")
        .await;
    filled.unwrap().ok().unwrap();
    // QEMU is on this machine, so the places where it and Tresor meet are the same on both.
    let runtime = Path::new("/run/tresor");
    fs::create_dir_all(runtime).unwrap();
    let machine = Machine::boot(&shared.join("boot.log"), &[&shared, guest.dir(), runtime]);

    machine.ok(&format!("dpkg -i {}", old.display()));
    assert_installed_as_it_should_be(&machine);
    configure(&machine, &shared);
    // It returns when the service has said that it is ready.
    machine.ok("systemctl enable --now tresor.service");
    let status = machine.property("tresor.service", "StatusText");
    assert!(
        status.contains("serves at https://127.0.0.1:7440/"),
        "{status}"
    );
    protect(&machine, &shared, &guest);
    let job = wait("a transfer", || in_transfer(&machine));

    let before = machine.property("tresor.service", "MainPID");
    machine.ok(&format!("dpkg -i {}", new.display()));
    assert_eq!(machine.ok("dpkg-query -W -f '${Version}' tresor"), "0.1.1");
    wait("the old process to wait for its job", || {
        let status = machine.property("tresor.service", "StatusText");
        status.contains("waits for 1 job").then_some(())
    });
    assert_eq!(machine.property("tresor.service", "MainPID"), before);
    wait("the new process", || {
        let after = machine.property("tresor.service", "MainPID");
        let active = machine.property("tresor.service", "ActiveState");
        (after != before && active == "active").then_some(())
    });
    let shown = tresor(&machine, &format!("jobs show {job}"));
    let state = shown[0]["state"].as_str().unwrap();
    assert!(state.starts_with("completed"), "{}", shown[0]);
    assert!(!tresor(&machine, "points list web01").is_empty());
    assert_eq!(machine.property("tresor.service", "NRestarts"), "0");
    let config = machine.ok("cat /etc/tresor/tresor.toml");
    assert!(config.contains("start_gap"), "the file was kept: {config}");

    machine.ok("dpkg -r tresor");
    assert_eq!(
        machine.property("tresor.service", "ActiveState"),
        "inactive"
    );
    machine.ok("test ! -e /usr/bin/tresor -a -e /etc/tresor/tresor.toml");
    machine.ok("dpkg -P tresor");
    // What is left has the catalog and the keys; and the locks of VMs until the next start of the machine.
    let left =
        machine.ok("find /etc /usr /var /run -xdev -name '*tresor*' -not -path '*/tresor-test*'");
    let mut left: Vec<_> = left.lines().collect();
    left.sort_unstable();
    assert_eq!(
        left,
        ["/run/tresor", "/var/lib/tresor"],
        "what a purge leaves"
    );
    machine.ok(&format!(
        "test -e {0}/state/catalog.db -a -e {0}/vault/vault",
        shared.display()
    ));
}
