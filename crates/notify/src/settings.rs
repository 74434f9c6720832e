//! How a channel is set up. Kept as JSON: members are never renamed.

use jiff::civil::Time;
use lettre::message::Mailbox;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::EventKind;

/// A channel's settings. What is secret is kept apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How it leads out.
    pub way: Way,
    /// Only these; none: everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<EventKind>,
    /// When nothing is to be sent: it waits until that is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet: Option<Quiet>,
    /// When to tell each day how everything stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Time>,
}

/// A part of each day, in the service's zone; over midnight where it ends before it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quiet {
    /// From then on.
    pub from: Time,
    /// Until then.
    pub until: Time,
}

/// How a channel leads out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// A POST of JSON.
    Webhook(Webhook),
    /// A mail.
    Mail(Mail),
}

/// A server that takes JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Where: `https://…` or `http://…`. Often a secret by itself.
    pub url: String,
    /// What to send instead of the usual body: JSON, in whose strings `{title}`, `{text}`, `{subject}` and `{event}` are
    /// filled in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Value>,
}

/// A mail server that takes mails from here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mail {
    /// Its name or address.
    pub server: String,
    /// Its port; none: the usual one of `tls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// How the way there is protected.
    #[serde(default)]
    pub tls: Tls,
    /// As whom to log in; the password is the channel's secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Whose mails they are.
    pub from: String,
    /// To whom they go.
    pub to: Vec<String>,
    /// The subject, with `{title}`, `{subject}` and `{event}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

/// How the way to a mail server is protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tls {
    /// TLS, asked for in clear; a server that does not offer it is refused. Port 587.
    #[default]
    Starttls,
    /// TLS from the first byte. Port 465.
    Implicit,
    /// Not at all. Port 25.
    None,
}

/// What is wrong with a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Which.
    pub field: &'static str,
    /// What.
    pub wrong: String,
}

const MOST_RECIPIENTS: usize = 50;
const LONGEST: usize = 2000;
const LARGEST_TEMPLATE: usize = 16 << 10;

impl Settings {
    /// What is wrong with them.
    #[must_use]
    pub fn defects(&self, has_secret: bool) -> Vec<Wrong> {
        let mut defects = match &self.way {
            Way::Webhook(webhook) => webhook.defects(),
            Way::Mail(mail) => mail.defects(has_secret),
        };
        if self
            .only
            .iter()
            .any(|kind| !EventKind::CHOICE.contains(kind))
        {
            defects.push(wrong("only", "digests and tests always go"));
        }
        if self.quiet.is_some_and(|quiet| quiet.from == quiet.until) {
            defects.push(wrong("quiet", "it would be the whole day, or none of it"));
        }
        defects
    }

    /// Where it leads, without what is secret.
    #[must_use]
    pub fn place(&self) -> String {
        match &self.way {
            Way::Webhook(webhook) => shown_url(&webhook.url),
            Way::Mail(mail) => format!("{} by {}:{}", mail.to.join(", "), mail.server, mail.port()),
        }
    }

    /// The same settings to be shown.
    #[must_use]
    pub fn shown(&self) -> Self {
        let mut shown = self.clone();
        if let Way::Webhook(webhook) = &mut shown.way {
            webhook.url = shown_url(&webhook.url);
        }
        shown
    }
}

impl Webhook {
    /// What is wrong with it.
    #[must_use]
    pub fn defects(&self) -> Vec<Wrong> {
        let mut defects = Vec::new();
        match Url::parse(&self.url) {
            Err(error) => defects.push(wrong("url", &format!("it is no URL: {error}"))),
            Ok(url) if !["http", "https"].contains(&url.scheme()) || !url.has_host() => {
                defects.push(wrong("url", "it begins with neither https:// nor http://"));
            }
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                defects.push(wrong("url", "a password in it would be sent in clear"));
            }
            Ok(_) if self.url.len() > LONGEST => defects.push(wrong("url", "it is too long")),
            Ok(_) => {}
        }
        let template = self.template.as_ref().map(ToString::to_string);
        if template.is_some_and(|text| text.len() > LARGEST_TEMPLATE) {
            defects.push(wrong("template", "it is larger than 16 KiB"));
        }
        defects
    }
}

impl Mail {
    fn defects(&self, has_secret: bool) -> Vec<Wrong> {
        let mut defects = Vec::new();
        let host = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
        if self.server.is_empty() || self.server.len() > 255 || !self.server.chars().all(host) {
            defects.push(wrong("server", "it is neither a name nor an address"));
        }
        if let Err(error) = self.from.parse::<Mailbox>() {
            defects.push(wrong("from", &format!("it is no mail address: {error}")));
        }
        if self.to.is_empty() || self.to.len() > MOST_RECIPIENTS {
            defects.push(wrong("to", "there must be one, and 50 at most"));
        }
        for to in &self.to {
            if let Err(error) = to.parse::<Mailbox>() {
                defects.push(wrong("to", &format!("it is no mail address: {error}")));
            }
        }
        if self.user.is_some() != has_secret {
            let text = "user and password are given together, or neither";
            defects.push(wrong("user", text));
        }
        if has_secret && self.tls == Tls::None && !self.is_near() {
            let text = "a password is not sent in clear to another machine";
            defects.push(wrong("tls", text));
        }
        if self.subject.as_ref().is_some_and(|text| text.len() > 500) {
            defects.push(wrong("subject", "it is too long"));
        }
        defects
    }

    /// On this machine.
    fn is_near(&self) -> bool {
        ["localhost", "127.0.0.1", "::1", "[::1]"].contains(&self.server.as_str())
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.unwrap_or(match self.tls {
            Tls::Starttls => 587,
            Tls::Implicit => 465,
            Tls::None => 25,
        })
    }
}

fn wrong(field: &'static str, text: &str) -> Wrong {
    Wrong {
        field,
        wrong: text.to_owned(),
    }
}

/// A URL without its path, which for many services is the secret.
#[must_use]
pub fn shown_url(url: &str) -> String {
    match Url::parse(url) {
        Ok(url) if matches!(url.path(), "/" | "") && url.query().is_none() => {
            url.origin().ascii_serialization()
        }
        Ok(url) => format!("{}/…", url.origin().ascii_serialization()),
        Err(_) => "(no URL)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(settings: Value, has_secret: bool) -> Vec<&'static str> {
        let settings: Settings = serde_json::from_value(settings).unwrap();
        let defects = settings.defects(has_secret);
        defects.into_iter().map(|wrong| wrong.field).collect()
    }

    #[test]
    fn a_table_of_what_cannot_be_so() {
        let hook = |url: &str| json!({"way": {"webhook": {"url": url}}});
        assert_eq!(fields(hook("https://example.org/x"), true), [""; 0]);
        for bad in [
            "",
            "example.org",
            "ftp://example.org",
            "https://a:b@example.org",
            "file:///etc/passwd",
        ] {
            assert_eq!(fields(hook(bad), true), ["url"], "{bad}");
        }
        let mail = |change: fn(&mut Value)| {
            let mut mail = json!({"server": "mx.example.org", "from": "Tresor <a@example.org>",
                "to": ["b@example.org"]});
            change(&mut mail);
            json!({"way": {"mail": mail}})
        };
        assert_eq!(fields(mail(|_| {}), false), [""; 0]);
        let bad = mail(|mail| mail["from"] = json!("a@example.org\r\nBcc: x@example.org"));
        assert_eq!(fields(bad, false), ["from"]);
        let bad = mail(|mail| mail["to"] = json!([]));
        assert_eq!(fields(bad, false), ["to"]);
        let bad = mail(|mail| mail["server"] = json!("mx example"));
        assert_eq!(fields(bad, false), ["server"]);
        assert_eq!(
            fields(mail(|mail| mail["user"] = json!("u")), false),
            ["user"]
        );
        let clear = mail(|mail| {
            mail["user"] = json!("u");
            mail["tls"] = json!("none");
        });
        assert_eq!(fields(clear, true), ["tls"]);
        let quiet = json!({"way": {"webhook": {"url": "https://x"}}, "only": ["digest"],
            "quiet": {"from": "22:00", "until": "22:00"}});
        assert_eq!(fields(quiet, true), ["only", "quiet"]);
    }

    #[test]
    fn a_urls_path_is_not_shown() {
        let secret = "https://hooks.example.org/services/T0/B0/hush?k=1";
        assert_eq!(shown_url(secret), "https://hooks.example.org/…");
        assert_eq!(shown_url("http://127.0.0.1:8080"), "http://127.0.0.1:8080");
    }
}
