//! Backups that are under way.

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Child,
};
use tresor_testkit::Guest;

use crate::lab::{Lab, VM};

/// A guest with enough data that a transfer takes a while.
pub(crate) async fn guest_with_data() -> Guest {
    let guest = Guest::builder()
        .data_disk()
        .iothread(true)
        .start()
        .await
        .unwrap();
    guest
        .exec("tresor-workload churn --dir /data/big --mib 192 --file-mib 192 && sync")
        .await
        .unwrap()
        .ok()
        .unwrap();
    guest
}

/// Starts a backup and waits until a sub-task is done.
pub(crate) async fn backup_until(lab: &Lab, args: &[&str], sub_task: &str) -> Child {
    let mut backup = Backup::start(lab, args);
    backup.wait_for(&format!("{sub_task}: done")).await;
    backup.into_child()
}

/// A backup whose progress is read.
pub(crate) struct Backup {
    child: Child,
    lines: tokio::io::Lines<BufReader<tokio::process::ChildStderr>>,
    seen: String,
}

impl Backup {
    pub(crate) fn start(lab: &Lab, args: &[&str]) -> Self {
        let mut command = lab.command(&[&["backup", VM], args].concat());
        command
            .env("TRESOR_LOG", "off")
            .args(["--progress", "lines"]);
        let mut child = command.spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        Self {
            child,
            lines: BufReader::new(stderr).lines(),
            seen: String::new(),
        }
    }

    /// Waits for a line of progress that begins so.
    pub(crate) async fn wait_for(&mut self, wanted: &str) {
        while let Some(line) = self.lines.next_line().await.unwrap() {
            self.seen.push_str(&line);
            self.seen.push('\n');
            if line.starts_with(wanted) {
                return;
            }
        }
        panic!("no `{wanted}` in: {}", self.seen);
    }

    /// The process. Its progress is read on: whoever writes to a closed stderr must not fail
    /// for it.
    pub(crate) fn into_child(self) -> Child {
        let mut lines = self.lines;
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        self.child
    }
}

/// A guest that stays in its freeze until it is let go: the moment in which a test can look at a
/// backup that is under way, however slow or fast the machine is.
pub(crate) struct HeldFreeze<'a>(&'a Guest);

impl<'a> HeldFreeze<'a> {
    /// Installs a hook that holds the next freeze, before any file system is frozen.
    pub(crate) async fn install(guest: &'a Guest) -> Self {
        let hold = "printf '#!/bin/sh\\n[ \"$1\" = freeze ] || exit 0\\ntouch /run/held\\n\
                    while [ ! -e /run/go ]; do sleep 0.1; done\\n' \
                    > /etc/tresor/fsfreeze-hook.d/98-hold \
                    && chmod 755 /etc/tresor/fsfreeze-hook.d/98-hold";
        guest.exec(hold).await.unwrap().ok().unwrap();
        Self(guest)
    }

    /// Waits until a backup is in the freeze.
    pub(crate) async fn reached(&self) {
        let wait = "while [ ! -e /run/held ]; do sleep 0.1; done";
        self.0.exec(wait).await.unwrap().ok().unwrap();
    }

    /// Lets this freeze and all later ones go on.
    pub(crate) async fn let_go(self) {
        let go = self.0.exec("touch /run/go").await;
        go.unwrap().ok().unwrap();
    }
}

pub(crate) fn signal(pid: u32, name: &str) {
    let status = std::process::Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status();
    assert!(status.unwrap().success());
}
