//! Every kind of disk: backed up, or left out and said.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tresor_testkit::{Guest, LONG, compare_images, run};

use crate::lab::Lab;

mod images;
mod left_out;
mod names;

/// Size of every additional disk.
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

    /// Boots a guest that has them.
    async fn boot(&self) -> Guest {
        Guest::builder()
            .saved_state(false) // it would be of other images
            .extra_arguments(&self.words())
            .start()
            .await
            .unwrap()
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
