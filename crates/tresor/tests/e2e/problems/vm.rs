//! VMs that cannot be found, reached, or snapshotted.

use serde_json::json;
use tresor_testkit::{Guest, Monitor};

use crate::{
    lab::{Lab, VM, assert_unharmed, disk_name},
    problems::small_guest,
};

#[tokio::test]
async fn a_vm_that_is_not_registered() {
    let lab = Lab::new().await;
    for args in [
        &["backup", "nobody"][..],
        &["vm", "show", "nobody"],
        &["vm", "remove", "nobody"],
    ] {
        lab.run(args).await.raises("VmNotFound");
    }
}

/// By its name, and by its UUID under another name; the remedy helps.
#[tokio::test]
async fn a_vm_that_is_registered_already() {
    let guest = small_guest().await;
    let lab = Lab::with(&guest).await;
    lab.register(&guest).await.raises("VmExists");
    let qmp = guest.qmp_socket();
    let add = ["vm", "add", "twin", "--qmp", qmp.to_str().unwrap()];
    let twin = lab.run(&add).await.raises("VmExists");
    assert_eq!(twin["fields"]["vm"], VM, "{twin}");
    lab.run(&["vm", "remove", VM]).await.ok();
    lab.run(&add).await.ok();
}

/// Its socket serves somebody else, who is named: here it is this test.
#[tokio::test]
async fn a_vm_whose_socket_serves_somebody_else() {
    let guest = small_guest().await;
    let lab = Lab::with(&guest).await;
    let other = Monitor::connect(&guest.qmp_socket()).await.unwrap();
    let held = lab.run(&["backup", VM]).await.raises("QmpBusy");
    let reason = held["fields"]["reason"].as_str().unwrap();
    assert!(
        reason.starts_with(&format!("process {} (", std::process::id())),
        "{held}"
    );
    lab.run(&["vm", "show", VM]).await.raises("QmpBusy");
    drop(other);
    lab.backup().await;
}

#[tokio::test]
async fn a_vm_that_cannot_be_reached() {
    let lab = Lab::new().await;
    let gone = lab.register_socket(&lab.path("no-socket"), &[]).await;
    gone.raises("VmUnreachable");
}

/// The VM was replaced by another one that listens in the same place.
#[tokio::test]
async fn another_vm_behind_the_same_socket() {
    let lab = Lab::new().await;
    let socket = lab.path("qmp");
    let argument = format!("unix:{},server=on,wait=off", socket.display());
    let listening = ["-qmp", argument.as_str()];
    let mut first = Guest::builder()
        .extra_arguments(&listening)
        .start()
        .await
        .unwrap();
    lab.register_socket(&socket, &[]).await.ok();
    first.quit().await.unwrap();
    let uuid: &str = "5b0e66b0-4f2b-4c52-9ad4-6a4e2b7a0002";
    let second = Guest::builder()
        .uuid(uuid.parse().unwrap())
        .extra_arguments(&listening)
        .start()
        .await
        .unwrap();
    let problem = lab.run(&["backup", VM]).await.raises("VmIdentityMismatch");
    assert_eq!(problem["fields"]["found"], uuid, "{problem}");
    assert_ne!(problem["fields"]["expected"], uuid, "{problem}");
    assert_eq!(second.monitor().unwrap().status().await.unwrap(), "running");
}

#[tokio::test]
async fn a_vm_without_a_disk_to_back_up() {
    let guest = small_guest().await;
    let lab = Lab::new().await;
    let only = disk_name(&guest.disks()[0]);
    lab.register_socket(&guest.qmp_socket(), &["--exclude", &only])
        .await
        .ok();
    let problem = lab.run(&["backup", VM]).await.raises("DiskUnsupported");
    assert!(
        problem["cause"].as_str().unwrap().contains(&only),
        "{problem}"
    );
    lab.run(&["vm", "remove", VM]).await.ok();
    lab.register(&guest).await.ok();
    lab.backup().await;
}

/// Another tool has QEMU's only NBD server; it keeps it, and we come again when it is done.
#[tokio::test]
async fn a_vm_whose_nbd_server_is_taken() {
    let guest = Guest::builder().data_disk().start().await.unwrap();
    let lab = Lab::with(&guest).await;
    let path = guest.dir().join("nbd").display().to_string();
    let address = json!({ "addr": { "type": "unix", "data": { "path": path } } });
    let monitor = guest.monitor().unwrap();
    monitor.execute("nbd-server-start", address).await.unwrap();
    let problem = lab.run(&["backup", VM]).await.raises("SnapshotFailed");
    let step = problem["fields"]["step"].as_str().unwrap();
    assert!(step.contains("NBD server"), "{problem}");
    assert_unharmed(&guest).await;
    let server = monitor.execute("nbd-server-stop", json!({})).await;
    server.unwrap_or_else(|error| panic!("the other tool's server is gone: {error}"));
    lab.backup().await;
}
