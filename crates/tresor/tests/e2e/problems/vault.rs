//! Vaults: there, not there, too new. And the command line, which names them.

use std::fs;

use crate::{
    lab::{Lab, VM, disk_name},
    problems::{small_guest, tmpfs::Tmpfs},
};

#[tokio::test]
async fn a_command_line_that_is_wrong() {
    let lab = Lab::new().await;
    for args in [
        &["vm", "list", "--frob"][..],
        &["restore", "latest:vm"],
        &["jobs", "show", "no-id"],
        &["vm"],
        &["backup", "vm", "--transfer-limit", "0"],
    ] {
        lab.run(args).await.raises("UsageError");
    }
    let problem = lab.run(&["vm", "list", "--frob"]).await;
    let problem = problem.raises("UsageError");
    assert!(
        problem["cause"].as_str().unwrap().contains("--frob"),
        "{problem}"
    );
}

/// Things that clap cannot know.
#[tokio::test]
async fn a_command_that_lacks_something() {
    let lab = Lab::without_vault();
    lab.run(&["points", "list"]).await.raises("UsageError");
    let missing = lab.path("no-key");
    let vault = lab.vault();
    let create = [
        "vault",
        "create",
        vault.to_str().unwrap(),
        "--passphrase-file",
        missing.to_str().unwrap(),
    ];
    lab.run(&create).await.raises("UsageError");
    assert!(!vault.exists(), "nothing was made");
}

#[tokio::test]
async fn a_place_that_holds_something() {
    let lab = Lab::new().await;
    let vault = lab.vault();
    let again = lab
        .run(&["vault", "create", vault.to_str().unwrap()])
        .await
        .raises("VaultExists");
    assert_eq!(again["fields"]["location"], vault.to_str().unwrap());
    // Another machine, which does not know that vault.
    lab.run_elsewhere(&["vault", "create", vault.to_str().unwrap()])
        .await
        .raises("VaultExists");
    let foreign = lab.path("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("thesis.txt"), "three years of work").unwrap();
    lab.run(&["vault", "create", foreign.to_str().unwrap()])
        .await
        .raises("VaultExists");
    assert_eq!(fs::read_dir(&foreign).unwrap().count(), 1);
    // The vault that is there still opens.
    lab.run(&["points", "list"]).await.ok();
}

#[tokio::test]
async fn a_place_that_holds_no_vault() {
    let lab = Lab::new().await;
    let nowhere = lab.path("nowhere");
    let show = ["points", "list", "--vault", nowhere.to_str().unwrap()];
    lab.run(&show).await.raises("VaultNotFound");
    fs::create_dir(&nowhere).unwrap();
    lab.run(&show).await.raises("VaultNotFound");
    // As when the disk that holds the vault is not mounted.
    fs::rename(lab.vault(), lab.path("moved")).unwrap();
    fs::create_dir(lab.vault()).unwrap();
    lab.run(&["points", "list"]).await.raises("VaultNotFound");
}

/// The header of a later format, its checksum right (docs/format: magic, version, …, BLAKE3).
#[tokio::test]
async fn a_vault_of_a_newer_version() {
    let lab = Lab::new().await;
    let path = lab.vault().join("vault");
    let mut header = fs::read(&path).unwrap();
    header[8..10].copy_from_slice(&7_u16.to_le_bytes());
    let body = header.len() - 32;
    let check = *blake3::hash(&header[..body]).as_bytes();
    header[body..].copy_from_slice(&check);
    fs::write(&path, header).unwrap();
    let problem = lab
        .run(&["points", "list"])
        .await
        .raises("VaultVersionUnknown");
    assert_eq!(problem["fields"]["found"], "7", "{problem}");
    assert_eq!(problem["fields"]["location"], path.to_str().unwrap());
}

/// Vault and image on one file system: told when a vault is made beside a VM that is known, and by the
/// first backup, not by each.
#[tokio::test]
async fn a_vault_beside_the_images() {
    let guest = small_guest().await;
    let lab = Lab::with(&guest).await;
    let image = guest.disks()[0].path.to_str().unwrap();
    let first = lab.backup().await;
    lab.warns("VaultNearDisk", first["point"].as_str().unwrap())
        .await;
    let told = first["warnings"].to_string();
    let disk = format!("disk {} of VM {VM}", disk_name(&guest.disks()[0]));
    assert!(told.contains(image) && told.contains(&disk), "{first}");
    assert!(told.contains("the same file system"), "{first}");
    let second = lab.backup().await;
    assert!(!second["warnings"].to_string().contains(image), "{second}");

    let beside = lab.path("beside");
    let made = lab
        .run(&["vault", "create", beside.to_str().unwrap()])
        .await;
    made.ok();
    assert!(made.stderr().contains(&disk), "{}", made.stderr());
    // Elsewhere there is nothing to tell.
    let elsewhere = Tmpfs::mount(lab.path("elsewhere"), 64).await;
    let vault = elsewhere.path().join("far");
    let made = lab.run(&["vault", "create", vault.to_str().unwrap()]).await;
    made.ok();
    assert!(!made.stderr().contains("warning"), "{}", made.stderr());
}
