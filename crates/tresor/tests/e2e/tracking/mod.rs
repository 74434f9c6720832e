//! What happens to disks behind the back of the change tracking: each is found, said, and the
//! recovery point is right all the same.

mod around;
mod image;

use std::fs;

use serde_json::Value;
use tresor_testkit::{Guest, GuestDisk, compare_images};

use crate::lab::{Lab, VM, assert_unharmed, bitmaps, restored};

async fn guest() -> Guest {
    let guest = Guest::builder().data_disk().iothread(true).start().await;
    guest.unwrap()
}

async fn in_guest(guest: &Guest, command: &str) {
    guest.exec(command).await.unwrap().ok().unwrap();
}

async fn qmp(guest: &Guest, command: &str, arguments: Value) {
    let done = guest.monitor().unwrap().execute(command, arguments).await;
    done.unwrap();
}

async fn backup(lab: &Lab, more: &[&str]) -> Value {
    lab.run(&[&["backup", VM], more].concat()).await.ok()
}

/// The disk of that name in a backup's result.
fn disk<'a>(point: &'a Value, name: &str) -> &'a Value {
    let disks = point["disks"].as_array().unwrap();
    let found = disks.iter().find(|disk| disk["name"] == name);
    found.unwrap_or_else(|| panic!("no disk {name} in {point}"))
}

fn reason<'a>(point: &'a Value, name: &str) -> &'a str {
    let mode = &disk(point, name)["read_mode"];
    mode["reason"].as_str().unwrap_or_else(|| panic!("{point}"))
}

/// Every disk was read by its bitmap.
fn is_incremental(point: &Value) -> bool {
    let disks = point["disks"].as_array().unwrap();
    let by_bitmap = |disk: &Value| disk["read_mode"]["mode"] == "incremental";
    disks.iter().all(by_bitmap)
}

/// The point holds what the image has. The guest must not have run since the backup.
async fn assert_equal(lab: &Lab, point: &Value, image: &GuestDisk) {
    let point = point["point"].as_str().unwrap();
    let to = format!("to-{}-{point}", image.name);
    let to = lab.restore_raw(point, &to).await;
    let restored = restored(&to, image, "raw");
    // QEMU holds a lock on the image itself.
    let copy = lab.path(&format!("copy-{point}"));
    fs::copy(&image.path, &copy).unwrap();
    let difference = compare_images(&copy, &restored).await.unwrap();
    assert!(difference.is_none(), "{}: {difference:?}", image.name);
}

/// After whatever happened: guest and vault are well, one bitmap a disk records, and the next
/// backup is incremental.
async fn assert_tracked_again(lab: &Lab, guest: &Guest) {
    let next = backup(lab, &[]).await;
    assert!(is_incremental(&next), "{next}");
    assert_unharmed(guest).await;
    assert_eq!(bitmaps(guest).await.len(), 2, "one bitmap a disk");
    lab.run(&["verify"]).await.ok();
}

/// As [`assert_tracked_again`], where a bitmap of an older point lies on another layer.
async fn assert_tracked_again_with(lab: &Lab, guest: &Guest) {
    let next = backup(lab, &[]).await;
    assert!(is_incremental(&next), "{next}");
    assert_unharmed(guest).await;
    lab.run(&["verify"]).await.ok();
}

async fn all_bitmaps_on(guest: &Guest, node: &str) -> Vec<String> {
    let monitor = guest.monitor().unwrap();
    let nodes = monitor
        .execute("query-named-block-nodes", Value::Null)
        .await
        .unwrap();
    let nodes = nodes.as_array().unwrap();
    let node = nodes
        .iter()
        .find(|found| found["node-name"] == node)
        .unwrap();
    let bitmaps = node["dirty-bitmaps"].as_array().into_iter().flatten();
    let names = bitmaps.filter_map(|bitmap| bitmap["name"].as_str());
    names.map(str::to_owned).collect()
}

async fn ours_on(guest: &Guest, node: &str) -> String {
    let names = all_bitmaps_on(guest, node).await;
    names
        .into_iter()
        .find(|name| name.starts_with("tresor-"))
        .unwrap()
}
