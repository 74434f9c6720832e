//! The installation: a service and hosts with guests, each in a network of its own.

use std::{process::Stdio, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Child,
    time::Instant,
};
use tresor_testkit::Guest;

use crate::{
    kills,
    lab::{Lab, assert_unharmed},
    namespaces::Networks,
    running::signal,
};

pub(super) const PATIENCE: Duration = Duration::from_secs(900);

/// The installation: what runs is a child.
pub(super) struct Site {
    pub(super) lab: Lab,
    pub(super) networks: Networks,
    /// Guests, and the host that each is on; the VM of the first is `vm0`.
    pub(super) guests: Vec<(usize, Guest)>,
    pub(super) port: u16,
    /// What the clocks of hosts that are started show, against the machine's.
    pub(super) clock: Option<&'static str>,
    service: Option<Child>,
    hosts: Vec<Option<Child>>,
}

impl Site {
    /// A service and hosts, with so many guests each; all found and protected.
    pub(super) async fn new(guests: &[usize]) -> Self {
        let mut site = Self {
            lab: Lab::new().await,
            networks: Networks::new(guests.len()),
            guests: Vec::new(),
            port: 0,
            clock: None,
            service: None,
            hosts: Vec::new(),
        };
        let policy = site.lab.path("minutely.toml");
        std::fs::write(&policy, kills::POLICY).unwrap();
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

    pub(super) async fn token(&self, host: usize) -> String {
        let name = format!("node{host}");
        let made = self.lab.run(&["hosts", "token", &name]).await.ok();
        made["token"].as_str().unwrap().to_owned()
    }

    pub(super) async fn serve(&mut self) {
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

    pub(super) async fn start_host(&mut self, host: usize, more: &[&str]) {
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
        if let Some(clock) = self.clock {
            command.envs(clock_variables(clock));
        }
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
    pub(super) fn told(&self) -> String {
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
    pub(super) async fn reach(&self, wanted: usize) {
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

    /// Waits until a backup of a VM runs, on that host or on any, that is none of `known`; gives its id.
    pub(super) async fn in_transfer(&self, host: Option<usize>, known: &[String]) -> String {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            for job in self.lab.run(&["jobs", "list", "--limit", "8"]).await.rows() {
                let text = |name: &str| job[name].as_str().unwrap().to_owned();
                let runs = text("state") == "in_progress" && text("kind") == "backup";
                let is_there = host.is_none() || host == self.host_of(&text("subject"));
                if runs && is_there && !known.contains(&text("job")) {
                    return text("job");
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("no job ran: {}", self.told());
    }

    /// The host that has the VM of that name; a vault's jobs have none.
    fn host_of(&self, vm: &str) -> Option<usize> {
        let number: usize = vm.strip_prefix("vm")?.parse().unwrap();
        Some(self.guests[number].0)
    }

    pub(super) async fn kill(&mut self, host: Option<usize>) {
        let child = match host {
            Some(host) => self.hosts[host].take(),
            None => self.service.take(),
        };
        let mut child = child.unwrap();
        child.start_kill().unwrap();
        child.wait().await.unwrap();
    }

    /// The least number of points that a VM has.
    pub(super) async fn least(&self) -> usize {
        self.points().await.iter().map(Vec::len).max().unwrap()
    }

    /// Waits until each VM has one more than it has now.
    pub(super) async fn each_has_another(&self) {
        let count =
            |points: Vec<Vec<Value>>| -> Vec<usize> { points.iter().map(Vec::len).collect() };
        let before = count(self.points().await);
        let until = Instant::now() + PATIENCE;
        loop {
            let now = count(self.points().await);
            if now.iter().zip(&before).all(|(now, before)| now > before) {
                return;
            }
            assert!(
                Instant::now() < until,
                "{before:?}, {now:?}: {}",
                self.told()
            );
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    }

    /// No guest is frozen, or stays so: each writes.
    pub(super) async fn assert_thawed(&self) {
        for (_, guest) in &self.guests {
            let written = guest.exec("echo alive > /data/alive && sync").await;
            written.unwrap().ok().unwrap();
        }
    }

    /// Stops all in good order: then nothing is lost, and no guest is frozen.
    pub(super) async fn end(mut self) -> kills::Told {
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
        kills::assert_all_told(&self.lab).await
    }
}

/// The first thing that a program says.
pub(super) async fn said(child: &mut Child) -> Option<Value> {
    let stdout = child.stdout.take().unwrap();
    let mut lines = BufReader::new(stdout).lines();
    let line = lines.next_line().await.unwrap()?;
    serde_json::from_str(&line).ok()
}

/// Of libfaketime: another time of day, while time passes as it does.
fn clock_variables(offset: &str) -> [(&'static str, String); 4] {
    let mut libraries = std::fs::read_dir("/usr/lib").unwrap().filter_map(|dir| {
        let library = dir.unwrap().path().join("faketime/libfaketimeMT.so.1");
        library.exists().then_some(library)
    });
    let library = libraries
        .next()
        .expect("`cargo xtask setup` installs libfaketime");
    [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME", offset.to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("NO_FAKE_STAT", "1".to_owned()),
    ]
}
