//! The identity provider that people log in at, as it is set up.

use std::{net::SocketAddr, path::Path};

use tresor_api::Logins;
use tresor_host::{keys, usage};
use tresor_identity::GroupRoles;
use tresor_oidc::{CALLBACK, Provider, Settings, certificates};
use tresor_problem::Problem;
use zeroize::Zeroizing;

use crate::args::OidcArgs;

/// The provider, where there is one.
pub(crate) fn by(args: &OidcArgs, listen: SocketAddr) -> Result<Option<Logins>, Problem> {
    let (issuer, client_id) = match (&args.oidc_issuer, &args.oidc_client_id) {
        (Some(issuer), Some(client_id)) => (issuer, client_id),
        (None, None) => return Ok(None),
        _ => return Err(usage("--oidc-issuer and --oidc-client-id go together.")),
    };
    let roles = GroupRoles {
        admin: args.oidc_admin.clone(),
        operator: args.oidc_operator.clone(),
        reader: args.oidc_reader.clone(),
    };
    if roles.is_empty() {
        return Err(usage(
            "--oidc-issuer lets nobody in without a group that has a role: give --oidc-admin, \
             --oidc-operator or --oidc-reader.",
        ));
    }
    let secret = args
        .oidc_client_secret_file
        .as_deref()
        .map(secret)
        .transpose()?;
    let authorities = args.oidc_ca_file.as_deref().map(authorities).transpose()?;
    let own = format!("https://{listen}");
    let public = args.public_url.as_ref().unwrap_or(&own);
    let redirect = format!("{}{CALLBACK}", public.trim_end_matches('/'));
    let settings = Settings {
        issuer: issuer.clone(),
        client_id: client_id.clone(),
        client_secret: secret,
        redirect: redirect
            .parse()
            .map_err(|error| usage(&format!("--public-url {public}: {error}.")))?,
        scopes: args.oidc_scope.clone(),
        groups_claim: args.oidc_groups_claim.clone(),
        authorities: authorities.unwrap_or_default(),
    };
    let provider =
        Provider::new(settings).map_err(|error| usage(&format!("--oidc-issuer: {error}.")))?;
    Ok(Some(Logins::new(provider, roles)))
}

fn secret(file: &Path) -> Result<Zeroizing<String>, Problem> {
    let bytes = keys::read_secret(file)?;
    let text = str::from_utf8(&bytes).map(str::trim);
    let text = text.map_err(|_| usage(&format!("{} is not UTF-8.", file.display())))?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn authorities(file: &Path) -> Result<Vec<tresor_oidc::Certificate>, Problem> {
    let wrong = |why: String| usage(&format!("--oidc-ca-file {}: {why}.", file.display()));
    let text = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
    certificates(&text).map_err(|error| wrong(error.to_string()))
}
