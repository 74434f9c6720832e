//! `tresor notify …`

use std::{fs, io::Read as _, os::unix::fs::MetadataExt as _, path::Path};

use serde_json::{Value, json};
use tresor_api_client::Client;
use tresor_api_types::{ChannelView, NewChannel};
use tresor_catalog::ChannelSecret;
use tresor_host::{internal, usage};
use tresor_notify::{EventKind, Mail, Quiet, Settings, Tls, Way, Webhook};
use tresor_problem::{Kind, Problem};

use super::session::{Session, print_problem};
use crate::args::{AddCommand, MailArgs, NotifyCommand, TlsArg, WebhookArgs, WhenArgs};

/// Longer secrets and templates are none.
const LONGEST: u64 = 16 << 10;

pub(super) async fn run(command: NotifyCommand, session: &Session) -> Result<(), Problem> {
    let client = session.client().await?;
    match command {
        NotifyCommand::Add(command) => add(*command, session, &client).await,
        NotifyCommand::List => list(session, &client).await,
        NotifyCommand::Test { name } => test(session, &client, &name).await,
        NotifyCommand::Remove { name } => remove(session, &client, &name).await,
    }
}

async fn add(command: AddCommand, session: &Session, client: &Client) -> Result<(), Problem> {
    let (name, way, secret, when) = match command {
        AddCommand::Webhook(args) => webhook(args)?,
        AddCommand::Mail(args) => mail(args)?,
    };
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > 60 || !name.chars().all(good) {
        return Err(usage(
            "A channel's name is 1 to 60 letters, digits, `-`, `_` and `.`.",
        ));
    }
    let settings = Settings {
        way,
        only: kinds(&when.only)?,
        quiet: when.quiet_time.as_deref().map(quiet).transpose()?,
        digest: when.digest,
    };
    let defects = settings.defects(secret.is_some()).into_iter();
    let defects: Vec<_> = defects
        .map(|defect| format!("{}: {}", defect.field, defect.wrong))
        .collect();
    if !defects.is_empty() {
        return Err(usage(&format!("{}.", defects.join("; "))));
    }
    let place = settings.place();
    let settings = serde_json::to_value(&settings);
    if !when.replace {
        let there = client.channels().await?;
        if there.iter().any(|channel| channel.name == name) {
            let object = "channel".to_owned();
            return Err(Kind::ObjectExists { object, name }.into());
        }
    }
    let asked = NewChannel {
        settings: settings.map_err(|error| internal(error.to_string()))?,
        secret: secret.as_ref().map(|secret| secret.reveal().to_owned()),
    };
    client.set_channel(&name, &asked).await?;
    let result = json!({ "channel": name, "place": place });
    let text = || format!("Channel {name} leads to {place}. Try it: tresor notify test {name}");
    let printed = session.output.result("channel_added", &result, text);
    printed.map_err(print_problem)
}

type Asked = (String, Way, Option<ChannelSecret>, WhenArgs);

fn webhook(args: WebhookArgs) -> Result<Asked, Problem> {
    let secret = args.secret_file.as_deref().map(secret).transpose()?;
    let template = args.template.as_deref().map(template).transpose()?;
    let way = Way::Webhook(Webhook {
        url: args.url,
        template,
    });
    Ok((args.name, way, secret, args.when))
}

fn mail(args: MailArgs) -> Result<Asked, Problem> {
    let secret = args.password_file.as_deref().map(secret).transpose()?;
    let way = Way::Mail(Mail {
        server: args.smtp_server,
        port: args.port,
        tls: match args.tls {
            TlsArg::Starttls => Tls::Starttls,
            TlsArg::Implicit => Tls::Implicit,
            TlsArg::None => Tls::None,
        },
        user: args.user,
        from: args.from,
        to: args.to,
        subject: args.subject,
    });
    Ok((args.name, way, secret, args.when))
}

fn kinds(words: &[String]) -> Result<Vec<EventKind>, Problem> {
    let kind = |word: &String| {
        let mut all = EventKind::CHOICE.into_iter();
        let found = all.find(|kind| kind.word() == word);
        found.ok_or_else(|| usage(&format!("There is no event `{word}`: see --help.")))
    };
    words.iter().map(kind).collect()
}

/// `22:00-07:00`.
fn quiet(text: &str) -> Result<Quiet, Problem> {
    let times = text.split_once('-').and_then(|(from, until)| {
        let (from, until) = (from.trim().parse().ok()?, until.trim().parse().ok()?);
        Some(Quiet { from, until })
    });
    times.ok_or_else(|| usage("A quiet time is written as 22:00-07:00."))
}

fn read(file: &Path) -> Result<String, Problem> {
    let mut text = String::new();
    let read = fs::File::open(file).and_then(|file| file.take(LONGEST).read_to_string(&mut text));
    read.map_err(|error| usage(&format!("{} cannot be read: {error}.", file.display())))?;
    Ok(text)
}

fn secret(file: &Path) -> Result<ChannelSecret, Problem> {
    let path = file.display().to_string();
    let meta = fs::metadata(file);
    let meta = meta.map_err(|error| usage(&format!("{path} cannot be read: {error}.")))?;
    if meta.mode() & 0o077 != 0 {
        let mode = format!("{:03o}", meta.mode() & 0o777);
        return Err(Kind::VaultKeyFileUnsafe { path, mode }.into());
    }
    let text = read(file)?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() || text.len() > 1000 {
        return Err(usage(&format!(
            "{path} holds no secret of 1 to 1000 characters."
        )));
    }
    Ok(ChannelSecret::new(text.to_owned()))
}

fn template(file: &Path) -> Result<Value, Problem> {
    let text = read(file)?;
    let parsed = serde_json::from_str(&text);
    parsed.map_err(|error| usage(&format!("{} is no JSON: {error}.", file.display())))
}

async fn list(session: &Session, client: &Client) -> Result<(), Problem> {
    let channels = client.channels().await?;
    let rows: Vec<_> = channels.iter().map(row).collect();
    let printed = session.output.list(
        "channel",
        &["channel", "leads to", "last sent", "works"],
        &rows,
        |row| {
            let text = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
            let works = match row["failure"].as_str() {
                Some(failure) => format!("NO, since {}: {failure}", text("failing_since")),
                None if row["last_sent_at"].is_null() => "not tried".to_owned(),
                None => "yes".to_owned(),
            };
            vec![text("name"), text("place"), text("last_sent_at"), works]
        },
        "nobody is told of anything: `tresor notify add --help`",
    );
    printed.map_err(print_problem)
}

fn row(channel: &ChannelView) -> Value {
    let settings = channel.settings.clone();
    let settings: Option<Settings> = settings.and_then(|it| serde_json::from_value(it).ok());
    json!({
        "name": channel.name,
        "place": settings.as_ref().map(Settings::place),
        "settings": settings,
        "has_secret": channel.has_secret,
        "last_sent_at": channel.last_sent_at,
        "failing_since": channel.failing_since,
        "failure": channel.failure,
    })
}

async fn test(session: &Session, client: &Client, name: &str) -> Result<(), Problem> {
    client.test_channel(name).await?;
    let result = json!({ "channel": name });
    let text = || format!("A test was sent by {name}.");
    let printed = session.output.result("channel_tested", &result, text);
    printed.map_err(print_problem)
}

async fn remove(session: &Session, client: &Client, name: &str) -> Result<(), Problem> {
    client.remove_channel(name).await?;
    let result = json!({ "channel": name });
    let text = || format!("Channel {name} is removed.");
    let printed = session.output.result("channel_removed", &result, text);
    printed.map_err(print_problem)
}
