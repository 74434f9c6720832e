//! Logging in as browsers do: a real `OpenID` Connect provider, and somebody who fills in its forms with curl.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::{
    spawn::bound_to_us,
    stores::{Server, installed},
};

const PROGRAM: &str = include_str!("provider.mjs");

/// What the provider knows of the client.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its secret.
    pub secret: &'a str,
    /// Where it has browsers sent back to.
    pub redirect: &'a str,
}

/// Where the provider says which groups somebody is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupsIn {
    /// In the ID token.
    IdToken,
    /// Where an access token opens it.
    Userinfo,
}

/// The provider: oidc-provider, until it is dropped. Whoever names themselves is let in.
#[derive(Debug)]
pub struct IdentityProvider(Server);

impl IdentityProvider {
    /// Starts it for one client; `groups` is a JSON object of arrays, by user.
    ///
    /// # Errors
    /// Set-up has not run, or it does not start.
    pub fn start(client: Client<'_>, groups: &str, groups_in: GroupsIn) -> Result<Self> {
        let library = installed("oidc-provider")?;
        let groups_in = match groups_in {
            GroupsIn::IdToken => "id_token",
            GroupsIn::Userinfo => "userinfo",
        };
        let mut command = bound_to_us(Path::new("node"));
        command
            // What a program that is given so imports is looked for from here.
            .current_dir(library)
            .args(["--input-type=module", "--eval", PROGRAM, "--"])
            .args([client.id, client.secret, client.redirect, groups, groups_in]);
        Server::start(command, "oidc-provider").map(Self)
    }

    /// What it calls itself.
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.0.url()
    }
}

/// What a browser is shown in the end.
#[derive(Debug)]
pub struct Page {
    /// Its address.
    pub url: String,
    /// Its text.
    pub body: String,
}

/// curl with a jar of cookies.
#[derive(Debug)]
pub struct Browser {
    dir: TempDir,
}

impl Browser {
    /// One without cookies.
    ///
    /// # Errors
    /// When there is no place for them.
    pub fn new() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        Ok(Self { dir })
    }

    fn jar(&self) -> PathBuf {
        self.dir.path().join("cookies")
    }

    /// Opens a page, and goes where it is sent.
    ///
    /// # Errors
    /// When curl does not run.
    pub fn open(&self, url: &str) -> Result<Page> {
        self.curl(&[url])
    }

    /// Sends a form.
    ///
    /// # Errors
    /// As [`Browser::open`].
    pub fn send(&self, url: &str, form: &str) -> Result<Page> {
        self.curl(&["--data", form, url])
    }

    /// Logs somebody in at the provider whose form is at `url` or behind it, and goes where that leads.
    ///
    /// # Errors
    /// When a form does not come.
    pub fn log_in(&self, url: &str, user: &str) -> Result<Page> {
        let login = self.open(url)?;
        ensure!(login.url.contains("/interaction/"), "no form: {login:?}");
        let form = format!("prompt=login&login={user}&password=x");
        let consent = self.send(&login.url, &form)?;
        ensure!(
            consent.url.contains("/interaction/"),
            "no form: {consent:?}"
        );
        self.send(&consent.url, "prompt=consent")
    }

    /// Nobody may listen where it is sent in the end: that is an address all the same.
    fn curl(&self, args: &[&str]) -> Result<Page> {
        let (jar, body) = (self.jar(), self.dir.path().join("body"));
        std::fs::write(&body, "")?;
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--insecure", "--location", "--max-time", "60"])
            .args(["--write-out", "%{url_effective}"])
            .arg("--cookie")
            .arg(&jar)
            .arg("--cookie-jar")
            .arg(&jar)
            .arg("--output")
            .arg(&body)
            .args(args);
        let output = curl.output().context("curl")?;
        let url = String::from_utf8(output.stdout)?;
        let body = String::from_utf8_lossy(&std::fs::read(&body)?).into_owned();
        Ok(Page { url, body })
    }
}
