//! A service, and hosts that have VMs and no access to the vault: each in a network of its own, where the
//! vault's and the service's directories are not.

mod clocks;
mod killed;
mod site;

use std::{process::Stdio, time::Duration};

use tokio::time::Instant;

use crate::{lab::Lab, namespaces::Networks, running::HeldFreeze};
use site::{PATIENCE, Site, said};

#[tokio::test]
async fn a_token_lets_one_host_in_once_and_a_host_that_was_revoked_is_sent_away() {
    let mut site = Site::new(&[1]).await;
    site.reach(1).await;
    let hosts = site.lab.run(&["hosts", "list"]).await.rows();
    assert_eq!(
        (hosts[0]["name"].as_str(), hosts[0]["state"].as_str()),
        (Some("node0"), Some("connected"))
    );

    // Used, for another name, of nobody.
    let enrol = async |name: &str, token: &str| {
        let server = format!("https://{}:{}", Networks::service_address(0), site.port);
        let args = [
            "host", "--server", &server, "--name", name, "--token", token,
        ];
        let elsewhere = tempfile::tempdir().unwrap();
        let command = site.lab.command_with_state(elsewhere.path(), &args);
        let mut command = site.networks.in_host(0, &[], &command);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        crate::lab::finish(&args, command.spawn().unwrap()).await
    };
    let used = std::fs::read_to_string(site.lab.path("token0")).unwrap();
    enrol("node0", &used).await.raises("EnrolmentTokenUsed");
    let made = site.lab.run(&["hosts", "token", "node7"]).await.ok();
    let fresh = made["token"].as_str().unwrap().to_owned();
    enrol("node8", &fresh).await.raises("EnrolmentTokenUsed");
    enrol("node7", "tresor-enrol-1-x")
        .await
        .raises("EnrolmentTokenInvalid");

    // A host with VMs stays known; one that was revoked is away, and says why.
    site.lab
        .run(&["hosts", "remove", "node0"])
        .await
        .raises("ObjectInUse");
    // In the middle of a job, which nobody waits for any more.
    let held = HeldFreeze::install(&site.guests[0].1).await;
    held.reached().await;
    let job = site.in_transfer(None, &[]).await;
    site.lab.run(&["hosts", "revoke", "node0"]).await.ok();
    site.lab.records("HostShutOut", &job).await;
    held.let_go().await;
    let until = Instant::now() + PATIENCE;
    while !site.told().contains("HostNotEnrolled") {
        assert!(Instant::now() < until, "{}", site.told());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let before = site.least().await;
    // The same host with a new token is the same host.
    site.kill(Some(0)).await;
    let token = site.token(0).await;
    std::fs::remove_file(site.lab.path("host0/identity/host.pem")).unwrap();
    site.start_host(0, &["--token", &token]).await;
    let again = site.lab.run(&["hosts", "list"]).await.rows();
    assert_eq!(again[0]["host"], hosts[0]["host"]);
    site.reach(before + 1).await;
    site.end().await;
}

#[tokio::test]
async fn a_host_that_cannot_enrol_says_why() {
    let lab = Lab::without_vault();
    let state = lab.path("elsewhere");
    let token = |authority| tresor_identity::EnrolmentToken::generate(authority).unwrap();
    let stranger = token(tresor_identity::Fingerprint::from_bytes([7; 32]));
    let stranger = stranger.to_text();
    let host = async |server: &str, more: &[&str]| {
        let args = [&["host", "--server", server], more].concat();
        lab.run_with_state(&state, &args).await
    };
    host("https://127.0.0.1:1", &[]).await.raises("UsageError");
    host("https://127.0.0.1:1", &["--token", &stranger])
        .await
        .raises("ServiceUnreachable");
    let mut service = lab
        .command(&["serve", "--listen", "127.0.0.1:0"])
        .spawn()
        .unwrap();
    let told = said(&mut service).await.unwrap();
    let server = format!("https://{}", told["address"].as_str().unwrap());
    host(&server, &["--token", &stranger])
        .await
        .raises("ServerNotTrusted");
    std::fs::create_dir_all(state.join("identity")).unwrap();
    std::fs::write(state.join("identity/host.pem"), "nothing").unwrap();
    host(&server, &[]).await.raises("IdentityUnusable");
    service.start_kill().unwrap();
    service.wait().await.unwrap();
}
