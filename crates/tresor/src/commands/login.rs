//! `tresor login`, `tresor logout`.

use std::{
    io::{IsTerminal as _, Write as _},
    sync::Arc,
};

use serde_json::json;
use tresor_api_client::{Client, Https, look};
use tresor_host::usage;
use tresor_identity::{Address, ApiTrust, Fingerprint};
use tresor_problem::Problem;

use super::session::{Session, print_problem};
use crate::{
    args::LoginArgs,
    remote::{Context, token_of, trust_of},
};

pub(super) async fn login(args: LoginArgs, session: &Session) -> Result<(), Problem> {
    let token = token_of(session.service(), args.token_file.as_deref())?;
    let token = token.ok_or_else(|| {
        usage("A token is needed: --token-file FILE, `-` for stdin, or TRESOR_API_TOKEN.")
    })?;
    let trust = match trust_of(session.service())? {
        Some(trust) => trust,
        None => meet(&args.url).await?,
    };
    let https = Https::new(&args.url, &trust, Some(&token))?;
    let status = Client::new(Arc::new(https)).status().await?;
    let authority = authority(&args.url, &trust).await?;
    let context = Context::new(args.url, authority, token);
    let file = context.save()?;
    let server = context.server.to_string();
    let result = json!({
        "server": server, "authority": authority.map(|it| it.to_string()), "file": file,
        "version": status.version,
    });
    let text = || {
        format!(
            "Logged in to {server} (Tresor {}), kept in {}: commands ask it from now on. `tresor logout` ends that.",
            status.version,
            file.display()
        )
    };
    let printed = session.output.result("logged_in", &result, text);
    printed.map_err(print_problem)
}

pub(super) fn logout(session: &Session) -> Result<(), Problem> {
    let was = Context::forget()?;
    let text = || match was {
        true => "Logged out: commands work on this machine again.".to_owned(),
        false => "Nobody was logged in.".to_owned(),
    };
    let printed = session
        .output
        .result("logged_out", &json!({ "was_logged_in": was }), text);
    printed.map_err(print_problem)
}

/// How a server is known of which nothing was said: by the system's authorities, or by the fingerprint that it
/// shows, if somebody says that it is the right one. The token is not sent before.
async fn meet(address: &Address) -> Result<ApiTrust, Problem> {
    let known = match Https::new(address, &ApiTrust::System, None) {
        Ok(https) => Client::new(Arc::new(https)).description().await.map(|_| ()),
        // A machine without authorities.
        Err(problem) => Err(problem),
    };
    match known {
        Ok(()) => return Ok(ApiTrust::System),
        Err(problem) if problem.is("ServerNotTrusted") || problem.is("IdentityUnusable") => {}
        Err(problem) => return Err(problem),
    }
    let shown = look(address).await?;
    if !std::io::stdin().is_terminal() {
        return Err(usage(&format!(
            "{address} shows the authority {shown}. If `tresor serve` printed the same fingerprint there, log in \
             with --server-fingerprint {shown}."
        )));
    }
    match agreed(address, shown) {
        true => Ok(ApiTrust::Fingerprint(shown)),
        false => Err(usage(
            "The authority was not accepted: nothing was sent, and nothing is kept.",
        )),
    }
}

fn agreed(address: &Address, shown: Fingerprint) -> bool {
    let mut stderr = std::io::stderr();
    let question = format!(
        "{address} shows the authority\n  {shown}\nIs this the fingerprint that `tresor serve` printed there? [y/N] "
    );
    // A question that nobody sees is answered with no.
    if stderr.write_all(question.as_bytes()).is_err() {
        return false;
    }
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).is_ok()
        && ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())
}

/// What is kept of how the service is known: the fingerprint of its authority.
async fn authority(address: &Address, trust: &ApiTrust) -> Result<Option<Fingerprint>, Problem> {
    let trust = match trust {
        ApiTrust::System => return Ok(None),
        ApiTrust::Fingerprint(fingerprint) => return Ok(Some(*fingerprint)),
        ApiTrust::Authorities(trust) => trust,
    };
    let shown = look(address).await?;
    if trust.fingerprints().contains(&shown) {
        return Ok(Some(shown));
    }
    Err(usage(
        "The service does not show its authority, so that a fingerprint of it proves nothing: set \
         TRESOR_SERVER, TRESOR_SERVER_CA_FILE and TRESOR_API_TOKEN_FILE instead of logging in.",
    ))
}
