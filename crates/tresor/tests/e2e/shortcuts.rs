//! A host that reaches a vault's store itself: only where its credentials can do no harm.

use std::{
    fs::{self, File},
    process::Stdio,
    time::Duration,
};

use serde_json::Value;
use tokio::{process::Child, time::Instant};
use tresor_testkit::{
    Guest,
    stores::{Fault, Moto, Proxy},
};

use crate::{
    lab::{Lab, write_private},
    running::signal,
    service::{PATIENCE, request, serving},
    stores::{run_on, run_with_credentials, with_credentials},
};

const URL: &str = "s3://bucket/backups/vault";

/// The host's process, with a way to the store of its own.
async fn start_host(lab: &Lab, server: &str, store: &Proxy) -> Child {
    let pattern = lab.path("sockets/*.qmp");
    let direct = format!("vault={URL}");
    let token = lab.path("token");
    let args = [
        "host",
        "--server",
        server,
        "--name",
        "node0",
        "--token-file",
        token.to_str().unwrap(),
        "--discover",
        pattern.to_str().unwrap(),
        "--direct",
        &direct,
        "--endpoint",
        store.url(),
        "--allow-http",
    ];
    let log = File::options()
        .create(true)
        .append(true)
        .open(lab.path("host.log"))
        .unwrap();
    let mut command = lab.command_with_state(&lab.path("host"), &args);
    command
        .env("AWS_ACCESS_KEY_ID", "AK")
        .env("AWS_SECRET_ACCESS_KEY", "hush-hush");
    command
        .env("TRESOR_LOG", "info")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log);
    let mut child = command.spawn().unwrap();
    serving(&mut child).await;
    child
}

fn told(lab: &Lab) -> String {
    fs::read_to_string(lab.path("host.log")).unwrap_or_default()
}

/// Has the VM backed up; waits until it has so many points.
async fn back_up(lab: &Lab, (url, bearer): (&str, &str), vm: &str, wanted: usize) {
    let post = ["--header", bearer, "--request", "POST"];
    let (status, body) = request(lab, url, &format!("/api/v1/items/{vm}/backup"), &post).await;
    assert_eq!(status, 202, "{body}");
    let until = Instant::now() + PATIENCE;
    while run_with_credentials(lab, &["points", "list", "db01"])
        .await
        .rows()
        .len()
        < wanted
    {
        assert!(Instant::now() < until, "{}", told(lab));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test]
async fn a_host_whose_credentials_can_only_append_reaches_the_store_itself_and_no_other_does() {
    let guest = Guest::builder().data_disk().start().await.unwrap();
    let (lab, moto) = (Lab::without_vault(), Moto::start().unwrap());
    moto.make_bucket("bucket", false).await.unwrap();
    run_on(&lab, moto.url(), &["vault", "create", URL])
        .await
        .ok();
    fs::create_dir(lab.path("sockets")).unwrap();
    std::os::unix::fs::symlink(guest.qmp_socket(), lab.path("sockets/0.qmp")).unwrap();

    let mut service = with_credentials(&lab, &["serve", "--listen", "127.0.0.1:0"])
        .spawn()
        .unwrap();
    let started = serving(&mut service).await;
    let url = started["url"]
        .as_str()
        .unwrap()
        .trim_end_matches('/')
        .to_owned();
    let bearer = format!(
        "Authorization: Bearer {}",
        started["admin_token"].as_str().unwrap()
    );
    let made = lab.run(&["hosts", "token", "node0"]).await.ok();
    write_private(&lab.path("token"), made["token"].as_str().unwrap());

    let store = Proxy::start(moto.url(), Fault::AppendOnly).await.unwrap();
    let mut host = start_host(&lab, &url, &store).await;
    let id = guest.uuid().to_string();
    let until = Instant::now() + PATIENCE;
    loop {
        let protected = run_with_credentials(&lab, &["protect", &id, "--as", "db01"]).await;
        if protected.lines().last().unwrap()["message_type"] == "protected" {
            break;
        }
        assert!(Instant::now() < until, "{}", told(&lab));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    back_up(&lab, (&url, &bearer), &id, 1).await;
    assert!(told(&lab).contains("reached directly"), "{}", told(&lab));
    // Two of the trial, and more of the backup.
    assert!(store.puts() > 3, "{}", store.puts());
    signal(host.id().unwrap(), "TERM");
    assert!(host.wait().await.unwrap().success());

    let store = Proxy::start(moto.url(), Fault::None).await.unwrap();
    let mut host = start_host(&lab, &url, &store).await;
    back_up(&lab, (&url, &bearer), &id, 2).await;
    let why = "reached through the service: this host's own credentials can replace what is there";
    assert!(told(&lab).contains(why), "{}", told(&lab));
    assert_eq!(store.puts(), 2, "the trial, and nothing else");
    signal(host.id().unwrap(), "TERM");
    assert!(host.wait().await.unwrap().success());
    signal(service.id().unwrap(), "TERM");
    assert!(service.wait().await.unwrap().success());

    run_with_credentials(&lab, &["verify"]).await.ok();
    let points: Vec<Value> = run_with_credentials(&lab, &["points", "list", "db01"])
        .await
        .rows();
    for point in points {
        assert_ne!(point["consistency"], "crash", "{point}");
    }
}
