//! Removing an object by a request of our own.
//!
//! The library removes a version of an object never, and objects of Azure only by batches, whose
//! answers tell what happened in words.

use http::{Method, StatusCode};
use object_store::client::{HttpConnector as _, HttpRequest, HttpRequestBody};
use tresor_backend::{Error, ErrorKind, ObjectName};

use crate::ObjectBackend;
use crate::connect::Direct;
use crate::failure::{failed, judge};
use crate::wire::{Watching, watch};

impl ObjectBackend {
    /// Sends a signed DELETE; `query` begins with `?` or is empty.
    pub(crate) async fn delete_directly(
        &self,
        direct: &Direct,
        name: &ObjectName,
        query: &str,
    ) -> Result<(), Error> {
        let error = |kind| Error::new(kind, "delete", name.as_str());
        let key = self.path("delete", name.as_str())?;
        let url = format!("{}/{key}{query}", direct.url);
        let url = url.parse().map_err(|bad| error(ErrorKind::Io).because(bad));
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = Method::DELETE;
        *request.uri_mut() = url?;
        let send = async {
            if let Some(signer) = self.wire.signer.get() {
                signer.sign(&mut request, None).await?;
            }
            let client = Watching(self.wire.clone()).connect(&direct.options)?;
            // What went wrong is seen where it passes.
            object_store::Result::Ok(client.execute(request).await.map(|answer| answer.status()))
        };
        let limited = tokio::time::timeout(crate::backend::PATIENCE, watch(send)).await;
        let (sent, seen) = limited.map_err(|late| error(ErrorKind::Unavailable).because(late))?;
        match sent {
            Ok(Ok(status)) if StatusCode::is_success(&status) => Ok(()),
            Ok(_) => {
                let said = crate::failure::words(seen.as_ref());
                Err(error(judge("delete", seen.as_ref())).because(said))
            }
            Err(refused) => Err(failed("delete", name.as_str(), &refused, seen.as_ref())),
        }
    }
}
