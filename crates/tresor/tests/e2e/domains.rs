//! A VM that moves between deduplication domains.

use serde_json::Value;
use tresor_testkit::{Guest, compare_images};

use crate::lab::{Lab, VM, restored};

/// There and back: each time all is read, the point says why, and who has the key of the new domain
/// restores it.
#[tokio::test]
async fn a_vm_that_moves_to_another_domain_is_read_whole() {
    let mut guest = Guest::builder().start().await.unwrap();
    let lab = Lab::with(&guest).await;
    let first = lab.backup().await;
    let file = lab.path("host.key");
    let key = ["--key-file", file.to_str().unwrap()];
    let new = ["--own-domain", "--new-key-file", key[1]];
    lab.run(&[&["vault", "key", "add"], &new[..]].concat())
        .await
        .ok();

    let moved = lab.run(&[&["backup", VM], &key[..]].concat()).await.ok();
    assert_eq!(moved["disks"][0]["read_mode"]["mode"], "full", "{moved}");
    let list = lab.run(&[&["points", "list"], &key[..]].concat()).await;
    list.ok();
    assert!(
        list.stderr()
            .contains("1 recovery point is of another domain"),
        "{}",
        list.stderr()
    );
    let of = |run: &Value| run["point"].as_str().unwrap().to_owned();
    let listed = |point: &Value| point["id"] == of(&first);
    assert!(!list.lines().iter().any(listed), "{:?}", list.lines());

    let back = lab.backup().await;
    let shown = lab.run(&["points", "show", &of(&back)]).await.ok();
    let mode = &shown["disks"][0]["read_mode"];
    assert_eq!(mode["reason"], "the last point is of another domain");
    let order = lab.run(&["points", "list"]).await;
    order.ok();
    let order: Vec<_> = order
        .lines()
        .iter()
        .map(|point| point["id"].clone())
        .collect();
    assert_eq!(order, [of(&first), of(&moved), of(&back)]);
    assert!(shown["parent"].is_null(), "{shown}");

    // From here on it is as it was, and all of it is in this domain.
    guest.quit().await.unwrap();
    let again = lab.backup().await;
    let shown = lab.run(&["points", "show", &of(&again)]).await.ok();
    assert_eq!(shown["disks"][0]["read_mode"]["mode"], "incremental");
    assert_eq!(shown["parent"], of(&back));
    lab.run(&["verify"]).await.ok();
    let to = lab.restore_raw(&of(&again), "restored").await;
    let disk = &guest.disks()[0];
    let difference = compare_images(&disk.path, &restored(&to, disk, "raw")).await;
    assert_eq!(difference.unwrap(), None);
}
