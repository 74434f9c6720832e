//! A service elsewhere: where it is, how it is known, who asks.

use std::{path::Path, sync::Arc};

use tresor_api_client::{Client, Https};
use tresor_host::usage;
use tresor_identity::{Address, ApiTrust, Trust};
use tresor_problem::Problem;
use zeroize::Zeroizing;

use super::{
    Context,
    choice::{Chosen, choose},
    token_in,
};
use crate::args::ServerArgs;

/// The variable that a token can be in.
const TOKEN: &str = "TRESOR_API_TOKEN";

/// What commands work on.
pub(crate) enum Source {
    /// This machine.
    Here,
    /// A service elsewhere.
    Server(Box<Reach>),
}

/// How a service is reached.
pub(crate) struct Reach {
    pub(crate) address: Address,
    pub(crate) trust: ApiTrust,
    pub(crate) token: Option<Zeroizing<String>>,
    /// It was not named: it is the one that was logged in to.
    pub(crate) by_login: bool,
}

impl Source {
    /// `here`: this machine's state or database was named.
    pub(crate) fn of(args: &ServerArgs, here: bool) -> Result<Self, Problem> {
        // A login that is not asked for must not be in the way.
        let context = match here && args.server.is_none() {
            true => None,
            false => Context::load()?,
        };
        let (address, kept, by_login) = match choose(args.server.as_ref(), here, context) {
            Chosen::Here => return Ok(Self::Here),
            Chosen::Named(address, kept) => (address, kept, false),
            Chosen::LoggedIn(kept) => (kept.server.clone(), Some(kept), true),
        };
        let kept_token = kept.as_ref().map(|kept| kept.token.clone());
        let trust = match trust_of(args)? {
            Some(trust) => trust,
            None => kept.map_or(ApiTrust::System, |kept| kept_trust(&kept)),
        };
        Ok(Self::Server(Box::new(Reach {
            address,
            trust,
            token: token_of(args, None)?.or(kept_token),
            by_login,
        })))
    }
}

impl Reach {
    /// A client of it.
    pub(crate) fn client(&self) -> Result<Client, Problem> {
        let Some(token) = &self.token else {
            return Err(usage(&format!(
                "There is no token for {0}: `tresor login {0}`, or give one with --api-token-file or {TOKEN}.",
                self.address
            )));
        };
        let https = Https::new(&self.address, &self.trust, Some(token))?;
        Ok(Client::new(Arc::new(https)))
    }
}

fn kept_trust(kept: &Context) -> ApiTrust {
    kept.authority
        .map_or(ApiTrust::System, ApiTrust::Fingerprint)
}

/// What was said of how the service is known.
pub(crate) fn trust_of(args: &ServerArgs) -> Result<Option<ApiTrust>, Problem> {
    match (&args.server_ca_file, args.server_fingerprint) {
        (Some(file), _) => {
            let trust = Trust::from_file(file).map_err(|error| Problem::from(&error))?;
            Ok(Some(ApiTrust::Authorities(trust)))
        }
        (None, fingerprint) => Ok(fingerprint.map(ApiTrust::Fingerprint)),
    }
}

/// The token that was given: in a file, or in the environment.
pub(crate) fn token_of(
    args: &ServerArgs,
    file: Option<&Path>,
) -> Result<Option<Zeroizing<String>>, Problem> {
    if let Some(file) = file.or(args.api_token_file.as_deref()) {
        return token_in(file).map(Some);
    }
    let given = std::env::var(TOKEN).ok().map(Zeroizing::new);
    let trimmed = given.map(|token| Zeroizing::new(token.trim().to_owned()));
    Ok(trimmed.filter(|token| !token.is_empty()))
}
