//! `tresor serve`

use std::time::Duration;

use jiff::tz::TimeZone;
use serde_json::json;
use tresor_host::{Stop, usage};
use tresor_policy::Length;
use tresor_problem::Problem;
use tresor_service::{Service, ServiceOptions};

use super::session::{Session, print_problem};
use crate::{args::ServeArgs, output::note};

pub(super) async fn run(args: ServeArgs, session: &Session) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    let state = session.state()?;
    let mut options = ServiceOptions::new(&format!("process {}", std::process::id()));
    if let Some(zone) = &args.zone {
        options.zone = TimeZone::get(zone).map_err(|error| usage(&format!("{error}.")))?;
    }
    let seconds = |length: Length| Duration::from_secs(length.seconds().into());
    let grace = seconds(args.grace);
    options.discover = args.discover;
    options.limits.host.start_gap = seconds(args.start_gap);
    let service = Service::new(catalog, state.clone(), options).await?;
    let result = json!({ "state_dir": state.path(), "pid": std::process::id() });
    session
        .output
        .result("serving", &result, || {
            format!(
                "Tresor serves, with its state in {}.",
                state.path().display()
            )
        })
        .map_err(print_problem)?;
    let stop = Stop::default();
    let ends = stop.clone();
    let ending = async {
        session.cancelled().await;
        note("no new jobs are begun; those that run may end");
        ends.drain.cancel();
        tokio::time::sleep(grace).await;
        ends.cancel.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = service.run(stop) => {}
        () = ending => {}
    }
    Ok(())
}
