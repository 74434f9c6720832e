//! Stores to test on.
#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "helpers of tests; each file uses its part"
)]

use std::path::Path;

use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential};
use object_store::client::{HttpRequest, HttpRequestBody};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;
use tresor_backend_object::{ObjectBackend, Place, Secrets, Settings};
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

/// The library makes no containers; the request is signed by what it signs with.
pub(crate) async fn make_container(azurite: &Azurite, container: &str) {
    let url = format!("{}/{container}?restype=container", azurite.url());
    let mut request = HttpRequest::new(HttpRequestBody::empty());
    *request.method_mut() = http::Method::PUT;
    *request.uri_mut() = url.parse().unwrap();
    request
        .headers_mut()
        .insert("content-length", "0".parse().unwrap());
    let key = AzureCredential::AccessKey(AzureAccessKey::try_new(AZURITE_KEY).unwrap());
    let signed = AzureAuthorizer::new(&key, AZURITE_ACCOUNT);
    signed.try_authorize(&mut request).unwrap();
    let connector = object_store::client::ReqwestConnector::default();
    let options = object_store::ClientOptions::new().with_allow_http(true);
    let client = object_store::client::HttpConnector::connect(&connector, &options).unwrap();
    let answer = client.execute(request).await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
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
