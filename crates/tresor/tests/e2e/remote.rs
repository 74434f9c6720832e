//! A service is used from a machine that has nothing but the program and a token: `tresor login`, `--server`.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::{Duration, Instant},
};
use tresor_testkit::Guest;

use crate::{
    lab::{Lab, Run, assert_unharmed, finish, write_private},
    running::signal,
    service::{PATIENCE, guest_id, serving, told},
};

const NAME: &str = "web01";

/// A machine without a state directory, with a home that is empty at first.
struct Away {
    home: TempDir,
}

impl Away {
    fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
        }
    }

    fn command(&self, format: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tresor"));
        command
            .args(["--output", format])
            .args(args)
            .env_clear()
            .env("HOME", self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    async fn run(&self, args: &[&str]) -> Run {
        finish(args, self.command("json", args).spawn().unwrap()).await
    }

    async fn text(&self, args: &[&str]) -> String {
        printed(&self.command("text", args).output().await.unwrap())
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home.path().join(name);
        write_private(&path, text);
        path
    }
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A service that has found a guest, and what it said of itself.
async fn served(lab: &Lab, guest: &Guest) -> (Child, Value) {
    let place = lab.path("sockets");
    std::fs::create_dir(&place).unwrap();
    std::os::unix::fs::symlink(guest.qmp_socket(), place.join("one.qmp")).unwrap();
    let pattern = place.join("*.qmp");
    let log = std::fs::File::create(lab.path("serve.log")).unwrap();
    let pattern = pattern.to_str().unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--discover", pattern];
    let mut child = lab.command(&serve).stderr(log).spawn().unwrap();
    let told = serving(&mut child).await;
    (child, told)
}

/// Logs in, after all that must not work.
async fn log_in(away: &Away, url: &str, told: &Value) {
    let (token, print) = (&told["admin_token"], &told["ca_fingerprint"]);
    let (token, print) = (token.as_str().unwrap(), print.as_str().unwrap());
    let token = away.file("token", &format!("{token}\n"));
    let token = token.to_str().unwrap();
    let login = ["login", url, "--token-file", token];
    // Nobody is there to say that the fingerprint is the right one.
    let asked = away.run(&login).await.raises("UsageError");
    assert!(asked["cause"].as_str().unwrap().contains(print), "{asked}");
    let other = format!("sha256:{}", "0".repeat(64));
    let wrong = [&login[..], &["--server-fingerprint", &other]].concat();
    away.run(&wrong).await.raises("ServerNotTrusted");
    let bad = away.file("bad", "tresor-api-1-nonsense");
    let bad = ["login", url, "--token-file", bad.to_str().unwrap()];
    let bad = [&bad[..], &["--server-fingerprint", print]].concat();
    away.run(&bad).await.raises("ApiTokenInvalid");
    let kept = away.home.path().join(".config/tresor/login.toml");
    assert!(!kept.exists());

    let right = [&login[..], &["--server-fingerprint", print]].concat();
    assert_eq!(away.run(&right).await.ok()["authority"], print);
    let mode = std::fs::metadata(&kept).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// Protects the guest once the service has found it.
async fn protect(away: &Away, lab: &Lab, id: &str) {
    let until = Instant::now() + PATIENCE;
    let protect = ["protect", id, "--as", NAME, "--policy", "nightly"];
    loop {
        let protected = away.run(&protect).await;
        if protected.lines().last().unwrap()["message_type"] == "protected" {
            assert_eq!(protected.ok()["vm"], NAME);
            return;
        }
        protected.raises("VmNotFound");
        assert!(Instant::now() < until, "not found: {}", told(lab));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test]
async fn a_service_is_used_from_a_machine_that_has_nothing() {
    let lab = Lab::new().await;
    let guest = Guest::builder().start().await.unwrap();
    let (mut child, told) = served(&lab, &guest).await;
    let url = told["url"]
        .as_str()
        .unwrap()
        .trim_end_matches('/')
        .to_owned();
    let away = Away::new();
    log_in(&away, &url, &told).await;
    protect(&away, &lab, &guest_id(&guest).await).await;
    let status = away.run(&["status"]).await.ok();
    assert_eq!(status["items"][0]["vm"], NAME, "{status}");

    // Followed to its end.
    let done = away.run(&["backup", NAME, "--queue"]).await.ok();
    assert_eq!(done["message_type"], "job", "{done}");
    // The vault is next to the disk here: a warning.
    assert_eq!(done["state"], "completed_with_warnings", "{done}");
    let job = done["job"].as_str().unwrap();
    let points = away.run(&["points", "list", NAME]).await.rows();
    assert_eq!(
        (points.len(), &points[0]["id"]),
        (1, &done["job"]),
        "{points:?}"
    );

    // The same words there and here.
    for args in [
        &["jobs", "show", job][..],
        &["policies", "list"],
        &["policies", "show", "nightly"],
        &["hosts", "list"],
        &["notify", "list"],
    ] {
        let here = lab.run(args).await.rows();
        assert_eq!(away.run(args).await.rows(), here, "{args:?}");
        let here = printed(&lab.text_command(args).output().await.unwrap());
        assert_eq!(away.text(args).await, here, "{args:?}");
    }

    // Not waited for, and followed afterwards.
    let left = away.run(&["verify", "--no-wait"]).await.ok();
    assert_eq!(left["message_type"], "queued", "{left}");
    let left = left["job"].as_str().unwrap();
    let followed = away.run(&["jobs", "follow", left]).await.ok();
    assert_eq!(followed["state"], "completed");
    refused(&away, &lab, &url).await;

    away.run(&["unprotect", NAME]).await.ok();
    away.run(&["logout"]).await.ok();
    assert!(!away.home.path().join(".config/tresor/login.toml").exists());
    signal(child.id().unwrap(), "TERM");
    child.wait().await.unwrap();
    assert_unharmed(&guest).await;
}

/// What does not work over a server, or not for everybody.
async fn refused(away: &Away, lab: &Lab, url: &str) {
    let machine = away.run(&["vault", "list"]).await.raises("UsageError");
    assert!(
        machine["cause"].as_str().unwrap().contains(url),
        "{machine}"
    );
    let own = lab.path("own");
    let own = ["--state-dir", own.to_str().unwrap(), "vault", "list"];
    assert!(away.run(&own).await.rows().is_empty());
    let limit = ["backup", NAME, "--read-limit", "5"];
    away.run(&limit).await.raises("UsageError");

    let made = ["tokens", "create", "screen", "--role", "reader"];
    let made = away.run(&made).await.ok();
    let reader = away.file("reader", made["secret"].as_str().unwrap());
    let reader = ["--api-token-file", reader.to_str().unwrap()];
    let looked = [&reader[..], &["jobs", "list"]].concat();
    away.run(&looked).await.ok();
    let changed = [&reader[..], &["backup", NAME]].concat();
    away.run(&changed).await.raises("PermissionDenied");
    let id = made["token"]["id"].as_str().unwrap();
    away.run(&["tokens", "revoke", id]).await.ok();
    away.run(&looked).await.raises("ApiTokenInvalid");

    // The token of one service is not for another.
    let other = ["--server", "https://127.0.0.1:1", "jobs", "list"];
    away.run(&other).await.raises("UsageError");
}
