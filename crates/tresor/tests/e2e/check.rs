//! `tresor check`, `tresor verify --sample` and `--since-last`: with a key, without one, and after a
//! backup. Most of it on vaults whose points the library made.

use std::{fs, path::Path};

use jiff::Timestamp;
use serde_json::Value;
use tresor_testkit::Guest;

use crate::{
    lab::{Lab, packs},
    retention::make_points,
};

async fn lab_with_points(count: usize) -> (Lab, Vec<String>) {
    let lab = Lab::new().await;
    let points = make_points(&lab, "web01", &vec![Timestamp::now(); count]).await;
    (lab, points.iter().map(ToString::to_string).collect())
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn of_type<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let typed = lines.iter();
    typed.filter(|line| line["message_type"] == kind).collect()
}

#[tokio::test]
async fn a_check_of_a_whole_vault_finds_nothing() {
    let (lab, _) = lab_with_points(3).await;
    let vault = lab.vault();
    let checked = lab.run(&["check"]).await.ok();
    assert_eq!(
        (&checked["findings"], &checked["affected"]),
        (&0.into(), &Value::Null)
    );
    let deep = lab.run(&["check", "--deep"]).await.ok();
    assert_eq!(deep["affected"], serde_json::json!([]));
    // Whoever stores it has no key.
    let run = lab.run_elsewhere(&["check", vault.to_str().unwrap()]).await;
    assert_eq!(run.ok()["objects"], checked["objects"]);
    assert!(run.stderr().contains("no key"), "{}", run.stderr());
    let shown = lab.run(&["jobs", "list"]).await.rows();
    assert!(shown.iter().any(|job| job["kind"] == "check"), "{shown:?}");
}

/// A lost pack of data: the finding names it, and with a key the points that need it.
#[tokio::test]
async fn a_check_says_which_points_are_affected() {
    let (lab, points) = lab_with_points(3).await;
    let data = packs(&lab.vault()).remove(0);
    fs::remove_file(&data).unwrap();
    let run = lab.run(&["check"]).await;
    let problem = run.raises("VaultDamaged");
    let object = problem["fields"]["object"].as_str().unwrap();
    assert!(data.ends_with(object), "{problem}");
    let lines = run.lines();
    let [finding] = of_type(&lines, "finding")[..] else {
        panic!("{lines:?}");
    };
    assert_eq!(finding["code"], "VaultDamaged");
    let affected = of_type(&lines, "check")[0]["affected"].as_array().unwrap();
    let [affected] = &affected[..] else {
        panic!("{affected:?}");
    };
    assert_eq!(
        (&affected["vm"], &affected["disk"]),
        (&"web01".into(), &"vda".into())
    );
    let point = affected["point"].as_str().unwrap().to_owned();
    assert!(points.contains(&point), "{point}");
    lab.run(&["verify", &point]).await.raises("ChunkDamaged");

    // Without a key the object alone.
    let vault = lab.vault();
    let run = lab.run_elsewhere(&["check", vault.to_str().unwrap()]).await;
    run.raises("VaultDamaged");
    assert_eq!(of_type(&run.lines(), "check")[0]["affected"], Value::Null);
}

/// A pack that is there, but not in its full size, counts as lost; the end of a point is the point.
#[tokio::test]
async fn a_check_sees_what_is_cut_off() {
    let (lab, points) = lab_with_points(2).await;
    let data = packs(&lab.vault()).remove(0);
    let bytes = fs::read(&data).unwrap();
    fs::write(&data, &bytes[..bytes.len() / 2]).unwrap();
    let run = lab.run(&["check"]).await;
    run.raises("VaultDamaged");
    let affected = of_type(&run.lines(), "check")[0]["affected"].clone();
    assert_eq!(affected.as_array().unwrap().len(), 1, "{affected}");
    fs::write(&data, &bytes).unwrap();
    lab.run(&["check"]).await.ok();

    let end = format!("sessions/{}.end", points[0].replace('-', ""));
    fs::write(lab.vault().join(&end), "no end").unwrap();
    let run = lab.run(&["check"]).await;
    run.raises("VaultDamaged");
    let lines = run.lines();
    assert_eq!(of_type(&lines, "finding")[0]["point"], points[0].as_str());
}

#[tokio::test]
async fn a_check_of_a_vault_that_does_not_open_names_why() {
    let (lab, _) = lab_with_points(1).await;
    let rings = fs::read_dir(lab.vault().join("keys")).unwrap();
    let names = rings.map(|entry| entry.unwrap().path());
    let ring = names.filter(|path| path.to_str().unwrap().contains("ring"));
    let ring = ring.collect::<Vec<_>>().pop().unwrap();
    flip(&ring);
    let run = lab.run(&["check"]).await;
    let problem = run.raises("VaultDamaged");
    assert!(
        ring.ends_with(problem["fields"]["object"].as_str().unwrap()),
        "{problem}"
    );
}

/// Four quarters are the whole, with a key or without; damage in one of them is found, marked and
/// told, and what was read is known all the same.
#[tokio::test]
async fn samples_go_round_and_mark_what_is_damaged() {
    let (lab, _) = lab_with_points(6).await;
    let vault = lab.vault();
    let sample = ["verify", "--sample", "25%"];
    let mut seen = Vec::new();
    for _ in 0..4 {
        let done = lab.run(&sample).await.ok();
        seen.push(done["verified_bytes"].as_u64().unwrap());
        assert!(
            done["bytes"].as_u64() < done["vault_bytes"].as_u64(),
            "{done}"
        );
    }
    assert!(seen.is_sorted(), "{seen:?}");
    let done = lab.run(&sample).await.ok();
    assert_eq!(done["verified_bytes"], done["vault_bytes"], "{done}");
    let done = lab.run(&["verify", "--since-last"]).await.ok();
    assert_eq!(done["objects"], 0, "{done}");

    flip(&packs(&vault).remove(0));
    let elsewhere = lab.path("elsewhere");
    let by_storage = [
        "verify",
        "--vault",
        vault.to_str().unwrap(),
        "--sample",
        "25",
    ];
    let mut found = 0;
    for _ in 0..4 {
        let run = lab.run_with_state(&elsewhere, &by_storage).await;
        if run
            .lines()
            .iter()
            .any(|line| line["message_type"] == "problem")
        {
            run.raises("VaultDamaged");
            found += 1;
        }
    }
    assert_eq!(found, 1);
    assert_eq!(fs::read_dir(vault.join("damaged")).unwrap().count(), 1);
    // The mark itself is a finding for who has no key, and leads the owner to the point.
    let run = lab.run(&["check"]).await;
    run.raises("VaultDamaged");
    assert_eq!(
        of_type(&run.lines(), "check")[0]["affected"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn since_last_reads_what_came_and_looks_at_new_points() {
    let (lab, _) = lab_with_points(2).await;
    lab.run(&["verify"]).await.ok();
    let done = lab.run(&["verify", "--since-last"]).await.ok();
    assert_eq!(
        (&done["objects"], &done["points"]),
        (&0.into(), &serde_json::json!([]))
    );
    let share = (
        done["verified_bytes"].as_u64(),
        done["vault_bytes"].as_u64(),
    );
    assert!(share.0 > Some(0) && share.0 < share.1, "{done}");

    let new = make_points(&lab, "db01", &[Timestamp::now()]).await;
    let done = lab.run(&["verify", "--since-last"]).await.ok();
    assert_eq!(
        done["points"],
        serde_json::json!([new[0].to_string()]),
        "{done}"
    );
    assert!(done["bytes"].as_u64() < done["vault_bytes"].as_u64().map(|all| all / 2));
    for wrong in [
        &["verify", "--sample", "0"][..],
        &["verify", "--sample", "101"],
        &["verify", "--sample", "5", "--since-last"],
        &["verify", "latest:web01", "--since-last"],
    ] {
        lab.run(wrong).await.raises("UsageError");
    }
}

/// The setting makes each backup read a share back; damage does not fail the backup.
#[tokio::test]
async fn a_backup_is_followed_by_a_sample() {
    let guest = Guest::builder().start().await.unwrap();
    let lab = Lab::with(&guest).await;
    lab.run(&["vault", "set", "no-such", "--verify-share", "5"])
        .await
        .raises("VaultNotFound");
    lab.run(&["vault", "set", "vault", "--verify-share", "100"])
        .await
        .ok();
    let run = lab.run(&["backup", "vm"]).await;
    run.ok();
    let lines = run.lines();
    assert_eq!(of_type(&lines, "backup").len(), 1, "{lines:?}");
    let verified = of_type(&lines, "verify")[0];
    assert_eq!(
        verified["verified_bytes"], verified["vault_bytes"],
        "{verified}"
    );

    flip(&packs(&lab.vault()).remove(0));
    let run = lab.run(&["backup", "vm"]).await;
    run.ok();
    assert!(of_type(&run.lines(), "verify").is_empty());
    assert!(run.stderr().contains("damaged"), "{}", run.stderr());
    lab.run(&["vault", "set", "vault", "--verify-share", "0"])
        .await
        .ok();
    let lines = lab.run(&["backup", "vm"]).await.rows();
    assert!(of_type(&lines, "verify").is_empty(), "{lines:?}");
}
