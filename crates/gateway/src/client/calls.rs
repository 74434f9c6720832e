//! The port's methods.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use serde::{Serialize, de::DeserializeOwned};
use tresor_backend::{Backend, Error, ErrorKind, ObjectMeta, ObjectName, Properties, Retained};
use tresor_channel::Connection;

use super::GatewayBackend;
use super::once::{Once, PutOutcome, Trouble};
use crate::wire;

/// Lots that are asked for at once.
const LOTS: usize = 2;

impl GatewayBackend {
    fn once(&self, connection: Connection) -> Once {
        Once {
            connection,
            limit: self.options.answer,
        }
    }

    pub(super) async fn ask<H, A>(
        &self,
        method: &'static str,
        object: &str,
        head: &H,
    ) -> Result<A, Error>
    where
        H: Serialize + Sync,
        A: DeserializeOwned + Send,
    {
        let ask = |connection| {
            let once = self.once(connection);
            async move { once.ask(method, head).await }
        };
        self.call(method, object, ask).await
    }

    async fn read_lot(&self, names: &[ObjectName], most: u64) -> Vec<Result<Bytes, Error>> {
        let head = wire::Many {
            vault: self.vault.clone(),
            names: names.iter().map(|name| name.as_str().to_owned()).collect(),
            most,
        };
        let many = |connection| {
            let (once, head) = (self.once(connection), &head);
            async move { once.many(head).await }
        };
        let failed = |name: &ObjectName, kind, why: String| {
            Error::new(kind, "get", name.as_str()).because(why)
        };
        match self.call("get_many", "", many).await {
            Ok(found) => {
                let found = names.iter().zip(found);
                let found =
                    found.map(|(name, found)| found.map_err(|(kind, why)| failed(name, kind, why)));
                found.collect()
            }
            Err(error) => {
                let why = error.to_string();
                let each = names.iter();
                each.map(|name| Err(failed(name, error.kind(), why.clone())))
                    .collect()
            }
        }
    }
}

#[async_trait]
impl Backend for GatewayBackend {
    fn properties(&self) -> Properties {
        self.properties.clone()
    }

    /// # A put whose answer was lost
    /// The next try finds the name taken: by us, or by somebody else. The service compares the bytes;
    /// equal ones are success. On the first try they are not: nothing of ours can be there.
    async fn put(&self, name: &ObjectName, body: Bytes) -> Result<(), Error> {
        let size = body.len() as u64;
        if size > self.largest {
            let why = format!(
                "the service takes objects of at most {} bytes",
                self.largest
            );
            return Err(Error::new(ErrorKind::Refused, "put", name.as_str()).because(why));
        }
        let head = wire::Put {
            vault: self.vault.clone(),
            name: name.as_str().to_owned(),
            size,
        };
        let tried = AtomicBool::new(false);
        let put = |connection| {
            let (once, head, body) = (self.once(connection), &head, &body);
            let again = tried.swap(true, Ordering::Relaxed);
            async move {
                match once.put(head, body).await? {
                    PutOutcome::Taken { same } if !(same && again) => {
                        let why = "the name is taken".to_owned();
                        Err(Trouble::Store(ErrorKind::AlreadyExists, why))
                    }
                    PutOutcome::Taken { .. } | PutOutcome::Stored => Ok(()),
                }
            }
        };
        self.call("put", name.as_str(), put).await
    }

    async fn get(&self, name: &ObjectName, max_size: u64) -> Result<Bytes, Error> {
        let head = wire::Get {
            vault: self.vault.clone(),
            name: name.as_str().to_owned(),
            most: max_size,
        };
        let get = |connection| {
            let (once, head) = (self.once(connection), &head);
            async move { once.bytes("get", head, max_size, None).await }
        };
        self.call("get", name.as_str(), get).await
    }

    async fn get_many(&self, names: &[ObjectName], max_size: u64) -> Vec<Result<Bytes, Error>> {
        if max_size > wire::MANY_OBJECT {
            let reads: Vec<_> = names.iter().map(|name| self.get(name, max_size)).collect();
            let reads = stream::iter(reads).buffered(self.properties.parallelism);
            return reads.collect().await;
        }
        let lots = names.chunks(wire::MANY);
        let lots: Vec<_> = lots.map(|lot| self.read_lot(lot, max_size)).collect();
        let read: Vec<Vec<_>> = stream::iter(lots).buffered(LOTS).collect().await;
        read.into_iter().flatten().collect()
    }

    async fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Bytes, Error> {
        let head = wire::Range {
            vault: self.vault.clone(),
            name: name.as_str().to_owned(),
            start: range.start,
            end: range.end,
        };
        let len = range.end.saturating_sub(range.start);
        let get = |connection| {
            let (once, head) = (self.once(connection), &head);
            async move { once.bytes("range", head, len, Some(len)).await }
        };
        self.call("get_range", name.as_str(), get).await
    }

    async fn stat(&self, name: &ObjectName) -> Result<ObjectMeta, Error> {
        let head = wire::Stat {
            vault: self.vault.clone(),
            name: name.as_str().to_owned(),
        };
        let sized: wire::Sized = self.ask("stat", name.as_str(), &head).await?;
        Ok(ObjectMeta {
            name: name.clone(),
            size: sized.size,
        })
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, Error> {
        if prefix.len() > ObjectName::MAX_LEN {
            return Ok(Vec::new());
        }
        let head = wire::List {
            vault: self.vault.clone(),
            prefix: prefix.to_owned(),
        };
        let list = |connection| {
            let (once, head) = (self.once(connection), &head);
            async move { once.list(head).await }
        };
        self.call("list", prefix, list).await
    }

    async fn settle(&self, prefix: &str) -> Result<(), Error> {
        let head = wire::Settle {
            vault: self.vault.clone(),
            prefix: prefix.to_owned(),
        };
        let settled: Result<wire::Nothing, Error> = self.ask("settle", prefix, &head).await;
        settled.map(drop)
    }

    /// Holding objects is the service's: a host asks for none.
    async fn retain_until(&self, _: &ObjectName, _: SystemTime) -> Result<Retained, Error> {
        Ok(Retained::NotSupported)
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        Err(refused("delete", name.as_str()))
    }

    async fn sweep(&self, _: Duration) -> Result<u64, Error> {
        Err(refused("sweep", ""))
    }
}

fn refused(operation: &'static str, object: &str) -> Error {
    let why = "nothing is deleted through the gateway";
    Error::new(ErrorKind::Refused, operation, object).because(why)
}
