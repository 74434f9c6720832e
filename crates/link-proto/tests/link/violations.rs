//! A peer that knows the protocol and does not keep to it: each violation has its error, and the peer
//! is told.

use tresor_link_proto::{Error, ErrorKind, Frame, Header, Kind, Link, Read, codes};

use crate::pair::{HOST, SERVICE, TIGHT, host, output, pump, service};

/// A service, and the frames of a host that says what it likes.
struct Hostile {
    link: Link,
    sequence: u32,
}

impl Hostile {
    fn new() -> Self {
        let (mut link, mut host) = (Link::new(service()), Link::new(host()));
        pump(&mut link, &mut host).unwrap();
        Self { link, sequence: 0 }
    }

    fn send(&mut self, kind: Kind, stream: u32, last: bool, body: &[u8]) -> Result<(), Error> {
        let header = Header {
            version: 1,
            kind,
            last,
            session: SERVICE,
            stream,
            sequence: self.sequence,
            length: u32::try_from(body.len()).unwrap(),
        };
        self.sequence += 1;
        let body = body.to_vec();
        self.link.receive(&Frame { header, body }.encode())
    }

    fn request(&mut self, stream: u32, last: bool) -> Result<(), Error> {
        self.send(Kind::Request, stream, last, b"\x01x{}")
    }
}

type Act = fn(&mut Hostile) -> Result<(), Error>;

#[test]
fn every_violation_has_its_error() {
    let table: &[(&str, ErrorKind, Act)] = &[
        (
            "data on a stream that is over",
            ErrorKind::StreamClosed,
            |h| {
                h.request(2, true)?;
                h.send(Kind::Data, 2, false, b"x")
            },
        ),
        ("a second end", ErrorKind::StreamClosed, |h| {
            h.request(2, false)?;
            h.send(Kind::End, 2, false, &0_u64.to_le_bytes())?;
            h.send(Kind::End, 2, false, &0_u64.to_le_bytes())
        }),
        ("data after cancel", ErrorKind::StreamClosed, |h| {
            h.request(2, false)?;
            h.send(Kind::Cancel, 2, false, b"")?;
            h.send(Kind::Data, 2, false, b"x")
        }),
        ("data on no stream", ErrorKind::StreamUnknown, |h| {
            h.send(Kind::Data, 2, false, b"x")
        }),
        ("an answer to nothing", ErrorKind::StreamUnknown, |h| {
            h.send(Kind::Answer, 1, true, b"x")
        }),
        ("credit for nothing", ErrorKind::StreamUnknown, |h| {
            h.send(Kind::Credit, 1, false, &1_u32.to_le_bytes())
        }),
        ("an answer to its own request", ErrorKind::OutOfOrder, |h| {
            h.request(2, false)?;
            h.send(Kind::Answer, 2, true, b"x")
        }),
        ("data before the answer", ErrorKind::OutOfOrder, |h| {
            h.link.request("x", b"", false).unwrap();
            output(&mut h.link);
            h.send(Kind::Data, 1, false, b"x")
        }),
        ("an end before the answer", ErrorKind::OutOfOrder, |h| {
            h.link.request("x", b"", false).unwrap();
            output(&mut h.link);
            h.send(Kind::End, 1, false, &0_u64.to_le_bytes())
        }),
        ("two answers", ErrorKind::OutOfOrder, |h| {
            h.link.request("x", b"", false).unwrap();
            output(&mut h.link);
            h.send(Kind::Answer, 1, false, b"")?;
            h.send(Kind::Answer, 1, false, b"")
        }),
        ("a stream of the other end's", ErrorKind::OutOfOrder, |h| {
            h.request(1, true)
        }),
        ("a stream twice", ErrorKind::StreamReused, |h| {
            h.request(2, true)?;
            h.request(2, true)
        }),
        ("a number that goes back", ErrorKind::StreamReused, |h| {
            h.request(6, true)?;
            h.request(4, true)
        }),
        ("too many streams", ErrorKind::TooManyStreams, |h| {
            (1..=u32::from(TIGHT.streams) + 1).try_for_each(|at| h.request(at * 2, true))
        }),
        (
            "too many streams, each given up",
            ErrorKind::TooManyStreams,
            |h| {
                (1..=u32::from(TIGHT.streams) + 1).try_for_each(|at| {
                    h.request(at * 2, false)?;
                    h.send(Kind::Cancel, at * 2, false, b"")
                })
            },
        ),
        (
            "more than a stream's credit",
            ErrorKind::CreditExceeded,
            |h| {
                h.request(2, false)?;
                (0..3).try_for_each(|_| h.send(Kind::Data, 2, false, &[0; 30_000]))
            },
        ),
        ("many little pieces", ErrorKind::CreditExceeded, |h| {
            h.request(2, false)?;
            (0..TIGHT.stream_credit / 33 + 1).try_for_each(|_| h.send(Kind::Data, 2, false, b"x"))
        }),
        (
            "more than the connection's credit",
            ErrorKind::CreditExceeded,
            |h| {
                (1..=3).try_for_each(|at| {
                    h.request(at * 2, false)?;
                    h.send(Kind::Data, at * 2, false, &[0; 60_000])
                })
            },
        ),
        ("credit without end", ErrorKind::CreditOverflow, |h| {
            h.send(Kind::Credit, 0, false, &(1_u32 << 30).to_le_bytes())
        }),
        ("no credit", ErrorKind::CreditOverflow, |h| {
            h.send(Kind::Credit, 0, false, &0_u32.to_le_bytes())
        }),
        (
            "an end that says another length",
            ErrorKind::LengthMismatch,
            |h| {
                h.request(2, false)?;
                h.send(Kind::Data, 2, false, b"abc")?;
                h.send(Kind::End, 2, false, &4_u64.to_le_bytes())
            },
        ),
        ("empty data", ErrorKind::Malformed, |h| {
            h.request(2, false)?;
            h.send(Kind::Data, 2, false, b"")
        }),
        ("a failure that is none", ErrorKind::Malformed, |h| {
            h.request(2, false)?;
            h.send(Kind::Error, 2, false, b"{}")
        }),
        ("a method that is none", ErrorKind::Malformed, |h| {
            h.send(Kind::Request, 2, true, b"\x03a b")
        }),
        ("a method cut off", ErrorKind::Malformed, |h| {
            h.send(Kind::Request, 2, true, b"\x09abc")
        }),
        (
            "pings, and nobody takes the pongs",
            ErrorKind::PingFlood,
            |h| (0..9_u64).try_for_each(|at| h.send(Kind::Ping, 0, false, &at.to_le_bytes())),
        ),
        ("a pong to nothing", ErrorKind::OutOfOrder, |h| {
            h.send(Kind::Pong, 0, false, &1_u64.to_le_bytes())
        }),
        ("a second goodbye", ErrorKind::OutOfOrder, |h| {
            h.send(Kind::Goodbye, 0, false, &[16, 0])?;
            h.send(Kind::Goodbye, 0, false, &[16, 0])
        }),
        ("a request after goodbye", ErrorKind::OutOfOrder, |h| {
            h.send(Kind::Goodbye, 0, false, &[16, 0])?;
            h.request(2, true)
        }),
        ("a frame twice", ErrorKind::Sequence, |h| {
            h.request(2, false)?;
            h.send(Kind::Data, 2, false, b"x")?;
            h.sequence -= 1;
            h.send(Kind::Data, 2, false, b"x")
        }),
        ("a frame that is missing", ErrorKind::Sequence, |h| {
            h.sequence += 1;
            h.request(2, true)
        }),
    ];
    for (name, kind, act) in table {
        let mut hostile = Hostile::new();
        let error = act(&mut hostile).expect_err(name);
        assert_eq!(error.kind(), *kind, "{name}: {error}");
        // It is the end, and the other one hears why.
        assert_eq!(hostile.link.ended(), Some(&error));
        assert_eq!(hostile.request(100, true), Err(error.clone()));
        let told = output(&mut hostile.link);
        let mut header = [0; 32];
        header.copy_from_slice(&told[..32]);
        let header = Header::decode(&header).unwrap();
        assert_eq!((header.kind, header.session), (Kind::Reset, HOST));
        assert_eq!(told[32..34], codes::VIOLATION.to_le_bytes());
        assert!(output(&mut hostile.link).is_empty());
    }
}

/// What crosses the end of a stream is no violation.
#[test]
fn credit_and_cancel_for_a_stream_that_is_over_are_ignored() {
    let mut hostile = Hostile::new();
    hostile.request(2, true).unwrap();
    let request = hostile.link.accept().unwrap().stream;
    hostile.link.answer(request, b"", false).unwrap();
    hostile.link.release(request);
    output(&mut hostile.link);
    let credit = 1000_u32.to_le_bytes();
    hostile.send(Kind::Credit, 2, false, &credit).unwrap();
    hostile.send(Kind::Cancel, 2, false, b"").unwrap();
    hostile.request(4, true).unwrap();
}

/// A peer that opens and gives up without reading what is said to it: nothing is kept for it but its
/// places, and a place is free only when the last word on it has left.
#[test]
fn a_peer_that_does_not_read_has_no_more_places() {
    let mut hostile = Hostile::new();
    let mut error = None;
    for at in 1..100 {
        let act = hostile
            .request(at * 2, false)
            .and_then(|()| hostile.send(Kind::Cancel, at * 2, false, b""));
        if let Err(found) = act {
            error = Some((at, found.kind()));
            break;
        }
    }
    let allowed = u32::from(TIGHT.streams);
    assert_eq!(error, Some((allowed + 1, ErrorKind::TooManyStreams)));
}

/// Credit counts from when its frame leaves: a peer that takes nothing may send no more than one that does.
#[test]
fn credit_is_given_when_it_leaves() {
    for leaves in [true, false] {
        let mut hostile = Hostile::new();
        hostile.request(2, false).unwrap();
        let request = hostile.link.accept().unwrap().stream;
        hostile.send(Kind::Data, 2, false, &[0; 60_000]).unwrap();
        assert!(matches!(hostile.link.read(request), Read::Data(_)));
        if leaves {
            output(&mut hostile.link);
        }
        let more = hostile.send(Kind::Data, 2, false, &[0; 60_000]);
        assert_eq!(more.is_ok(), leaves);
    }
}

/// Frames of a greeting's kind come as often as they like, and are answered once.
#[test]
fn greetings_without_end_are_answered_once() {
    let mut link = Link::new(service());
    output(&mut link);
    let greeting = output(&mut Link::new(host()));
    for _ in 0..1000 {
        link.receive(&greeting).unwrap();
    }
    assert!(output(&mut link).len() < 200);
}
