//! Servers that `cargo xtask setup` installed: moto (S3) and Azurite (Azure Blob).

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Method, Request};
use object_store::ClientOptions;
use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential};
use object_store::client::{HttpConnector as _, HttpRequest, HttpRequestBody, ReqwestConnector};

use super::exchange::send;
use crate::spawn::{bound_to_us, spawn};
use crate::{Assets, LONG};

/// The account that Azurite knows from the start; it is public.
pub const AZURITE_ACCOUNT: &str = "devstoreaccount1";
/// Its key, just as public.
pub const AZURITE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A process that listens.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    url: String,
}

impl Server {
    /// Starts it and waits for the line in which it says where it listens, as `http://…`.
    pub(crate) fn start(mut command: Command, name: &str) -> Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = spawn(command).with_context(|| format!("{name} does not start"))?;
        let (lines, heard) = channel();
        let streams: [Option<Box<dyn std::io::Read + Send>>; 2] = [
            child.stdout.take().map(|stream| Box::new(stream) as _),
            child.stderr.take().map(|stream| Box::new(stream) as _),
        ];
        for stream in streams.into_iter().flatten() {
            let lines = lines.clone();
            // Reads to the end, whoever listens: a full pipe would stop the server.
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    drop(lines.send(line));
                }
            });
        }
        drop(lines);
        let mut server = Self {
            child,
            url: String::new(),
        };
        let (end, mut said) = (Instant::now() + LONG, String::new());
        while server.url.is_empty() {
            match heard.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    server.url = address(&line).unwrap_or_default();
                    said.push_str(&line);
                    said.push('\n');
                }
                Err(RecvTimeoutError::Disconnected) => bail!("{name} ended: {said}"),
                Err(RecvTimeoutError::Timeout) => bail!("{name} does not listen: {said}"),
            }
        }
        Ok(server)
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

/// `http://127.0.0.1:PORT` in a line, if the port is a real one.
fn address(line: &str) -> Option<String> {
    let (_, port) = line.split_once("http://127.0.0.1:")?;
    let digits: String = port.chars().take_while(char::is_ascii_digit).collect();
    (digits != "0" && !digits.is_empty()).then(|| format!("http://127.0.0.1:{digits}"))
}

impl Drop for Server {
    fn drop(&mut self) {
        // Dead already is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// S3 by moto. Takes any credentials.
#[derive(Debug)]
pub struct Moto(Server);

impl Moto {
    /// Starts it, empty.
    ///
    /// # Errors
    /// Set-up has not run, or it does not start.
    pub fn start() -> Result<Self> {
        let library = installed("moto")?;
        let mut command = bound_to_us(Path::new("python3"));
        command
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", "0"])
            .env("PYTHONPATH", library)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        Server::start(command, "moto").map(Self)
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// Makes a bucket; with `lock`, one with Object Lock whose default is a day of COMPLIANCE.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn make_bucket(&self, bucket: &str, lock: bool) -> Result<()> {
        if lock {
            self.make_locking_bucket(bucket).await?;
            let rule = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule>\
                <DefaultRetention><Mode>COMPLIANCE</Mode><Days>1</Days></DefaultRetention></Rule>\
                </ObjectLockConfiguration>";
            return self.put(&format!("{bucket}?object-lock"), rule).await;
        }
        self.put(bucket, "").await
    }

    /// Makes a bucket with Object Lock in which nothing is locked by itself.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn make_locking_bucket(&self, bucket: &str) -> Result<()> {
        let make = Request::builder()
            .method(Method::PUT)
            .header("x-amz-bucket-object-lock-enabled", "true")
            .uri(format!("{}/{bucket}", self.url()));
        expect(&send(make.body(Bytes::new())?).await?)
    }

    /// Puts something that is none of a vault's: `what` is `BUCKET/KEY` or has a query behind it.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn put(&self, what: &str, body: &'static str) -> Result<()> {
        let put = Request::builder()
            .method(Method::PUT)
            .uri(format!("{}/{what}", self.url()));
        expect(&send(put.body(Bytes::from(body))?).await?)
    }

    /// How many versions of objects and how many delete markers a bucket has.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn versions(&self, bucket: &str) -> Result<(usize, usize)> {
        let list = Request::builder().uri(format!("{}/{bucket}?versions", self.url()));
        let answer = send(list.body(Bytes::new())?).await?;
        expect(&answer)?;
        let text = String::from_utf8_lossy(answer.body());
        let count = |word: &str| text.matches(word).count();
        Ok((count("<Version>"), count("<DeleteMarker>")))
    }
}

fn expect(answer: &http::Response<Bytes>) -> Result<()> {
    let status = answer.status();
    if !status.is_success() {
        bail!("{status}: {}", String::from_utf8_lossy(answer.body()));
    }
    Ok(())
}

/// Azure Blob by Azurite, which keeps everything in memory.
#[derive(Debug)]
pub struct Azurite(Server);

impl Azurite {
    /// Starts it, empty.
    ///
    /// # Errors
    /// Set-up has not run, or it does not start.
    pub fn start() -> Result<Self> {
        let program = installed("azurite")?.join("node_modules/azurite/dist/src/blob/main.js");
        let mut command = bound_to_us(Path::new("node"));
        command.arg(program).args([
            "--blobHost",
            "127.0.0.1",
            "--blobPort",
            "0",
            "--skipApiVersionCheck",
            "--inMemoryPersistence",
            "--disableTelemetry",
            "--silent",
        ]);
        Server::start(command, "Azurite").map(Self)
    }

    /// Makes a container.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn make_container(&self, container: &str) -> Result<()> {
        let url = format!("{}/{container}?restype=container", self.url());
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = Method::PUT;
        *request.uri_mut() = url.parse()?;
        let none = http::HeaderValue::from_static("0");
        request.headers_mut().insert("content-length", none);
        let key = AzureCredential::AccessKey(AzureAccessKey::try_new(AZURITE_KEY)?);
        AzureAuthorizer::new(&key, AZURITE_ACCOUNT).try_authorize(&mut request)?;
        let options = ClientOptions::new().with_allow_http(true);
        let client = ReqwestConnector::default().connect(&options)?;
        let status = client.execute(request).await?.status();
        if !status.is_success() {
            bail!("no container: {status}");
        }
        Ok(())
    }

    /// The account's URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/{AZURITE_ACCOUNT}", self.0.url)
    }
}

pub(crate) fn installed(name: &str) -> Result<std::path::PathBuf> {
    let dir = Assets::dir().join("stores").join(name);
    if !dir.is_dir() {
        bail!(
            "{} is not there: run `cargo xtask setup` first",
            dir.display()
        );
    }
    Ok(dir.canonicalize()?)
}

/// How long one exchange may take.
pub(super) const LIMIT: Duration = LONG;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_server_listens() {
        for (line, want) in [
            (
                " * Running on http://127.0.0.1:44621",
                Some("http://127.0.0.1:44621"),
            ),
            (
                "listens on http://127.0.0.1:1/x",
                Some("http://127.0.0.1:1"),
            ),
            ("starting on http://127.0.0.1:0", None),
            ("WARNING", None),
        ] {
            assert_eq!(address(line).as_deref(), want, "{line}");
        }
    }
}
