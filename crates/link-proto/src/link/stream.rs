//! One stream: two directions, each with its credit and its end.

use std::collections::VecDeque;

use crate::error::{Error, ErrorKind, Misuse, Result};
use crate::limits::{PIECE, cost};
use crate::wire::{Failure, Kind};

/// What a call to [`super::Link::read`] finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// A piece of the body.
    Data(Vec<u8>),
    /// Nothing yet.
    Pending,
    /// The body is complete.
    End,
    /// The other end could not go on.
    Failed(Failure),
    /// The other end gave the stream up, or the link is over.
    Cancelled,
}

/// What a call to [`super::Link::reply`] finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Nothing yet.
    Pending,
    /// The answer's head, given once; with `body`, there is more to [`super::Link::read`].
    Answer {
        /// The head.
        head: Vec<u8>,
        /// Whether a body follows.
        body: bool,
    },
    /// The request failed.
    Failed(Failure),
    /// The other end gave the stream up, or the link is over.
    Cancelled,
}

/// The direction away from this end. Its frames leave in the order of its fields.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// A request or an answer.
    pub(super) head: Option<(Kind, Vec<u8>)>,
    /// Nothing follows the head.
    head_last: bool,
    /// A piece of the body, and how much of it is out.
    piece: Vec<u8>,
    at: usize,
    tail: Option<Tail>,
    /// No more may be written.
    closed: bool,
    /// The other end is to be told that its direction is not wanted, though this one is over.
    stop: bool,
    /// Its last frame is out.
    pub(super) ended: bool,
    credit: u32,
    total: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Tail {
    End,
    Failure(Vec<u8>),
    Cancel,
}

/// Takes a frame's kind, whether it is the last of its direction, and its body.
pub(super) type Put<'a> = dyn FnMut(Kind, bool, &[u8]) + 'a;

impl Outgoing {
    pub(super) fn new(credit: u32) -> Self {
        Self {
            head: None,
            head_last: false,
            piece: Vec::new(),
            at: 0,
            tail: None,
            closed: false,
            stop: false,
            ended: false,
            credit,
            total: 0,
        }
    }

    pub(super) fn begin(&mut self, kind: Kind, body: Vec<u8>, more: bool) {
        self.head = Some((kind, body));
        self.head_last = !more;
        self.closed = !more;
    }

    /// Whether more may be written.
    pub(super) const fn is_open(&self) -> bool {
        !self.closed
    }

    pub(super) fn write(&mut self, data: &[u8]) -> std::result::Result<usize, Misuse> {
        if self.closed {
            return Err(Misuse::StreamOver);
        }
        if !self.is_written() {
            return Ok(0);
        }
        let taken = data.len().min(PIECE);
        self.piece.clear();
        self.piece.extend_from_slice(&data[..taken]);
        self.at = 0;
        Ok(taken)
    }

    pub(super) fn is_written(&self) -> bool {
        self.at == self.piece.len()
    }

    pub(super) fn finish(&mut self) -> std::result::Result<(), Misuse> {
        self.close(Tail::End)
    }

    pub(super) fn fail(&mut self, body: Vec<u8>) -> std::result::Result<(), Misuse> {
        self.close(Tail::Failure(body))
    }

    fn close(&mut self, tail: Tail) -> std::result::Result<(), Misuse> {
        if self.closed {
            return Err(Misuse::StreamOver);
        }
        self.closed = true;
        self.tail = Some(tail);
        Ok(())
    }

    /// Gives it up: what has not left does not leave. A head that has not left goes all the same, so that
    /// the other end knows of the stream that is given up.
    pub(super) fn cancel(&mut self) {
        if self.ended {
            self.stop = true;
            return;
        }
        self.closed = true;
        self.head_last = false;
        self.piece = Vec::new();
        self.at = 0;
        self.tail = Some(Tail::Cancel);
    }

    /// Ends it for good without a word: its head never left.
    pub(super) fn vanish(&mut self) {
        self.cancel();
        self.head = None;
        self.tail = None;
        self.ended = true;
    }

    pub(super) fn grant(&mut self, amount: u32) -> Option<()> {
        self.credit = within(self.credit, amount)?;
        Some(())
    }

    /// Whether there is a frame that credit of the connection does not hold up.
    pub(super) fn is_ready(&self) -> bool {
        self.head.is_some()
            || (!self.is_written() && self.credit > cost(0))
            || (self.is_written() && self.tail.is_some())
            || self.stop
    }

    /// Puts out the next frame, if there is one. Data costs credit, of the stream and of the connection.
    pub(super) fn next(&mut self, connection: &mut u32, put: &mut Put<'_>) -> bool {
        if let Some((kind, body)) = self.head.take() {
            self.ended = self.head_last;
            put(kind, self.head_last, &body);
            return true;
        }
        if !self.is_written() {
            return self.next_piece(connection, put);
        }
        if std::mem::take(&mut self.stop) {
            put(Kind::Cancel, false, &[]);
            return true;
        }
        let Some(tail) = self.tail.take() else {
            return false;
        };
        self.ended = true;
        self.piece = Vec::new();
        self.at = 0;
        match tail {
            Tail::End => put(Kind::End, false, &self.total.to_le_bytes()),
            Tail::Failure(body) => put(Kind::Error, false, &body),
            Tail::Cancel => put(Kind::Cancel, false, &[]),
        }
        true
    }

    fn next_piece(&mut self, connection: &mut u32, put: &mut Put<'_>) -> bool {
        let credit = self.credit.min(*connection);
        let room = credit.saturating_sub(cost(0)) as usize;
        if room == 0 {
            return false;
        }
        let left = &self.piece[self.at..];
        let body = &left[..left.len().min(room)];
        put(Kind::Data, false, body);
        // Not more than there is of either, as it was cut.
        let spent = cost(body.len());
        self.at += body.len();
        self.total += body.len() as u64;
        self.credit -= spent;
        *connection -= spent;
        true
    }
}

/// How a direction ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    Complete,
    Failed(Failure),
    Cancelled,
}

/// The direction towards this end.
#[derive(Debug)]
pub(super) struct Incoming {
    queue: VecDeque<Vec<u8>>,
    pub(super) ending: Option<Ending>,
    /// What comes is thrown away.
    pub(super) unwanted: bool,
    /// What may still come.
    credit: u32,
    /// What was read and may come again once the other end is told.
    owed: u32,
    window: u32,
    total: u64,
}

impl Incoming {
    pub(super) const fn new(window: u32) -> Self {
        Self {
            queue: VecDeque::new(),
            ending: None,
            unwanted: false,
            credit: window,
            owed: 0,
            window,
            total: 0,
        }
    }

    pub(super) const fn is_over(&self) -> bool {
        self.ending.is_some()
    }

    /// Takes a piece in. Gives the bytes of it, with its header, that are thrown away at once.
    pub(super) fn take_in(&mut self, data: Vec<u8>, name: &str) -> Result<u32> {
        let spent = cost(data.len());
        self.credit = self
            .credit
            .checked_sub(spent)
            .ok_or_else(|| Error::new(ErrorKind::CreditExceeded, name))?;
        self.total += data.len() as u64;
        if self.unwanted {
            self.owed += spent;
            return Ok(spent);
        }
        self.queue.push_back(data);
        Ok(0)
    }

    pub(super) fn end(&mut self, body: &[u8], name: &str) -> Result<()> {
        let said = <[u8; 8]>::try_from(body).map(u64::from_le_bytes);
        match said {
            Ok(total) if total == self.total => self.ending = Some(Ending::Complete),
            Ok(_) => return Err(Error::new(ErrorKind::LengthMismatch, name)),
            Err(_) => return Err(Error::malformed(name)),
        }
        Ok(())
    }

    /// The next piece, and the credit that is free with it.
    pub(super) fn read(&mut self) -> (Read, u32) {
        if let Some(data) = self.queue.pop_front() {
            let freed = cost(data.len());
            self.owed += freed;
            return (Read::Data(data), freed);
        }
        let found = match &self.ending {
            None => Read::Pending,
            Some(Ending::Complete) => Read::End,
            Some(Ending::Failed(failure)) => Read::Failed(failure.clone()),
            Some(Ending::Cancelled) => Read::Cancelled,
        };
        (found, 0)
    }

    /// Nobody will read: gives the credit that is free with it.
    pub(super) fn discard(&mut self) -> u32 {
        self.unwanted = true;
        let freed = self.queue.drain(..).map(|data| cost(data.len())).sum();
        self.owed += freed;
        freed
    }

    /// Whether the other end should be told that more may come: not for every little piece.
    pub(super) const fn owes(&self) -> bool {
        self.ending.is_none() && self.owed >= self.window / 2
    }

    /// What it is to be told, when that leaves.
    pub(super) fn pay(&mut self) -> u32 {
        let owed = std::mem::take(&mut self.owed);
        self.credit += owed;
        owed
    }
}

/// A stream.
#[derive(Debug)]
pub(super) struct Stream {
    /// This end made the request.
    pub(super) ours: bool,
    pub(super) out: Outgoing,
    pub(super) inward: Incoming,
    /// Whether the answer's head has come (ours) or was given (theirs).
    pub(super) answered: bool,
    /// The head of the answer, until it is taken, and whether a body follows.
    pub(super) answer: Option<(Vec<u8>, bool)>,
    /// The caller has something of it in hand.
    pub(super) held: bool,
    /// It is in the queue of those with something to send.
    pub(super) queued: bool,
    /// It counts no more among the open ones.
    pub(super) settled: bool,
}

impl Stream {
    pub(super) fn new(ours: bool, credit: u32, window: u32) -> Self {
        Self {
            ours,
            out: Outgoing::new(credit),
            inward: Incoming::new(window),
            answered: false,
            answer: None,
            held: true,
            queued: false,
            settled: false,
        }
    }

    pub(super) const fn is_over(&self) -> bool {
        self.out.ended && self.inward.is_over() && !self.out.stop
    }
}

/// More credit, if there can be so much.
pub(super) fn within(credit: u32, amount: u32) -> Option<u32> {
    let sum = credit.checked_add(amount)?;
    (amount > 0 && sum <= crate::limits::CREDIT_MOST).then_some(sum)
}
