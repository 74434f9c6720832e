//! `tresor hosts …`: on the machine of the service.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tresor_catalog::{Catalog, HostRecord, HostState, Page};
use tresor_host::usage;
use tresor_identity::Trust;
use tresor_policy::Length;
use tresor_problem::Problem;

use super::session::{Session, print_problem};
use crate::args::HostsCommand;

/// A host counts as connected for so long after its last sign of life; it gives one every 20 s.
const CONNECTED: Duration = Duration::from_secs(60);

pub(super) async fn run(command: HostsCommand, session: &Session) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    match command {
        HostsCommand::List => list(session, &catalog).await,
        HostsCommand::Token { name, valid } => token(session, &catalog, &name, valid).await,
        HostsCommand::Revoke { name } => {
            let host = find(&catalog, &name).await?;
            let revoked = catalog.revoke_host(host.id).await;
            revoked.map_err(|error| Problem::from(&error))?;
            say(session, "host_revoked", &host, "is let in no more")
        }
        HostsCommand::Remove { name } => {
            let host = find(&catalog, &name).await?;
            let removed = catalog.remove_host(host.id).await;
            removed.map_err(|error| Problem::from(&error))?;
            say(session, "host_removed", &host, "is forgotten")
        }
    }
}

async fn find(catalog: &Catalog, name: &str) -> Result<HostRecord, Problem> {
    let found = catalog.host_by_name(name).await;
    found.map_err(|error| Problem::from(&error))
}

fn say(session: &Session, kind: &str, host: &HostRecord, what: &str) -> Result<(), Problem> {
    let result = json!({ "host": host.id, "name": host.name });
    let text = || format!("Host {} {what}.", host.name);
    let printed = session.output.result(kind, &result, text);
    printed.map_err(print_problem)
}

async fn list(session: &Session, catalog: &Catalog) -> Result<(), Problem> {
    let mut hosts: Vec<HostRecord> = Vec::new();
    loop {
        let after = hosts.last().map(|host| host.name.clone());
        let page = Page {
            after,
            ..Page::first(500)
        };
        let found = catalog.hosts(&page).await;
        let found = found.map_err(|error| Problem::from(&error))?;
        if found.is_empty() {
            break;
        }
        hosts.extend(found);
    }
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

fn row(host: &HostRecord, now: Timestamp) -> Value {
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
    catalog: &Catalog,
    name: &str,
    valid: Length,
) -> Result<(), Problem> {
    let file = session.state()?.path().join("identity/ca.crt");
    if !file.exists() {
        return Err(usage(
            "There is no service here yet: `tresor serve` makes its certificate authority when it runs first.",
        ));
    }
    let trust = Trust::from_file(&file).map_err(|error| Problem::from(&error))?;
    let authority = trust.fingerprints().into_iter().next();
    let authority = authority.ok_or_else(|| usage("The service's ca.crt holds no certificate."))?;
    let length = Duration::from_secs(valid.seconds().into());
    let token = tresor_uplink::new_enrolment(catalog, authority, name, length).await?;
    let result = json!({ "name": name, "token": token.as_str(), "valid_s": length.as_secs() });
    let text = || {
        format!(
            "Token for host {name}, good for {valid} and for one host, shown this once:\n{}\n\
             On the host: tresor host --server https://THIS-MACHINE:7440 --name {name} --token-file FILE",
            token.as_str()
        )
    };
    let printed = session.output.result("enrolment_token", &result, text);
    printed.map_err(print_problem)
}
