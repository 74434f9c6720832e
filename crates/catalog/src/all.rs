//! Whole lists, page by page: for who needs all there is. Others take a [`Page`].

use crate::{
    AlertFilter, AlertRecord, Catalog, CatalogError, DatasourceFilter, DatasourceKey,
    DatasourceRecord, HostRecord, ItemFilter, ItemRecord, Page, PolicyRecord,
};

/// The page behind `last`.
fn behind<K>(last: Option<K>) -> Page<K> {
    Page {
        after: last,
        ..Page::default()
    }
}

impl Catalog {
    /// All policies, by name.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn all_policies(&self) -> Result<Vec<PolicyRecord>, CatalogError> {
        let mut all: Vec<PolicyRecord> = Vec::new();
        loop {
            let last = all.last().map(|last| last.policy.name.clone());
            let more = self.policies(&behind(last)).await?;
            if more.is_empty() {
                return Ok(all);
            }
            all.extend(more);
        }
    }

    /// All protected items that pass the filter, by VM.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn all_items(&self, filter: &ItemFilter) -> Result<Vec<ItemRecord>, CatalogError> {
        let mut all: Vec<ItemRecord> = Vec::new();
        loop {
            let last = all.last().map(|last| last.vm);
            let more = self.items(filter, &behind(last)).await?;
            if more.is_empty() {
                return Ok(all);
            }
            all.extend(more);
        }
    }

    /// All datasources that pass the filter, by VM and host.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn all_datasources(
        &self,
        filter: &DatasourceFilter,
    ) -> Result<Vec<DatasourceRecord>, CatalogError> {
        let mut all: Vec<DatasourceRecord> = Vec::new();
        loop {
            let last: Option<DatasourceKey> = all.last().map(DatasourceRecord::key);
            let more = self.datasources(filter, &behind(last)).await?;
            if more.is_empty() {
                return Ok(all);
            }
            all.extend(more);
        }
    }

    /// All hosts, by name.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn all_hosts(&self) -> Result<Vec<HostRecord>, CatalogError> {
        let mut all: Vec<HostRecord> = Vec::new();
        loop {
            let last = all.last().map(|last| last.name.clone());
            let more = self.hosts(&behind(last)).await?;
            if more.is_empty() {
                return Ok(all);
            }
            all.extend(more);
        }
    }

    /// All alerts that pass the filter, newest first.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn all_alerts(&self, filter: &AlertFilter) -> Result<Vec<AlertRecord>, CatalogError> {
        let mut all: Vec<AlertRecord> = Vec::new();
        loop {
            let last = all.last().map(|last| last.id);
            let more = self.alerts(filter, &behind(last)).await?;
            if more.is_empty() {
                return Ok(all);
            }
            all.extend(more);
        }
    }
}
