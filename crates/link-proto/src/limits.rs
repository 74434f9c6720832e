//! Bounds that both ends keep, and those that an end chooses for itself (invariant I8).

/// Bytes of a frame's header.
pub const HEADER_LEN: usize = 32;
/// Bytes of the check behind a body.
pub const TRAILER_LEN: usize = 4;
/// Most bytes of a greeting's body. Small: while an end looks for a greeting in what an earlier peer
/// left in the pipe, a cut-off one makes it wait for so much.
pub const HELLO_LIMIT: usize = 1 << 10;
/// Most bytes of the body of every frame but greetings and data.
pub const CONTROL_LIMIT: usize = 64 << 10;
/// Most bytes of data in a frame.
pub const DATA_LIMIT: usize = 256 << 10;
/// Bytes that this program puts into a frame of data: others wait no longer than for so much.
pub const PIECE: usize = 64 << 10;
/// Most bytes of a method's name.
pub const METHOD_LIMIT: usize = 64;
/// Most bytes of a program's version.
pub const PROGRAM_LIMIT: usize = 64;
/// Most bytes of a notice's text.
pub const TEXT_LIMIT: usize = 512;
/// Most fields of a failure.
pub const FIELDS_LIMIT: usize = 64;
/// Most bytes of a failure's code.
pub const CODE_LIMIT: usize = 64;
/// Most streams that an end may allow the other one.
pub const STREAMS_LIMIT: u16 = 1024;
/// Least credit that an end may begin with: less would make every frame wait for an answer.
pub const CREDIT_LEAST: u32 = 64 << 10;
/// Most credit that may ever be outstanding.
pub const CREDIT_MOST: u32 = 1 << 30;
/// Pings that may wait for their answer to be sent.
pub const PONGS: usize = 8;

/// Lowest and highest version of the protocol that this program speaks.
pub const VERSIONS: (u16, u16) = (1, 1);

/// What an end is willing to keep for the other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Streams that the other end may have open at once.
    pub streams: u16,
    /// Bytes of data, with their headers, that one stream may hold unread.
    pub stream_credit: u32,
    /// The same for all streams together.
    pub connection_credit: u32,
}

impl Limits {
    /// For the service and for hosts: a stream fills a link of 1 Gbit/s with 8 ms of delay, and
    /// thirty streams that nobody reads leave room for others.
    pub const LARGE: Self = Self {
        streams: 128,
        stream_credit: 1 << 20,
        connection_credit: 32 << 20,
    };
    /// For the agent in a guest, whose memory is the guest's.
    pub const SMALL: Self = Self {
        streams: 16,
        stream_credit: 128 << 10,
        connection_credit: 512 << 10,
    };

    /// Whether they are within what the protocol allows.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let credit = CREDIT_LEAST..=CREDIT_MOST;
        (1..=STREAMS_LIMIT).contains(&self.streams)
            && credit.contains(&self.stream_credit)
            && credit.contains(&self.connection_credit)
    }
}

/// What a body of data costs in credit: its frame, so that many small ones are not kept for nothing.
#[must_use]
pub(crate) fn cost(body: usize) -> u32 {
    u32::try_from(body + HEADER_LEN).unwrap_or(u32::MAX)
}
