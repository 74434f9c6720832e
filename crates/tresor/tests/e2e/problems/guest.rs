//! Guests that do not freeze, or do not thaw.

use crate::{
    lab::{Lab, VM, assert_unharmed, finish},
    problems::{in_guest, small_guest},
};
use tresor_testkit::Guest;

/// The agent does not answer, and applications were to be quiesced.
#[tokio::test]
async fn less_consistent_than_required() {
    let guest = Guest::builder().data_disk().start().await.unwrap();
    let lab = Lab::with(&guest).await;
    in_guest(&guest, "kill -STOP $(pidof qemu-ga)").await;
    let problem = lab
        .run(&["backup", VM, "--require", "application"])
        .await
        .raises("ConsistencyNotReached");
    let achieved = &problem["fields"]["achieved"];
    assert_eq!(achieved, "crash-consistent", "{problem}");
    assert_unharmed(&guest).await;
    let points = lab.run(&["points", "list"]).await;
    assert!(points.lines().is_empty(), "no point was made");
    in_guest(&guest, "kill -CONT $(pidof qemu-ga)").await;
    lab.run(&["backup", VM, "--require", "file-system"])
        .await
        .ok();
}

/// No agent is registered, and the file systems were to be frozen: the remedy works.
#[tokio::test]
async fn no_agent_where_one_is_required() {
    let guest = small_guest().await;
    let lab = Lab::new().await;
    lab.register_socket(&guest.qmp_socket(), &[]).await.ok();
    let backup = ["backup", VM, "--require", "file-system"];
    lab.run(&backup).await.raises("ConsistencyNotReached");
    lab.run(&["vm", "remove", VM]).await.ok();
    lab.register(&guest).await.ok();
    lab.run(&backup).await.ok();
}

/// The agent stops in the middle of the freeze for longer than anybody waits: the user is told
/// the truth, and the guard thaws the guest when the agent comes back after all.
#[tokio::test]
async fn a_guest_that_may_still_be_frozen() {
    let guest = Guest::builder().data_disk().start().await.unwrap();
    let lab = Lab::with(&guest).await;
    let hang = "printf '#!/bin/sh\\ncase $1 in\\n\
                freeze) kill -STOP $(pidof qemu-ga);;\\n\
                thaw) touch /run/thawed;;\\nesac\\nexit 0\\n' \
                > /etc/tresor/fsfreeze-hook.d/99-hang && chmod 755 /etc/tresor/fsfreeze-hook.d/99-hang";
    in_guest(&guest, hang).await;
    let args = ["backup", VM, "--freeze-limit", "2"];
    let run = lab.command(&args).spawn().unwrap();
    finish(&args, run).await.raises("GuestLeftFrozen");
    // Nothing but the guard can thaw what the agent freezes now.
    in_guest(
        &guest,
        "kill -CONT $(pidof qemu-ga); while [ ! -e /run/thawed ]; do sleep 0.1; done",
    )
    .await;
    assert_unharmed(&guest).await;
    in_guest(&guest, "rm /etc/tresor/fsfreeze-hook.d/99-hang").await;
    lab.backup().await;
}
