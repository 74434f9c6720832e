//! Policies, ready to be asked. Making one looks at 28 years, so each revision is made once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::{Timestamp, tz::TimeZone};
use tresor_catalog::{Catalog, CatalogErrorKind, ItemRecord, PolicyRecord};
use tresor_problem::{Kind, Problem};
use tresor_service::Outlook;

use crate::failure::Answer;

/// Made anew beyond so many.
const MOST: usize = 1000;

type Made = (u64, Option<Arc<Outlook>>);

pub(crate) struct Outlooks {
    catalog: Arc<Catalog>,
    zone: TimeZone,
    made: Mutex<BTreeMap<String, Made>>,
}

/// The outlooks of the policies of some items.
pub(crate) type Seen = BTreeMap<String, Option<Arc<Outlook>>>;

impl Outlooks {
    pub(crate) fn new(catalog: Arc<Catalog>, zone: TimeZone) -> Self {
        let made = Mutex::default();
        Self {
            catalog,
            zone,
            made,
        }
    }

    /// Of that policy; `None` when it cannot be asked here: one of its zones is not known on this machine.
    pub(crate) async fn of(&self, record: &PolicyRecord) -> Answer<Option<Arc<Outlook>>> {
        let name = &record.policy.name;
        if let Some((revision, outlook)) = self.made().get(name)
            && *revision == record.revision
        {
            return Ok(outlook.clone());
        }
        let (policy, revision, zone) = (record.policy.clone(), record.revision, self.zone.clone());
        let make = move || Outlook::new(policy, revision, &zone, Timestamp::now()).ok();
        let made = tokio::task::spawn_blocking(make).await.map_err(|error| {
            let what = format!("A policy's windows could not be computed: {error}.");
            Problem::from(Kind::Internal { what })
        })?;
        let made = made.map(Arc::new);
        let mut all = self.made();
        if all.len() >= MOST {
            all.clear();
        }
        all.insert(name.clone(), (record.revision, made.clone()));
        Ok(made)
    }

    /// Of the policies of those items.
    pub(crate) async fn seen_by(&self, items: &[ItemRecord]) -> Answer<Seen> {
        let mut seen = Seen::new();
        for item in items {
            if seen.contains_key(&item.policy) {
                continue;
            }
            let outlook = match self.catalog.policy(&item.policy).await {
                Ok(record) => self.of(&record).await?,
                // Changed and removed since the items were read.
                Err(error) if matches!(error.kind, CatalogErrorKind::NotFound(_)) => None,
                Err(error) => return Err(error.into()),
            };
            seen.insert(item.policy.clone(), outlook);
        }
        Ok(seen)
    }

    fn made(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Made>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
