//! Faults of an agent that the real one does not produce on demand.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

#[path = "support/contract.rs"]
mod contract;
#[path = "support/fake.rs"]
mod fake;
#[path = "support/guards.rs"]
mod guards;

use std::time::Duration;

use contract::REQUEST;
use fake::{FILE_SYSTEMS, FakeAgent, Fault};
use guards::{Guards, agent, command};
use tresor_link::{FreezeRequest, QemuGuestAgent, QuiesceErrorKind, Quiescer as _};
use tresor_model::Consistency;

const LONG: Duration = Duration::from_secs(60);

/// What a freeze of a faulty agent ends in. The guest is thawed then.
async fn freeze_fails(fault: Fault, request: FreezeRequest) -> (QuiesceErrorKind, String) {
    let fake = FakeAgent::start(fault);
    let guards = Guards::of(fake.socket());
    let error = agent(fake.socket()).freeze(request).await.unwrap_err();
    assert!(!fake.is_frozen(), "{error}");
    guards.ended().await;
    (error.kind, error.message)
}

#[tokio::test]
async fn the_scripted_agent_keeps_the_contract() {
    let fake = FakeAgent::start(Fault::Nothing);
    let _guards = Guards::of(fake.socket());
    contract::holds_for(&mut agent(fake.socket())).await;
    assert!(!fake.is_frozen());
}

#[tokio::test]
async fn answers_of_an_earlier_session_are_skipped() {
    let fake = FakeAgent::start(Fault::StaleAnswers);
    let _guards = Guards::of(fake.socket());
    contract::holds_for(&mut agent(fake.socket())).await;
}

#[tokio::test]
async fn a_channel_that_breaks_in_the_freeze_is_thawed_on_a_new_one() {
    let (kind, text) = freeze_fails(Fault::DiesInFreeze, REQUEST).await;
    assert_eq!(kind, QuiesceErrorKind::Silent, "{text}");
}

#[tokio::test]
async fn an_answer_that_is_none_is_followed_by_a_thaw() {
    for fault in [Fault::Garbage, Fault::EndlessLine] {
        let (kind, text) = freeze_fails(fault, REQUEST).await;
        assert_eq!(kind, QuiesceErrorKind::Garbage, "{fault:?}: {text}");
        assert!(text.len() < 1000);
    }
}

#[tokio::test]
async fn a_freeze_refused_halfway_is_thawed() {
    let (kind, text) = freeze_fails(Fault::RefusesFreezeHalfway, REQUEST).await;
    assert_eq!(kind, QuiesceErrorKind::Refused);
    assert!(text.contains("/mnt"), "{text}");
}

#[tokio::test]
async fn no_file_system_frozen_is_a_refusal() {
    let (kind, text) = freeze_fails(Fault::NoFileSystem, REQUEST).await;
    assert_eq!(kind, QuiesceErrorKind::Refused);
    assert!(text.contains("no file system"), "{text}");
}

#[tokio::test]
async fn an_agent_that_may_not_freeze_is_not_asked_to() {
    let fake = FakeAgent::start(Fault::FreezeBlocked);
    let _guards = Guards::of(fake.socket());
    let mut agent = agent(fake.socket());
    assert!(!agent.probe(LONG).await.unwrap().can_freeze);
    let error = agent.freeze(REQUEST).await.unwrap_err();
    assert_eq!(error.kind, QuiesceErrorKind::Disabled, "{error}");
    assert_eq!(fake.count("guest-fsfreeze-freeze"), 0);
}

#[tokio::test]
async fn a_freeze_that_the_agent_does_not_know_needs_no_thaw() {
    let (kind, text) = freeze_fails(Fault::FreezeUnknown, REQUEST).await;
    assert_eq!(kind, QuiesceErrorKind::Disabled, "{text}");
}

#[tokio::test]
async fn nobody_is_frozen_through_a_channel_out_of_step() {
    for (fault, expected) in [
        (Fault::WrongId, QuiesceErrorKind::Silent),
        (Fault::Flood, QuiesceErrorKind::Garbage),
    ] {
        let fake = FakeAgent::start(fault);
        let _guards = Guards::of(fake.socket());
        let error = agent(fake.socket()).freeze(REQUEST).await.unwrap_err();
        assert_eq!(error.kind, expected, "{fault:?}: {error}");
        assert_eq!(fake.count("guest-fsfreeze-freeze"), 0);
    }
}

#[tokio::test]
async fn a_thaw_that_is_refused_is_asked_for_again() {
    let fake = FakeAgent::start(Fault::RefusesThawAtFirst);
    let _guards = Guards::of(fake.socket());
    let mut agent = agent(fake.socket());
    agent.freeze(REQUEST).await.unwrap();
    let thaw = agent.thaw().await.unwrap();
    assert!(thaw.held, "{thaw:?}");
    assert!(!fake.is_frozen());
    assert_eq!(fake.count("guest-fsfreeze-thaw"), 4);
}

#[tokio::test]
async fn a_thaw_that_counts_fewer_file_systems_did_not_hold() {
    let fake = FakeAgent::start(Fault::ThawsFewer);
    let _guards = Guards::of(fake.socket());
    let mut agent = agent(fake.socket());
    agent.freeze(REQUEST).await.unwrap();
    let thaw = agent.thaw().await.unwrap();
    assert_eq!(thaw.file_systems, FILE_SYSTEMS - 1);
    assert!(!thaw.held, "{thaw:?}");
}

#[tokio::test]
async fn an_agent_without_files_proves_no_application_consistency() {
    let fake = FakeAgent::start(Fault::Nothing);
    let _guards = Guards::of(fake.socket());
    let mut agent = agent(fake.socket());
    let info = agent.probe(LONG).await.unwrap();
    assert_eq!(info.has_hook, None, "not observed is not absent");
    agent.freeze(REQUEST).await.unwrap();
    let thaw = agent.thaw().await.unwrap();
    assert_eq!(thaw.consistency, Consistency::FileSystem);
    assert!(thaw.evidence.contains("not known"), "{thaw:?}");
}

/// I1: the freeze comes when nobody waits for it any more.
#[tokio::test]
async fn a_freeze_that_hangs_is_thawed_once_the_agent_is_back() {
    let fake = FakeAgent::start(Fault::HangsInFreeze);
    let guards = Guards::of(fake.socket());
    let mut agent = agent(fake.socket());
    let request = FreezeRequest {
        freeze_limit: Duration::from_millis(200),
        ..REQUEST
    };
    let back = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        fake.revive();
    };
    let (frozen, ()) = tokio::join!(agent.freeze(request), back);
    assert_eq!(frozen.unwrap_err().kind, QuiesceErrorKind::FreezeTimedOut);
    assert!(!fake.is_frozen());
    guards.ended().await;
}

/// I1: the guard reports that the guest may be frozen, goes on, thaws after recovery, and ends.
#[tokio::test]
async fn a_guest_that_was_given_up_is_thawed_when_its_agent_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("guard.log");
    let fake = FakeAgent::start(Fault::HangsOnceFrozen);
    let guards = Guards::of(fake.socket());
    let mut agent = QemuGuestAgent::new(fake.socket(), command().log(&log));
    let error = match agent.freeze(REQUEST).await {
        Ok(_) => agent.thaw().await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.kind, QuiesceErrorKind::LeftFrozen, "{error}");
    drop(agent);
    assert!(fake.is_frozen());
    fake.revive();
    guards.ended().await;
    assert!(!fake.is_frozen());
    let told = std::fs::read_to_string(&log).unwrap();
    assert!(told.contains("going on to thaw"), "{told}");
    assert!(told.trim_end().ends_with("thawed"), "{told}");
}

/// I1: the guard dies, the agent hangs: a new guard is left behind.
#[tokio::test]
async fn a_dead_guard_is_replaced_for_as_long_as_it_takes() {
    let fake = FakeAgent::start(Fault::HangsOnceFrozen);
    let guards = Guards::of(fake.socket());
    let mut agent = agent(fake.socket());
    agent.freeze(REQUEST).await.unwrap();
    guards.signal("-KILL").await;
    let error = agent.thaw().await.unwrap_err();
    assert_eq!(error.kind, QuiesceErrorKind::LeftFrozen, "{error}");
    guards.wait_for(1).await;
    fake.revive();
    guards.ended().await;
    assert!(!fake.is_frozen());
}

/// I1: nobody has to ask: the watcher sees the guard's death.
#[tokio::test]
async fn the_guest_thaws_when_the_guard_dies_and_nobody_asks() {
    let fake = FakeAgent::start(Fault::Nothing);
    let guards = Guards::of(fake.socket());
    let mut agent = agent(fake.socket());
    agent.freeze(REQUEST).await.unwrap();
    assert!(fake.is_frozen());
    guards.signal("-KILL").await;
    for _ in 0..1200 {
        if !fake.is_frozen() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!fake.is_frozen());
    assert!(!agent.thaw().await.unwrap().held);
}

/// I4: a guard that was told to end thaws, and what its parent took meanwhile is not consistent.
#[tokio::test]
async fn a_guard_that_was_told_to_end_did_not_hold() {
    let fake = FakeAgent::start(Fault::Nothing);
    let guards = Guards::of(fake.socket());
    let mut agent = agent(fake.socket());
    agent.freeze(REQUEST).await.unwrap();
    guards.signal("-TERM").await;
    guards.ended().await;
    assert!(!fake.is_frozen());
    assert!(!agent.thaw().await.unwrap().held);
}

/// I1: a caller that gives up in the middle.
#[tokio::test]
async fn a_dropped_freeze_thaws() {
    let fake = FakeAgent::start(Fault::Nothing);
    let guards = Guards::of(fake.socket());
    let mut agent = agent(fake.socket());
    agent.freeze(REQUEST).await.unwrap();
    drop(agent);
    guards.ended().await;
    assert!(!fake.is_frozen());
}

#[tokio::test]
async fn the_hold_limit_counts_from_the_freeze() {
    let fake = FakeAgent::start(Fault::Nothing);
    let guards = Guards::of(fake.socket());
    let mut agent = agent(fake.socket());
    let request = FreezeRequest {
        freeze_limit: Duration::from_secs(3600), // must not be added to what follows
        hold_limit: Duration::from_millis(300),
    };
    agent.freeze(request).await.unwrap();
    guards.ended().await;
    assert!(!fake.is_frozen());
    assert!(!agent.thaw().await.unwrap().held);
}

#[tokio::test]
async fn a_socket_that_nobody_listens_on_is_no_channel() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("qga");
    let error = agent(&socket).freeze(REQUEST).await.unwrap_err();
    assert_eq!(error.kind, QuiesceErrorKind::NoChannel, "{error}");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let error = agent(&socket).probe(LONG).await.unwrap_err();
    assert_eq!(error.kind, QuiesceErrorKind::NoChannel, "{error}");
}
