//! Whether credentials can only add: tried, not taken from what the store says of itself.

use bytes::Bytes;
use object_store::{ObjectStoreExt as _, PutPayload};
use tresor_backend::{Backend as _, Error, ErrorKind, ObjectName};

use crate::{ObjectBackend, backend::PATIENCE};

const FIRST: &[u8] = b"what is here stays";
const SECOND: &[u8] = b"and was replaced all the same";

/// What somebody with these credentials can do to an object that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Powers {
    /// Nothing: the store refused to replace it and to remove it, and it is as it was.
    AppendOnly,
    /// Replace it.
    Overwrite,
    /// Remove it, or hide it.
    Delete,
}

impl ObjectBackend {
    /// Puts an object, then tries to replace and to remove it. It stays where the store refuses both; the next
    /// trial by the same name goes by the one that is there.
    ///
    /// # Errors
    /// When the store fails, or what is there is not what it said: then it proves nothing.
    pub async fn powers(&self, name: &ObjectName) -> Result<Powers, Error> {
        match self.put(name, Bytes::from_static(FIRST)).await {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        if !refused(self.replace(name, Bytes::from_static(SECOND)).await)?
            || !self.is_first(name).await?
        {
            return Ok(Powers::Overwrite);
        }
        // A store that holds versions only hides them: so it is looked whether it is still seen.
        match self.hide(name).await {
            Err(error) if error.kind() == ErrorKind::Denied && self.is_first(name).await? => {
                Ok(Powers::AppendOnly)
            }
            Ok(()) | Err(_) => Ok(Powers::Delete),
        }
    }

    async fn is_first(&self, name: &ObjectName) -> Result<bool, Error> {
        let longest = FIRST.len().max(SECOND.len()) as u64;
        Ok(self.get(name, longest).await? == FIRST)
    }

    /// A put that does not ask whether there is one: [`tresor_backend::Backend::put`] never does this.
    async fn replace(&self, name: &ObjectName, body: Bytes) -> Result<(), Error> {
        let path = self.path("put", name.as_str())?;
        let put = self.store.put(&path, PutPayload::from_bytes(body));
        self.call("put", name.as_str(), PATIENCE, put)
            .await
            .map(drop)
    }
}

fn refused(tried: Result<(), Error>) -> Result<bool, Error> {
    match tried {
        Ok(()) => Ok(false),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::Denied | ErrorKind::AlreadyExists | ErrorKind::Retained
            ) =>
        {
            Ok(true)
        }
        Err(error) => Err(error),
    }
}
