//! The event stream: read, and resumed where it broke.

use std::collections::VecDeque;

use futures::StreamExt as _;
use tresor_api_types::{ItemView, JobNews};
use tresor_model::VmId;
use tresor_problem::Problem;

use crate::{
    Chunks, Client, SendError,
    client::Call,
    encode::path,
    sse::{Event, Parser},
};

/// What happened. Each says how something is now.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// How a job is now.
    Job(Box<JobNews>),
    /// How a protected item is now.
    Item(Box<ItemView>),
    /// It is none any more.
    ItemRemoved(VmId),
    /// Something was missed: what is shown must be read anew.
    Reset,
}

/// The event stream. It goes on for as long as it is asked.
pub struct Events {
    client: Client,
    stream: Option<Open>,
    coming: VecDeque<Event>,
    last: Option<String>,
    /// Sends without an answer in between.
    sent: u32,
    /// A stream has ended: the next one comes after a pause.
    ended: bool,
}

struct Open {
    body: Chunks,
    parser: Parser,
}

impl Client {
    /// What happens from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        self.events_after(None)
    }

    /// What happened since the event of this id ([`Events::last_id`]), and from now on.
    #[must_use]
    pub fn events_after(&self, last: Option<String>) -> Events {
        Events {
            client: self.clone(),
            stream: None,
            coming: VecDeque::new(),
            last,
            sent: 0,
            ended: false,
        }
    }
}

impl Events {
    /// The id of the event that was given last.
    #[must_use]
    pub fn last_id(&self) -> Option<&str> {
        self.last.as_deref()
    }

    /// Sees to it that the stream is open: what happens from then on is not missed.
    ///
    /// # Errors
    /// When the service refuses it, or cannot be reached for long.
    pub async fn open(&mut self) -> Result<(), Problem> {
        if self.stream.is_none() {
            if std::mem::take(&mut self.ended) {
                let reason = "its event stream ends again and again".to_owned();
                let lost = SendError::lost(self.client.server(), reason).problem;
                self.client.wait(self.sent.max(1), None, lost).await?;
            }
            let mut call = Call::get(path(&["events"]));
            if let Some(last) = &self.last {
                call = call.header("last-event-id", last, true);
            }
            let reply = self.client.open(&call, &mut self.sent).await?;
            self.stream = Some(Open {
                body: reply.body,
                parser: Parser::default(),
            });
        }
        Ok(())
    }

    /// What happens next. A stream that ends is opened again where it ended.
    ///
    /// # Errors
    /// As [`Events::open`]; `ServerAnswerUnusable` for what is no event.
    pub async fn next(&mut self) -> Result<News, Problem> {
        loop {
            while let Some(event) = self.coming.pop_front() {
                if event.id.is_some() {
                    self.last.clone_from(&event.id);
                }
                if let Some(news) = self.understood(&event)? {
                    return Ok(news);
                }
            }
            self.open().await?;
            self.receive().await?;
        }
    }

    async fn receive(&mut self) -> Result<(), Problem> {
        let Some(open) = &mut self.stream else {
            return Ok(());
        };
        match open.body.next().await {
            Some(Ok(chunk)) => {
                self.sent = 0;
                let events = open.parser.push(&chunk);
                let too_long = "an event is too long";
                self.coming
                    .extend(events.map_err(|_| self.client.unusable(too_long))?);
            }
            // The service ends each stream after a while.
            None | Some(Err(SendError { lost: true, .. })) => {
                self.stream = None;
                self.ended = true;
            }
            Some(Err(error)) => return Err(*error.problem),
        }
        Ok(())
    }

    /// `None`: an event of a later version.
    fn understood(&self, event: &Event) -> Result<Option<News>, Problem> {
        #[derive(serde::Deserialize)]
        struct Removed {
            vm: VmId,
        }
        let data = &event.data;
        let news = match event.name.as_str() {
            "job" => serde_json::from_str(data).map(|job| News::Job(Box::new(job))),
            "item" => serde_json::from_str(data).map(|item| News::Item(Box::new(item))),
            "item-removed" => {
                serde_json::from_str(data).map(|Removed { vm }| News::ItemRemoved(vm))
            }
            "reset" => Ok(News::Reset),
            _ => return Ok(None),
        };
        let bad = |error| self.client.unusable(&format!("an event is none ({error})"));
        news.map(Some).map_err(bad)
    }
}
