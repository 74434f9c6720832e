//! What systemd is told by a program that runs on: that it is ready, what it does, that it lives, and that its end takes
//! a while. The protocol is `sd_notify(3)`'s: a datagram of lines to the socket that `NOTIFY_SOCKET` names.
//!
//! Nothing is told, and nothing fails, where nobody listens.

use std::{
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use tokio_util::sync::CancellationToken;

/// How often something is said while the program ends.
pub(crate) const AT_THE_END_EVERY: Duration = Duration::from_secs(5);
/// For how much longer each of these asks: a machine that is busy must not be taken for one that hangs.
const MORE: Duration = Duration::from_secs(60);

/// Whoever started this program, when that is systemd.
#[derive(Debug)]
pub(crate) struct Systemd {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// How long this program may be silent.
    watchdog: Option<Duration>,
}

impl Systemd {
    /// By the environment.
    pub(crate) fn from_environment() -> Self {
        let socket = std::env::var_os("NOTIFY_SOCKET").and_then(|name| {
            let opened = address(&name).and_then(|to| Ok((UnixDatagram::unbound()?, to)));
            if let Err(error) = &opened {
                tracing::warn!(%error, "systemd cannot be told anything");
            }
            opened.ok()
        });
        let var = |name| std::env::var(name).ok();
        let pid = std::process::id();
        Self {
            socket,
            watchdog: watchdog(var("WATCHDOG_USEC"), var("WATCHDOG_PID"), pid),
        }
    }

    /// It works now.
    pub(crate) fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={}", line(status)));
    }

    /// It ends, and is given more time for it.
    pub(crate) fn stopping(&self, status: &str) {
        self.tell(&format!("STOPPING=1\nSTATUS={}", line(status)));
        self.tell(&format!("EXTEND_TIMEOUT_USEC={}", MORE.as_micros()));
        self.alive();
    }

    fn alive(&self) {
        if self.watchdog.is_some() {
            self.tell("WATCHDOG=1");
        }
    }

    /// Tells that the program lives as long as `turns` goes on counting, until the end begins ([`Self::stopping`] says it
    /// from then on). Never returns. Whether something turns is looked at three times in the time that systemd gives.
    pub(crate) async fn watch(&self, turns: impl Fn() -> u64, end: &CancellationToken) {
        let Some(limit) = self.watchdog else {
            return std::future::pending().await;
        };
        let mut seen = None;
        loop {
            if end.is_cancelled() {
                return std::future::pending().await;
            }
            let now = Some(turns());
            if now == seen {
                tracing::error!("the loop stands still, and systemd is not told that it lives");
            } else {
                self.alive();
            }
            seen = now;
            tokio::time::sleep(limit / 3).await;
        }
    }

    fn tell(&self, message: &str) {
        let Some((socket, to)) = &self.socket else {
            return;
        };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), to) {
            tracing::debug!(%error, "systemd does not listen");
        }
    }
}

/// The socket's address: a path, or a name without a file behind `@`.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    }
}

/// How long this process may be silent; `None`: for ever, or it is not the one that is meant.
fn watchdog(usec: Option<String>, meant: Option<String>, pid: u32) -> Option<Duration> {
    let other = |meant: String| meant.parse() != Ok(pid);
    if meant.is_some_and(other) {
        return None;
    }
    let usec = usec?.parse().ok().filter(|usec| *usec > 0)?;
    Some(Duration::from_micros(usec))
}

/// One line: what follows a line's end would be another message.
fn line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_for_the_process_that_is_meant() {
        let some = |text: &str| Some(text.to_owned());
        let second = Some(Duration::from_secs(1));
        for (usec, meant, expected) in [
            (some("1000000"), None, second),
            (some("1000000"), some("7"), second),
            (some("1000000"), some("8"), None),
            (some("0"), None, None),
            (some("soon"), None, None),
            (None, some("7"), None),
        ] {
            assert_eq!(watchdog(usec, meant, 7), expected);
        }
    }

    #[test]
    fn what_is_told_arrives_line_by_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        let systemd = Systemd {
            socket: Some((
                UnixDatagram::unbound().unwrap(),
                address(path.as_os_str()).unwrap(),
            )),
            watchdog: Some(Duration::from_secs(30)),
        };
        let heard = || {
            let mut buffer = [0; 512];
            let length = listener.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        };
        systemd.ready("at\nwork");
        assert_eq!(heard(), "READY=1\nSTATUS=at work");
        systemd.stopping("waits");
        assert_eq!(heard(), "STOPPING=1\nSTATUS=waits");
        assert_eq!(heard(), "EXTEND_TIMEOUT_USEC=60000000");
        assert_eq!(heard(), "WATCHDOG=1");
    }

    #[test]
    fn a_name_without_a_file_is_an_address_too() {
        let name = std::ffi::OsString::from("@/org/tresor/test");
        let address = address(&name).unwrap();
        assert_eq!(address.as_abstract_name(), Some(&b"/org/tresor/test"[..]));
    }
}
