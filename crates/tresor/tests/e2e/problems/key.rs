//! Keys that do not open a vault.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use crate::{
    lab::{Lab, finish},
    problems::write_with_mode,
};

#[tokio::test]
async fn no_key_at_all() {
    let lab = Lab::new().await;
    let vault = lab.vault();
    let list = ["points", "list", "--vault", vault.to_str().unwrap()];
    let problem = lab.run_elsewhere(&list).await.raises("VaultKeyMissing");
    assert_eq!(problem["fields"]["location"], vault.to_str().unwrap());
}

#[tokio::test]
async fn a_key_of_another_vault() {
    let (lab, other) = (Lab::new().await, Lab::new().await);
    let (vault, key) = (lab.vault(), lab.path("key"));
    let access = ["--vault", vault.to_str().unwrap(), "--key-file"];
    let list = [&["points", "list"], &access[..], &[key.to_str().unwrap()]].concat();
    for wrong in [&other.recovery_key, "not a key"] {
        write_with_mode(&key, wrong, 0o600);
        lab.run_elsewhere(&list).await.raises("VaultKeyRejected");
    }
    write_with_mode(&key, "not the passphrase", 0o600);
    let passphrase = [
        "points",
        "list",
        "--vault",
        vault.to_str().unwrap(),
        "--passphrase-file",
        key.to_str().unwrap(),
    ];
    lab.run_elsewhere(&passphrase)
        .await
        .raises("VaultKeyRejected");
    write_with_mode(&key, &lab.recovery_key, 0o600);
    lab.run_elsewhere(&list).await.ok();
}

/// The right key, and yet refused until its file is private; then the remedy works.
#[tokio::test]
async fn a_key_file_that_others_can_read() {
    let lab = Lab::new().await;
    let (vault, key) = (lab.vault(), lab.path("key"));
    let list = [
        "points",
        "list",
        "--vault",
        vault.to_str().unwrap(),
        "--key-file",
        key.to_str().unwrap(),
    ];
    for mode in [0o644, 0o640, 0o606] {
        write_with_mode(&key, &lab.recovery_key, mode);
        let problem = lab.run_elsewhere(&list).await.raises("VaultKeyFileUnsafe");
        let remedy = problem["remedy"][0].as_str().unwrap();
        assert!(
            remedy.contains(&format!("chmod 600 {}", key.display())),
            "{problem}"
        );
    }
    write_with_mode(&key, &lab.recovery_key, 0o600);
    lab.run_elsewhere(&list).await.ok();
}

/// `tresor vault key`: a slot for each manner, and which of them may go.
#[tokio::test]
async fn keys_are_added_and_removed() {
    let lab = Lab::new().await;
    let (file, pass) = (lab.path("new.key"), lab.path("pass"));
    write_with_mode(&pass, "correct horse\n", 0o600);
    let add = [
        "vault",
        "key",
        "add",
        "--new-key-file",
        file.to_str().unwrap(),
    ];
    let by_file = lab.run(&add).await.ok()["slot"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    let add = [
        "vault",
        "key",
        "add",
        "--new-passphrase-file",
        pass.to_str().unwrap(),
    ];
    lab.run(&add).await.ok();
    let vault = lab.vault();
    let list = ["points", "list", "--vault", vault.to_str().unwrap()];
    let with = [&list[..], &["--key-file", file.to_str().unwrap()]].concat();
    lab.run_elsewhere(&with).await.ok();
    let with_pass = [&list[..], &["--passphrase-file", pass.to_str().unwrap()]].concat();
    lab.run_elsewhere(&with_pass).await.ok();

    let remove = ["vault", "key", "remove", &by_file];
    lab.run(&remove).await.raises("UsageError");
    lab.run_elsewhere(&with).await.ok();
    lab.run(&[&remove[..], &["--yes"]].concat()).await.ok();
    lab.run_elsewhere(&with).await.raises("VaultKeyRejected");
    let gone = lab.run(&[&remove[..], &["--yes"]].concat()).await;
    gone.raises("VaultKeySlotNotFound");
    let shown = lab.text_command(&["vault", "key", "list"]);
    let shown = text_of(shown).await;
    let in_use = shown.lines().find(|line| line.contains("now")).unwrap();
    let slot = in_use.split_whitespace().next().unwrap();
    let kept = lab.run(&["vault", "key", "remove", slot, "--yes"]).await;
    kept.raises("VaultKeySlotNeeded");
}

#[tokio::test]
async fn a_key_of_one_domain_is_no_owners() {
    let lab = Lab::new().await;
    let (file, vault) = (lab.path("host.key"), lab.vault());
    let path = file.to_str().unwrap();
    let add = [
        "vault",
        "key",
        "add",
        "--own-domain",
        "--new-key-file",
        path,
    ];
    let added = lab.run(&add).await.ok();
    let rotate = ["vault", "key", "rotate", "--vault", vault.to_str().unwrap()];
    let as_host = [&rotate[..], &["--key-file", path]].concat();
    lab.run_elsewhere(&as_host).await.raises("VaultOwnerOnly");
    let domain = added["domain"].as_str().unwrap();
    let rotated = lab
        .run(&["vault", "key", "rotate", "--domain", domain])
        .await
        .ok();
    assert_eq!(rotated["data_key"], 3, "{rotated}");
}

/// A storage that shows an old key ring. The pack is one of the key that only the newest has.
#[tokio::test]
async fn a_key_ring_that_is_hidden() {
    let lab = Lab::new().await;
    lab.run(&["vault", "key", "rotate"]).await.ok();
    let keys = fs::read_dir(lab.vault().join("keys")).unwrap();
    let newest = keys.map(|entry| entry.unwrap().path());
    let newest = newest.filter(|path| path.to_str().unwrap().ends_with("-00000002"));
    fs::remove_file(newest.last().unwrap()).unwrap();
    let pack = lab.vault().join("packs/ab");
    fs::create_dir_all(&pack).unwrap();
    fs::write(pack.join("abababababababababababab00000002"), "sealed").unwrap();
    let problem = lab.run(&["verify"]).await.raises("VaultDataKeyUnknown");
    assert_eq!(problem["fields"]["number"], "2", "{problem}");
    // The number is not given out again.
    let rotated = lab.run(&["vault", "key", "rotate"]).await.ok();
    assert_eq!(rotated["data_key"], 3, "{rotated}");
}

/// What systemd hands to a unit, whose directory it names in the environment.
#[tokio::test]
async fn the_key_is_a_systemd_credential() {
    let (lab, host) = (Lab::new().await, Lab::without_vault());
    let (vault, dir) = (lab.vault(), lab.path("credentials"));
    fs::create_dir(&dir).unwrap();
    let list = ["points", "list", "--vault", vault.to_str().unwrap()];
    let with = |dir: &Path| {
        let mut command = host.command(&list);
        command.env("CREDENTIALS_DIRECTORY", dir);
        command.spawn().unwrap()
    };
    finish(&list, with(&dir)).await.raises("VaultKeyMissing");
    write_with_mode(&dir.join("tresor-key"), &lab.recovery_key, 0o400);
    finish(&list, with(&dir)).await.ok();
}

/// The code on the terminal, read by another program's library as a camera would.
#[tokio::test]
async fn the_recovery_key_is_printed_as_a_code() {
    let lab = Lab::without_vault();
    let (vault, svg) = (lab.vault(), lab.path("key.svg"));
    let create = [
        "vault",
        "create",
        vault.to_str().unwrap(),
        "--recovery-key-svg",
        svg.to_str().unwrap(),
    ];
    let shown = text_of(lab.text_command(&create)).await;
    let key = shown
        .lines()
        .map(str::trim)
        .find(|line| line.len() == 69 && line.contains('-'));
    let key = key.unwrap();
    assert_eq!(decoded(&shown), key);
    assert_eq!(fs::metadata(&svg).unwrap().mode() & 0o777, 0o600);
    assert_eq!(decoded_svg(&fs::read_to_string(&svg).unwrap()), key);

    let file = lab.path("key");
    write_with_mode(&file, key, 0o600);
    let list = [
        "points",
        "list",
        "--vault",
        vault.to_str().unwrap(),
        "--key-file",
    ];
    lab.run_elsewhere(&[&list[..], &[file.to_str().unwrap()]].concat())
        .await
        .ok();
    // A picture that is there is not replaced, and nothing is made.
    let other = lab.path("other");
    let again = [
        "vault",
        "create",
        other.to_str().unwrap(),
        "--recovery-key-svg",
        svg.to_str().unwrap(),
    ];
    lab.run(&again).await.raises("UsageError");
    assert!(!other.exists());
}

async fn text_of(mut command: tokio::process::Command) -> String {
    let done = command.output().await.unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    String::from_utf8(done.stdout).unwrap()
}

/// What the half blocks say.
fn decoded(shown: &str) -> String {
    let lines = shown.lines().filter_map(|line| {
        line.strip_prefix("\u{1b}[30;107m")?
            .strip_suffix("\u{1b}[0m")
    });
    let mut rows: Vec<Vec<bool>> = Vec::new();
    for line in lines {
        rows.push(line.chars().map(|half| "█▀".contains(half)).collect());
        rows.push(line.chars().map(|half| "█▄".contains(half)).collect());
    }
    read_code(&rows)
}

/// What the squares of the picture say: `M<x> <y>h8v8h-8z` each.
fn decoded_svg(svg: &str) -> String {
    let path = svg.split("d=\"").nth(1).unwrap().split('"').next().unwrap();
    let mut rows = vec![vec![false; 64]; 64];
    for square in path.split('M').skip(1) {
        let (at, _) = square.split_once('h').unwrap();
        let (x, y) = at.split_once(' ').unwrap();
        let (x, y): (usize, usize) = (x.parse().unwrap(), y.parse().unwrap());
        rows[y / 8][x / 8] = true;
    }
    read_code(&rows)
}

fn read_code(rows: &[Vec<bool>]) -> String {
    const SCALE: usize = 6;
    let (width, height) = (rows[0].len() * SCALE, rows.len() * SCALE);
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| {
        if rows[y / SCALE][x / SCALE] { 0 } else { 255 }
    });
    let grids = image.detect_grids();
    assert_eq!(grids.len(), 1);
    grids[0].decode().unwrap().1
}
