//! A mail server that keeps what it is sent: aiosmtpd, of `target/python`.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Stdio},
    sync::mpsc::{Receiver, channel},
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{
    LONG,
    spawn::{bound_to_us, spawn},
};

const PROGRAM: &str = include_str!("mail_server.py");

/// As whom one can log in.
pub const MAIL_USER: &str = "tresor";
/// With this.
pub const MAIL_PASSWORD: &str = "open sesame";

/// Whether it offers TLS.
#[derive(Debug, Clone, Copy)]
pub enum MailTls<'a> {
    /// No.
    None,
    /// It insists on it. The certificate of its authority is put there.
    Starttls(&'a Path),
}

/// The server, until it is dropped.
#[derive(Debug)]
pub struct MailSink {
    child: Child,
    port: u16,
    mails: Receiver<String>,
}

impl MailSink {
    /// Starts it; at port 0, on one that the kernel chooses.
    ///
    /// # Errors
    /// Set-up has not run, or it does not start.
    pub fn start(port: u16, tls: MailTls<'_>) -> Result<Self> {
        let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/python/bin/python");
        let mut command = bound_to_us(&python);
        command.arg("-c").arg(PROGRAM).arg(port.to_string());
        match tls {
            MailTls::None => command.arg("-"),
            MailTls::Starttls(place) => command.arg(place),
        };
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = spawn(command).context("the mail server does not start")?;
        let output = child.stdout.take().context("no pipe")?;
        let (lines, mails) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                drop(lines.send(line));
            }
        });
        let mut sink = Self { child, port, mails };
        let said = sink.next_line()?;
        let port = said.rsplit(':').next().unwrap_or_default();
        sink.port = port.parse().with_context(|| said.clone())?;
        Ok(sink)
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The next mail: `from`, `to`, `text`, `tls`, `user`. Blocks.
    ///
    /// # Errors
    /// None in a long time.
    pub fn next(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.next_line()?)?)
    }

    /// Whether there is one more, which nobody has waited for.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.mails.try_recv().is_ok()
    }

    fn next_line(&self) -> Result<String> {
        let line = self.mails.recv_timeout(LONG);
        line.context("the mail server says nothing: has `cargo xtask setup` run?")
    }
}

impl Drop for MailSink {
    fn drop(&mut self) {
        // Dead already is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
