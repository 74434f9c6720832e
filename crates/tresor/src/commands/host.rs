//! `tresor host`

use std::{path::Path, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::json;
use tresor_host::{Location, Stop, keys, usage};
use tresor_identity::{EnrolmentToken, ErrorKind, HostIdentity, TokenError};
use tresor_problem::Problem;
use tresor_uplink::{Host, Shortcuts};
use zeroize::Zeroizing;

use super::{
    ending,
    session::{Session, print_problem},
};
use crate::{args::HostArgs, output::note, systemd::Systemd};

pub(super) async fn run(args: HostArgs, session: &Session) -> Result<(), Problem> {
    let state = session.state()?;
    let path = state.path().join("identity/host.pem");
    let identity = Arc::new(identity(&args, &path).await?);
    tell(session, &args, &identity)?;
    let locations = args.direct.iter().map(|direct| {
        let location = Location::read(Path::new(&direct.url), args.store.settings())?;
        Ok((direct.vault.clone(), location))
    });
    let locations = locations.collect::<Result<Vec<_>, Problem>>()?;
    let status = format!("host {} of {}", identity.id(), args.server);
    let host = Host {
        shortcuts: Shortcuts::new(identity.id(), locations),
        server: args.server,
        identity,
        state,
        discover: args.discover,
        options: tresor_host_link::Options::default(),
    };
    let systemd = Systemd::from_environment();
    systemd.ready(&status);
    let stop = Stop::default();
    let grace = Duration::from_secs(args.grace.seconds().into());
    tokio::select! {
        () = host.run(&stop) => {}
        () = ending::when_told(session, grace, &stop, &systemd) => {}
        () = systemd.watch(|| stop.turns(), &stop.drain) => {}
    }
    Ok(())
}

/// Who this host is: as it is known, or by enrolling.
async fn identity(args: &HostArgs, path: &Path) -> Result<HostIdentity, Problem> {
    let known = match HostIdentity::open(path) {
        Ok(known) => Some(known),
        Err(error) if error.kind() == ErrorKind::Missing => None,
        Err(error) => return Err(Problem::from(&error)),
    };
    match known {
        Some(known) if Timestamp::now() < known.until() => {
            // A file may be gone by now.
            if args.token.is_some() {
                note(&format!(
                    "this host is enrolled already, as {}: the token is not used",
                    known.id()
                ));
            }
            Ok(known)
        }
        known => enrolled(args, path, known).await,
    }
}

/// By enrolling; without a token as it was known, whose time is over.
async fn enrolled(
    args: &HostArgs,
    path: &Path,
    known: Option<HostIdentity>,
) -> Result<HostIdentity, Problem> {
    match (known, token(args)?) {
        (_, Some(token)) => {
            let name = name(args)?;
            tresor_uplink::enrol(&args.server, &token, &name, path).await
        }
        // One whose time is over is turned away with the remedy.
        (Some(known), None) => Ok(known),
        (None, None) => Err(usage(
            "This host is not enrolled: give it a token that `tresor hosts token` made, with --token-file or --token.",
        )),
    }
}

fn token(args: &HostArgs) -> Result<Option<EnrolmentToken>, Problem> {
    let text = match (&args.token, &args.token_file) {
        (Some(token), _) => Zeroizing::new(token.clone()),
        (None, Some(file)) => {
            let bytes = keys::read_secret(file)?;
            let text = std::str::from_utf8(&bytes);
            let text = text.map_err(|_| usage(&format!("{} holds no token.", file.display())))?;
            Zeroizing::new(text.to_owned())
        }
        (None, None) => return Ok(None),
    };
    let token = text.parse();
    let token = token.map_err(|error: TokenError| error.enrolment_problem())?;
    Ok(Some(token))
}

fn name(args: &HostArgs) -> Result<String, Problem> {
    if let Some(name) = &args.name {
        return Ok(name.clone());
    }
    let machine = rustix::system::uname();
    let name = machine.nodename().to_str();
    let name = name.map_err(|_| usage("This machine's name is no text: say --name."))?;
    Ok(name.to_owned())
}

fn tell(session: &Session, args: &HostArgs, identity: &HostIdentity) -> Result<(), Problem> {
    let state = session.state()?;
    let (id, until) = (identity.id(), identity.until());
    let server = args.server.to_string();
    let result = json!({
        "host": id, "server": server, "state_dir": state.path(), "pid": std::process::id(),
        "certificate_until": until,
    });
    let text = || format!("This is host {id} of the service at {server}.");
    let printed = session.output.result("host", &result, text);
    printed.map_err(print_problem)
}
