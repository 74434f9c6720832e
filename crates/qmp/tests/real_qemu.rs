//! Against a real `qemu-system-x86_64` and a real `qemu-storage-daemon`.
#![allow(missing_docs)]

use std::{
    path::{Path, PathBuf},
    process::{Child, Command as Process},
    time::Duration,
};

use serde_json::json;
use tresor_qmp::{
    Client, Command, ConnectOptions, ErrorClass, ErrorKind,
    commands::{
        bitmap::{Action, BitmapAdd, BitmapRemove, Transaction},
        block::{BlockdevAdd, BlockdevDel, QueryBlockGraph, QueryNamedBlockNodes},
        export::{
            BlockExportDel, DelMode, NbdExportAdd, NbdServerStart, NbdServerStop, NbdType,
            QueryBlockExports, SocketAddress,
        },
        job::{BlockdevCreate, JobDismiss, QueryJobs},
        machine::{
            Cont, QueryCpus, QueryMemorySize, QueryName, QueryStatus, QueryUuid, Quit, Stop,
        },
        object::{ObjectAdd, ObjectDel, QomGet, QomList},
    },
};

/// Ends the process when the test does.
struct Daemon {
    child: Child,
    directory: tempfile::TempDir,
}

impl Daemon {
    fn start(package: &str, program: &str, arguments: &[&str], socket: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("temp dir");
        let child = Process::new(program)
            .args(arguments)
            .args(socket)
            .current_dir(directory.path())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {program} (package {package}): {error}"));
        Self { child, directory }
    }

    fn qemu(arguments: &[&str]) -> Self {
        let fixed = ["-nodefaults", "-display", "none", "-S", "-accel", "tcg"];
        let all: Vec<&str> = fixed.iter().chain(arguments).copied().collect();
        let socket = ["-qmp", "unix:qmp,server=on,wait=off"];
        Self::start("qemu-system-x86", "qemu-system-x86_64", &all, &socket)
    }

    fn storage_daemon() -> Self {
        let socket = [
            "--chardev",
            "socket,id=m,path=qmp,server=on,wait=off",
            "--monitor",
            "chardev=m",
        ];
        Self::start("qemu-utils", "qemu-storage-daemon", &[], &socket)
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("qmp")
    }

    async fn client(&self) -> Client {
        for _ in 0..600 {
            match Client::connect(self.socket(), ConnectOptions::default()).await {
                Ok(client) => return client,
                Err(error) if error.kind() == ErrorKind::Unreachable => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
        panic!("no QMP socket at {}", self.socket().display());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _status = self.child.wait();
    }
}

fn image(directory: &Path, name: &str) -> String {
    let path = directory.join(name);
    std::fs::File::create(&path).expect("image");
    path.display().to_string()
}

#[tokio::test]
async fn a_machine_tells_what_it_is() {
    let qemu = Daemon::qemu(&["-M", "q35", "-m", "32", "-name", "web01"]);
    let client = qemu.client().await;
    assert!(client.greeting().version.major >= 7);
    assert_eq!(client.peer().pid, Some(qemu.child.id()));
    assert_eq!(
        client.run(&QueryStatus {}).await.expect("status").status,
        "prelaunch"
    );
    let name = client.run(&QueryName {}).await.expect("name").name;
    assert_eq!(name.as_deref(), Some("web01"));
    let uuid = client.run(&QueryUuid {}).await.expect("uuid").uuid;
    assert_eq!(uuid, "00000000-0000-0000-0000-000000000000");
    let memory = client.run(&QueryMemorySize {}).await.expect("memory");
    assert_eq!(memory.base_memory, 32 << 20);
    assert_eq!(client.run(&QueryCpus {}).await.expect("cpus").len(), 1);
    let machine = QomGet {
        path: "/machine".to_owned(),
        property: "type".to_owned(),
    };
    let machine = client.run(&machine).await.expect("machine type");
    assert!(machine.as_str().expect("text").ends_with("-machine"));
}

#[tokio::test]
async fn refusals_have_classes() {
    let qemu = Daemon::qemu(&["-M", "none"]);
    let client = qemu.client().await;
    let error = client
        .execute("no-such-command", json!({}))
        .await
        .expect_err("unknown");
    assert_eq!(
        error.kind(),
        ErrorKind::Command(ErrorClass::CommandNotFound)
    );
    let missing = BlockdevDel {
        node_name: "missing".to_owned(),
    };
    let error = client.run(&missing).await.expect_err("no such node");
    assert_eq!(error.kind(), ErrorKind::Command(ErrorClass::Generic));
    let source = std::error::Error::source(&error).expect("QEMU's words");
    assert!(source.to_string().contains("missing"), "{source}");
}

#[tokio::test]
async fn events_arrive_and_a_pipeline_keeps_its_order() {
    let qemu = Daemon::qemu(&["-M", "none"]);
    let client = qemu.client().await;
    let mut events = client.events();
    let batch = vec![
        Cont {}.to_pipeline().expect("plain"),
        ("no-such-command".to_owned(), json!({})),
        Stop {}.to_pipeline().expect("plain"),
        QueryStatus {}.to_pipeline().expect("plain"),
    ];
    let results = client
        .pipeline(batch, Duration::from_secs(30))
        .await
        .expect("all replies");
    let good: Vec<bool> = results.iter().map(Result::is_ok).collect();
    assert_eq!(good, [true, false, true, true]);
    assert_eq!(events.next().await.expect("event").name, "RESUME");
    assert_eq!(events.next().await.expect("event").name, "STOP");
}

#[tokio::test]
async fn what_was_handed_over_runs_although_nobody_waits() {
    let qemu = Daemon::qemu(&["-M", "none"]);
    let client = qemu.client().await;
    let batch = vec![
        Stop {}.to_pipeline().expect("plain"),
        Cont {}.to_pipeline().expect("plain"),
    ];
    {
        let handed_over = client.pipeline(batch, Duration::from_secs(30));
        tokio::pin!(handed_over);
        // Polled once: the batch is in the queue of the connection, no reply can be there yet.
        assert!(futures_poll_once(handed_over.as_mut()).await);
    }
    drop(client);
    let client = qemu.client().await;
    assert!(client.run(&QueryStatus {}).await.expect("status").running);
}

async fn futures_poll_once<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(future.as_mut().poll(context).is_pending())
    })
    .await
}

#[tokio::test]
async fn a_socket_that_another_client_holds_is_busy() {
    let qemu = Daemon::qemu(&["-M", "none"]);
    let _holder = qemu.client().await;
    let options = ConnectOptions {
        connect_limit: Duration::from_millis(300),
        ..ConnectOptions::default()
    };
    let error = Client::connect(qemu.socket(), options)
        .await
        .expect_err("held");
    assert_eq!(error.kind(), ErrorKind::Busy);
}

#[tokio::test]
async fn a_qemu_that_ends_closes_the_connection() {
    let qemu = Daemon::qemu(&["-M", "none"]);
    let client = qemu.client().await;
    let mut events = client.events();
    client.run(&Quit {}).await.expect("quit is answered");
    while events.next().await.is_some() {}
    let error = client.run(&QueryStatus {}).await.expect_err("gone");
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn objects_come_and_go() {
    let qemu = Daemon::qemu(&["-M", "none"]);
    let client = qemu.client().await;
    let add = ObjectAdd {
        qom_type: "throttle-group".to_owned(),
        id: "mark".to_owned(),
    };
    client.run(&add).await.expect("added");
    let list = QomList {
        path: "/objects".to_owned(),
    };
    let objects = client.run(&list).await.expect("listed");
    let mark = objects
        .iter()
        .find(|object| object.name == "mark")
        .expect("there");
    assert_eq!(mark.child_class(), Some("throttle-group"));
    let del = ObjectDel {
        id: "mark".to_owned(),
    };
    client.run(&del).await.expect("removed");
    let objects = client.run(&list).await.expect("listed");
    assert!(objects.iter().all(|object| object.name != "mark"));
}

#[tokio::test]
async fn the_storage_daemon_formats_exports_and_tracks() {
    let daemon = Daemon::storage_daemon();
    let client = daemon.client().await;
    let file = image(daemon.directory.path(), "d0");
    let add = BlockdevAdd(json!({"driver": "file", "node-name": "p0", "filename": file}));
    client.run(&add).await.expect("protocol node");
    format_qcow2(&client, "p0").await;
    let add = BlockdevAdd(json!({"driver": "qcow2", "node-name": "d0", "file": "p0"}));
    client.run(&add).await.expect("format node");

    let bitmap = BitmapAdd {
        node: "d0".to_owned(),
        name: "b1".to_owned(),
        granularity: 65536,
        persistent: true,
        disabled: true,
    };
    let actions = vec![Action::BlockDirtyBitmapAdd(bitmap)];
    client.run(&Transaction { actions }).await.expect("bitmap");
    let nodes = client
        .run(&QueryNamedBlockNodes { flat: true })
        .await
        .expect("nodes");
    let d0 = nodes
        .iter()
        .find(|node| node.node_name.as_deref() == Some("d0"))
        .expect("there");
    let bitmap = d0.dirty_bitmaps.first().expect("one bitmap");
    assert!(bitmap.persistent && !bitmap.recording && !bitmap.inconsistent);
    assert_eq!(d0.image.as_ref().expect("image").virtual_size, 1 << 20);
    let graph = client.run(&QueryBlockGraph {}).await.expect("graph");
    assert_eq!(graph.edges.len(), 1);

    let path = daemon.directory.path().join("nbd").display().to_string();
    let addr = SocketAddress::Unix { path };
    client.run(&NbdServerStart { addr }).await.expect("server");
    let export = NbdExportAdd {
        r#type: NbdType::Nbd,
        id: "e0".to_owned(),
        node_name: "d0".to_owned(),
        name: "disk0".to_owned(),
        writable: false,
        bitmaps: vec![],
    };
    client.run(&export).await.expect("export");
    let exports = client.run(&QueryBlockExports {}).await.expect("exports");
    assert_eq!(exports.first().expect("one").node_name, "d0");
    let del = BlockExportDel {
        id: "e0".to_owned(),
        mode: DelMode::Hard,
    };
    client.run(&del).await.expect("export removed");
    client.run(&NbdServerStop {}).await.expect("server stopped");
    let remove = BitmapRemove {
        node: "d0".to_owned(),
        name: "b1".to_owned(),
    };
    client.run(&remove).await.expect("bitmap removed");
}

async fn format_qcow2(client: &Client, file: &str) {
    let create = BlockdevCreate {
        job_id: "create".to_owned(),
        options: json!({"driver": "qcow2", "file": file, "size": 1 << 20}),
    };
    client.run(&create).await.expect("job begins");
    loop {
        let jobs = client.run(&QueryJobs {}).await.expect("jobs");
        let job = jobs.first().expect("stays until dismissed");
        if job.status == "concluded" {
            assert_eq!(job.error, None);
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let dismiss = JobDismiss {
        id: "create".to_owned(),
    };
    client.run(&dismiss).await.expect("dismissed");
}
