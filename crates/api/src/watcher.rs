//! What has changed in the catalog since the last look.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use tresor_api_types::{JobNews, SubTaskNews};
use tresor_catalog::{Catalog, ItemFilter, Page};
use tresor_jobs::{JobFilter, JobHeader, JobLog as _, JobStory};
use tresor_model::{JobId, JobState, SubTaskState, VmId};

use crate::{
    failure::Answer,
    nouns::{items, jobs},
    outlooks::Outlooks,
};

/// Jobs that wait or run, and are looked at.
const MOST_JOBS: u32 = 10_000;
/// Jobs that came and went between two looks.
const MOST_NEW: u32 = 500;
/// Items change seldom: they are read at each so many looks.
const ITEMS_EVERY: u32 = 5;

/// Something new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct News {
    /// Its kind.
    pub(crate) name: &'static str,
    /// How it is now, in JSON.
    pub(crate) data: String,
}

pub(crate) struct Watcher {
    catalog: Arc<Catalog>,
    outlooks: Arc<Outlooks>,
    /// Unfinished jobs, as they were told. `None`: nothing was looked at yet.
    jobs: Option<BTreeMap<JobId, String>>,
    newest: Option<JobId>,
    items: Option<BTreeMap<VmId, String>>,
    looks: u32,
}

impl Watcher {
    pub(crate) fn new(catalog: Arc<Catalog>, outlooks: Arc<Outlooks>) -> Self {
        Self {
            catalog,
            outlooks,
            jobs: None,
            newest: None,
            items: None,
            looks: 0,
        }
    }

    /// What is new. The first look only learns what there is.
    pub(crate) async fn look(&mut self) -> Answer<Vec<News>> {
        let mut news = self.look_at_jobs().await?;
        if self.looks.is_multiple_of(ITEMS_EVERY) {
            news.extend(self.look_at_items().await?);
        }
        self.looks = self.looks.wrapping_add(1);
        Ok(news)
    }

    async fn look_at_jobs(&mut self) -> Answer<Vec<News>> {
        let newest = JobFilter {
            limit: Some(MOST_NEW),
            ..JobFilter::default()
        };
        let came = self.catalog.list(&newest).await?;
        let unfinished = JobFilter {
            unfinished: true,
            limit: Some(MOST_JOBS),
            ..JobFilter::default()
        };
        let unfinished = self.catalog.list(&unfinished).await?;
        let known = self.jobs.as_ref();
        // Those that are there, that were there, and that came since.
        let mut ids: BTreeSet<JobId> = unfinished.iter().map(|header| header.job.id).collect();
        ids.extend(known.into_iter().flat_map(BTreeMap::keys));
        if known.is_some() {
            let newest = self.newest;
            let new = came.iter().map(|header| header.job.id);
            ids.extend(new.filter(|id| newest.is_none_or(|newest| *id > newest)));
        }
        let mut headers: BTreeMap<JobId, JobHeader> = unfinished
            .into_iter()
            .map(|header| (header.job.id, header))
            .collect();
        let (mut now, mut news) = (BTreeMap::new(), Vec::new());
        for id in ids {
            let told = match headers.remove(&id) {
                // A job that waits has no events.
                Some(header) if header.state == JobState::Queued => waiting(header),
                _ => running(self.catalog.load(id).await?),
            };
            let ended = told.job.state.is_final();
            let data = serde_json::to_string(&told).unwrap_or_default();
            if known.is_some_and(|known| known.get(&id) != Some(&data)) {
                let name = "job";
                news.push(News {
                    name,
                    data: data.clone(),
                });
            }
            if !ended {
                now.insert(id, data);
            }
        }
        self.newest = came.first().map(|header| header.job.id).max(self.newest);
        self.jobs = Some(now);
        Ok(news)
    }

    async fn look_at_items(&mut self) -> Answer<Vec<News>> {
        let (mut now, mut news) = (BTreeMap::new(), Vec::new());
        let mut after = None;
        loop {
            let page = Page {
                after,
                ..Page::default()
            };
            let records = self.catalog.items(&ItemFilter::default(), &page).await?;
            let Some(last) = records.last() else { break };
            after = Some(last.vm);
            let seen = self.outlooks.seen_by(&records).await?;
            let at = Timestamp::now();
            for record in &records {
                let view = items::view(record, &seen, at);
                now.insert(record.vm, serde_json::to_string(&view).unwrap_or_default());
            }
        }
        if let Some(known) = &self.items {
            for (vm, data) in &now {
                if known.get(vm) != Some(data) {
                    news.push(News {
                        name: "item",
                        data: data.clone(),
                    });
                }
            }
            for vm in known.keys().filter(|vm| !now.contains_key(vm)) {
                news.push(News {
                    name: "item-removed",
                    data: serde_json::json!({ "vm": vm }).to_string(),
                });
            }
        }
        self.items = Some(now);
        Ok(news)
    }
}

fn waiting(header: JobHeader) -> JobNews {
    let job = jobs::view(header);
    let sub_task = None;
    JobNews { job, sub_task }
}

fn running(story: JobStory) -> JobNews {
    // A story that cannot have happened is told by who asks for the job.
    let tasks = story.view().map(|view| view.sub_tasks).unwrap_or_default();
    let busy = |state| matches!(state, SubTaskState::Started | SubTaskState::UndoStarted);
    let mut current = tasks.into_iter().enumerate();
    let current = current.rfind(|(_, task)| busy(task.state));
    let sub_task = current.map(|(index, task)| SubTaskNews {
        index,
        name: task.name,
        state: task.state,
        started_at: task.started_at,
    });
    let job = jobs::view(story.header);
    JobNews { job, sub_task }
}
