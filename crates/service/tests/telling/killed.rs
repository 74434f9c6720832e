//! A process that dies between sending and noting it.

use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::json;
use tresor_testkit::sinks::{Answering, HttpSink};

use super::support::{catalog, channel, ids, later, sending, tell, waits};

const PLACE: &str = "TRESOR_TEST_CATALOG";

#[tokio::test]
#[ignore = "a child process of a_process_killed_between_sending_and_noting_loses_nothing"]
async fn child_sends() {
    let place = env::var_os(PLACE).expect("the parent sets it");
    let catalog = catalog(&PathBuf::from(place)).await;
    let sent = sending(&catalog).send_due(later(0)).await;
    sent.expect("sent");
}

#[tokio::test]
async fn a_process_killed_between_sending_and_noting_loses_nothing() {
    let directory = tempfile::tempdir().expect("directory");
    let catalog = catalog(directory.path()).await;
    let sink = HttpSink::start().await.expect("sink");
    channel(&catalog, "ops", sink.url(), &json!({})).await;
    let id = tell(&catalog, "ops", "web01").await.to_string();
    // It is sent, and the answer never comes: that is when the process dies.
    sink.answer(Answering::Never);
    let mut child = Command::new(env::current_exe().expect("this program"))
        .args(["--exact", "killed::child_sends", "--ignored"])
        .env(PLACE, directory.path())
        .stdout(Stdio::null())
        .spawn()
        .expect("a child process");
    let sent = sink.heard_at_least(1).await;
    child.kill().expect("kill");
    child.wait().expect("wait");
    sent.expect("sent");
    sink.answer(Answering::Status(200));

    let sending = sending(&catalog);
    sending.send_due(later(0)).await.expect("sent");
    assert_eq!(sink.heard().len(), 1, "the dead one's claim still holds");
    assert_eq!(waits(&catalog).await, 1);
    sending.send_due(later(600)).await.expect("sent");
    sending.send_due(later(1200)).await.expect("sent");
    let heard = sink.heard();
    assert_eq!(heard.len(), 2, "sent twice, and no more");
    let told = [ids(&heard[0].body), ids(&heard[1].body)];
    assert_eq!(told, [[id.clone()], [id]]);
    assert_eq!(waits(&catalog).await, 0);
}
