//! A session: what goes on between two ends that know each other. The rules are in
//! docs/protocol/link.md, "Streams" and "Credit".

mod output;
mod receive;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::stream::{Ending, Read, Reply, Stream};
use super::{Event, Own, Peer};
use crate::error::Misuse;
use crate::limits::{CONTROL_LIMIT, Limits};
use crate::wire::{Failure, Kind, Notice, StreamId, request_body};

/// A request of the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its stream.
    pub stream: StreamId,
    /// What is asked for.
    pub method: String,
    /// The head.
    pub head: Vec<u8>,
    /// Whether a body follows.
    pub body: bool,
}

#[derive(Debug)]
pub(super) struct Session {
    limits: Limits,
    /// This end opens odd streams.
    odd: bool,
    own_session: u64,
    peer: Peer,
    streams: BTreeMap<StreamId, Stream>,
    /// Open streams of this end and of the other one.
    ours: usize,
    theirs: usize,
    /// The numbers that were used last.
    last_ours: u32,
    last_theirs: u32,
    /// Requests that nobody has taken.
    requests: VecDeque<Request>,
    events: VecDeque<Event>,

    /// Frames of the session that went out and came in.
    sent: u32,
    received: u32,
    /// Data that may go out, that may come in, and that may come in once the other end is told.
    credit_out: u32,
    credit_in: u32,
    owed: u32,

    /// Pings to be answered, this end's ping to be sent, the one that is unanswered.
    pongs: VecDeque<u64>,
    ping_due: Option<u64>,
    ping_sent: Option<u64>,
    pings: u64,
    /// Streams whose request is to be sent, in the order of their numbers.
    opening: VecDeque<StreamId>,
    /// Streams with something to be sent, each once: they take turns.
    turns: VecDeque<StreamId>,
    /// Streams for which credit is to be given.
    owing: BTreeSet<StreamId>,

    goodbye_due: Option<Vec<u8>>,
    /// This end takes no new requests; it has said so.
    leaving: bool,
    said_goodbye: bool,
    farewell: Option<Notice>,
}

impl Session {
    pub(super) fn new(own: &Own, peer: Peer) -> Self {
        Self {
            limits: own.limits,
            odd: own.role < peer.role,
            own_session: own.session,
            streams: BTreeMap::new(),
            ours: 0,
            theirs: 0,
            last_ours: 0,
            last_theirs: 0,
            requests: VecDeque::new(),
            events: VecDeque::from([Event::Open]),
            sent: 0,
            received: 0,
            credit_out: peer.limits.connection_credit,
            credit_in: own.limits.connection_credit,
            owed: 0,
            pongs: VecDeque::new(),
            ping_due: None,
            ping_sent: None,
            pings: 0,
            opening: VecDeque::new(),
            turns: VecDeque::new(),
            owing: BTreeSet::new(),
            goodbye_due: None,
            leaving: false,
            said_goodbye: false,
            farewell: None,
            peer,
        }
    }

    pub(super) const fn peer(&self) -> &Peer {
        &self.peer
    }

    pub(super) fn event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn tell(&mut self, event: Event) {
        if self.events.back() != Some(&event) {
            self.events.push_back(event);
        }
    }

    // ---- requests of this end

    pub(super) fn request(
        &mut self,
        method: &str,
        head: &[u8],
        more: bool,
    ) -> Result<StreamId, Misuse> {
        let body = request_body(method, head)?;
        if self.leaving || self.farewell.is_some() {
            return Err(Misuse::Leaving);
        }
        if self.ours >= usize::from(self.peer.limits.streams) {
            return Err(Misuse::StreamsTaken);
        }
        let first = if self.odd { 1 } else { 2 };
        let number = match self.last_ours {
            0 => first,
            last => last.checked_add(2).ok_or(Misuse::Leaving)?,
        };
        self.last_ours = number;
        self.ours += 1;
        let id = StreamId(number);
        let mut stream = self.new_stream(true);
        stream.out.begin(Kind::Request, body, more);
        self.streams.insert(id, stream);
        self.opening.push_back(id);
        Ok(id)
    }

    fn new_stream(&self, ours: bool) -> Stream {
        Stream::new(
            ours,
            self.peer.limits.stream_credit,
            self.limits.stream_credit,
        )
    }

    pub(super) fn reply(&mut self, id: StreamId) -> Reply {
        let stream = self.streams.get_mut(&id);
        let Some(stream) = stream.filter(|stream| stream.ours && stream.held) else {
            return Reply::Cancelled;
        };
        if let Some((head, body)) = stream.answer.take() {
            return Reply::Answer { head, body };
        }
        if stream.answered {
            return Reply::Pending;
        }
        match stream.inward.read().0 {
            Read::Failed(failure) => Reply::Failed(failure),
            Read::Pending => Reply::Pending,
            Read::Data(_) | Read::End | Read::Cancelled => Reply::Cancelled,
        }
    }

    // ---- requests of the other end

    pub(super) fn accept(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    pub(super) fn may_accept(&self) -> bool {
        !self.requests.is_empty() || (!self.leaving && self.farewell.is_none())
    }

    pub(super) fn answer(&mut self, id: StreamId, head: &[u8], more: bool) -> Result<(), Misuse> {
        if head.len() > CONTROL_LIMIT {
            return Err(Misuse::TooLarge);
        }
        let stream = self.streams.get_mut(&id).ok_or(Misuse::StreamOver)?;
        if stream.ours || stream.answered || !stream.out.is_open() {
            return Err(Misuse::StreamOver);
        }
        stream.answered = true;
        stream.out.begin(Kind::Answer, head.to_vec(), more);
        if !more {
            self.discard(id);
        }
        self.queue(id);
        Ok(())
    }

    pub(super) fn fail(&mut self, id: StreamId, failure: &Failure) -> Result<(), Misuse> {
        let body = failure.encode()?;
        let stream = self.streams.get_mut(&id).ok_or(Misuse::StreamOver)?;
        stream.out.fail(body)?;
        if !stream.ours {
            self.discard(id);
        }
        self.queue(id);
        Ok(())
    }

    // ---- bodies

    pub(super) fn write(&mut self, id: StreamId, data: &[u8]) -> Result<usize, Misuse> {
        let stream = self.streams.get_mut(&id).ok_or(Misuse::StreamOver)?;
        if !stream.ours && !stream.answered {
            return Err(Misuse::StreamOver);
        }
        let taken = stream.out.write(data)?;
        if taken > 0 {
            self.queue(id);
        }
        Ok(taken)
    }

    pub(super) fn is_written(&self, id: StreamId) -> bool {
        let stream = self.streams.get(&id);
        stream.is_some_and(|stream| stream.out.is_written())
    }

    pub(super) fn finish(&mut self, id: StreamId) -> Result<(), Misuse> {
        let stream = self.streams.get_mut(&id).ok_or(Misuse::StreamOver)?;
        if !stream.ours && !stream.answered {
            return Err(Misuse::StreamOver);
        }
        stream.out.finish()?;
        if !stream.ours {
            self.discard(id);
        }
        self.queue(id);
        Ok(())
    }

    pub(super) fn read(&mut self, id: StreamId) -> Read {
        let stream = self.streams.get_mut(&id);
        let Some(stream) = stream.filter(|stream| stream.held) else {
            return Read::Cancelled;
        };
        let (found, freed) = stream.inward.read();
        if stream.inward.owes() {
            self.owing.insert(id);
        }
        self.owed += freed;
        found
    }

    pub(super) fn discard(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id) {
            self.owed += stream.inward.discard();
            if stream.inward.owes() {
                self.owing.insert(id);
            }
        }
    }

    pub(super) fn is_cancelled(&self, id: StreamId) -> bool {
        let stream = self.streams.get(&id);
        stream.is_none_or(|stream| stream.inward.ending == Some(Ending::Cancelled))
    }

    // ---- ends

    pub(super) fn release(&mut self, id: StreamId) {
        self.discard(id);
        let stream = self.streams.get_mut(&id);
        let Some(stream) = stream.filter(|stream| stream.held) else {
            return;
        };
        stream.held = false;
        stream.answer = None;
        let unsent = stream.ours && stream.out.head.is_some();
        if unsent {
            stream.out.vanish();
            stream.inward.ending = Some(Ending::Cancelled);
            self.opening.retain(|waiting| *waiting != id);
        } else if stream.out.is_open() || (stream.ours && !stream.inward.is_over()) {
            stream.out.cancel();
        }
        // For those who have another part of it in hand.
        self.tell(Event::Stream(id));
        self.queue(id);
        self.settle(id);
    }

    /// Gives a stream its turn.
    fn queue(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id) {
            // A request leaves by its own queue, before everything else of its stream.
            let opening = stream.ours && stream.out.head.is_some();
            if stream.out.is_ready() && !stream.queued && !opening {
                stream.queued = true;
                self.turns.push_back(id);
            }
        }
    }

    /// Counts a stream no more when both directions are over, and forgets it when nobody holds it.
    fn settle(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if !stream.is_over() {
            return;
        }
        if !stream.settled {
            stream.settled = true;
            if stream.ours {
                self.ours -= 1;
                self.tell(Event::Places);
            } else {
                self.theirs -= 1;
            }
        }
        if self.streams.get(&id).is_some_and(|stream| !stream.held) {
            self.streams.remove(&id);
        }
    }

    // ---- the connection

    pub(super) fn ping(&mut self) -> bool {
        let free = !self.awaits_pong();
        if free {
            self.pings += 1;
            self.ping_due = Some(self.pings);
        }
        free
    }

    pub(super) const fn awaits_pong(&self) -> bool {
        self.ping_due.is_some() || self.ping_sent.is_some()
    }

    pub(super) fn goodbye(&mut self, notice: &Notice) {
        if !self.leaving {
            self.leaving = true;
            self.goodbye_due = Some(notice.encode());
            self.tell(Event::Places);
            self.tell(Event::Request);
        }
    }

    pub(super) const fn farewell(&self) -> Option<&Notice> {
        self.farewell.as_ref()
    }

    pub(super) fn is_drained(&self) -> bool {
        self.said_goodbye && self.farewell.is_some() && self.ours + self.theirs == 0
    }
}
