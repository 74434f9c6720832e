//! A second copy: made, kept up to date, restored from, and repaired from.

use std::{fs, path::Path};

use serde_json::Value;
use tresor_testkit::{Guest, compare_images};

use crate::lab::{Lab, VM, packs, restored};

/// A lab with a second vault, named `second`.
async fn lab_with_two(guest: &Guest) -> Lab {
    let lab = Lab::with(guest).await;
    let second = lab.path("second");
    lab.run(&["vault", "create", second.to_str().unwrap()])
        .await
        .ok();
    lab
}

/// In the vault that the VM is bound to.
async fn backup(lab: &Lab) -> Value {
    lab.run(&["backup", VM, "--reread", "0"]).await.ok()
}

async fn copy(lab: &Lab, more: &[&str]) -> Value {
    lab.run(&[&["copy", "--from", "vault", "--to", "second"][..], more].concat())
        .await
        .ok()
}

fn id(point: &Value) -> String {
    point["point"].as_str().unwrap().to_owned()
}

/// Flips a bit in every frame or so of every large pack: those hold the disks.
fn spoil(vault: &Path) -> usize {
    let mut spoilt = 0;
    for path in packs(vault) {
        let mut bytes = fs::read(&path).unwrap();
        if bytes.len() < 1 << 20 {
            continue;
        }
        (2000..bytes.len())
            .step_by(200_000)
            .for_each(|at| bytes[at] ^= 1);
        fs::write(&path, bytes).unwrap();
        spoilt += 1;
    }
    spoilt
}

async fn write(guest: &Guest, command: &str) {
    guest.exec(command).await.unwrap().ok().unwrap();
}

async fn assert_same(guest: &Guest, one: &Path, other: &Path) {
    for disk in guest.disks() {
        let (one, other) = (restored(one, disk, "raw"), restored(other, disk, "raw"));
        let difference = compare_images(&one, &other).await.unwrap();
        assert!(difference.is_none(), "{difference:?}");
    }
}

async fn points(lab: &Lab, vault: &str) -> Vec<Value> {
    lab.run(&["points", "list", "--vault", vault]).await.lines()
}

/// The whole way of a second copy: the next one costs what changed; the first vault's packs are
/// damaged; a restore goes on with the copy; a repair puts everything back.
#[tokio::test]
async fn a_second_copy_saves_the_first() {
    let guest = Guest::builder().data_disk().start().await.unwrap();
    let lab = lab_with_two(&guest).await;
    let first = backup(&lab).await;
    let plan = copy(&lab, &["--dry-run"]).await;
    assert_eq!(plan["planned"][0]["point"], first["point"]);
    assert!(points(&lab, "second").await.is_empty());
    let copied = copy(&lab, &[]).await;
    assert_eq!(copied["copied"][0]["point"], first["point"], "{copied}");
    write(
        &guest,
        "tresor-workload churn --dir /data/churn --mib 4 && sync",
    )
    .await;
    let second = backup(&lab).await;
    let next = copy(&lab, &["--read-back", "all"]).await;
    assert_eq!(next["copied"].as_array().unwrap().len(), 1, "{next}");
    let (all, changed) = (&copied["total"]["read"], &next["total"]["read"]);
    assert!(
        changed.as_u64().unwrap() * 4 < all.as_u64().unwrap(),
        "{changed} of {all}"
    );
    assert!(
        next["total"]["read_back"].as_u64() >= all.as_u64(),
        "{next}"
    );
    assert!(
        copy(&lab, &[]).await["copied"]
            .as_array()
            .unwrap()
            .is_empty()
    );

    let listed = points(&lab, "second").await;
    let origins: Vec<_> = listed
        .iter()
        .map(|point| &point["copied_from"]["point"])
        .collect();
    assert_eq!(origins, [&first["point"], &second["point"]]);
    let home = points(&lab, "vault").await;
    for (copy, original) in listed.iter().zip(&home) {
        assert_eq!(copy["taken_at"], original["taken_at"]);
        assert_eq!(copy["sequence"], original["sequence"]);
    }

    // As it is read from the first vault while that is whole.
    let whole = lab.restore_raw(&id(&second), "whole").await;
    assert!(spoil(&lab.vault()) > 0);
    let to = lab.path("saved");
    let to_arg = to.to_str().unwrap();
    let second_id = id(&second);
    let saved = [
        "restore", &second_id, "--vault", "vault", "--to", to_arg, "--format", "raw",
    ];
    let saved = lab.run(&saved).await.ok();
    assert_same(&guest, &to, &whole).await;
    let around = saved["read_around"].as_array().unwrap();
    assert!(!around.is_empty());
    let from = around[0]["instead"]["copy"].as_str().unwrap();
    assert_eq!(from, lab.path("second").to_str().unwrap());
    // The copy answers to the id of the original, in its own vault.
    let to = lab.path("direct");
    let first_id = id(&first);
    let direct = [
        "restore",
        &first_id,
        "--vault",
        "second",
        "--to",
        to.to_str().unwrap(),
    ];
    lab.run(&direct).await.ok();

    // What is damaged is known when it was looked for.
    lab.run(&["verify", "--vault", "vault"])
        .await
        .raises("ChunkDamaged");
    let dry = lab
        .run(&["repair", "--vault", "vault", "--dry-run"])
        .await
        .ok();
    let affected = dry["before"].as_array().unwrap();
    assert!(
        affected.iter().any(|lost| lost["point"] == second["point"]),
        "{dry}"
    );
    assert!(
        affected
            .iter()
            .all(|lost| lost["bytes"].as_u64().unwrap() > 0)
    );
    let repaired = lab.run(&["repair", "--vault", "vault"]).await.ok();
    assert_eq!(repaired["before"], dry["before"]);
    assert!(
        repaired["after"].as_array().unwrap().is_empty(),
        "{repaired}"
    );
    fs::rename(lab.path("second"), lab.path("away")).unwrap();
    let verified = lab.run(&["verify", "--vault", "vault"]).await.ok();
    assert!(!verified["read_around"].as_array().unwrap().is_empty());
    let alone = lab.restore_raw_of("vault", &id(&second), "alone").await;
    assert_same(&guest, &alone, &whole).await;
}

/// Without any copy: the next backup stores again what the disks still have, by itself, though the
/// tracking lists no change there. What they have not is said to be lost.
#[tokio::test]
async fn the_next_backup_puts_back_what_the_disk_has() {
    let guest = Guest::builder().data_disk().start().await.unwrap();
    let lab = Lab::with(&guest).await;
    write(
        &guest,
        "tresor-workload churn --dir /data/churn --mib 8 && sync",
    )
    .await;
    let first = backup(&lab).await;
    let whole = lab.restore_raw(&id(&first), "whole").await;
    assert!(spoil(&lab.vault()) > 0);
    lab.run(&["verify"]).await.raises("ChunkDamaged");
    let problem = lab.run(&["repair"]).await.raises("RepairIncomplete");
    assert_eq!(problem["fields"]["points"], "1");
    let second = backup(&lab).await;
    let modes: Vec<_> = second["disks"].as_array().unwrap().iter().collect();
    assert!(
        modes
            .iter()
            .all(|disk| disk["read_mode"]["mode"] == "incremental"),
        "{second}"
    );
    let warnings = second["warnings"].to_string();
    assert!(
        warnings.contains("are read from the disk again"),
        "{warnings}"
    );
    lab.run(&["verify", &id(&second)]).await.ok();
    // What did not change since is back in the first point too: few parts of it are not.
    let left = lab.run(&["repair", "--dry-run"]).await.ok();
    let lost = |list: &Value| -> u64 {
        let list = list.as_array().unwrap().iter();
        list.map(|lost| lost["bytes"].as_u64().unwrap()).sum()
    };
    let (before, after) = (
        problem["fields"]["bytes"]
            .as_str()
            .unwrap()
            .parse::<u64>()
            .unwrap(),
        lost(&left["before"]),
    );
    assert!(
        after * 2 < before,
        "{after} of {before} bytes are lost still"
    );
    drop(whole);
    // The third backup is a usual one again.
    let third = backup(&lab).await;
    assert!(
        !third["warnings"]
            .to_string()
            .contains("from the disk again")
    );
    let read = |point: &Value| point["total"]["read"].as_u64().unwrap();
    assert!(read(&third) * 2 < read(&second), "{third}");
}

/// What cannot be meant.
#[tokio::test]
async fn a_copy_needs_two_vaults() {
    let lab = Lab::new().await;
    lab.run(&["copy", "--to", "vault"])
        .await
        .raises("UsageError");
    lab.run(&["copy", "--from", "vault", "--to", "vault"])
        .await
        .raises("UsageError");
    let nowhere = lab.path("nowhere");
    let nowhere = nowhere.to_str().unwrap();
    lab.run(&["copy", "--from", "vault", "--to", nowhere])
        .await
        .raises("VaultNotFound");
    let second = lab.path("second");
    lab.run(&["vault", "create", second.to_str().unwrap()])
        .await
        .ok();
    let unknown = ["copy", "--from", "vault", "--to", "second", "web01"];
    lab.run(&unknown).await.raises("UsageError");
    let nothing = lab.run(&["copy", "--to", "second"]).await.ok();
    assert_eq!(nothing["planned"], 0);
    let whole = lab.run(&["repair", "--vault", "vault"]).await.ok();
    assert!(whole["before"].as_array().unwrap().is_empty());
}
