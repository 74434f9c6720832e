//! `tresor serve`

use std::{sync::Arc, time::Duration};

use jiff::tz::TimeZone;
use serde_json::json;
use tresor_api::ApiOptions;
use tresor_host::{Stop, absolute, usage};
use tresor_policy::Length;
use tresor_problem::Problem;
use tresor_service::{Service, ServiceOptions};

use super::session::{Session, print_problem};
use crate::{
    args::ServeArgs,
    output::note,
    server::{self, Server},
};

pub(super) async fn run(args: ServeArgs, session: &Session) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    let state = session.state()?;
    let mut options = ServiceOptions::new(&format!("process {}", std::process::id()));
    if let Some(zone) = &args.zone {
        options.zone = TimeZone::get(zone).map_err(|error| usage(&format!("{error}.")))?;
    }
    options.discover.clone_from(&args.discover);
    options.role.restore_dirs = args.restore_dir.iter().map(|dir| absolute(dir)).collect();
    options.limits.host.start_gap = seconds(args.start_gap);
    let api = ApiOptions {
        zone: options.zone.clone(),
        ..ApiOptions::default()
    };
    let service = Service::new(Arc::clone(&catalog), state.clone(), options).await?;
    let server = server::bind(&args.listening, &state, &catalog, service.changed(), api).await?;
    tell(
        session,
        &server,
        server::first_token(&catalog).await?.as_deref(),
    )?;

    let stop = Stop::default();
    let front = tokio::spawn(server.front.serve(stop.drain.clone()));
    let ends = stop.clone();
    let ending = async {
        session.cancelled().await;
        note("no new jobs are begun; those that run may end");
        ends.drain.cancel();
        tokio::time::sleep(seconds(args.grace)).await;
        ends.cancel.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = service.run(stop) => {}
        () = ending => {}
    }
    if let Err(error) = front.await {
        tracing::error!(%error, "the listening loop panicked");
    }
    Ok(())
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
