//! Keys that do not open a vault.

use crate::{lab::Lab, problems::write_with_mode};

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
