//! Signing requests that the library does not make, or not quite so.

use std::sync::{Arc, Weak};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Method, header::AUTHORIZATION};
use object_store::CredentialProvider;
use object_store::aws::{AwsAuthorizer, AwsCredential, AwsCredentialProvider};
use object_store::azure::{AzureAuthorizer, AzureCredential, AzureCredentialProvider};
use object_store::client::{HttpError, HttpErrorKind, HttpRequest};

/// Signs what a provider's own client would sign. Weak: what provides credentials may ask for them
/// by a client that has this.
#[derive(Debug)]
pub(crate) enum Signer {
    S3 {
        credentials: Weak<dyn CredentialProvider<Credential = AwsCredential>>,
        region: String,
    },
    Azure {
        credentials: Weak<dyn CredentialProvider<Credential = AzureCredential>>,
        account: String,
    },
}

impl Signer {
    pub(crate) fn s3(credentials: &AwsCredentialProvider, region: &str) -> Self {
        Self::S3 {
            credentials: Arc::downgrade(credentials),
            region: region.to_owned(),
        }
    }

    pub(crate) fn azure(credentials: &AzureCredentialProvider, account: &str) -> Self {
        Self::Azure {
            credentials: Arc::downgrade(credentials),
            account: account.to_owned(),
        }
    }

    /// Signs a request, with the hash of its body if that is known.
    pub(crate) async fn sign(
        &self,
        request: &mut HttpRequest,
        digest: Option<&[u8]>,
    ) -> object_store::Result<()> {
        match self {
            Self::S3 {
                credentials,
                region,
            } => {
                let Some(credentials) = credentials.upgrade() else {
                    return Ok(());
                };
                let credential = credentials.get_credential().await?;
                AwsAuthorizer::new(&credential, "s3", region).try_authorize(request, digest)
            }
            Self::Azure {
                credentials,
                account,
            } => {
                let Some(credentials) = credentials.upgrade() else {
                    return Ok(());
                };
                let credential = credentials.get_credential().await?;
                AzureAuthorizer::new(&credential, account).try_authorize(request)
            }
        }
    }

    /// Names the algorithm of a PUT's checksum, which goes beside the checksum itself: buckets with
    /// Object Lock want that, and a name is signed like every `x-amz-` header.
    pub(crate) async fn name_checksum(&self, request: &mut HttpRequest) -> Result<(), HttpError> {
        let headers = request.headers();
        let wanted = request.method() == Method::PUT
            && headers.contains_key("x-amz-checksum-sha256")
            && headers.contains_key(AUTHORIZATION);
        if !wanted {
            return Ok(());
        }
        let digest = headers.get("x-amz-content-sha256");
        let digest = digest.and_then(|digest| from_hex(digest.as_bytes()));
        let name = HeaderValue::from_static("SHA256");
        request
            .headers_mut()
            .insert("x-amz-sdk-checksum-algorithm", name);
        request.headers_mut().remove(AUTHORIZATION);
        self.sign(request, digest.as_deref())
            .await
            .map_err(|error| HttpError::new(HttpErrorKind::Request, error))
    }
}

/// Puts the hash of the body, which the signature has already, into a checksum header: requests
/// about retention are not taken without one. What signs next covers it.
pub(crate) fn digest_as_checksum(request: &mut HttpRequest) {
    let digest = request.headers().get("x-amz-content-sha256");
    let digest = digest.and_then(|digest| from_hex(digest.as_bytes()));
    let checksum = digest.map(|digest| STANDARD.encode(digest));
    if let Some(checksum) = checksum.and_then(|text| HeaderValue::from_str(&text).ok()) {
        let headers = request.headers_mut();
        headers.insert("x-amz-checksum-sha256", checksum);
    }
}

/// `None` when it is no hash but a word, such as `UNSIGNED-PAYLOAD`.
fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text)
        .ok()
        .filter(|text| text.len() == 64)?;
    (0..64)
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_in_hex() {
        assert_eq!(from_hex("0f".repeat(32).as_bytes()), Some(vec![15; 32]));
        for bad in ["", "UNSIGNED-PAYLOAD", &"zz".repeat(32)] {
            assert_eq!(from_hex(bad.as_bytes()), None, "{bad}");
        }
    }
}
