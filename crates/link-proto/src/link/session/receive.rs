//! What comes in, and whether it may.

use super::{Event, Request, Session};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{PONGS, cost};
use crate::link::stream::{Ending, Stream, within};
use crate::wire::{Failure, Frame, Kind, Notice, StreamId, failures, method_of};

impl Session {
    /// A frame of this session.
    pub(in crate::link) fn receive(&mut self, frame: Frame) -> Result<()> {
        let header = frame.header;
        if u16::from(header.version) != self.peer.version {
            return Err(Error::malformed("a frame's version"));
        }
        if header.sequence != self.received {
            let about = format!("number {} after {}", header.sequence, self.received);
            return Err(Error::new(ErrorKind::Sequence, about));
        }
        debug_assert_eq!(header.session, self.own_session);
        self.received = self.received.wrapping_add(1);
        match header.kind {
            // Not of a session.
            Kind::Hello | Kind::Reset => Ok(()),
            Kind::Ping => self.pinged(&frame),
            Kind::Pong => self.ponged(&frame),
            Kind::Goodbye => self.farewelled(&frame),
            Kind::Credit => self.credited(&frame),
            Kind::Request => self.requested(&frame),
            Kind::Answer => self.answered(frame),
            Kind::Data => self.data(frame),
            Kind::End | Kind::Error | Kind::Cancel => self.ended(&frame),
        }
    }

    fn pinged(&mut self, frame: &Frame) -> Result<()> {
        if self.pongs.len() >= PONGS {
            return Err(Error::new(ErrorKind::PingFlood, frame.name()));
        }
        self.pongs.push_back(number(frame)?);
        Ok(())
    }

    fn ponged(&mut self, frame: &Frame) -> Result<()> {
        if self.ping_sent != Some(number(frame)?) {
            return Err(out_of_order(frame));
        }
        self.ping_sent = None;
        self.tell(Event::Pong);
        Ok(())
    }

    fn farewelled(&mut self, frame: &Frame) -> Result<()> {
        if self.farewell.is_some() {
            return Err(out_of_order(frame));
        }
        let notice = Notice::decode(&frame.body, "a goodbye")?;
        // It is answered, so that both know that nothing more comes.
        self.goodbye(&Notice::new(notice.code, ""));
        self.farewell = Some(notice);
        for event in [Event::Goodbye, Event::Places, Event::Request] {
            self.tell(event);
        }
        Ok(())
    }

    fn credited(&mut self, frame: &Frame) -> Result<()> {
        let amount = <[u8; 4]>::try_from(frame.body.as_slice()).map(u32::from_le_bytes);
        let amount = amount.map_err(|_| Error::malformed("a credit"))?;
        let overflow = || Error::new(ErrorKind::CreditOverflow, frame.name());
        if frame.header.stream == 0 {
            self.credit_out = within(self.credit_out, amount).ok_or_else(overflow)?;
            return Ok(());
        }
        let id = StreamId(frame.header.stream);
        match self.streams.get_mut(&id) {
            Some(stream) => stream.out.grant(amount).ok_or_else(overflow)?,
            // It crossed the stream's end.
            None => return self.was_open(id, frame),
        }
        self.queue(id);
        Ok(())
    }

    fn requested(&mut self, frame: &Frame) -> Result<()> {
        let id = StreamId(frame.header.stream);
        if self.is_ours(id) || self.farewell.is_some() {
            return Err(out_of_order(frame));
        }
        if id.0 <= self.last_theirs {
            return Err(Error::new(ErrorKind::StreamReused, frame.name()));
        }
        if self.theirs >= usize::from(self.limits.streams) {
            return Err(Error::new(ErrorKind::TooManyStreams, frame.name()));
        }
        let (method, head) = method_of(&frame.body)?;
        self.last_theirs = id.0;
        self.theirs += 1;
        let mut stream = self.new_stream(false);
        if frame.header.last {
            stream.inward.ending = Some(Ending::Complete);
        }
        self.streams.insert(id, stream);
        if self.leaving {
            // It crossed our goodbye. Nobody has looked at it, so it may be asked again elsewhere.
            let failure = Failure::new(failures::LEAVING, "this end takes no new requests");
            let failed = self.fail(id, &failure);
            debug_assert!(failed.is_ok());
            self.release(id);
            return Ok(());
        }
        self.requests.push_back(Request {
            stream: id,
            method: method.to_owned(),
            head: head.to_vec(),
            body: !frame.header.last,
        });
        self.tell(Event::Request);
        Ok(())
    }

    fn answered(&mut self, frame: Frame) -> Result<()> {
        let (id, name) = (StreamId(frame.header.stream), frame.name());
        let last = frame.header.last;
        let stream = self.open_inward(&frame)?;
        if !stream.ours || stream.answered {
            return Err(Error::new(ErrorKind::OutOfOrder, name));
        }
        stream.answered = true;
        if !stream.inward.unwanted {
            stream.answer = Some((frame.body, !last));
        }
        if last {
            self.inward_over(id, Ending::Complete);
        }
        self.tell(Event::Stream(id));
        Ok(())
    }

    fn data(&mut self, frame: Frame) -> Result<()> {
        let (id, name) = (StreamId(frame.header.stream), frame.name());
        self.open_inward(&frame)?;
        if frame.body.is_empty() {
            return Err(Error::malformed(&name));
        }
        self.credit_in = self
            .credit_in
            .checked_sub(cost(frame.body.len()))
            .ok_or_else(|| Error::new(ErrorKind::CreditExceeded, name.clone()))?;
        let stream = self.open_inward(&frame)?;
        if stream.ours && !stream.answered {
            return Err(Error::new(ErrorKind::OutOfOrder, name));
        }
        let freed = stream.inward.take_in(frame.body, &name)?;
        if freed > 0 && stream.inward.owes() {
            self.owing.insert(id);
        }
        self.owed += freed;
        self.tell(Event::Stream(id));
        Ok(())
    }

    fn ended(&mut self, frame: &Frame) -> Result<()> {
        let (id, name) = (StreamId(frame.header.stream), frame.name());
        if frame.header.kind == Kind::Cancel {
            return self.cancelled(id, frame);
        }
        let stream = self.open_inward(frame)?;
        let ending = if frame.header.kind == Kind::Error {
            Ending::Failed(Failure::decode(&frame.body)?)
        } else {
            if stream.ours && !stream.answered {
                return Err(Error::new(ErrorKind::OutOfOrder, name));
            }
            stream.inward.end(&frame.body, &name)?;
            Ending::Complete
        };
        self.inward_over(id, ending);
        Ok(())
    }

    fn cancelled(&mut self, id: StreamId, frame: &Frame) -> Result<()> {
        if !frame.body.is_empty() {
            return Err(Error::malformed("a cancel"));
        }
        let Some(stream) = self.streams.get_mut(&id) else {
            return self.was_open(id, frame);
        };
        let theirs = !stream.ours;
        // What came before it is not worth reading any more, even where it was complete.
        if theirs || !stream.inward.is_over() {
            self.inward_over(id, Ending::Cancelled);
        }
        if theirs {
            self.discard(id);
            self.forget_request(id);
        }
        Ok(())
    }

    /// A request that was given up before anybody took it is not handed out.
    fn forget_request(&mut self, id: StreamId) {
        let before = self.requests.len();
        self.requests.retain(|request| request.stream != id);
        if self.requests.len() < before {
            self.release(id);
        }
    }

    fn inward_over(&mut self, id: StreamId, ending: Ending) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.inward.ending = Some(ending);
            // The end of an answer is the end of its call.
            if stream.ours && !stream.out.ended {
                stream.out.cancel();
            }
        }
        self.owing.remove(&id);
        self.queue(id);
        self.settle(id);
        self.tell(Event::Stream(id));
    }

    /// The stream that a frame belongs to, while its direction is open.
    fn open_inward(&mut self, frame: &Frame) -> Result<&mut Stream> {
        let id = StreamId(frame.header.stream);
        let known = self.streams.get(&id);
        if known.is_none_or(|stream| stream.inward.is_over()) {
            self.was_open(id, frame)?;
            return Err(Error::new(ErrorKind::StreamClosed, frame.name()));
        }
        match self.streams.get_mut(&id) {
            Some(stream) => Ok(stream),
            None => Err(Error::new(ErrorKind::StreamUnknown, frame.name())),
        }
    }

    /// Whether there was such a stream.
    fn was_open(&self, id: StreamId, frame: &Frame) -> Result<()> {
        let last = if self.is_ours(id) {
            self.last_ours
        } else {
            self.last_theirs
        };
        if id.0 <= last {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::StreamUnknown, frame.name()))
        }
    }

    const fn is_ours(&self, id: StreamId) -> bool {
        (id.0 % 2 == 1) == self.odd
    }
}

fn number(frame: &Frame) -> Result<u64> {
    let number = <[u8; 8]>::try_from(frame.body.as_slice());
    number
        .map(u64::from_le_bytes)
        .map_err(|_| Error::malformed(&frame.name()))
}

fn out_of_order(frame: &Frame) -> Error {
    Error::new(ErrorKind::OutOfOrder, frame.name())
}
