//! Networks of a test's own: a service and hosts, each in a network namespace, a line between them.

use std::{
    path::Path,
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
};

/// The networks of one test. They go with it.
pub(crate) struct Networks {
    prefix: String,
    names: Vec<String>,
}

fn ip(arguments: &str) {
    let Output { status, stderr, .. } = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "ip {arguments}: {error}");
}

impl Networks {
    /// A service's network, and one for each of so many hosts, with a line to the service.
    pub(crate) fn new(hosts: usize) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mut networks = Self {
            prefix: format!("tresor-{}-{number}", std::process::id()),
            names: Vec::new(),
        };
        let service = networks.add("s");
        for host in 0..hosts {
            let name = networks.add(&format!("h{host}"));
            let (near, far) = (Self::service_address(host), format!("10.83.{host}.2"));
            ip(&format!(
                "-n {service} link add h{host} type veth peer name eth0 netns {name}"
            ));
            for (network, device, address) in [
                (&service, format!("h{host}"), near),
                (&name, "eth0".to_owned(), far),
            ] {
                ip(&format!("-n {network} addr add {address}/30 dev {device}"));
                ip(&format!("-n {network} link set {device} up"));
            }
        }
        networks
    }

    fn add(&mut self, what: &str) -> String {
        let name = format!("{}-{what}", self.prefix);
        ip(&format!("netns add {name}"));
        self.names.push(name.clone());
        ip(&format!("-n {name} link set lo up"));
        name
    }

    /// Where that host finds the service.
    pub(crate) fn service_address(host: usize) -> String {
        format!("10.83.{host}.1")
    }

    /// A command that runs in the service's network.
    pub(crate) fn in_service(&self, command: &tokio::process::Command) -> tokio::process::Command {
        self.within(&self.names[0], &[], command)
    }

    /// A command that runs in a host's network, and does not see these directories.
    pub(crate) fn in_host(
        &self,
        host: usize,
        hidden: &[&Path],
        command: &tokio::process::Command,
    ) -> tokio::process::Command {
        self.within(&self.names[host + 1], hidden, command)
    }

    /// Each step takes the place of the one before: the process stays the same.
    fn within(
        &self,
        network: &str,
        hidden: &[&Path],
        command: &tokio::process::Command,
    ) -> tokio::process::Command {
        let inner = command.as_std();
        let mut script = "set -e\n".to_owned();
        for path in hidden {
            script.push_str(&format!("mount -t tmpfs none '{}'\n", path.display()));
        }
        script.push_str("exec \"$@\"");
        let mut outer = tokio::process::Command::new("ip");
        outer
            .args(["netns", "exec", network])
            .args(["unshare", "--mount", "sh", "-c", &script, "sh"])
            .arg(inner.get_program())
            .args(inner.get_args())
            .kill_on_drop(true);
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => outer.env(name, value),
                None => outer.env_remove(name),
            };
        }
        outer
    }

    /// Cuts the line to a host, or joins it again.
    pub(crate) fn line(&self, host: usize, up: bool) {
        let state = if up { "up" } else { "down" };
        ip(&format!("-n {} link set h{host} {state}", self.names[0]));
    }
}

impl Drop for Networks {
    fn drop(&mut self) {
        for name in &self.names {
            Command::new("ip")
                .args(["netns", "del", name])
                .status()
                .ok();
        }
    }
}
