//! What `tresor serve` listens with: identity, certificates, the API behind the one port.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use jiff::Timestamp;
use tresor_api::{ApiOptions, ApiState, TokenAccess, router};
use tresor_catalog::{Catalog, Page, TokenRecord, TokenRole};
use tresor_front::{Front, Limits};
use tresor_host::{StateDir, internal, usage};
use tresor_identity::{
    Alpn, ApiToken, Fingerprint, GivenFiles, Names, OwnCertificate, ServerCertificates,
    SystemClock, Trust, server_config,
};
use tresor_model::TokenId;
use tresor_problem::{Kind, Problem};
use tresor_service::Service;
use tresor_uplink::{HostLinks, LinkOptions};
use zeroize::Zeroizing;

use crate::{
    args::{ListenArgs, ServeArgs},
    authority,
    enrolment::Enrolments,
    logins,
};

/// How often it is looked whether given certificate files have changed.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// A port that is bound.
pub(crate) struct Server {
    pub(crate) front: Front,
    pub(crate) address: SocketAddr,
    /// Of the authority: what clients know the service by.
    pub(crate) fingerprint: Fingerprint,
}

/// Binds the port; the authority is made where there is none.
pub(crate) async fn bind(
    serve: &ServeArgs,
    state: &StateDir,
    catalog: &Arc<Catalog>,
    service: &Service,
    options: ApiOptions,
) -> Result<Server, Problem> {
    let args = &serve.listening;
    let dir = state.path().join("identity");
    let clock = Arc::new(SystemClock);
    let authority = authority::open(&dir, catalog, serve.adopt_authority).await?;
    let authority = Arc::new(authority);
    let fingerprint = authority.fingerprint();
    let own = OwnCertificate::new(Arc::clone(&authority), names(args)?, clock.clone());
    let own = own.map_err(|error| Problem::from(&error))?;
    let given = match (&args.certificate, &args.certificate_key) {
        (Some(chain), Some(key)) => {
            let given = GivenFiles::open(chain, key, LOOK_EVERY, clock.clone());
            Some(given.map_err(|error| Problem::from(&error))?)
        }
        (None, None) => None,
        // On the command line they are asked for together; the file may have one alone.
        _ => {
            return Err(usage(
                "A certificate and its key go together: certificate and certificate_key.",
            ));
        }
    };
    let trust = Trust::from_file(&dir.join("ca.crt")).map_err(|error| Problem::from(&error))?;
    let certificates = Arc::new(ServerCertificates::new(own, given));
    let config = server_config(certificates, &trust, &Alpn::ALL, clock);
    let config = config.map_err(|error| Problem::from(&error))?;
    let access = Arc::new(TokenAccess::new(Arc::clone(catalog)));
    let api = ApiState::new(Arc::clone(catalog), service.changed(), access, options);
    let api = match logins::by(&serve.oidc, args.listen)? {
        Some(logins) => api.with_logins(Arc::new(logins)),
        None => api,
    };
    let enrolments = Enrolments::new(Arc::clone(catalog), fingerprint);
    let api = api.with_vitals(service.vitals());
    let api = router(api.with_enrolment(Arc::new(enrolments)));
    let links = HostLinks::new(Arc::clone(catalog), authority, LinkOptions::default());
    let front = Front::bind(args.listen, config, api, Arc::new(links), Limits::default()).await;
    let front = front.map_err(|error| cannot_listen(args.listen, &error))?;
    let address = front
        .address()
        .map_err(|error| cannot_listen(args.listen, &error))?;
    Ok(Server {
        front,
        address,
        fingerprint,
    })
}

fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> Problem {
    let kind = Kind::CannotListen {
        address: address.to_string(),
        reason: error.to_string(),
    };
    Problem::caused_by(kind, error)
}

/// What the own certificate is for: what was asked for, this machine, and itself.
fn names(args: &ListenArgs) -> Result<Names, Problem> {
    let mut names = args.name.clone();
    names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    // A machine may be called what no DNS name can be.
    if Names::new([&host]).is_ok() {
        names.push(host);
    }
    if !args.listen.ip().is_unspecified() {
        names.push(args.listen.ip().to_string());
    }
    Names::new(names).map_err(|error| usage(&format!("{error}.")))
}

/// A token for the administrator, when the catalog has none at all: shown once.
pub(crate) async fn first_token(catalog: &Catalog) -> Result<Option<Zeroizing<String>>, Problem> {
    let tokens = catalog.tokens(&Page::first(1)).await;
    if !tokens.map_err(|error| Problem::from(&error))?.is_empty() {
        return Ok(None);
    }
    let id = TokenId::generate();
    let token = ApiToken::generate(id).map_err(|error| internal(error.to_string()))?;
    let hash = token.hash().to_string().parse();
    let record = TokenRecord {
        id,
        name: "first administrator".to_owned(),
        hash: hash.map_err(|_| internal("A hash is none.".to_owned()))?,
        role: TokenRole::Admin,
        created_at: Timestamp::now(),
        expires_at: None,
        last_used_at: None,
        revoked_at: None,
    };
    let added = catalog.add_token(&record).await;
    added.map_err(|error| Problem::from(&error))?;
    Ok(Some(token.to_text()))
}
