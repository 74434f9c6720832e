//! `tresor serve`

use std::{sync::Arc, time::Duration};

use jiff::tz::TimeZone;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tresor_api::ApiOptions;
use tresor_host::{Stop, absolute, usage};
use tresor_model::HostId;
use tresor_notify::Webhook;
use tresor_policy::Length;
use tresor_problem::Problem;
use tresor_service::{Service, ServiceOptions};

use super::{
    ending,
    session::{Session, print_problem},
};
use crate::{
    args::ServeArgs,
    server::{self, Server},
    systemd::Systemd,
};

pub(super) async fn run(args: ServeArgs, session: &Session) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    let state = session.state()?;
    let here = session.here(&catalog).await?;
    let mut options = ServiceOptions::new(&name(here), here);
    if let Some(zone) = &args.zone {
        options.zone = TimeZone::get(zone).map_err(|error| usage(&format!("{error}.")))?;
    }
    options.discover.clone_from(&args.discover);
    options.role.restore_dirs = args.restore_dir.iter().map(|dir| absolute(dir)).collect();
    options.database_backup = !args.no_database_backup;
    options.limits.host.start_gap = seconds(args.start_gap);
    if let Some(url) = &args.heartbeat_url {
        heartbeat(url)?;
    }
    options.heartbeat.clone_from(&args.heartbeat_url);
    options.heartbeat_every = seconds(args.heartbeat_every);
    let api = ApiOptions {
        zone: options.zone.clone(),
        ..ApiOptions::default()
    };
    let service = Service::new(Arc::clone(&catalog), state.clone(), options).await?;
    let server = server::bind(&args, &state, &catalog, &service, api).await?;
    tell(
        session,
        &server,
        server::first_token(&catalog).await?.as_deref(),
    )?;

    let systemd = Systemd::from_environment();
    systemd.ready(&format!("serves at https://{}/", server.address));
    let (stop, closed, vitals) = (Stop::default(), CancellationToken::new(), service.vitals());
    let front = tokio::spawn(server.front.serve(closed.clone()));
    tokio::select! {
        () = service.run(stop.clone()) => {}
        () = ending::when_told(session, seconds(args.grace), &stop, &systemd) => {}
        () = systemd.watch(|| vitals.turns(), &stop.drain) => {}
    }
    // Not before: while the service waits for its own jobs, those of other hosts go on.
    closed.cancel();
    if let Err(error) = front.await {
        tracing::error!(%error, "the listening loop panicked");
    }
    Ok(())
}

/// What this process is called among several.
fn name(here: Option<HostId>) -> String {
    let pid = std::process::id();
    match here {
        None => format!("process {pid}"),
        Some(here) => format!("process {pid} of host {here}"),
    }
}

/// Refuses what can never be called.
fn heartbeat(url: &str) -> Result<(), Problem> {
    let webhook = Webhook {
        url: url.to_owned(),
        template: None,
    };
    match webhook.defects().first() {
        None => Ok(()),
        Some(defect) => Err(usage(&format!("--heartbeat-url: {}.", defect.wrong))),
    }
}

fn seconds(length: Length) -> Duration {
    Duration::from_secs(length.seconds().into())
}

/// Where it is, and the first token: shown this once.
fn tell(session: &Session, server: &Server, token: Option<&String>) -> Result<(), Problem> {
    let (address, fingerprint) = (server.address, server.fingerprint.to_string());
    let state = session.state()?;
    let result = json!({
        "state_dir": state.path(), "pid": std::process::id(), "address": address,
        "url": format!("https://{address}/"), "ca_fingerprint": fingerprint, "admin_token": token,
    });
    let text = || {
        let mut text = format!(
            "Tresor serves at https://{address}/, with its state in {}.\n  \
             its authority: {} ({fingerprint})",
            state.path().display(),
            state.path().join("identity/ca.crt").display(),
        );
        if let Some(token) = token {
            text.push_str(&format!(
                "\n  token of the first administrator, shown this once: {token}"
            ));
        }
        text
    };
    let printed = session.output.result("serving", &result, text);
    printed.map_err(print_problem)
}
