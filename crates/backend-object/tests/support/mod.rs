//! Stores to test on.
#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "helpers of tests; each file uses its part"
)]

use std::path::Path;

use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;
use tresor_backend_object::{ObjectBackend, ObjectLock, Place, Secrets, Settings};
use tresor_testkit::stores::{AZURITE_ACCOUNT, AZURITE_KEY, Azurite};

pub(crate) fn place(url: &str) -> Place {
    Place::parse(url).unwrap().unwrap()
}

fn plain(endpoint: &str) -> Settings {
    Settings {
        endpoint: Some(endpoint.to_owned()),
        allow_http: true,
        ..Settings::default()
    }
}

/// What is immutable is held in this way.
pub(crate) fn s3_locking(endpoint: &str, url: &str, object_lock: ObjectLock) -> ObjectBackend {
    let settings = Settings {
        object_lock,
        ..plain(endpoint)
    };
    ObjectBackend::open(place(url), &settings, &s3_secrets()).unwrap()
}

pub(crate) fn s3_secrets() -> Secrets {
    Secrets::default()
        .with("AWS_ACCESS_KEY_ID", "AK")
        .with("AWS_SECRET_ACCESS_KEY", "SK")
}

pub(crate) fn s3(endpoint: &str, url: &str) -> ObjectBackend {
    ObjectBackend::open(place(url), &plain(endpoint), &s3_secrets()).unwrap()
}

pub(crate) fn azure(azurite: &Azurite, url: &str) -> ObjectBackend {
    let settings = Settings {
        account: Some(AZURITE_ACCOUNT.to_owned()),
        ..plain(&azurite.url())
    };
    let secrets = Secrets::default().with("AZURE_STORAGE_ACCOUNT_KEY", AZURITE_KEY);
    ObjectBackend::open(place(url), &settings, &secrets).unwrap()
}

pub(crate) fn google(endpoint: &str, url: &str, token: &str) -> ObjectBackend {
    let secrets = Secrets::default().with("GOOGLE_BEARER_TOKEN", token);
    ObjectBackend::open(place(url), &plain(endpoint), &secrets).unwrap()
}

/// S3 over a directory, in this process. A bucket is a directory.
pub(crate) async fn serve_directory(root: &Path, bucket: &str) -> String {
    std::fs::create_dir(root.join(bucket)).unwrap();
    let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root).unwrap());
    builder.set_auth(SimpleAuth::from_single("AK", "SK"));
    let service = builder.build();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let stream = hyper_util::rt::TokioIo::new(stream);
            let serving = hyper::server::conn::http1::Builder::new();
            tokio::spawn(serving.serve_connection(stream, service.clone()));
        }
    });
    url
}
