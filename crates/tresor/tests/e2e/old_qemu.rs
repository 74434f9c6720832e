//! The oldest QEMU that is supported: 7.2.

use tresor_testkit::{Guest, Qemu, compare_images};

use crate::lab::{Lab, assert_unharmed, restored};

/// A full and an incremental, frozen by the agent, restored equal; incremental over a stop.
#[tokio::test]
async fn backups_work_on_qemu_7_2() {
    let mut guest = Guest::builder()
        .qemu(Qemu::V7_2)
        .data_disk()
        .start()
        .await
        .unwrap();
    let lab = Lab::with(&guest).await;
    let first = lab.backup().await;
    assert_eq!(first["consistency"]["achieved"], "application", "{first}");
    let churn = "tresor-workload churn --dir /data/churn --mib 2 && sync";
    guest.exec(churn).await.unwrap().ok().unwrap();
    guest
        .monitor()
        .unwrap()
        .execute("stop", serde_json::Value::Null)
        .await
        .unwrap();
    let second = lab.backup().await;
    let copies = lab.path("copies");
    std::fs::create_dir(&copies).unwrap();
    let copies = guest.copy_disks(&copies).await.unwrap();
    guest
        .monitor()
        .unwrap()
        .execute("cont", serde_json::Value::Null)
        .await
        .unwrap();
    assert_eq!(
        second["disks"][1]["read_mode"]["mode"], "incremental",
        "{second}"
    );
    let to = lab
        .restore_raw(second["point"].as_str().unwrap(), "to")
        .await;
    for copy in &copies {
        let image = restored(&to, copy, "raw");
        assert!(compare_images(&copy.path, &image).await.unwrap().is_none());
    }
    assert_unharmed(&guest).await;

    // Stopped and started again: the host's own storage daemon goes on with 7.2's bitmaps.
    guest.quit().await.unwrap();
    let stopped = lab.backup().await;
    guest.restart().await.unwrap();
    let last = lab.backup().await;
    for point in [&stopped, &last] {
        let modes = [0, 1].map(|at| &point["disks"][at]["read_mode"]["mode"]);
        assert_eq!(modes, ["incremental", "incremental"], "{point}");
    }
    assert_unharmed(&guest).await;
}
