//! One end of a link: greeting, then a session of streams. Bytes in, bytes out.
//!
//! A driver (crate `tresor-channel`) does three things, in any order and in one task: it gives what it
//! has read to [`Link::receive`]; it writes what [`Link::output`] gives; it tells whoever waits of each
//! [`Event`]. Everything else is calls that never wait: they say that there is nothing yet, or no room
//! yet, and an event says when to ask again.
//!
//! Input is never refused for want of room: what may come is bounded by the streams and the credit that
//! were given. Credit is given when its frame is put out, not before, and a stream's place is free when
//! its last frame is put out: so an end that does not read gets no more than one that does.

mod greeting;
mod session;
mod stream;

use greeting::{Greeting, Heard};
use session::Session;

pub use greeting::{Own, Peer};
pub use session::Request;
pub use stream::{Read, Reply};

use crate::error::{Error, ErrorKind, Misuse, Result};
use crate::wire::{Decoder, Failure, Frame, Header, Kind, Notice, StreamId, codes};

/// What has become of what somebody may be waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The greeting is over: [`Link::peer`] says who is there.
    Open,
    /// Something has changed for a stream: an answer, data, an end, or room for more.
    Stream(StreamId),
    /// A stream's place is free, or no new one will ever be: ask for a stream again.
    Places,
    /// [`Link::accept`] has a request, or never will have one again.
    Request,
    /// A ping was answered.
    Pong,
    /// The other end said goodbye.
    Goodbye,
}

#[derive(Debug)]
enum State {
    Greeting,
    Open(Box<Session>),
    Over(Error),
}

/// One end.
#[derive(Debug)]
pub struct Link {
    greeting: Greeting,
    decoder: Decoder,
    state: State,
    /// The last frame of all.
    reset: Option<Frame>,
    /// The other end's goodbye, once the session that heard it is over.
    farewell: Option<Notice>,
}

impl Link {
    /// An end that has yet to greet. A session's number is used once: `own.session` is random.
    /// Numbers and limits out of range are brought into it.
    #[must_use]
    pub fn new(own: Own) -> Self {
        Self {
            greeting: Greeting::new(own),
            decoder: Decoder::default(),
            state: State::Greeting,
            reset: None,
            farewell: None,
        }
    }

    /// Takes what was read: all of it, or up to the first error.
    ///
    /// # Errors
    /// The end of the link. The output has one more frame, which says so to the other end.
    pub fn receive(&mut self, mut input: &[u8]) -> Result<()> {
        if let State::Over(error) = &self.state {
            return Err(error.clone());
        }
        let received = self.take_in(&mut input);
        if let Err(error) = &received {
            self.over(error.clone());
        }
        received
    }

    fn take_in(&mut self, input: &mut &[u8]) -> Result<()> {
        while let Some(frame) = self.decoder.next(input)? {
            match &mut self.state {
                State::Greeting => self.greeted(&frame)?,
                State::Open(session) if frame.header.kind == Kind::Hello => {
                    self.greeting.again(session.peer(), &frame)?;
                }
                State::Open(_) if frame.header.session != self.greeting.session() => {}
                State::Open(_) if frame.header.kind == Kind::Reset => return Err(told(&frame)),
                State::Open(session) => session.receive(frame)?,
                State::Over(_) => break,
            }
        }
        Ok(())
    }

    fn greeted(&mut self, frame: &Frame) -> Result<()> {
        match frame.header.kind {
            Kind::Reset if frame.header.session == self.greeting.session() => Err(told(frame)),
            Kind::Hello => {
                if let Heard::Met(peer) = self.greeting.hear(frame)? {
                    self.decoder.in_step();
                    self.state = State::Open(Box::new(Session::new(self.greeting.own(), peer)));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Ends the link from this side, at once: calls fail, and the output is one last frame.
    pub fn reset(&mut self, notice: &Notice) {
        let error = Error::new(ErrorKind::BrokenOff, notice.text.clone());
        self.end(error, notice);
    }

    fn over(&mut self, error: Error) {
        let code = match error.kind() {
            ErrorKind::VersionRefused { .. } => codes::VERSION,
            ErrorKind::RoleRefused { .. } => codes::ROLE,
            _ => codes::VIOLATION,
        };
        let notice = Notice::new(code, error.to_string());
        self.end(error, &notice);
    }

    fn end(&mut self, error: Error, notice: &Notice) {
        let told_by_peer = matches!(error.kind(), ErrorKind::PeerReset { .. });
        let peer = match &self.state {
            State::Open(session) => Some(session.peer().session),
            _ => self.greeting.heard(),
        };
        if let (Some(session), false) = (peer, told_by_peer) {
            self.reset = Some(reset_frame(session, notice));
        }
        if !matches!(self.state, State::Over(_)) {
            self.farewell = self.farewell().cloned();
            self.state = State::Over(error);
        }
    }

    /// Appends what has to be sent, until `out` holds `room` bytes or more. A frame is never cut.
    pub fn output(&mut self, out: &mut Vec<u8>, room: usize) {
        if let State::Over(_) = self.state {
            out.extend(self.reset.take().iter().flat_map(Frame::encode));
            return;
        }
        if let Some(hello) = self.greeting.output() {
            out.extend_from_slice(&hello.encode());
        }
        if let State::Open(session) = &mut self.state {
            session.output(out, room);
        }
    }

    /// Whether there may be something to be sent.
    #[must_use]
    pub fn has_output(&self) -> bool {
        match &self.state {
            State::Greeting => self.greeting.has_output(),
            State::Open(session) => self.greeting.has_output() || session.has_output(),
            State::Over(_) => self.reset.is_some(),
        }
    }

    /// Greets again: the first greeting may have come before anybody was there. To be called at
    /// intervals until [`Event::Open`].
    pub fn greet(&mut self) {
        if matches!(self.state, State::Greeting) {
            self.greeting.repeat();
        }
    }

    /// The next event.
    pub fn event(&mut self) -> Option<Event> {
        match &mut self.state {
            State::Open(session) => session.event(),
            _ => None,
        }
    }

    /// Who is there, when the greeting is over.
    #[must_use]
    pub fn peer(&self) -> Option<&Peer> {
        match &self.state {
            State::Open(session) => Some(session.peer()),
            _ => None,
        }
    }

    /// Bytes that were passed over before the greeting.
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.decoder.skipped()
    }

    /// Opens a stream with a request; with `body`, data follows.
    ///
    /// # Errors
    /// [`Misuse::StreamsTaken`] until [`Event::Places`]; others for good.
    pub fn request(
        &mut self,
        method: &str,
        head: &[u8],
        body: bool,
    ) -> std::result::Result<StreamId, Misuse> {
        self.session()?.request(method, head, body)
    }

    /// The oldest request that nobody has taken.
    pub fn accept(&mut self) -> Option<Request> {
        self.session().ok()?.accept()
    }

    /// Whether requests may still come.
    #[must_use]
    pub fn may_accept(&self) -> bool {
        match &self.state {
            State::Greeting => true,
            State::Open(session) => session.may_accept(),
            State::Over(_) => false,
        }
    }

    /// Answers a request; with `body`, data follows. Without, the request's body is no longer wanted.
    ///
    /// # Errors
    /// [`Misuse::StreamOver`] when it was answered or given up before; [`Misuse::TooLarge`].
    pub fn answer(
        &mut self,
        stream: StreamId,
        head: &[u8],
        body: bool,
    ) -> std::result::Result<(), Misuse> {
        self.session()?.answer(stream, head, body)
    }

    /// Ends this end's direction of a stream with a failure: a request's answer, or in the middle of a body.
    ///
    /// # Errors
    /// As [`Link::answer`].
    pub fn fail(&mut self, stream: StreamId, failure: &Failure) -> std::result::Result<(), Misuse> {
        self.session()?.fail(stream, failure)
    }

    /// Takes a piece of a body to be sent: how many bytes of it, 0 until the piece before is out.
    ///
    /// # Errors
    /// [`Misuse::StreamOver`] when the other end wants no more.
    pub fn write(&mut self, stream: StreamId, data: &[u8]) -> std::result::Result<usize, Misuse> {
        self.session()?.write(stream, data)
    }

    /// Whether everything that was written to a stream has been put out.
    #[must_use]
    pub fn is_written(&self, stream: StreamId) -> bool {
        match &self.state {
            State::Open(session) => session.is_written(stream),
            _ => false,
        }
    }

    /// Ends a body. A complete answer ends its stream: the request's body is no longer wanted.
    ///
    /// # Errors
    /// [`Misuse::StreamOver`] as for [`Link::write`].
    pub fn finish(&mut self, stream: StreamId) -> std::result::Result<(), Misuse> {
        self.session()?.finish(stream)
    }

    /// What has come of the answer to a request of this end.
    pub fn reply(&mut self, stream: StreamId) -> Reply {
        match self.session() {
            Ok(session) => session.reply(stream),
            Err(_) => Reply::Cancelled,
        }
    }

    /// The next piece of a stream's body. What is read may be sent anew by the other end.
    pub fn read(&mut self, stream: StreamId) -> Read {
        match self.session() {
            Ok(session) => session.read(stream),
            Err(_) => Read::Cancelled,
        }
    }

    /// Nobody will read a stream's body: what has come and what still comes of it is thrown away.
    pub fn ignore(&mut self, stream: StreamId) {
        if let Ok(session) = self.session() {
            session.discard(stream);
        }
    }

    /// Whether the other end has given the stream up.
    #[must_use]
    pub fn is_cancelled(&self, stream: StreamId) -> bool {
        match &self.state {
            State::Open(session) => session.is_cancelled(stream),
            _ => true,
        }
    }

    /// The caller lets go of a stream: what is unfinished is cancelled, what is finished is sent.
    pub fn release(&mut self, stream: StreamId) {
        if let Ok(session) = self.session() {
            session.release(stream);
        }
    }

    /// Asks whether the other end is there; false while an earlier ping is unanswered.
    pub fn ping(&mut self) -> bool {
        self.session().is_ok_and(Session::ping)
    }

    /// Whether a ping is unanswered.
    #[must_use]
    pub fn awaits_pong(&self) -> bool {
        matches!(&self.state, State::Open(session) if session.awaits_pong())
    }

    /// Says goodbye: no new requests from either end, and what is under way goes on.
    pub fn goodbye(&mut self, notice: &Notice) {
        if let Ok(session) = self.session() {
            session.goodbye(notice);
        }
    }

    /// Why the other end said goodbye, if it has; known also when the link is over.
    #[must_use]
    pub fn farewell(&self) -> Option<&Notice> {
        match &self.state {
            State::Open(session) => session.farewell(),
            _ => self.farewell.as_ref(),
        }
    }

    /// Whether both ends said goodbye and nothing is under way: the stream below may be closed.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        matches!(&self.state, State::Open(session) if session.is_drained())
    }

    /// Why the link is over, if it is.
    #[must_use]
    pub fn ended(&self) -> Option<&Error> {
        match &self.state {
            State::Over(error) => Some(error),
            _ => None,
        }
    }

    fn session(&mut self) -> std::result::Result<&mut Session, Misuse> {
        match &mut self.state {
            State::Open(session) => Ok(session),
            _ => Err(Misuse::NotOpen),
        }
    }
}

fn told(frame: &Frame) -> Error {
    match Notice::decode(&frame.body, "a reset") {
        Ok(Notice { code, text }) => Error::new(ErrorKind::PeerReset { code }, text),
        Err(error) => error,
    }
}

fn reset_frame(session: u64, notice: &Notice) -> Frame {
    let body = notice.encode();
    let header = Header {
        version: 1,
        kind: Kind::Reset,
        last: false,
        session,
        stream: 0,
        sequence: 0,
        length: u32::try_from(body.len()).unwrap_or(u32::MAX),
    };
    Frame { header, body }
}
