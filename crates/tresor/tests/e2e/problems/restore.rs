//! Restores that find no point, or no place.

use std::fs;

use crate::{
    lab::{Lab, VM, disk_name, restored},
    problems::{small_guest, tmpfs::Tmpfs},
};

#[tokio::test]
async fn a_point_that_is_not_there() {
    let lab = Lab::new().await;
    let to = lab.path("to");
    for point in ["0192f3c1-0000-7000-8000-000000000000", "latest:nobody"] {
        lab.run(&["restore", point, "--to", to.to_str().unwrap()])
            .await
            .raises("PointNotFound");
        lab.run(&["points", "show", point])
            .await
            .raises("PointNotFound");
        lab.run(&["verify", point]).await.raises("PointNotFound");
    }
    assert!(!to.exists());
}

/// Files of an earlier restore stay as they are, unless asked otherwise.
#[tokio::test]
async fn a_target_that_exists() {
    let guest = small_guest().await;
    let lab = Lab::with(&guest).await;
    lab.backup().await;
    let to = lab.path("to");
    fs::create_dir(&to).unwrap();
    let image = restored(&to, &guest.disks()[0], "raw");
    fs::write(&image, "mine").unwrap();
    let latest = format!("latest:{VM}");
    let restore = ["restore", &latest, "--format", "raw", "--to"];
    let restore = [&restore[..], &[to.to_str().unwrap()]].concat();
    let problem = lab.run(&restore).await.raises("RestoreTargetExists");
    assert_eq!(problem["fields"]["path"], image.to_str().unwrap());
    assert_eq!(fs::read_to_string(&image).unwrap(), "mine");
    let overwrite = [&restore[..], &["--overwrite"]].concat();
    lab.run(&overwrite).await.ok();
    let nothing = [&restore[..], &["--disk", "no-such-disk"]].concat();
    lab.run(&nothing).await.raises("UsageError");
}

/// Over the image of the VM that runs, as after a restore in place: never, not even when
/// overwriting was allowed.
#[tokio::test]
async fn a_target_that_a_vm_uses() {
    let guest = small_guest().await;
    let lab = Lab::with(&guest).await;
    lab.backup().await;
    let disk = &guest.disks()[0];
    let image = guest.dir().join(format!("{}.qcow2", disk_name(disk)));
    fs::hard_link(&disk.path, &image).unwrap();
    let latest = format!("latest:{VM}");
    let to = guest.dir().to_str().unwrap();
    let problem = lab
        .run(&["restore", &latest, "--to", to, "--overwrite"])
        .await
        .raises("RestoreTargetInUse");
    let holder = problem["fields"]["holder"].as_str().unwrap();
    let qemu = guest.pid().unwrap().to_string();
    assert!(holder.contains(&qemu), "{problem}");
    guest.exec("echo alive > /alive && sync").await.unwrap();
}

/// Too little space; what was written is used when there is more.
#[tokio::test]
async fn a_target_that_is_full() {
    let guest = small_guest().await;
    let lab = Lab::with(&guest).await;
    lab.backup().await;
    let tmpfs = Tmpfs::mount(lab.path("to"), 2).await;
    let latest = format!("latest:{VM}");
    let restore = ["restore", &latest, "--format", "raw", "--to"];
    let restore = [&restore[..], &[tmpfs.path().to_str().unwrap()]].concat();
    let problem = lab.run(&restore).await.raises("RestoreTargetFailed");
    let path = problem["fields"]["path"].as_str().unwrap();
    assert!(
        path.starts_with(tmpfs.path().to_str().unwrap()),
        "{problem}"
    );
    tmpfs.remount("size=2048m").await;
    lab.run(&restore).await.ok();
}
