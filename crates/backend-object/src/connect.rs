//! From a place, settings and secrets to a client.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, Checksum, S3ConditionalPut};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{Certificate, ClientOptions, ObjectStore, RetryConfig};

use crate::signer::Signer;
use crate::wire::{Watching, Wire};
use crate::{Place, Provider, Secrets, Settings};

/// A connection is made within this time.
const CONNECT: Duration = Duration::from_secs(10);

/// Settings or secrets from which no client can be made.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct ConnectError {
    what: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ConnectError {
    fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            source: None,
        }
    }

    fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

/// A client, and what it takes to send requests that it does not make.
pub(crate) struct Connected {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) direct: Option<Direct>,
}

/// Where to send a request of one's own, beside the signer in [`Wire`].
pub(crate) struct Direct {
    pub(crate) options: ClientOptions,
    /// URL of the bucket or container.
    pub(crate) url: String,
}

pub(crate) fn connect(
    place: &Place,
    settings: &Settings,
    secrets: &Secrets,
    wire: &Arc<Wire>,
) -> Result<Connected, ConnectError> {
    if let Some(endpoint) = &settings.endpoint {
        judge_endpoint(endpoint, settings.allow_http).map_err(ConnectError::new)?;
    }
    let options = client_options(settings)?;
    let watching = Watching(Arc::clone(wire));
    // Each request is one attempt: repeating is a wrapper's business, which counts.
    let once = RetryConfig {
        max_retries: 0,
        ..RetryConfig::default()
    };
    match place.provider {
        Provider::S3 => s3(place, settings, secrets, options, watching, once),
        Provider::Azure => azure(place, settings, secrets, options, watching, once),
        Provider::Google => {
            let mut builder = with_secrets(
                GoogleCloudStorageBuilder::new(),
                secrets,
                GoogleCloudStorageBuilder::with_config,
            );
            if let Some(endpoint) = &settings.endpoint {
                builder = builder.with_base_url(endpoint);
            }
            let builder = builder
                .with_bucket_name(&place.bucket)
                .with_client_options(options);
            built(
                builder
                    .with_retry(once)
                    .with_http_connector(watching)
                    .build(),
            )
        }
    }
}

/// Gives a builder the secrets whose names it knows.
fn with_secrets<B, K: FromStr>(
    builder: B,
    secrets: &Secrets,
    set: impl Fn(B, K, String) -> B,
) -> B {
    let known = secrets
        .pairs()
        .filter_map(|(name, value)| Some((name.parse().ok()?, value.into())));
    known.fold(builder, |builder, (key, value)| set(builder, key, value))
}

fn built<S: ObjectStore>(store: object_store::Result<S>) -> Result<Connected, ConnectError> {
    let store = store.map_err(refused)?;
    Ok(Connected {
        store: Arc::new(store),
        direct: None,
    })
}

fn refused(error: object_store::Error) -> ConnectError {
    ConnectError::new("the settings or credentials make no client").because(error)
}

fn s3(
    place: &Place,
    settings: &Settings,
    secrets: &Secrets,
    options: ClientOptions,
    watching: Watching,
    once: RetryConfig,
) -> Result<Connected, ConnectError> {
    let mut builder = with_secrets(
        AmazonS3Builder::new(),
        secrets,
        AmazonS3Builder::with_config,
    );
    if let Some(region) = &settings.region {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    let value = |key| builder.get_config_value(&key);
    let region = value(object_store::aws::AmazonS3ConfigKey::Region);
    let region = region.unwrap_or_else(|| "us-east-1".to_owned());
    let endpoint = value(object_store::aws::AmazonS3ConfigKey::Endpoint);
    let endpoint = endpoint.unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
    let builder = builder
        .with_region(&region)
        .with_bucket_name(&place.bucket)
        .with_client_options(options.clone())
        .with_allow_http(settings.allow_http)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        // Buckets with Object Lock take nothing without a checksum.
        .with_checksum_algorithm(Checksum::SHA256)
        // A delete of one object is a DELETE, which every server knows.
        .with_disable_bulk_delete(true)
        .with_retry(once);
    let wire = Arc::clone(&watching.0);
    let store = builder.with_http_connector(watching).build();
    let store = Arc::new(store.map_err(refused)?);
    let signer = Signer::s3(store.credentials(), &region);
    // The first and only one: the wire is new with the client.
    let _first = wire.signer.set(signer);
    let url = format!("{}/{}", endpoint.trim_end_matches('/'), place.bucket);
    let direct = Direct { options, url };
    Ok(Connected {
        store,
        direct: Some(direct),
    })
}

fn azure(
    place: &Place,
    settings: &Settings,
    secrets: &Secrets,
    options: ClientOptions,
    watching: Watching,
    once: RetryConfig,
) -> Result<Connected, ConnectError> {
    let mut builder = with_secrets(
        MicrosoftAzureBuilder::new(),
        secrets,
        MicrosoftAzureBuilder::with_config,
    );
    if let Some(account) = &settings.account {
        builder = builder.with_account(account);
    }
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint.clone());
    }
    let account = builder.get_config_value(&AzureConfigKey::AccountName);
    let account = account.ok_or_else(|| ConnectError::new("no storage account is named"))?;
    let endpoint = builder.get_config_value(&AzureConfigKey::Endpoint);
    let endpoint = endpoint.unwrap_or_else(|| format!("https://{account}.blob.core.windows.net"));
    let wire = Arc::clone(&watching.0);
    let store = builder
        .with_container_name(&place.bucket)
        .with_client_options(options.clone())
        .with_allow_http(settings.allow_http)
        .with_retry(once)
        .with_http_connector(watching)
        .build();
    let store = Arc::new(store.map_err(refused)?);
    // The first and only one: the wire is new with the client.
    let _first = wire
        .signer
        .set(Signer::azure(store.credentials(), &account));
    let url = format!("{}/{}", endpoint.trim_end_matches('/'), place.bucket);
    Ok(Connected {
        store,
        direct: Some(Direct { options, url }),
    })
}

/// No time limit on a whole request: a pack over a slow line takes minutes. [`crate::ObjectBackend`]
/// has limits that follow the size.
fn client_options(settings: &Settings) -> Result<ClientOptions, ConnectError> {
    let mut options = ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(CONNECT)
        .with_allow_http(settings.allow_http);
    if let Some(path) = &settings.ca_file {
        let unusable = || ConnectError::new(format!("{} holds no certificates", path.display()));
        let pem = std::fs::read(path).map_err(|error| unusable().because(error))?;
        let bundle = Certificate::from_pem_bundle(&pem);
        let bundle = bundle.map_err(|error| unusable().because(error))?;
        if bundle.is_empty() {
            return Err(unusable());
        }
        for certificate in bundle {
            options = options.with_root_certificate(certificate);
        }
    }
    Ok(options)
}

/// What is wrong with an endpoint, if anything.
fn judge_endpoint(endpoint: &str, allow_http: bool) -> Result<(), &'static str> {
    let Some((scheme, rest)) = endpoint.split_once("://") else {
        return Err("the endpoint is no URL: https://HOST[:PORT]");
    };
    if rest.is_empty() || rest.contains(['@', '?', '#', ' ']) {
        return Err(
            "the endpoint is more than https://HOST[:PORT][/PATH]: it is noted in the clear",
        );
    }
    match (scheme, allow_http) {
        ("https", _) | ("http", true) => Ok(()),
        ("http", false) => Err("the endpoint is not encrypted: allow that, or give https://"),
        _ => Err("the endpoint is neither https:// nor http://"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        for (endpoint, allow_http, good) in [
            ("https://s3.example", false, true),
            ("https://s3.example:9000/path", false, true),
            ("http://127.0.0.1:9000", true, true),
            ("http://127.0.0.1:9000", false, false),
            ("s3.example", true, false),
            ("ftp://s3.example", true, false),
            ("https://", false, false),
            ("https://key:secret@s3.example", false, false),
            ("https://s3.example/?sig=secret", false, false),
        ] {
            assert_eq!(
                judge_endpoint(endpoint, allow_http).is_ok(),
                good,
                "{endpoint}"
            );
        }
    }
}
