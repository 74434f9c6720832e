//! What a backup may do to its guest: nothing that is felt.

use std::time::Duration;

use serde_json::{Value, json};
use tresor_testkit::{Guest, LONG, check_ext4, run};

use crate::{
    lab::{Lab, VM, assert_unharmed, finish, restored},
    running::Backup,
};

/// A guest with a file that does not compress, and the file's checksum.
async fn guest_with_file(mib: u32) -> (Guest, String) {
    let guest = Guest::builder().data_disk().iothread(true).start().await;
    let guest = guest.unwrap();
    let fill = format!(
        "tresor-workload churn --dir /data/big --mib {} --file-mib {mib} >/dev/null \
         && sync && sha256sum /data/big/churn",
        4 * mib
    );
    let printed = guest.exec(&fill).await.unwrap().ok().unwrap();
    let sum = printed.split_whitespace().next().unwrap().to_owned();
    (guest, sum)
}

/// The vault is slow and the guest writes all it has anew meanwhile: it is not held up, and the
/// point has what was there before.
#[tokio::test]
async fn a_slow_vault_holds_up_the_reading_and_not_the_guest() {
    let (guest, sum) = guest_with_file(24).await;
    let lab = Lab::with(&guest).await;
    let mut backup = Backup::start(&lab, &["--upload-limit", "2"]);
    backup.wait_for("Take snapshot: done").await;
    let anew = "tresor-workload churn --dir /data/big --mib 48 --file-mib 24 --seed 2 && sync";
    guest.exec(anew).await.unwrap().ok().unwrap();
    let point = finish(&["backup"], backup.into_child()).await.ok();
    assert!(point["guest_writes"]["before_us"].is_u64(), "{point}");
    let coded = &point["compression"];
    let frames = |of: &Value| of.as_u64().unwrap();
    let compressed = coded["compressed"].as_object().unwrap().values();
    let coded = compressed.map(frames).sum::<u64>() + frames(&coded["raw"]);
    assert!(coded > 0, "{point}");
    assert_unharmed(&guest).await;

    let to = lab
        .restore_raw(point["point"].as_str().unwrap(), "to")
        .await;
    let image = restored(&to, &guest.disks()[1], "raw");
    check_ext4(&image).await.unwrap();
    let file = lab.path("churn");
    let dump = format!("dump big/churn {}", file.display());
    run("debugfs", &["-R", &dump, image.to_str().unwrap()], LONG)
        .await
        .unwrap();
    let found = run("sha256sum", &[file.to_str().unwrap()], LONG)
        .await
        .unwrap();
    assert!(found.starts_with(&sum), "{found} is not {sum}");
    lab.run(&["verify"]).await.ok();
}

/// The guest's storage gets slow under the backup: reading gives way, and says so.
#[tokio::test]
async fn reading_gives_way_to_a_guest_whose_writes_get_slow() {
    let (guest, _) = guest_with_file(24).await;
    let latency = "tresor-workload latency --dir /data/latency --rate 100 --random-mib 4";
    guest.start_background(latency).await.unwrap();
    let lab = Lab::with(&guest).await;
    // Long enough for some looks at the guest.
    let mut backup = Backup::start(&lab, &["--read-limit", "4"]);
    backup.wait_for("Take snapshot: done").await;
    let monitor = guest.monitor().unwrap();
    let id = "/machine/peripheral/dev-data/virtio-backend";
    let throttle = |writes: u32| {
        json!({"id": id, "iops": 0, "iops_rd": 0, "iops_wr": writes, "bps": 0, "bps_rd": 0,
               "bps_wr": 0})
    };
    let slow = monitor.execute("block_set_io_throttle", throttle(20)).await;
    slow.unwrap();
    let point = finish(&["backup"], backup.into_child()).await.ok();
    monitor
        .execute("block_set_io_throttle", throttle(0))
        .await
        .unwrap();
    let seen = &point["guest_writes"];
    let time = |name: &str| seen[name].as_u64().unwrap_or_else(|| panic!("{point}"));
    assert!(time("worst_us") > 2 * time("before_us"), "{point}");
    assert_eq!(time("slowest_pace"), 16 << 20, "{point}");
    assert_unharmed(&guest).await;
    lab.run(&["verify"]).await.ok();
}

/// A limit that is asked for holds back, and it is said for how long; a wrong one is refused.
#[tokio::test]
async fn a_read_limit_is_kept_and_said() {
    let (guest, _) = guest_with_file(24).await;
    let lab = Lab::with(&guest).await;
    let refused = lab.run(&["backup", VM, "--read-limit", "0"]).await;
    refused.raises("UsageError");
    let refused = lab.run(&["backup", VM, "--reread", "2/3"]).await;
    refused.raises("UsageError");
    let point = lab.run(&["backup", VM, "--read-limit", "16"]).await.ok();
    let read = point["total"]["read"].as_u64().unwrap();
    let held = point["guest_writes"]["held_back_ms"].as_u64().unwrap();
    // All but the last read of each disk is paid for before the next one.
    let least = (read - (2 << 20)) * 1000 / (16 << 20);
    assert!(held >= least / 2, "held back {held} ms of {least}: {point}");
    let shown = lab
        .run(&["points", "show", &format!("latest:{VM}")])
        .await
        .ok();
    let facts = shown["facts"].as_array().unwrap();
    let fact = facts
        .iter()
        .find(|fact| fact["name"] == "guest.write-latency");
    assert_eq!(fact.unwrap()["value"], point["guest_writes"]);
    assert_unharmed(&guest).await;
}

/// The fleecing store stops answering: the copy that hangs in it is given up, the snapshot is lost,
/// and the guest writes on while the store is still dead. Nothing of ours makes QEMU wait for it.
#[tokio::test]
async fn a_dead_fleecing_store_costs_the_snapshot_and_nothing_else() {
    let (guest, _) = guest_with_file(64).await;
    let lab = Lab::with(&guest).await;
    let mut store = DeadStore::mount(&lab).await;
    let dir = store.at.clone();
    // Slow enough that there is more to read when the copy is given up.
    let args = ["--fleecing-dir", &dir, "--read-limit", "1"];
    let mut backup = Backup::start(&lab, &args);
    backup.wait_for("Take snapshot: done").await;
    while exports(&guest).await == json!([]) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    store.freeze(true).await;
    let write = "tresor-workload churn --dir /data/big --mib 4 --file-mib 64 --seed 3 && sync";
    guest.exec(write).await.unwrap().ok().unwrap();
    let mut child = backup.into_child();
    // The program has noticed, or will; meanwhile the guest stays alive.
    for _ in 0..30 {
        guest
            .exec("echo alive >/data/alive && sync")
            .await
            .unwrap()
            .ok()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(
        child.try_wait().unwrap().is_none(),
        "it waits for its store"
    );
    store.freeze(false).await;
    finish(&["backup"], child).await.raises("SnapshotLost");
    assert_unharmed(&guest).await;
    lab.backup().await;
    lab.run(&["verify"]).await.ok();
}

async fn exports(guest: &Guest) -> Value {
    let monitor = guest.monitor().unwrap();
    let exports = monitor.execute("query-block-exports", Value::Null).await;
    exports.unwrap()
}

/// A file system in a file that can be frozen; thawed and unmounted with the value.
struct DeadStore {
    at: String,
}

impl DeadStore {
    async fn mount(lab: &Lab) -> Self {
        let (image, at) = (lab.path("store.img"), lab.path("store"));
        std::fs::create_dir(&at).unwrap();
        let file = std::fs::File::create(&image).unwrap();
        file.set_len(512 << 20).unwrap();
        let (image, at) = (image.to_str().unwrap(), at.to_str().unwrap());
        run("mkfs.ext4", &["-q", "-F", image], LONG).await.unwrap();
        run("mount", &["-o", "loop", image, at], LONG)
            .await
            .unwrap();
        Self { at: at.to_owned() }
    }

    async fn freeze(&mut self, on: bool) {
        let flag = if on { "-f" } else { "-u" };
        run("fsfreeze", &[flag, &self.at], LONG).await.unwrap();
    }
}

impl Drop for DeadStore {
    fn drop(&mut self) {
        // Thawed already, unless the test failed.
        for (program, flag) in [("fsfreeze", "-u"), ("umount", "-l")] {
            let ended = std::process::Command::new(program)
                .args([flag, &self.at])
                .stderr(std::process::Stdio::null())
                .status();
            assert!(ended.is_ok() || std::thread::panicking());
        }
    }
}
