//! Freezes of a real guest by its real agent. Needs what `cargo xtask setup` builds.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tresor_link::{FreezeRequest, GuardCommand, QemuGuestAgent, QuiesceErrorKind, Quiescer as _};
use tresor_model::Consistency;
use tresor_testkit::Guest;

const GUARD: &str = env!("CARGO_BIN_EXE_tresor-thaw-guard");

const REQUEST: FreezeRequest = FreezeRequest {
    freeze_limit: Duration::from_secs(20),
    hold_limit: Duration::from_secs(60),
};

async fn guest() -> Guest {
    Guest::builder().data_disk().start().await.unwrap()
}

fn agent(guest: &Guest) -> QemuGuestAgent {
    QemuGuestAgent::new(&guest.agent_socket(), GuardCommand::new(GUARD))
}

/// Writes end only in a guest that is thawed.
async fn assert_thawed(guest: &Guest) {
    let write = "echo x > /data/probe && sync && echo x > /probe && sync";
    guest
        .exec_within(write, Duration::from_secs(60))
        .await
        .unwrap()
        .ok()
        .unwrap();
}

async fn is_frozen(guest: &Guest) -> bool {
    let probe = "sh -c 'echo x > /data/frozen-probe && sync && touch /run/wrote'";
    guest.start_background(probe).await.unwrap();
    let seen = guest.exec("sleep 1; test -e /run/wrote").await.unwrap();
    seen.code != 0
}

/// A guard driven by hand: its standard input is the parent's life.
struct ByHand(Child);

impl ByHand {
    fn frozen(guest: &Guest, hold_ms: u32) -> Self {
        let child = Command::new(GUARD)
            .arg(guest.agent_socket())
            .args(["20000", &hold_ms.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut guard = Self(child);
        assert_eq!(guard.line(), "\"ready\"");
        guard
            .0
            .stdin
            .as_mut()
            .unwrap()
            .write_all(b"\"freeze\"\n")
            .unwrap();
        assert!(guard.line().starts_with("{\"frozen\""));
        guard
    }

    fn line(&mut self) -> String {
        // One byte at a time: what comes behind the line belongs to the next call.
        let mut line = String::new();
        let mut reader = BufReader::with_capacity(1, self.0.stdout.as_mut().unwrap());
        reader.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[tokio::test]
async fn freezes_thaws_and_says_what_was_quiesced() {
    let guest = guest().await;
    assert!(!is_frozen(&guest).await, "the probe itself can tell");
    guest.exec("rm /run/wrote").await.unwrap().ok().unwrap();
    let mut agent = agent(&guest);
    let info = agent.probe(Duration::from_secs(10)).await.unwrap();
    assert!(info.can_freeze, "{info:?}");
    agent.flush(Duration::from_secs(60)).await.unwrap();
    for _ in 0..2 {
        let freeze = agent.freeze(REQUEST).await.unwrap();
        assert!(freeze.file_systems >= 2, "{freeze:?}");
        assert!(is_frozen(&guest).await);
        let thaw = agent.thaw().await.unwrap();
        assert!(thaw.held, "{thaw:?}");
        assert_eq!(thaw.consistency, Consistency::Application, "{thaw:?}");
        assert_thawed(&guest).await;
        let expedited = guest.exec("cat /sys/kernel/rcu_expedited").await.unwrap();
        assert_eq!(expedited.output.trim(), "0", "the hook puts it back");
        guest.exec("rm -f /run/wrote").await.unwrap();
    }
}

#[tokio::test]
async fn without_scripts_a_freeze_is_good_for_file_systems_only() {
    let guest = guest().await;
    guest
        .exec("rm -f /etc/tresor/fsfreeze-hook.d/*")
        .await
        .unwrap()
        .ok()
        .unwrap();
    let mut agent = agent(&guest);
    agent.freeze(REQUEST).await.unwrap();
    let thaw = agent.thaw().await.unwrap();
    assert_eq!(thaw.consistency, Consistency::FileSystem, "{thaw:?}");
    assert!(thaw.held);
}

#[tokio::test]
async fn a_failed_script_costs_application_consistency() {
    let guest = guest().await;
    let script = "printf '#!/bin/sh\\nexit 1\\n' > /etc/tresor/fsfreeze-hook.d/60-db \
                  && chmod 755 /etc/tresor/fsfreeze-hook.d/60-db";
    guest.exec(script).await.unwrap().ok().unwrap();
    let mut agent = agent(&guest);
    agent.freeze(REQUEST).await.unwrap();
    let thaw = agent.thaw().await.unwrap();
    assert_eq!(thaw.consistency, Consistency::FileSystem, "{thaw:?}");
    assert!(thaw.evidence.contains("60-db"), "{thaw:?}");
}

/// I1: the parent dies between freeze and thaw.
#[tokio::test]
async fn the_guest_thaws_when_the_parent_dies() {
    let guest = guest().await;
    let mut guard = ByHand::frozen(&guest, 60_000);
    assert!(is_frozen(&guest).await);
    drop(guard.0.stdin.take());
    assert_thawed(&guest).await;
    assert!(guard.line().contains("\"held\":true"));
}

/// I1: nobody asks for the thaw.
#[tokio::test]
async fn the_guest_thaws_at_the_hold_limit() {
    let guest = guest().await;
    // The limit counts from the end of the freeze's own: 20 s + 1 s.
    let mut guard = ByHand::frozen(&guest, 1_000);
    assert_thawed(&guest).await;
    assert!(guard.line().contains("\"held\":false"));
}

/// I1: the guard dies between freeze and thaw.
#[tokio::test]
async fn the_guest_thaws_when_the_guard_dies() {
    let guest = guest().await;
    let mut agent = agent(&guest);
    agent.freeze(REQUEST).await.unwrap();
    kill_guard_of(&guest);
    let thaw = agent.thaw().await.unwrap();
    assert!(!thaw.held, "{thaw:?}");
    assert_thawed(&guest).await;
}

fn kill_guard_of(guest: &Guest) {
    let socket = guest.agent_socket();
    let mut killed = 0;
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let command_line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let words: Vec<_> = command_line.split(|byte| *byte == 0).collect();
        if words.first() == Some(&GUARD.as_bytes())
            && words.get(1) == Some(&socket.as_os_str().as_encoded_bytes())
        {
            let pid = process.file_name().into_string().unwrap();
            assert!(
                Command::new("kill")
                    .args(["-KILL", &pid])
                    .status()
                    .unwrap()
                    .success()
            );
            killed += 1;
        }
    }
    assert_eq!(killed, 1);
}

/// Both died: the next process thaws.
#[tokio::test]
async fn the_next_process_thaws_what_both_left_frozen() {
    let guest = guest().await;
    drop(ByHand::frozen(&guest, 60_000)); // killed with SIGKILL
    assert!(is_frozen(&guest).await);
    agent(&guest).recover().await.unwrap();
    assert_thawed(&guest).await;
    agent(&guest).recover().await.unwrap();
}

/// An agent that hangs in the freeze and comes back: thawed, and the error says what happened.
#[tokio::test]
async fn a_freeze_that_comes_late_is_thawed() {
    let guest = guest().await;
    let slow = "printf '#!/bin/sh\\n[ \"$1\" = freeze ] && sleep 5\\nexit 0\\n' \
                > /etc/tresor/fsfreeze-hook.d/10-slow && chmod 755 /etc/tresor/fsfreeze-hook.d/10-slow";
    guest.exec(slow).await.unwrap().ok().unwrap();
    let mut agent = agent(&guest);
    let request = FreezeRequest {
        freeze_limit: Duration::from_secs(1),
        ..REQUEST
    };
    let error = agent.freeze(request).await.unwrap_err();
    assert_eq!(error.kind, QuiesceErrorKind::FreezeTimedOut, "{error}");
    assert_thawed(&guest).await;
}

#[tokio::test]
async fn a_hanging_agent_is_silent() {
    let guest = guest().await;
    guest
        .exec("kill -STOP $(pidof qemu-ga)")
        .await
        .unwrap()
        .ok()
        .unwrap();
    let error = agent(&guest)
        .probe(Duration::from_secs(2))
        .await
        .unwrap_err();
    assert_eq!(error.kind, QuiesceErrorKind::Silent, "{error}");
}
