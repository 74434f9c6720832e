//! Freezes of a real guest by its real agent. Needs what `cargo xtask setup` builds.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

#[path = "support/contract.rs"]
mod contract;
#[path = "support/guards.rs"]
mod guards;
#[path = "support/parent.rs"]
mod parent;

use std::time::Duration;

use contract::REQUEST;
use guards::{Guards, agent};
use parent::FrozenParent;
use tresor_link::{FreezeRequest, QuiesceErrorKind, Quiescer as _};
use tresor_model::Consistency;
use tresor_testkit::{Guest, Qemu};

const LONG: Duration = Duration::from_secs(60);

async fn guest() -> (Guest, Guards) {
    let guest = Guest::builder().data_disk().start().await.unwrap();
    let guards = Guards::of(&guest.agent_socket());
    (guest, guards)
}

async fn ok(guest: &Guest, command: &str) -> String {
    guest
        .exec_within(command, LONG)
        .await
        .unwrap()
        .ok()
        .unwrap()
}

/// Writes end only in a guest that is thawed.
async fn assert_thawed(guest: &Guest) {
    ok(
        guest,
        "echo x > /data/probe && sync && echo x > /probe && sync",
    )
    .await;
}

async fn is_frozen(guest: &Guest) -> bool {
    ok(guest, "rm -f /run/wrote").await;
    let probe = "sh -c 'echo x > /data/frozen-probe && sync && touch /run/wrote'";
    guest.start_background(probe).await.unwrap();
    let wait = "i=0; while [ ! -e /run/wrote ] && [ $i -lt 40 ]; do i=$((i+1)); sleep 0.1; done";
    let seen = guest
        .exec(&format!("{wait}; test -e /run/wrote"))
        .await
        .unwrap();
    seen.code != 0
}

/// Installs an executable for the freeze hook.
async fn hook_script(guest: &Guest, name: &str, body: &str) {
    let path = format!("/etc/tresor/fsfreeze-hook.d/{name}");
    let command = format!("printf '#!/bin/sh\\n{body}\\n' > {path} && chmod 755 {path}");
    ok(guest, &command).await;
}

/// Ends the agent, and has it started again with an option more.
async fn restart_agent_with(guest: &Guest, option: &str) {
    let command = format!(
        "sed -i 's#-l /run/ga.log#-l /run/ga.log {option}#' /etc/tresor/agent && sync \
         && old=$(pidof qemu-ga) && kill $old && \
         until new=$(pidof qemu-ga) && [ \"$new\" != \"$old\" ]; do sleep 0.1; done"
    );
    ok(guest, &command).await;
}

async fn keeps_the_contract(qemu: Qemu) {
    let guest = Guest::builder().qemu(qemu).data_disk().start();
    let guest = guest.await.unwrap();
    let _guards = Guards::of(&guest.agent_socket());
    contract::holds_for(&mut agent(&guest.agent_socket())).await;
    assert_thawed(&guest).await;
}

#[tokio::test]
async fn the_real_agent_keeps_the_contract() {
    keeps_the_contract(Qemu::Host).await;
}

#[tokio::test]
async fn the_real_agent_keeps_the_contract_on_qemu_7_2() {
    keeps_the_contract(Qemu::V7_2).await;
}

#[tokio::test]
async fn a_frozen_guest_is_frozen_and_the_hook_proves_what_it_quiesced() {
    let (guest, _guards) = guest().await;
    assert!(!is_frozen(&guest).await, "the probe itself can tell");
    let mut agent = agent(&guest.agent_socket());
    let before = agent.probe(LONG).await.unwrap();
    assert_eq!(before.has_hook, Some(false), "no freeze left a note yet");
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
    }
    assert_eq!(agent.probe(LONG).await.unwrap().has_hook, Some(true));
}

#[tokio::test]
async fn without_scripts_a_freeze_is_good_for_file_systems_only() {
    let (guest, _guards) = guest().await;
    ok(&guest, "rm -f /etc/tresor/fsfreeze-hook.d/*").await;
    let mut agent = agent(&guest.agent_socket());
    agent.freeze(REQUEST).await.unwrap();
    let thaw = agent.thaw().await.unwrap();
    assert_eq!(thaw.consistency, Consistency::FileSystem, "{thaw:?}");
    assert!(thaw.held);
}

#[tokio::test]
async fn a_failed_script_costs_application_consistency() {
    let (guest, _guards) = guest().await;
    hook_script(&guest, "60-db", "exit 1").await;
    let mut agent = agent(&guest.agent_socket());
    agent.freeze(REQUEST).await.unwrap();
    let thaw = agent.thaw().await.unwrap();
    assert_eq!(thaw.consistency, Consistency::FileSystem, "{thaw:?}");
    assert!(thaw.evidence.contains("60-db"), "{thaw:?}");
}

/// A script that hangs is killed with what it started, and the freeze goes on without it.
#[tokio::test]
async fn a_script_that_hangs_costs_application_consistency_not_the_freeze() {
    let (guest, _guards) = guest().await;
    hook_script(&guest, "70-hangs", "[ \"$1\" = thaw ] || sleep 4321").await;
    let mut agent = agent(&guest.agent_socket());
    let patient = FreezeRequest {
        freeze_limit: LONG,
        ..REQUEST
    };
    agent.freeze(patient).await.unwrap();
    let thaw = agent.thaw().await.unwrap();
    assert!(thaw.held, "{thaw:?}");
    assert_eq!(thaw.consistency, Consistency::FileSystem, "{thaw:?}");
    assert!(thaw.evidence.contains("70-hangs"), "{thaw:?}");
    let left = guest
        .exec("ps -o args; ps -o args | grep -q '[s]leep 4321'")
        .await
        .unwrap();
    assert_eq!(left.code, 1, "{}", left.output); // pgrep: none
}

/// An agent as Red Hat's packages set it up: a freeze works, nothing can be proven beyond it.
#[tokio::test]
async fn an_agent_that_may_not_run_or_read_still_freezes() {
    let (guest, _guards) = guest().await;
    restart_agent_with(&guest, "-b guest-exec,guest-file-open").await;
    let mut agent = agent(&guest.agent_socket());
    assert_eq!(agent.probe(LONG).await.unwrap().has_hook, None);
    let flush = agent.flush(LONG).await.unwrap_err();
    assert_eq!(flush.kind, QuiesceErrorKind::Disabled, "{flush}");
    agent.freeze(REQUEST).await.unwrap();
    let thaw = agent.thaw().await.unwrap();
    assert!(thaw.held);
    assert_eq!(thaw.consistency, Consistency::FileSystem, "{thaw:?}");
    assert!(thaw.evidence.contains("not known"), "{thaw:?}");
}

#[tokio::test]
async fn an_agent_that_may_not_freeze_says_so() {
    let (guest, guards) = guest().await;
    restart_agent_with(&guest, "-b guest-fsfreeze-freeze").await;
    let mut agent = agent(&guest.agent_socket());
    assert!(!agent.probe(LONG).await.unwrap().can_freeze);
    let error = agent.freeze(REQUEST).await.unwrap_err();
    assert_eq!(error.kind, QuiesceErrorKind::Disabled, "{error}");
    guards.ended().await;
}

/// I1: the parent is killed between freeze and thaw.
#[tokio::test]
async fn the_guest_thaws_when_the_parent_is_killed() {
    let (guest, guards) = guest().await;
    let parent = FrozenParent::start(&guest.agent_socket());
    assert!(is_frozen(&guest).await);
    parent.kill();
    assert_thawed(&guest).await;
    guards.ended().await;
}

/// I1: the guard is killed between freeze and thaw.
#[tokio::test]
async fn the_guest_thaws_when_the_guard_is_killed() {
    let (guest, guards) = guest().await;
    let mut agent = agent(&guest.agent_socket());
    agent.freeze(REQUEST).await.unwrap();
    guards.signal("-KILL").await;
    assert_thawed(&guest).await; // before anybody asks
    let thaw = agent.thaw().await.unwrap();
    assert!(!thaw.held, "{thaw:?}");
}

/// I1: the guard is stopped, and keeps the agent's channel.
#[tokio::test]
async fn the_guest_thaws_when_the_guard_is_stopped() {
    let (guest, guards) = guest().await;
    let mut agent = agent(&guest.agent_socket());
    agent.freeze(REQUEST).await.unwrap();
    guards.signal("-STOP").await;
    let thaw = agent.thaw().await.unwrap();
    assert!(!thaw.held, "{thaw:?}");
    assert_thawed(&guest).await;
}

/// I1: both are killed; the next process thaws.
#[tokio::test]
async fn the_next_process_thaws_what_both_left_frozen() {
    let (guest, guards) = guest().await;
    let parent = FrozenParent::start(&guest.agent_socket());
    parent.stop();
    guards.signal("-KILL").await;
    parent.kill();
    assert!(is_frozen(&guest).await);
    agent(&guest.agent_socket()).recover().await.unwrap();
    assert_thawed(&guest).await;
    agent(&guest.agent_socket()).recover().await.unwrap();
}

/// I1: nobody asks for the thaw.
#[tokio::test]
async fn the_guest_thaws_at_the_hold_limit() {
    let (guest, guards) = guest().await;
    let mut agent = agent(&guest.agent_socket());
    let request = FreezeRequest {
        hold_limit: Duration::from_millis(500),
        ..REQUEST
    };
    agent.freeze(request).await.unwrap();
    assert_thawed(&guest).await;
    guards.ended().await;
    assert!(!agent.thaw().await.unwrap().held);
}

/// I1: an agent that hangs in the freeze and comes back is thawed; the error says what happened.
#[tokio::test]
async fn a_freeze_that_comes_late_is_thawed() {
    let (guest, guards) = guest().await;
    hook_script(&guest, "10-slow", "[ \"$1\" = freeze ] && sleep 5; exit 0").await;
    let mut agent = agent(&guest.agent_socket());
    let request = FreezeRequest {
        freeze_limit: Duration::from_secs(1),
        ..REQUEST
    };
    let error = agent.freeze(request).await.unwrap_err();
    assert_eq!(error.kind, QuiesceErrorKind::FreezeTimedOut, "{error}");
    assert_thawed(&guest).await;
    guards.ended().await;
}

/// I1: the agent hangs while the guest is frozen; the guard thaws once it is back.
#[tokio::test]
async fn the_guest_thaws_when_its_agent_is_back() {
    let (guest, guards) = guest().await;
    let mut agent = agent(&guest.agent_socket());
    agent.freeze(REQUEST).await.unwrap();
    ok(&guest, "kill -STOP $(pidof qemu-ga)").await;
    drop(agent);
    let back = "sleep 8; kill -CONT $(pidof qemu-ga)";
    assert!(is_frozen(&guest).await);
    ok(&guest, back).await;
    assert_thawed(&guest).await;
    guards.ended().await;
}

/// I1: the agent is killed while the guest is frozen; the next one is told to thaw.
#[tokio::test]
async fn the_guest_thaws_when_its_agent_was_killed_and_started_again() {
    let (guest, guards) = guest().await;
    let mut agent = agent(&guest.agent_socket());
    agent.freeze(REQUEST).await.unwrap();
    ok(&guest, "kill -KILL $(pidof qemu-ga)").await;
    agent.thaw().await.unwrap();
    assert_thawed(&guest).await;
    guards.ended().await;
}

#[tokio::test]
async fn a_hanging_agent_is_silent() {
    let (guest, _guards) = guest().await;
    ok(&guest, "kill -STOP $(pidof qemu-ga)").await;
    let probe = agent(&guest.agent_socket())
        .probe(Duration::from_secs(2))
        .await;
    let error = probe.unwrap_err();
    assert_eq!(error.kind, QuiesceErrorKind::Silent, "{error}");
}
