//! A real QEMU without a guest OS. "The guest" is the monitor's `qemu-io` on the guest's device:
//! it writes through the same back end, so through whatever is inserted there.
#![allow(dead_code)]

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::json;
use tresor_disk::{
    BitmapJudgement, DiskRequest, ExtentKind, PauseMode, PrepareRequest, Prepared, PreviousPoint,
    Session, SnapshotProvider,
};
use tresor_disk_qemu::{QemuConfig, QemuProvider};
use tresor_model::{Extent, JobId, SnapshotTag, StreamName, TrackingLedger};
use tresor_qmp::{
    Client, ConnectOptions, ErrorKind,
    commands::{
        bitmap::BitmapInfo,
        block::QueryNamedBlockNodes,
        machine::{Cont, HumanMonitorCommand, QueryStatus, Quit},
        object::QomList,
    },
};

/// Size of every disk.
pub(crate) const DISK: u64 = 8 << 20;
/// The grain of extents.
pub(crate) const GRAIN: u64 = 64 << 10;
/// Two disks: `vda` with an I/O thread and `vdb` (SCSI), both qcow2.
pub(crate) const DISKS: [&str; 2] = ["vda", "vdb"];
const UUID: &str = "3f0a8c1e-5d6f-4b6e-9b52-0f4d4a3a2b10";

/// A VM. Killed when dropped.
pub(crate) struct Vm {
    child: Option<Child>,
    directory: tempfile::TempDir,
    extra: Vec<String>,
}

impl Vm {
    /// Creates the images and starts QEMU; CPUs run.
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    pub(crate) async fn with(extra: &[&str]) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("tq")
            .tempdir()
            .expect("temp dir");
        let mut vm = Self {
            child: None,
            directory,
            extra: extra.iter().map(|&argument| argument.to_owned()).collect(),
        };
        for disk in DISKS {
            vm.create_image(disk);
        }
        std::fs::File::create(vm.path("raw.img"))
            .and_then(|file| file.set_len(DISK))
            .expect("raw image");
        vm.boot().await;
        vm
    }

    pub(crate) fn create_image(&self, disk: &str) {
        let status = Command::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2"])
            .arg(self.path(&format!("{disk}.qcow2")))
            .arg(DISK.to_string())
            .status()
            .expect("qemu-img (package qemu-utils)");
        assert!(status.success());
    }

    /// Starts QEMU again on the same images.
    pub(crate) async fn boot(&mut self) {
        let log = std::fs::File::create(self.path("log")).expect("log");
        let (program, fixed) = qemu();
        let child = Command::new(program)
            .current_dir(self.directory.path())
            .args(fixed)
            .args(self.arguments().split_whitespace())
            .args(&self.extra)
            .stdout(Stdio::from(log.try_clone().expect("log")))
            .stderr(Stdio::from(log))
            .spawn()
            .expect("qemu-system-x86_64 (package qemu-system-x86)");
        self.child = Some(child);
        self.monitor().await;
    }

    /// `vda` has an I/O thread, `vdb` is given in the old way, `raw` lies under a filter of the
    /// administrator's. Paths are absolute, so that whoever is on the other end of a proxied
    /// socket means the same file.
    fn arguments(&self) -> String {
        let path = |name: &str| self.path(name).display().to_string();
        let (a, b, r) = (path("vda.qcow2"), path("vdb.qcow2"), path("raw.img"));
        let iothread = if survives_iothreads() {
            ",iothread=io0"
        } else {
            ""
        };
        format!(
            "-M q35 -accel tcg -m 32 -nodefaults -display none -name web01 -uuid {UUID} \
             -object iothread,id=io0 -object throttle-group,id=limits \
             -blockdev driver=file,node-name=file-a,filename={a} \
             -blockdev driver=qcow2,node-name=node-a,file=file-a \
             -device virtio-blk-pci,id=vda,drive=node-a,serial=SN-A{iothread} \
             -drive if=none,id=drive-b,format=qcow2,file={b} \
             -device virtio-scsi-pci -device scsi-hd,id=vdb,drive=drive-b \
             -blockdev driver=file,node-name=file-r,filename={r} \
             -blockdev driver=raw,node-name=node-r,file=file-r \
             -blockdev driver=throttle,node-name=slow-r,throttle-group=limits,file=node-r \
             -device virtio-blk-pci,id=raw,drive=slow-r \
             -qmp unix:qmp,server=on,wait=off -qmp unix:test,server=on,wait=off"
        )
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The tests' own QMP connection.
    pub(crate) async fn monitor(&self) -> Client {
        for _ in 0..600 {
            match Client::connect(self.path("test"), ConnectOptions::default()).await {
                Ok(client) => return client,
                Err(error) if error.kind() == ErrorKind::Unreachable => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
        let log = std::fs::read_to_string(self.path("log")).unwrap_or_default();
        panic!("QEMU does not answer: {log}");
    }

    /// Ends QEMU in order: persistent bitmaps are stored.
    pub(crate) async fn quit(&mut self) {
        let _gone_already = self.monitor().await.run(&Quit {}).await;
        let mut child = self.child.take().expect("running");
        tokio::task::spawn_blocking(move || child.wait())
            .await
            .expect("waits")
            .expect("ends");
    }

    /// As a power cut.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _gone_already = child.kill();
            let _status = child.wait();
        }
    }

    pub(crate) async fn hmp(&self, line: String) -> String {
        let command = HumanMonitorCommand { command_line: line };
        self.monitor().await.run(&command).await.expect("monitor")
    }

    /// The guest writes `length` bytes of `pattern`.
    pub(crate) async fn write(&self, disk: &str, pattern: u8, offset: u64, length: u64) {
        let device = match disk {
            "vdb" => "/machine/peripheral/vdb".to_owned(),
            disk => format!("/machine/peripheral/{disk}/virtio-backend"),
        };
        let before = self.log().matches("wrote ").count();
        let line = format!("qemu-io -d {device} \"write -P {pattern} {offset} {length}\"");
        let answer = self.hmp(line).await;
        // The answer goes to the monitor or to standard output, by version.
        let after = self.log().matches("wrote ").count() + answer.matches("wrote ").count();
        assert!(
            after > before,
            "{disk}: the guest's write failed: {answer} {}",
            self.log()
        );
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).expect("log")
    }

    pub(crate) async fn is_running(&self) -> bool {
        self.monitor()
            .await
            .run(&QueryStatus {})
            .await
            .expect("status")
            .running
    }

    pub(crate) async fn cont(&self) {
        self.monitor().await.run(&Cont {}).await.expect("cont");
    }

    pub(crate) fn config(&self) -> QemuConfig {
        QemuConfig {
            runtime_dir: self.path("run"),
            fleecing_dirs: vec![self.path("fleece")],
            ..QemuConfig::new(self.path("qmp"))
        }
    }

    pub(crate) async fn provider(&self) -> QemuProvider {
        QemuProvider::connect(self.config())
            .await
            .expect("connects")
    }

    pub(crate) fn request(&self, disks: &[(&str, Option<&TrackingLedger>)]) -> PrepareRequest {
        PrepareRequest {
            vm: UUID.parse().expect("valid"),
            tag: SnapshotTag::of_job(JobId::generate()),
            disks: disks
                .iter()
                .map(|(name, ledger)| request_disk(name, *ledger))
                .collect(),
            fleecing_dir: self.path("fleece"),
            fleecing_limit: None,
            fleecing_timeout: Duration::from_secs(30),
        }
    }

    /// Names with a tag in QEMU and in the directories, bitmaps apart.
    pub(crate) async fn leftovers(&self) -> Vec<String> {
        let client = self.monitor().await;
        let nodes = client
            .run(&QueryNamedBlockNodes { flat: true })
            .await
            .expect("nodes");
        let mut names: Vec<String> = nodes
            .into_iter()
            .filter_map(|node| node.node_name)
            .collect();
        let path = "/objects".to_owned();
        let objects = client.run(&QomList { path }).await.expect("objects");
        names.extend(objects.into_iter().map(|object| object.name));
        let exports = client
            .execute("query-block-exports", json!({}))
            .await
            .expect("exports");
        names.extend(
            exports
                .as_array()
                .into_iter()
                .flatten()
                .map(ToString::to_string),
        );
        let jobs = client.execute("query-jobs", json!({})).await.expect("jobs");
        names.extend(
            jobs.as_array()
                .into_iter()
                .flatten()
                .map(ToString::to_string),
        );
        for directory in ["fleece", "run"] {
            let Ok(entries) = std::fs::read_dir(self.path(directory)) else {
                continue;
            };
            names.extend(entries.map(|entry| entry.expect("entry").path().display().to_string()));
        }
        names.retain(|name| name.contains("tresor-"));
        names
    }

    /// The named bitmaps on a node.
    pub(crate) async fn bitmaps(&self, image: &str) -> Vec<BitmapInfo> {
        let client = self.monitor().await;
        let nodes = client
            .run(&QueryNamedBlockNodes { flat: true })
            .await
            .expect("nodes");
        let format = nodes.into_iter().find(|node| {
            node.file.ends_with(image) && matches!(node.driver.as_str(), "qcow2" | "raw")
        });
        let bitmaps = format.expect("image").dirty_bitmaps.into_iter();
        bitmaps.filter(|bitmap| bitmap.name.is_some()).collect()
    }

    pub(crate) async fn bitmap_names(&self, image: &str) -> Vec<String> {
        let bitmaps = self.bitmaps(image).await;
        bitmaps
            .into_iter()
            .filter_map(|bitmap| bitmap.name)
            .collect()
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The QEMU under test: `TRESOR_TEST_QEMU` (program and arguments) or the installed one.
fn qemu() -> (String, Vec<String>) {
    let line = std::env::var("TRESOR_TEST_QEMU").unwrap_or_else(|_| "qemu-system-x86_64".into());
    let mut words = line.split_whitespace().map(str::to_owned);
    let program = words.next().expect("TRESOR_TEST_QEMU names a program");
    (program, words.collect())
}

/// Whether disks of I/O threads are backed up with the QEMU under test (9.0 and later).
pub(crate) fn survives_iothreads() -> bool {
    let (program, _) = qemu();
    let output = Command::new(program)
        .arg("--version")
        .output()
        .expect("tells its version");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text
        .split_whitespace()
        .find_map(|word| word.split('.').next()?.parse().ok());
    version.is_some_and(|major: u32| major >= 9)
}

fn request_disk(name: &str, ledger: Option<&TrackingLedger>) -> DiskRequest {
    DiskRequest {
        name: stream(name),
        previous: ledger.map(|tracking| PreviousPoint {
            tracking: tracking.clone(),
        }),
        shared: false,
    }
}

pub(crate) fn stream(name: &str) -> StreamName {
    StreamName::new(name).expect("valid")
}

pub(crate) fn ledger(session: &dyn Session, disk: &str) -> TrackingLedger {
    let found = session
        .disks()
        .iter()
        .find(|known| known.name.as_str() == disk);
    found.expect("in the session").tracking.clone()
}

pub(crate) fn judgement(prepared: &dyn Prepared, disk: &str) -> BitmapJudgement {
    let judgements = prepared.judgements();
    let found = judgements
        .into_iter()
        .find(|(name, _)| name.as_str() == disk);
    found.expect("requested").1
}

/// Prepares and takes.
pub(crate) async fn snapshot(
    provider: &dyn SnapshotProvider,
    request: PrepareRequest,
    pause: PauseMode,
) -> Box<dyn Session> {
    let prepared = provider.prepare(request).await.expect("prepares");
    prepared.take(pause).await.expect("takes")
}

/// The extents of a disk as (first grain, grains, kind).
pub(crate) async fn grains(session: &dyn Session, disk: &str) -> Vec<(u64, u64, ExtentKind)> {
    let window = Extent::between(0, DISK);
    let extents = session
        .extents(&stream(disk), window)
        .await
        .expect("extents");
    let grains = extents.iter().map(|changed| {
        let Extent { start, length } = changed.extent;
        (start / GRAIN, length / GRAIN, changed.kind)
    });
    grains.collect()
}

/// A restored disk: `base` with what the session says changed.
pub(crate) async fn restore(session: &dyn Session, disk: &str, base: &mut [u8]) {
    let window = Extent::between(0, DISK);
    let extents = session
        .extents(&stream(disk), window)
        .await
        .expect("extents");
    let reader = session.open(&stream(disk)).await.expect("opens");
    for changed in extents {
        let start = usize::try_from(changed.extent.start).expect("small");
        let length = usize::try_from(changed.extent.length).expect("small");
        let target = base
            .get_mut(start..start + length)
            .expect("within the disk");
        match changed.kind {
            ExtentKind::Zero => target.fill(0),
            ExtentKind::Data => {
                target.copy_from_slice(&reader.read(changed.extent).await.expect("reads"));
            }
        }
    }
}

/// A disk as the test knows it should be.
pub(crate) fn blank() -> Vec<u8> {
    vec![0; usize::try_from(DISK).expect("small")]
}

pub(crate) fn paint(disk: &mut [u8], pattern: u8, offset: u64, length: u64) {
    let start = usize::try_from(offset).expect("small");
    let length = usize::try_from(length).expect("small");
    disk.get_mut(start..start + length)
        .expect("within the disk")
        .fill(pattern);
}

/// Compares without printing megabytes.
pub(crate) fn assert_same(found: &[u8], expected: &[u8]) {
    let different = found.iter().zip(expected).position(|(a, b)| a != b);
    assert_eq!((found.len(), different), (expected.len(), None));
}
