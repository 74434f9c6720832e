//! A service, and hosts that have VMs and no access to the vault: each in a network of its own, where the
//! vault's and the service's directories are not.

use std::{process::Stdio, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Child,
    time::Instant,
};
use tresor_testkit::Guest;

use crate::{
    lab::{Lab, assert_unharmed},
    namespaces::Networks,
    running::{HeldFreeze, signal},
    service::MINUTELY,
};

const PATIENCE: Duration = Duration::from_secs(900);

/// The installation: what runs is a child.
struct Site {
    lab: Lab,
    networks: Networks,
    /// Guests, and the host that each is on.
    guests: Vec<(usize, Guest)>,
    port: u16,
    service: Option<Child>,
    hosts: Vec<Option<Child>>,
}

impl Site {
    /// A service and hosts, with so many guests each; all found and protected.
    async fn new(guests: &[usize]) -> Self {
        let mut site = Self {
            lab: Lab::new().await,
            networks: Networks::new(guests.len()),
            guests: Vec::new(),
            port: 0,
            service: None,
            hosts: Vec::new(),
        };
        let policy = site.lab.path("minutely.toml");
        std::fs::write(&policy, MINUTELY).unwrap();
        let set = ["policies", "set", policy.to_str().unwrap()];
        site.lab.run(&set).await.ok();
        site.serve().await;
        for (host, count) in guests.iter().enumerate() {
            let sockets = site.lab.path(&format!("sockets{host}"));
            std::fs::create_dir(&sockets).unwrap();
            for number in 0..*count {
                let guest = Guest::builder().data_disk().start().await.unwrap();
                let link = sockets.join(format!("{number}.qmp"));
                std::os::unix::fs::symlink(guest.qmp_socket(), link).unwrap();
                site.guests.push((host, guest));
            }
            let token = site.token(host).await;
            let file = site.lab.path(&format!("token{host}"));
            std::fs::write(&file, token).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&file, mode).unwrap();
            site.hosts.push(None);
            site.start_host(host, &["--token-file", file.to_str().unwrap()])
                .await;
        }
        for (number, (_, guest)) in site.guests.iter().enumerate() {
            site.protect(guest, &format!("vm{number}")).await;
        }
        site
    }

    async fn token(&self, host: usize) -> String {
        let name = format!("node{host}");
        let made = self.lab.run(&["hosts", "token", &name]).await.ok();
        made["token"].as_str().unwrap().to_owned()
    }

    async fn serve(&mut self) {
        let listen = format!("0.0.0.0:{}", self.port);
        let command = self
            .lab
            .command(&["serve", "--start-gap", "1s", "--listen", &listen]);
        let mut command = self.networks.in_service(&command);
        let mut child = command
            .env("TRESOR_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(self.log("serve"))
            .spawn()
            .unwrap();
        let told = said(&mut child)
            .await
            .unwrap_or_else(|| panic!("{}", self.told()));
        let address: std::net::SocketAddr = told["address"].as_str().unwrap().parse().unwrap();
        self.port = address.port();
        self.service = Some(child);
    }

    async fn start_host(&mut self, host: usize, more: &[&str]) {
        let server = format!("https://{}:{}", Networks::service_address(host), self.port);
        let state = self.lab.path(&format!("host{host}"));
        let pattern = self.lab.path(&format!("sockets{host}/*.qmp"));
        let (name, pattern) = (format!("node{host}"), pattern.to_str().unwrap().to_owned());
        let args = [
            "host",
            "--server",
            &server,
            "--name",
            &name,
            "--discover",
            &pattern,
        ];
        let command = self
            .lab
            .command_with_state(&state, &[&args[..], more].concat());
        let (vault, state) = (self.lab.vault(), self.lab.state());
        let mut command = self.networks.in_host(host, &[&vault, &state], &command);
        let mut child = command
            .env("TRESOR_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(self.log(&format!("host{host}")))
            .spawn()
            .unwrap();
        let told = said(&mut child).await;
        assert!(told.is_some(), "{}", self.told());
        self.hosts[host] = Some(child);
    }

    fn log(&self, of: &str) -> std::fs::File {
        let path = self.lab.path(&format!("{of}.log"));
        let mut options = std::fs::File::options();
        options.create(true).append(true).open(path).unwrap()
    }

    /// All logs.
    fn told(&self) -> String {
        let names = ["serve.log", "host0.log", "host1.log"];
        let read = |name| std::fs::read_to_string(self.lab.path(name)).unwrap_or_default();
        names
            .map(|name| format!("== {name}\n{}", read(name)))
            .join("\n")
    }

    /// All guests of tests have the same name of their own.
    async fn protect(&self, guest: &Guest, name: &str) {
        let id = guest.uuid().to_string();
        let until = Instant::now() + PATIENCE;
        loop {
            let protect = ["protect", &id, "--as", name, "--policy", "minutely"];
            let protected = self.lab.run(&protect).await;
            if protected.lines().last().unwrap()["message_type"] == "protected" {
                return;
            }
            protected.raises("VmNotFound");
            assert!(Instant::now() < until, "not found: {}", self.told());
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn vms(&self) -> Vec<String> {
        let listed = self.lab.run(&["vm", "list"]).await.rows();
        let name = |row: Value| row["name"].as_str().unwrap().to_owned();
        listed.into_iter().map(name).collect()
    }

    async fn points(&self) -> Vec<Vec<Value>> {
        let mut points = Vec::new();
        for vm in self.vms().await {
            points.push(self.lab.run(&["points", "list", &vm]).await.rows());
        }
        points
    }

    /// Waits until each VM has so many points.
    async fn reach(&self, wanted: usize) {
        let until = Instant::now() + PATIENCE;
        loop {
            let points = self.points().await;
            let least = points.iter().map(Vec::len).min().unwrap();
            if least >= wanted {
                return;
            }
            assert!(
                Instant::now() < until,
                "{least} of {wanted}: {}",
                self.told()
            );
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    }

    /// Waits until a backup of a host's VM runs.
    async fn in_transfer(&self) -> String {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            for job in self.lab.run(&["jobs", "list", "--limit", "8"]).await.rows() {
                if job["state"] == "in_progress" && job["kind"] == "backup" {
                    return job["job"].as_str().unwrap().to_owned();
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("no job ran: {}", self.told());
    }

    async fn kill(&mut self, host: Option<usize>) {
        let child = match host {
            Some(host) => self.hosts[host].take(),
            None => self.service.take(),
        };
        let mut child = child.unwrap();
        child.start_kill().unwrap();
        child.wait().await.unwrap();
    }

    /// The least number of points that a VM has.
    async fn least(&self) -> usize {
        self.points().await.iter().map(Vec::len).max().unwrap()
    }

    /// Stops all in good order: then every job has ended, every point is as it was wanted, and no guest is
    /// frozen.
    async fn end(mut self) {
        for child in self.hosts.iter_mut().flatten() {
            signal(child.id().unwrap(), "TERM");
        }
        for child in self.hosts.iter_mut().flatten() {
            let ended = tokio::time::timeout(PATIENCE, child.wait()).await;
            assert!(ended.unwrap().unwrap().success());
        }
        let mut service = self.service.take().unwrap();
        signal(service.id().unwrap(), "TERM");
        let ended = tokio::time::timeout(PATIENCE, service.wait()).await;
        assert!(ended.unwrap().unwrap().success(), "{}", self.told());
        for (_, guest) in &self.guests {
            assert_unharmed(guest).await;
        }
        let jobs = self
            .lab
            .run(&["jobs", "list", "--limit", "100"])
            .await
            .rows();
        let running = ["in_progress", "cancelling"];
        for job in &jobs {
            let state = job["state"].as_str().unwrap();
            assert!(!running.contains(&state), "{job}\n{}", self.told());
        }
        for point in self.points().await.into_iter().flatten() {
            let achieved = point["consistency"].as_str().unwrap();
            assert!(
                ["file-system", "application"].contains(&achieved),
                "{point}"
            );
        }
        self.lab.run(&["check"]).await.ok();
        self.lab.run(&["verify"]).await.ok();
    }
}

/// The first thing that a program says.
async fn said(child: &mut Child) -> Option<Value> {
    let stdout = child.stdout.take().unwrap();
    let mut lines = BufReader::new(stdout).lines();
    let line = lines.next_line().await.unwrap()?;
    serde_json::from_str(&line).ok()
}

#[tokio::test]
async fn vms_of_two_hosts_are_backed_up_whatever_is_killed_and_cut() {
    let mut site = Site::new(&[2, 1]).await;
    site.reach(1).await;
    // A host, in the middle of a job: its next process ends what the dead one left.
    site.in_transfer().await;
    site.kill(Some(0)).await;
    site.start_host(0, &[]).await;
    let points = site.least().await;
    site.reach(points + 1).await;
    // The service: hosts go on, and dial again.
    site.in_transfer().await;
    site.kill(None).await;
    site.serve().await;
    let points = site.least().await;
    site.reach(points + 1).await;
    // The line.
    site.in_transfer().await;
    site.networks.line(1, false);
    tokio::time::sleep(Duration::from_secs(5)).await;
    site.networks.line(1, true);
    let points = site.least().await;
    site.reach(points + 1).await;
    site.end().await;
}

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
    let job = site.in_transfer().await;
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

/// It is backed up where it is found then, into that host's own domain.
#[tokio::test]
async fn a_vm_that_moves_to_another_host_is_followed() {
    let site = Site::new(&[1, 0]).await;
    site.reach(1).await;
    let [from, to] = ["sockets0/0.qmp", "sockets1/0.qmp"].map(|name| site.lab.path(name));
    std::fs::rename(from, to).unwrap();
    let until = Instant::now() + PATIENCE;
    while !site.told().contains("the VM runs on another host now") {
        assert!(Instant::now() < until, "{}", site.told());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let points = site.least().await;
    site.reach(points + 1).await;
    site.end().await;
}
