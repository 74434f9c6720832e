//! `tresor hosts …`: on the machine of the service.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};
use tresor_catalog::{Catalog, HostRecord, HostState};
use tresor_host::usage;
use tresor_identity::{Action, Trust};
use tresor_jobs::{Engine, JobFilter, JobLog as _};
use tresor_policy::Length;
use tresor_problem::{Kind, Problem};

use super::{
    audit,
    session::{Session, print_problem},
};
use crate::{args::HostsCommand, output::note};

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
            end_jobs(&catalog, &host).await?;
            noted(&catalog, &host, Action::HostRevoke).await?;
            say(session, "host_revoked", &host, "is let in no more")
        }
        HostsCommand::Remove { name } => {
            let host = find(&catalog, &name).await?;
            let removed = catalog.remove_host(host.id).await;
            removed.map_err(|error| Problem::from(&error))?;
            end_jobs(&catalog, &host).await?;
            noted(&catalog, &host, Action::HostRemove).await?;
            say(session, "host_removed", &host, "is forgotten")
        }
    }
}

/// Ends the jobs of a host that is let in no more: none waits for it, and no VM stays locked by one.
async fn end_jobs(catalog: &Arc<Catalog>, host: &HostRecord) -> Result<(), Problem> {
    let filter = JobFilter {
        unfinished: true,
        lane: Some(host.id.to_string()),
        ..JobFilter::default()
    };
    let jobs = catalog.list(&filter).await;
    let engine = Engine::new(Arc::clone(catalog) as _);
    for job in jobs.map_err(|error| Problem::from(&error))? {
        let id = job.job.id;
        let cause: Problem = Kind::HostShutOut {
            host: host.name.clone(),
        }
        .into();
        let ended = match job.owner {
            None => engine.refuse(&**catalog, id, cause).await.map(|_| true),
            Some(_) => engine.give_up(id, cause).await,
        };
        match ended {
            Ok(true) => note(&format!("job {id} of {} was ended", job.job.subject)),
            Ok(false) => {}
            Err(error) => return Err(Problem::from(&error)),
        }
    }
    Ok(())
}

async fn noted(catalog: &Catalog, host: &HostRecord, action: Action) -> Result<(), Problem> {
    let change = audit::Change {
        action: action.name(),
        object: format!("host:{}", host.id),
        before: Some(json!({ "name": host.name, "state": host.state })),
        after: None,
    };
    audit::note(catalog, change).await
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
    let hosts = catalog.all_hosts().await;
    let hosts = hosts.map_err(|error| Problem::from(&error))?;
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
