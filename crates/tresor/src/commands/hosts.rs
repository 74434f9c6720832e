//! `tresor hosts …`

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tresor_api_client::Client;
use tresor_api_types::{HostView, NewEnrolment, PageQuery};
use tresor_model::HostState;
use tresor_policy::Length;
use tresor_problem::{Kind, Problem};

use super::session::{Session, print_problem};
use crate::args::HostsCommand;

/// A host counts as connected for so long after its last sign of life; it gives one every 20 s.
const CONNECTED: Duration = Duration::from_secs(60);

pub(super) async fn run(command: HostsCommand, session: &Session) -> Result<(), Problem> {
    let client = session.client().await?;
    match command {
        HostsCommand::List => list(session, &client).await,
        HostsCommand::Token { name, valid } => token(session, &client, name, valid).await,
        HostsCommand::Revoke { name } => {
            let host = find(&client, &name).await?;
            client.revoke_host(host.id).await?;
            say(session, "host_revoked", &host, "is let in no more")
        }
        HostsCommand::Remove { name } => {
            let host = find(&client, &name).await?;
            client.remove_host(host.id).await?;
            say(session, "host_removed", &host, "is forgotten")
        }
    }
}

/// All hosts.
async fn all(client: &Client) -> Result<Vec<HostView>, Problem> {
    let asked = PageQuery {
        limit: Some(500),
        ..PageQuery::default()
    };
    client.hosts(&asked).all().await
}

async fn find(client: &Client, name: &str) -> Result<HostView, Problem> {
    let hosts = all(client).await?;
    let found = hosts.into_iter().find(|host| host.name == name);
    found.ok_or_else(|| {
        let (object, name) = ("host".to_owned(), name.to_owned());
        Kind::ObjectNotFound { object, name }.into()
    })
}

fn say(session: &Session, kind: &str, host: &HostView, what: &str) -> Result<(), Problem> {
    let result = json!({ "host": host.id, "name": host.name });
    let text = || format!("Host {} {what}.", host.name);
    let printed = session.output.result(kind, &result, text);
    printed.map_err(print_problem)
}

async fn list(session: &Session, client: &Client) -> Result<(), Problem> {
    let hosts = all(client).await?;
    let now = Timestamp::now();
    let rows: Vec<_> = hosts.iter().map(|host| row(host, now)).collect();
    let cells = |row: &Value| {
        let text = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
        ["name", "state", "last_seen", "version", "host"]
            .map(text)
            .to_vec()
    };
    let header = ["host", "state", "last seen", "version", "id"];
    let none = "no host has enrolled: `tresor hosts token NAME` lets one in";
    let printed = session.output.list("host", &header, &rows, cells, none);
    printed.map_err(print_problem)
}

fn row(host: &HostView, now: Timestamp) -> Value {
    let seen = host
        .last_seen
        .map(|seen| now.duration_since(seen).unsigned_abs());
    let state = match (host.state, seen) {
        (HostState::Revoked, _) => "revoked",
        (HostState::Enrolled, Some(ago)) if ago < CONNECTED => "connected",
        (HostState::Enrolled, _) => "away",
    };
    json!({
        "name": host.name, "host": host.id, "state": state, "last_seen": host.last_seen,
        "version": host.version, "enrolled_at": host.enrolled_at,
    })
}

async fn token(
    session: &Session,
    client: &Client,
    name: String,
    valid: Length,
) -> Result<(), Problem> {
    let asked = NewEnrolment {
        name,
        valid_s: Some(valid.seconds()),
    };
    let made = client.make_enrolment(&asked).await?;
    let result = json!({ "name": made.name, "token": made.token, "valid_s": made.valid_s });
    let text = || {
        format!(
            "Token for host {0}, good for {valid} and for one host, shown this once:\n{1}\n\
             On the host: tresor host --server https://THE-SERVICE:7440 --name {0} --token-file FILE",
            made.name, made.token
        )
    };
    let printed = session.output.result("enrolment_token", &result, text);
    printed.map_err(print_problem)
}
