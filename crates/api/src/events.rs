//! The event stream: one poller of the catalog for all who listen, and a memory to resume from.
//!
//! # Ordering
//! An event says how something is now, not what was done to it; of two about the same thing the later one
//! counts. `Last-Event-ID` resumes while the events since are remembered; else the first event is `reset`,
//! and what is shown must be read anew.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    extract::State,
    http::HeaderMap,
    response::sse::{Event, KeepAlive, Sse},
};
use futures::{StreamExt as _, stream};
use tokio::sync::broadcast::{self, error::RecvError};
use tresor_catalog::Catalog;
use uuid::Uuid;

use crate::{
    ApiState,
    failure::{Answer, Failure, FailureBody},
    outlooks::Outlooks,
    watcher::{News, Watcher},
};

/// So many are remembered, and a listener may be so many behind.
const REMEMBERED: usize = 4096;
const MOST_LISTENERS: usize = 256;
/// A stream ends after so long, so that a token that was revoked meanwhile ends with it.
const LONGEST_STREAM: Duration = Duration::from_secs(15 * 60);
const HEARTBEAT: Duration = Duration::from_secs(15);
/// So many polls after the last listener has left, the poller ends.
const IDLE_POLLS: u32 = 60;

/// An event, as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    number: u64,
    news: News,
}

struct Memory {
    /// Numbers of one poller mean nothing to the next.
    generation: Uuid,
    next: u64,
    last: VecDeque<Told>,
    polling: bool,
}

pub(crate) struct Events {
    catalog: Arc<Catalog>,
    outlooks: Arc<Outlooks>,
    poll: Duration,
    memory: Arc<Mutex<Memory>>,
    sender: broadcast::Sender<Told>,
}

/// What a listener gets: the generation, what it has missed, and what comes.
struct Listening {
    generation: Uuid,
    /// `None`: it cannot be known what was missed.
    missed: Option<Vec<Told>>,
    receiver: broadcast::Receiver<Told>,
}

impl Events {
    pub(crate) fn new(catalog: Arc<Catalog>, outlooks: Arc<Outlooks>, poll: Duration) -> Self {
        let memory = Memory {
            generation: Uuid::new_v4(),
            next: 0,
            last: VecDeque::new(),
            polling: false,
        };
        Self {
            catalog,
            outlooks,
            poll,
            memory: Arc::new(Mutex::new(memory)),
            sender: broadcast::channel(REMEMBERED).0,
        }
    }

    /// Listens, and sees to it that there is a poller.
    fn listen(&self, last: Option<&str>) -> Answer<Listening> {
        if self.sender.receiver_count() >= MOST_LISTENERS {
            return Err(Failure::too_many("The event stream's listeners", 60));
        }
        let mut memory = lock(&self.memory);
        // Under the lock, so that nothing is told between what was missed and what comes.
        let receiver = self.sender.subscribe();
        if !memory.polling {
            memory.polling = true;
            memory.generation = Uuid::new_v4();
            memory.next = 0;
            memory.last.clear();
            tokio::spawn(poll(
                Watcher::new(Arc::clone(&self.catalog), Arc::clone(&self.outlooks)),
                Arc::clone(&self.memory),
                self.sender.clone(),
                self.poll,
            ));
        }
        let missed = match last {
            Some(last) => memory.since(last),
            None => Some(Vec::new()),
        };
        let generation = memory.generation;
        Ok(Listening {
            generation,
            missed,
            receiver,
        })
    }
}

impl Memory {
    /// What was told after that id; `None` when that is not remembered.
    fn since(&self, id: &str) -> Option<Vec<Told>> {
        let (generation, number) = id.rsplit_once('-')?;
        let number: u64 = number.parse().ok()?;
        let ours = generation == self.generation.simple().to_string();
        let oldest = self.last.front().map_or(self.next, |told| told.number);
        if !ours || number >= self.next || number.saturating_add(1) < oldest {
            return None;
        }
        let missed = self.last.iter().filter(|told| told.number > number);
        Some(missed.cloned().collect())
    }
}

fn lock(memory: &Mutex<Memory>) -> std::sync::MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks the catalog until nobody has listened for a while.
async fn poll(
    mut watcher: Watcher,
    memory: Arc<Mutex<Memory>>,
    sender: broadcast::Sender<Told>,
    every: Duration,
) {
    let mut idle = 0;
    loop {
        let news = watcher.look().await.unwrap_or_else(|failure| {
            tracing::warn!(problem = %failure.problem, "the event stream's poller");
            Vec::new()
        });
        {
            let mut memory = lock(&memory);
            for news in news {
                let told = Told {
                    number: memory.next,
                    news,
                };
                memory.next += 1;
                if memory.last.len() >= REMEMBERED {
                    memory.last.pop_front();
                }
                memory.last.push_back(told.clone());
                // Nobody listens: it is remembered for who comes back.
                sender.send(told).map(|_| ()).unwrap_or_default();
            }
            idle = if sender.receiver_count() == 0 {
                idle + 1
            } else {
                0
            };
            if idle >= IDLE_POLLS {
                memory.polling = false;
                return;
            }
        }
        tokio::time::sleep(every).await;
    }
}

/// What happens to jobs and protected items, as server-sent events. `job`: a job with its running sub-task;
/// `item`: a protected item; `item-removed`: the id of one that is none any more; `reset`: events were
/// missed, what is shown must be read anew. `Last-Event-ID` resumes. A stream ends after 15 minutes.
#[utoipa::path(get, path = "/api/v1/events", tag = "events", params(
    ("Last-Event-ID" = Option<String>, Header, description = "The last event that was seen."),
), responses(
    (status = 200, description = "The stream.", body = String, content_type = "text/event-stream"),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn follow(
    State(state): State<ApiState>,
    headers: HeaderMap,
) -> Answer<Sse<impl futures::Stream<Item = Result<Event, Infallible>>>> {
    let last = headers.get("last-event-id");
    let last = last.map(|last| last.to_str().unwrap_or_default());
    let Listening {
        generation,
        missed,
        receiver,
    } = state.events.listen(last)?;
    let first = match missed {
        None => vec![reset()],
        Some(missed) => missed
            .into_iter()
            .map(|told| event(generation, told))
            .collect(),
    };
    let coming = stream::unfold(Some(receiver), move |receiver| async move {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Ok(told) => Some((event(generation, told), Some(receiver))),
            Err(RecvError::Lagged(_)) => Some((reset(), None)),
            Err(RecvError::Closed) => None,
        }
    });
    let events = stream::iter(first).chain(coming).map(Ok);
    let events = events.take_until(Box::pin(tokio::time::sleep(LONGEST_STREAM)));
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
}

fn event(generation: Uuid, told: Told) -> Event {
    let id = format!("{}-{}", generation.simple(), told.number);
    let event = Event::default().id(id).event(told.news.name);
    event.data(told.news.data)
}

fn reset() -> Event {
    Event::default().event("reset").data("{}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_knows_what_it_knows() {
        let generation = Uuid::new_v4();
        let told = |number| Told {
            number,
            news: News {
                name: "job",
                data: String::new(),
            },
        };
        let memory = Memory {
            generation,
            next: 7,
            last: [4, 5, 6].map(told).into(),
            polling: true,
        };
        let ours = |number: u64| format!("{}-{number}", generation.simple());
        let numbers = |id: &str| -> Option<Vec<u64>> {
            Some(memory.since(id)?.iter().map(|told| told.number).collect())
        };
        assert_eq!(numbers(&ours(6)), Some(vec![]));
        assert_eq!(numbers(&ours(4)), Some(vec![5, 6]));
        assert_eq!(numbers(&ours(3)), Some(vec![4, 5, 6]));
        // 3 is not remembered, so what follows 2 is not known.
        assert_eq!(numbers(&ours(2)), None);
        assert_eq!(numbers(&ours(7)), None);
        assert_eq!(numbers(&ours(u64::MAX)), None);
        let other = format!("{}-5", Uuid::new_v4().simple());
        for id in ["", "5", "x-y", &other] {
            assert_eq!(numbers(id), None, "{id}");
        }
    }
}
