//! A vault in S3, from its making to a restore.

use std::fs;

use serde_json::Value;
use tresor_testkit::{
    Guest, compare_images,
    stores::{Fault, Moto, Proxy},
};

use crate::lab::{Lab, Run, VM, finish, restored, write_private};

const URL: &str = "s3://bucket/backups/vault";

/// Runs a command with the options and the credentials for an S3 server.
pub(crate) async fn run_on(lab: &Lab, server: &str, args: &[&str]) -> Run {
    let options = ["--endpoint", server, "--allow-http"];
    let args = [args, &options].concat();
    finish(&args, with_credentials(lab, &args).spawn().unwrap()).await
}

/// Runs a command that takes all but the credentials from the catalog.
pub(crate) async fn run_with_credentials(lab: &Lab, args: &[&str]) -> Run {
    finish(args, with_credentials(lab, args).spawn().unwrap()).await
}

pub(crate) fn with_credentials(lab: &Lab, args: &[&str]) -> tokio::process::Command {
    let mut command = lab.command(args);
    command.env("AWS_ACCESS_KEY_ID", "AK");
    command.env("AWS_SECRET_ACCESS_KEY", "hush-hush");
    command
}

async fn moto() -> Moto {
    let moto = Moto::start().unwrap();
    moto.make_bucket("bucket", false).await.unwrap();
    moto
}

#[tokio::test]
async fn a_vault_in_s3() {
    let guest = Guest::builder().data_disk().start().await.unwrap();
    let (lab, moto) = (Lab::without_vault(), moto().await);
    let made = run_on(&lab, moto.url(), &["vault", "create", URL])
        .await
        .ok();
    assert_eq!(made["name"], "vault");
    lab.register(&guest).await.ok();
    run_with_credentials(&lab, &["backup", VM]).await.ok();
    run_with_credentials(&lab, &["verify"]).await.ok();
    // Still as the second backup sees it, which finds by the vault's name what is there.
    let stop = guest.monitor().unwrap().execute("stop", Value::Null).await;
    stop.unwrap();
    run_with_credentials(&lab, &["backup", VM]).await.ok();
    let copies = lab.path("copies");
    fs::create_dir(&copies).unwrap();
    let copies = guest.copy_disks(&copies).await.unwrap();

    let (to, latest) = (lab.path("restored"), format!("latest:{VM}"));
    let restore = [
        "restore",
        &latest,
        "--to",
        to.to_str().unwrap(),
        "--format",
        "raw",
    ];
    run_with_credentials(&lab, &restore).await.ok();
    for copy in &copies {
        let image = restored(&to, copy, "raw");
        let difference = compare_images(&copy.path, &image).await.unwrap();
        assert!(difference.is_none(), "{}: {difference:?}", copy.name);
    }
    assert_no_secret(&lab);
}

/// Without an environment, as a service: the catalog knows the file, not what is in it.
#[tokio::test]
async fn credentials_in_a_file() {
    let (lab, moto) = (Lab::without_vault(), moto().await);
    let file = lab.path("s3.env");
    write_private(
        &file,
        "AWS_ACCESS_KEY_ID=AK\nAWS_SECRET_ACCESS_KEY=hush-hush\n",
    );
    let file = file.to_str().unwrap();
    let create = [
        "vault",
        "create",
        URL,
        "--endpoint",
        moto.url(),
        "--allow-http",
        "--credentials-file",
        file,
    ];
    lab.run(&create).await.ok();
    lab.run(&["points", "list"]).await.ok();
    lab.run(&["points", "list", "--vault", URL]).await.ok();
    assert_no_secret(&lab);
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(file, open).unwrap();
    lab.run(&["points", "list"])
        .await
        .raises("VaultKeyFileUnsafe");
}

/// In what this machine keeps.
fn assert_no_secret(lab: &Lab) {
    for file in fs::read_dir(lab.state()).unwrap().flatten() {
        let bytes = fs::read(file.path()).unwrap_or_default();
        assert!(
            !bytes.windows(9).any(|seen| seen == b"hush-hush"),
            "{file:?}"
        );
    }
}

/// Rows of the doctor, by check.
fn verdict<'a>(rows: &'a [Value], check: &str) -> &'a Value {
    let row = rows
        .iter()
        .find(|row| row["check"].as_str().unwrap().contains(check));
    row.unwrap_or_else(|| panic!("no {check}: {rows:?}"))
}

#[tokio::test]
async fn the_doctor_says_what_a_store_keeps() {
    let (lab, moto) = (Lab::without_vault(), moto().await);
    moto.make_bucket("locked", true).await.unwrap();
    let rows = run_on(&lab, moto.url(), &["vault", "doctor", URL])
        .await
        .rows();
    assert_eq!(verdict(&rows, "nothing is overwritten")["verdict"], "good");
    assert_eq!(verdict(&rows, "clock")["verdict"], "good");
    assert_eq!(verdict(&rows, "locks")["verdict"], "note");

    let locked = ["vault", "doctor", "s3://locked/vault"];
    let rows = run_on(&lab, moto.url(), &locked).await.rows();
    let lock = verdict(&rows, "locks");
    assert_eq!(lock["verdict"], "good");
    assert!(
        lock["evidence"].as_str().unwrap().starts_with("COMPLIANCE"),
        "{lock}"
    );

    let appending = Proxy::start(moto.url(), Fault::ForbidDeletes)
        .await
        .unwrap();
    let rows = run_on(&lab, appending.url(), &["vault", "doctor", URL])
        .await
        .rows();
    let may = verdict(&rows, "what these credentials may do");
    assert!(
        may["evidence"].as_str().unwrap().contains("append-only"),
        "{may}"
    );
    // Whoever may only append can make a vault, and add to it.
    run_on(
        &lab,
        appending.url(),
        &["vault", "create", "s3://bucket/appended"],
    )
    .await
    .ok();
    run_with_credentials(&lab, &["points", "list"]).await.ok();
}

/// The doctor leaves a directory as it was.
#[tokio::test]
async fn the_doctor_of_a_directory() {
    let lab = Lab::new().await;
    let rows = lab.run(&["vault", "doctor"]).await.rows();
    assert!(
        rows.iter().all(|row| row["verdict"] != "broken"),
        "{rows:?}"
    );
    let left = fs::read_dir(lab.vault()).unwrap().flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    let doctors = left
        .iter()
        .filter(|name| name.to_string_lossy().starts_with("doctor"));
    assert_eq!(doctors.count(), 0, "{left:?}");
}
