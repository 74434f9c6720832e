//! What leaves next. First what the other end waits for in order to go on (pongs, credit), then
//! requests in the order of their numbers, then a frame of each stream in turn: a stream with much to
//! send holds nobody up, and one that may not send is passed over.

use super::{Event, Session, StreamId};
use crate::wire::{Header, Kind, encode};

impl Session {
    pub(in crate::link) fn output(&mut self, out: &mut Vec<u8>, room: usize) {
        self.control(out, room);
        while out.len() < room {
            let Some(id) = self.opening.pop_front() else {
                break;
            };
            self.put_next(id, out);
            self.queue(id);
            self.settle(id);
        }
        if self.opening.is_empty()
            && let Some(body) = self.goodbye_due.take()
        {
            self.put(out, Kind::Goodbye, 0, &body);
            self.said_goodbye = true;
        }
        // Streams that the connection's credit holds up keep their turn.
        let mut waiting = 0;
        while out.len() < room && waiting < self.turns.len() {
            let Some(id) = self.turns.pop_front() else {
                break;
            };
            if self.put_next(id, out) {
                waiting = 0;
                self.after_turn(id);
            } else if self.is_ready(id) {
                waiting += 1;
                self.turns.push_back(id);
            } else if let Some(stream) = self.streams.get_mut(&id) {
                stream.queued = false;
            }
        }
    }

    /// Whether there may be something: what the connection's credit holds up counts as well.
    pub(in crate::link) fn has_output(&self) -> bool {
        !self.pongs.is_empty()
            || self.ping_due.is_some()
            || self.owes()
            || !self.owing.is_empty()
            || !self.opening.is_empty()
            || self.goodbye_due.is_some()
            || !self.turns.is_empty()
    }

    fn control(&mut self, out: &mut Vec<u8>, room: usize) {
        while out.len() < room
            && let Some(number) = self.pongs.pop_front()
        {
            self.put(out, Kind::Pong, 0, &number.to_le_bytes());
        }
        if let Some(number) = self.ping_due.take() {
            self.put(out, Kind::Ping, 0, &number.to_le_bytes());
            self.ping_sent = Some(number);
        }
        if self.owes() {
            let owed = std::mem::take(&mut self.owed);
            self.credit_in += owed;
            self.put(out, Kind::Credit, 0, &owed.to_le_bytes());
        }
        while out.len() < room
            && let Some(id) = self.owing.pop_first()
        {
            let stream = self.streams.get_mut(&id);
            let owing = stream.filter(|stream| stream.inward.owes());
            if let Some(owed) = owing.map(|stream| stream.inward.pay()) {
                self.put(out, Kind::Credit, id.0, &owed.to_le_bytes());
            }
        }
    }

    /// Credit of the connection is given in steps of a quarter; in small ones when little is left, because
    /// unread data of other streams may hold the rest.
    const fn owes(&self) -> bool {
        let all = self.limits.connection_credit;
        self.owed >= all / 4 || (self.credit_in < all / 4 && self.owed >= all / 32)
    }

    fn is_ready(&self, id: StreamId) -> bool {
        let stream = self.streams.get(&id);
        stream.is_some_and(|stream| stream.out.is_ready())
    }

    /// A frame of the stream, if it has one that may leave.
    fn put_next(&mut self, id: StreamId, out: &mut Vec<u8>) -> bool {
        let (version, session) = self.address();
        let (sent, credit) = (&mut self.sent, &mut self.credit_out);
        let Some(stream) = self.streams.get_mut(&id) else {
            return false;
        };
        stream.out.next(credit, &mut |kind, last, body| {
            let header = Header {
                version,
                kind,
                last,
                session,
                stream: id.0,
                sequence: *sent,
                length: 0,
            };
            *sent = sent.wrapping_add(1);
            encode(out, header, body);
        })
    }

    /// It goes to the end of the queue, or out of it.
    fn after_turn(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.queued = false;
        if stream.out.is_written() {
            self.tell(Event::Stream(id));
        }
        self.queue(id);
        self.settle(id);
    }

    fn put(&mut self, out: &mut Vec<u8>, kind: Kind, stream: u32, body: &[u8]) {
        let (version, session) = self.address();
        let header = Header {
            version,
            kind,
            last: false,
            session,
            stream,
            sequence: self.sent,
            length: 0,
        };
        self.sent = self.sent.wrapping_add(1);
        encode(out, header, body);
    }

    /// The version that was agreed on, and the number that the other end knows its frames by.
    fn address(&self) -> (u8, u64) {
        let version = u8::try_from(self.peer.version).unwrap_or(u8::MAX);
        (version, self.peer.session)
    }
}
