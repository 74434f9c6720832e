//! Several processes on one file, some of them killed.

#[path = "support/process.rs"]
mod process;

use std::{sync::Arc, time::Duration};

use process::{Process, place, say};
use tresor_catalog::Catalog;
use tresor_jobs::{
    Engine, JobEvent, JobLog, LogErrorKind, Owner, RecordedEvent, Warning,
    testing::contract::new_job,
};
use tresor_model::JobState;

const LOCK: &str = "vm:contended";

#[tokio::test]
#[ignore = "a child process of one_process_wins_the_lock"]
async fn child_contends() {
    let catalog = Catalog::open(&place()).await.expect("open");
    let go = place().with_extension("go");
    while !go.exists() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let job = new_job("contended", Some(LOCK.to_owned()));
    match catalog.begin(&job, &Owner::current()).await {
        Ok(_) => say(format!("won {}", job.id)),
        Err(error) => match error.kind {
            LogErrorKind::Busy { holder } => say(format!("busy {holder}")),
            other => say(format!("{other:?}")),
        },
    }
}

#[tokio::test]
async fn one_process_wins_the_lock() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("catalog.db");
    // The children also race to create the schema.
    let mut children: Vec<_> = (0..6)
        .map(|_| Process::start("child_contends", &path))
        .collect();
    std::fs::write(path.with_extension("go"), "").expect("write");
    let said: Vec<_> = children.iter_mut().flat_map(Process::said).collect();
    let winners: Vec<_> = said
        .iter()
        .filter_map(|line| line.strip_prefix("won "))
        .collect();
    assert_eq!(winners.len(), 1, "{said:?}");
    let refused = format!("busy {}", winners[0]);
    let losers = said.iter().filter(|line| **line == refused).count();
    assert_eq!(losers, 5, "{said:?}");
    drop(children);
    // The winner's process is gone: its job is found, and until then the key stays taken.
    let catalog = Arc::new(Catalog::open(&path).await.expect("open"));
    let abandoned = Engine::new(catalog).abandoned().await.expect("list");
    let ids: Vec<_> = abandoned
        .iter()
        .map(|header| header.job.id.to_string())
        .collect();
    assert_eq!(ids, winners);
}

#[tokio::test]
#[ignore = "a child process of a_killed_writer_loses_nothing_it_was_told_is_recorded"]
async fn child_writes_forever() {
    let catalog = Catalog::open(&place()).await.expect("open");
    let job = new_job("written", None);
    let owner = Owner::current();
    let lease = catalog.begin(&job, &owner).await.expect("begin");
    say(job.id);
    for seq in 0.. {
        let warning = Warning::from("w");
        let sub_task = None;
        let event = match seq {
            0 => JobEvent::TakenUp {
                owner: owner.clone(),
            },
            _ => JobEvent::Warned { sub_task, warning },
        };
        let at = job.created_at;
        let recorded = RecordedEvent { seq, at, event };
        let state = JobState::InProgress;
        catalog
            .append(&lease, &recorded, state)
            .await
            .expect("append");
        say(seq);
    }
}

#[tokio::test]
async fn a_killed_writer_loses_nothing_it_was_told_is_recorded() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("catalog.db");
    for kill_after in [0_u64, 7, 50] {
        let mut child = Process::start("child_writes_forever", &path);
        let mut said = child.said();
        let job = said.next().expect("the job's id").parse().expect("id");
        let mut last = 0;
        for seq in said.by_ref() {
            last = seq.parse().expect("number");
            if last == kill_after {
                child.kill();
            }
        }
        drop(child);
        let catalog = Arc::new(Catalog::open(&path).await.expect("open"));
        let story = catalog.load(job).await.expect("load");
        let recorded = story.events.len() as u64;
        // One more may have been recorded without the process living to say so.
        assert!(
            (last + 1..=last + 2).contains(&recorded),
            "{recorded}, {last}"
        );
        story.view().expect("a legal story");
        let abandoned = Engine::new(catalog).abandoned().await.expect("list");
        assert!(abandoned.iter().any(|header| header.job.id == job));
    }
}
