//! Every kind of disk: backed up, or left out and said.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tresor_testkit::{Guest, LONG, compare_images, run};

use crate::lab::{Lab, VM, assert_unharmed};

const SIZE: &str = "8M";

/// Disks that are more than the guest's own, in a directory of their own.
struct Disks {
    dir: tempfile::TempDir,
    words: Vec<String>,
}

impl Disks {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            words: Vec::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn create(&self, args: &[&str], name: &str) -> PathBuf {
        let path = self.path(name);
        let image = path.to_str().unwrap();
        run(
            "qemu-img",
            &[&["create", "-q"], args, &[image, SIZE]].concat(),
            LONG,
        )
        .await
        .unwrap();
        path
    }

    fn word(&mut self, option: &str, value: String) {
        self.words.extend([option.to_owned(), value]);
    }

    /// A front end (its words up to the drive) on an image.
    fn disk(&mut self, node: &str, driver: &str, options: &str, image: &Path, front_end: &str) {
        let image = image.display();
        let protocol = if image.to_string().starts_with("/dev/") {
            "host_device"
        } else {
            "file"
        };
        self.word(
            "-blockdev",
            format!(
                "driver={driver},node-name={node},file.driver={protocol},file.filename={image}{options}"
            ),
        );
        self.word("-device", format!("{front_end},drive={node}"));
    }

    fn words(&self) -> Vec<&str> {
        self.words.iter().map(String::as_str).collect()
    }
}

/// A loop device on a file, detached at the end.
struct Loop(PathBuf);

impl Loop {
    async fn on(file: &Path) -> Self {
        let args = ["-f", "--show", file.to_str().unwrap()];
        let device = run("losetup", &args, LONG).await.unwrap();
        Self(device.trim().into())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let detached = std::process::Command::new("losetup")
            .arg("-d")
            .arg(&self.0)
            .status();
        assert!(detached.is_ok_and(|status| status.success()));
    }
}

/// The guest writes to a device: through the monitor, because its kernel has no driver for most.
async fn write(guest: &Guest, device: &str, pattern: u8, offset: &str) {
    let line = format!("qemu-io -d {device} \"write -P {pattern} {offset} 64k\"");
    let command = json!({ "command-line": line });
    let monitor = guest.monitor().unwrap();
    let said = monitor.execute("human-monitor-command", command).await;
    let said = said.unwrap();
    assert!(!said.as_str().unwrap().contains("rror"), "{device}: {said}");
}

fn disk<'a>(point: &'a Value, name: &str) -> Option<&'a Value> {
    let mut disks = point["disks"].as_array().unwrap().iter();
    disks.find(|disk| disk["name"] == name)
}

fn mode<'a>(point: &'a Value, name: &str) -> &'a str {
    let disk = disk(point, name).unwrap_or_else(|| panic!("no {name} in {point}"));
    disk["read_mode"]["mode"].as_str().unwrap()
}

fn reason<'a>(point: &'a Value, name: &str) -> &'a str {
    let disk = disk(point, name).unwrap_or_else(|| panic!("no {name} in {point}"));
    disk["read_mode"]["reason"].as_str().unwrap_or("")
}

fn left_out<'a>(point: &'a Value, name: &str) -> Option<&'a str> {
    let mut disks = point["left_out"].as_array().unwrap().iter();
    disks.find(|disk| disk["name"] == name)?["reason"].as_str()
}

fn warns(point: &Value, name: &str) -> bool {
    let mut warnings = point["warnings"].as_array().unwrap().iter();
    warnings.any(|warning| warning.as_str().unwrap().contains(&format!("disk {name} ")))
}

/// Copies what an image holds, without asking whoever has it open.
async fn copy(format: &str, image: &Path, to: &Path) {
    let (image, to) = (image.to_str().unwrap(), to.to_str().unwrap());
    let args = ["convert", "-U", "-f", format, "-O", "raw", image, to];
    run("qemu-img", &args, LONG).await.unwrap();
}

async fn assert_restored(lab: &Lab, point: &Value, to: &str, copies: &[(&str, PathBuf)]) {
    let to = lab.restore_raw(point["point"].as_str().unwrap(), to).await;
    for (name, copy) in copies {
        let restored = to.join(format!("{name}.raw"));
        let difference = compare_images(copy, &restored).await.unwrap();
        assert_eq!(difference, None, "disk {name}");
    }
}

/// All front ends and image kinds at once.
#[tokio::test]
async fn every_front_end_and_every_kind_of_image() {
    let mut disks = Disks::new();
    let raw = disks.create(&["-f", "raw"], "raw.img").await;
    disks.disk("raw", "raw", "", &raw, "virtio-blk-pci,id=raw");
    disks.create(&["-f", "qcow2"], "base.qcow2").await;
    let base = disks.path("base.qcow2");
    let base = base.to_str().unwrap();
    run(
        "qemu-io",
        &["-f", "qcow2", "-c", "write -P 7 0 1M", base],
        LONG,
    )
    .await
    .unwrap();
    let chain = disks
        .create(&["-f", "qcow2", "-F", "qcow2", "-b", base], "chain.qcow2")
        .await;
    disks.disk("chain", "qcow2", "", &chain, "virtio-blk-pci,id=chain");
    let data = disks.create(&["-f", "raw"], "split.raw").await;
    let options = format!("data_file={},data_file_raw=on", data.display());
    let split = disks
        .create(&["-f", "qcow2", "-o", &options], "split.qcow2")
        .await;
    disks.disk("split", "qcow2", "", &split, "virtio-blk-pci,id=split");
    disks.word("-object", "iothread,id=io1".to_owned());
    disks.word("-device", "virtio-scsi-pci,id=bus,iothread=io1".to_owned());
    let scsi = disks.create(&["-f", "qcow2"], "scsi.qcow2").await;
    disks.disk("scsi", "qcow2", "", &scsi, "scsi-hd,bus=bus.0,id=scsi");
    let nvme = disks.create(&["-f", "qcow2"], "nvme.qcow2").await;
    disks.disk("nvme", "qcow2", "", &nvme, "nvme,serial=nv,id=nvme");
    let thread = disks.create(&["-f", "qcow2"], "thread.qcow2").await;
    disks.disk(
        "thread",
        "qcow2",
        "",
        &thread,
        "virtio-blk-pci,iothread=io1,id=thread",
    );
    let beneath = disks.create(&["-f", "raw"], "beneath.img").await;
    let device = Loop::on(&beneath).await;
    disks.disk("loop", "raw", "", &device.0, "virtio-blk-pci,id=loop");
    let guest = Guest::builder()
        .saved_state(false)
        .extra_arguments(&disks.words())
        .start()
        .await
        .unwrap();
    let mut guest = guest;
    let lab = Lab::with(&guest).await;
    let first = lab.backup().await;
    let images: [(&str, &str, &Path, &str); 7] = [
        ("raw", "raw", &raw, "/virtio-backend"),
        ("chain", "qcow2", &chain, "/virtio-backend"),
        ("split", "qcow2", &split, "/virtio-backend"),
        ("scsi", "qcow2", &scsi, ""),
        ("nvme", "qcow2", &nvme, ""),
        ("thread", "qcow2", &thread, "/virtio-backend"),
        ("loop", "raw", &device.0, "/virtio-backend"),
    ];
    for (name, _, _, inner) in images {
        assert_eq!(mode(&first, name), "full", "{first}");
        write(
            &guest,
            &format!("/machine/peripheral/{name}{inner}"),
            3,
            "2M",
        )
        .await;
    }
    let monitor = guest.monitor().unwrap();
    monitor.execute("stop", Value::Null).await.unwrap();
    let second = lab.backup().await;
    let mut copies = Vec::new();
    for (name, format, image, _) in images {
        let to = lab.path(&format!("{name}.copy"));
        copy(format, image, &to).await;
        copies.push((name, to));
        assert_eq!(mode(&second, name), "incremental", "{second}");
        assert_eq!(
            disk(&second, name).unwrap()["stats"]["read"],
            65536,
            "{name}"
        );
    }
    monitor.execute("cont", Value::Null).await.unwrap();
    assert_restored(&lab, &second, "second", &copies).await;
    assert_unharmed(&guest).await;

    // Stopped: bitmaps lie in qcow2 images, also in one that keeps its data in another file; a raw
    // image is read again, and it is said why.
    guest.quit().await.unwrap();
    let stopped = lab.backup().await;
    for (name, format, _, _) in images {
        let expected = if format == "raw" {
            "full"
        } else {
            "incremental"
        };
        assert_eq!(mode(&stopped, name), expected, "{name}: {stopped}");
        assert!(expected == "incremental" || reason(&stopped, name).contains("keeps none"));
    }
    assert_restored(&lab, &stopped, "stopped", &copies).await;
    guest.restart().await.unwrap();
    let last = lab.backup().await;
    for (name, format, _, _) in images {
        let expected = if format == "raw" {
            "full"
        } else {
            "incremental"
        };
        assert_eq!(mode(&last, name), expected, "{name}: {last}");
        if expected == "full" {
            assert_eq!(
                disk(&last, name).unwrap()["stats"]["new"],
                0,
                "only differences"
            );
        }
    }
    assert_unharmed(&guest).await;
    lab.run(&["verify"]).await.ok();
}

/// A disk that the guest can only read is backed up, a CD-ROM is not, a shared disk only when told.
#[tokio::test]
async fn read_only_media_and_shared_disks() {
    let mut disks = Disks::new();
    let fixed = disks.create(&["-f", "qcow2"], "fixed.qcow2").await;
    let path = fixed.to_str().unwrap();
    run(
        "qemu-io",
        &["-f", "qcow2", "-c", "write -P 9 1M 1M", path],
        LONG,
    )
    .await
    .unwrap();
    disks.disk(
        "fixed",
        "qcow2",
        ",read-only=on",
        &fixed,
        "virtio-blk-pci,id=fixed",
    );
    let shared = disks.create(&["-f", "raw"], "shared.img").await;
    disks.disk(
        "shared",
        "raw",
        "",
        &shared,
        "virtio-blk-pci,share-rw=on,id=shared",
    );
    let disc = disks.create(&["-f", "raw"], "disc.iso").await;
    disks.word("-device", "virtio-scsi-pci,id=bus".to_owned());
    disks.disk(
        "disc",
        "raw",
        ",read-only=on",
        &disc,
        "scsi-cd,bus=bus.0,id=disc",
    );
    disks.word("-device", "scsi-cd,bus=bus.0,id=empty".to_owned());
    let mut guest = Guest::builder()
        .saved_state(false)
        .extra_arguments(&disks.words())
        .start()
        .await
        .unwrap();
    let lab = Lab::with(&guest).await;
    let first = lab.backup().await;
    assert_eq!(
        disk(&first, "fixed").unwrap()["stats"]["read"],
        1 << 20,
        "{first}"
    );
    assert!(
        left_out(&first, "disc").is_some_and(|why| why.contains("CD-ROM")),
        "{first}"
    );
    assert!(left_out(&first, "empty").is_some_and(|why| why.contains("no medium")));
    assert!(left_out(&first, "shared").is_some_and(|why| why.contains("--include")));
    assert!(warns(&first, "shared") && !warns(&first, "disc"), "{first}");
    assert_unharmed(&guest).await;
    let second = lab.backup().await;
    assert!(reason(&second, "fixed").contains("only read"), "{second}");
    assert_eq!(
        disk(&second, "fixed").unwrap()["stats"]["new"],
        0,
        "{second}"
    );
    let mut copies = vec![("fixed", lab.path("fixed.copy"))];
    copy("qcow2", &fixed, &copies[0].1).await;
    assert_restored(&lab, &second, "second", &copies).await;

    lab.run(&["vm", "remove", VM]).await.ok();
    lab.register_socket(&guest.qmp_socket(), &["--include", "shared"])
        .await
        .ok();
    write(&guest, "/machine/peripheral/shared/virtio-backend", 5, "4M").await;
    copies.push(("shared", lab.path("shared.copy")));
    copy("raw", &shared, &copies[1].1).await;
    for to in ["third", "fourth"] {
        let point = lab.backup().await;
        assert!(reason(&point, "shared").contains("shared"), "{point}");
        assert!(warns(&point, "shared"), "{point}");
        assert_restored(&lab, &point, to, &copies).await;
    }
    assert_unharmed(&guest).await;
    guest.quit().await.unwrap();
    let stopped = lab.backup().await;
    assert_restored(&lab, &stopped, "stopped", &copies).await;
    lab.run(&["verify"]).await.ok();
}

/// Disks without ids are named by their place: when one is added before the other, both keep what
/// was known of them.
#[tokio::test]
async fn disks_that_come_go_and_change_their_names() {
    let mut disks = Disks::new();
    let old = disks.create(&["-f", "qcow2"], "old.qcow2").await;
    disks.disk("old", "qcow2", "", &old, "virtio-blk-pci");
    let mut guest = Guest::builder()
        .saved_state(false)
        .extra_arguments(&disks.words())
        .start()
        .await
        .unwrap();
    let lab = Lab::with(&guest).await;
    let first = lab.backup().await;
    let name_before = first["disks"][1]["name"].as_str().unwrap().to_owned();
    guest.quit().await.unwrap();

    let with_old = disks.words.clone();
    disks.words.clear();
    let new = disks.create(&["-f", "qcow2"], "new.qcow2").await;
    disks.disk("new", "qcow2", "", &new, "virtio-blk-pci");
    disks.words.extend(with_old);
    guest.set_extra_arguments(&disks.words());
    guest.restart().await.unwrap();
    let monitor = guest.monitor().unwrap();
    monitor.execute("stop", Value::Null).await.unwrap();
    let second = lab.backup().await;
    monitor.execute("cont", Value::Null).await.unwrap();
    let same_name = reason(&second, &name_before);
    assert!(same_name.contains("no earlier recovery point"), "{second}");
    let renamed = second["disks"].as_array().unwrap().iter();
    let renamed = renamed
        .map(|disk| disk["name"].as_str().unwrap())
        .find(|name| *name != name_before && !name.starts_with("dev-"));
    let renamed = renamed.unwrap_or_else(|| panic!("{second}")).to_owned();
    assert_eq!(mode(&second, &renamed), "incremental", "{second}");
    assert_eq!(
        disk(&second, &renamed).unwrap()["stats"]["read"],
        0,
        "{second}"
    );
    let copies = [
        (renamed.as_str(), lab.path("old.copy")),
        (name_before.as_str(), lab.path("new.copy")),
    ];
    copy("qcow2", &old, &copies[0].1).await;
    copy("qcow2", &new, &copies[1].1).await;
    assert_restored(&lab, &second, "second", &copies).await;
    assert_unharmed(&guest).await;

    guest.set_extra_arguments(&[]);
    guest.restart().await.unwrap();
    let third = lab.backup().await;
    assert_eq!(third["disks"].as_array().unwrap().len(), 1, "{third}");
    assert_eq!(mode(&third, "dev-system"), "incremental", "{third}");
    assert_unharmed(&guest).await;
    lab.run(&["verify"]).await.ok();
}

/// A raw disk gets a qcow2 image for its bitmaps, by the very commands of the documentation: its
/// content stays, and it is tracked over a restart.
#[tokio::test]
async fn a_raw_disk_is_converted_as_documented() {
    let mut disks = Disks::new();
    let raw = disks.create(&["-f", "raw"], "disk.raw").await;
    let path = raw.to_str().unwrap();
    run(
        "qemu-io",
        &["-f", "raw", "-c", "write -P 6 3M 2M", path],
        LONG,
    )
    .await
    .unwrap();
    let before = std::fs::read(&raw).unwrap();
    let image = disks.path("disk.qcow2");
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/raw-disks.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, behind) = page.split_once("```sh\n").unwrap();
    let (commands, _) = behind.split_once("```").unwrap();
    let script = format!("set -e; raw={path}; image={}\n{commands}", image.display());
    let said = run("sh", &["-c", &script], LONG).await.unwrap();
    assert!(said.contains("Images are identical."), "{said}");
    assert!(
        std::fs::read(&raw).unwrap() == before,
        "the disk is as it was"
    );

    disks.disk("split", "qcow2", "", &image, "virtio-blk-pci,id=split");
    let mut guest = Guest::builder()
        .saved_state(false)
        .extra_arguments(&disks.words())
        .start()
        .await
        .unwrap();
    let lab = Lab::with(&guest).await;
    lab.backup().await;
    let device = "/machine/peripheral/split/virtio-backend";
    write(&guest, device, 2, "1M").await;
    guest.quit().await.unwrap();
    guest.restart().await.unwrap();
    let point = lab.backup().await;
    assert_eq!(mode(&point, "split"), "incremental", "{point}");
    assert_eq!(
        disk(&point, "split").unwrap()["stats"]["read"],
        65536,
        "{point}"
    );
    assert_unharmed(&guest).await;
    guest.quit().await.unwrap();
    let copies = [("split", raw)];
    assert_restored(&lab, &point, "to", &copies).await;
}
