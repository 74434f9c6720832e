//! The link protocol: what a peer may send, by its bytes and by its meaning.
//!
//! Frames have checks, which a fuzzer does not find but a hostile peer computes. So the bytes are read as
//! they are, and once more as a list of frames to be made and of things that this end's caller does
//! between them.

use tresor_link_proto::{
    Decoder, Failure, Frame, Header, Hello, Kind, Limits, Link, Notice, Own, Role, StreamId, codes,
    limits::HEADER_LEN,
};

use crate::Target;

/// A frame's body is made room for when its header has come.
const FRAME: usize = 512 << 10;
/// What a session keeps by its own limits, and what it says.
const SESSION: usize = 2 << 20;

const OWN: u64 = 0x1111_1111;
const PEER: u64 = 0x2222_2222;

pub(crate) const TARGETS: &[Target] = &[
    Target {
        name: "link-frames",
        what: "frames of the link protocol, by a peer that is not known yet, and by one that is",
        times: 16,
        above: FRAME,
        run: |bytes| frames(bytes, true) | frames(bytes, false),
    },
    Target {
        name: "link-greeting",
        what: "the greeting of the link protocol, and what follows it",
        times: 16,
        above: FRAME,
        run: greeting,
    },
    Target {
        name: "link-session",
        what: "what a peer of the link protocol may say in any order, its checks in order",
        times: 64,
        above: SESSION,
        run: session,
    },
];

/// Reads frames and what is in them.
fn frames(mut bytes: &[u8], seeking: bool) -> bool {
    let mut decoder = Decoder::default();
    if !seeking {
        decoder.in_step();
    }
    let mut taken = false;
    while let Ok(Some(frame)) = decoder.next(&mut bytes) {
        taken |= match frame.header.kind {
            Kind::Hello => Hello::decode(&frame.header, &frame.body).is_ok(),
            Kind::Error => Failure::decode(&frame.body).is_ok(),
            _ => true,
        };
    }
    taken
}

fn service() -> Link {
    let mut own = Own::new(OWN, Role::Service, &[Role::Host], "0.1.0");
    own.limits = Limits::SMALL;
    Link::new(own)
}

/// Bytes as they come, to an end that has yet to greet. Nothing but a greeting that says this end's
/// number opens it.
fn greeting(bytes: &[u8]) -> bool {
    let mut link = service();
    let taken = link.receive(bytes).is_ok();
    link.output(&mut Vec::new(), 1 << 16);
    taken
}

/// An end that knows its peer.
fn open() -> Link {
    let mut link = service();
    let hello = Hello {
        session: PEER,
        echo: OWN,
        wants_answer: true,
        versions: (1, 1),
        role: Role::Host,
        limits: Limits::SMALL,
        program: "0.1.0".to_owned(),
    };
    let opened = link.receive(&hello.frame().encode());
    debug_assert!(opened.is_ok() && link.peer().is_some());
    link
}

/// Each step is four bytes (what, stream, two of length) and a body of that length, or what is left.
fn session(mut bytes: &[u8]) -> bool {
    let mut link = open();
    let mut sequence = 0;
    let mut streams: Vec<StreamId> = Vec::new();
    let mut out = Vec::new();
    while let Some((step, rest)) = bytes.split_first_chunk::<4>() {
        let len = usize::from(u16::from_le_bytes([step[2], step[3]]));
        let (body, rest) = rest.split_at(len.min(rest.len()));
        bytes = rest;
        while link.event().is_some() {}
        if step[0] >= 0x80 {
            act(&mut link, step[0], step[1], body, &mut streams, &mut out);
            continue;
        }
        let frame = made(step[0], step[1], sequence, body);
        sequence += 1;
        if link.receive(&frame).is_err() {
            link.output(&mut out, 1 << 16);
            return false;
        }
    }
    sequence > 0
}

/// A frame with its checks, whatever it means.
fn made(what: u8, stream: u8, sequence: u32, body: &[u8]) -> Vec<u8> {
    const KINDS: [Kind; 12] = [
        Kind::Hello,
        Kind::Reset,
        Kind::Ping,
        Kind::Pong,
        Kind::Goodbye,
        Kind::Credit,
        Kind::Request,
        Kind::Answer,
        Kind::Error,
        Kind::Data,
        Kind::End,
        Kind::Cancel,
    ];
    let kind = KINDS[usize::from(what & 0x3f) % KINDS.len()];
    let body = &body[..body.len().min(kind.limit())];
    let header = Header {
        version: 1,
        kind,
        last: what & 0x40 != 0,
        session: if kind == Kind::Hello { PEER } else { OWN },
        stream: u32::from(stream),
        sequence: if kind.is_outside() { 0 } else { sequence },
        length: u32::try_from(body.len()).unwrap_or(0),
    };
    debug_assert!(HEADER_LEN + body.len() < FRAME);
    let body = body.to_vec();
    Frame { header, body }.encode()
}

/// Something that this end's caller may do.
fn act(
    link: &mut Link,
    what: u8,
    which: u8,
    body: &[u8],
    streams: &mut Vec<StreamId>,
    out: &mut Vec<u8>,
) {
    let stream = streams
        .get(usize::from(which) % streams.len().max(1))
        .copied();
    let more = what & 0x40 != 0;
    match (what & 0x0f, stream) {
        (0, _) => streams.extend(link.accept().map(|request| request.stream)),
        (1, _) => streams.extend(link.request("some.method", body, more)),
        (2, Some(stream)) => {
            link.answer(stream, body, more).ok();
        }
        (3, Some(stream)) => {
            link.read(stream);
        }
        (4, Some(stream)) => {
            link.reply(stream);
        }
        (5, Some(stream)) => {
            link.write(stream, body).ok();
        }
        (6, Some(stream)) => {
            link.finish(stream).ok();
        }
        (7, Some(stream)) => {
            link.release(stream);
            streams.retain(|held| *held != stream);
        }
        (8, Some(stream)) => {
            let failure = Failure::new("Interrupted", "");
            link.fail(stream, &failure).ok();
        }
        (9, Some(stream)) => link.ignore(stream),
        (10, _) => {
            link.ping();
        }
        (11, _) => link.goodbye(&Notice::new(codes::SHUTDOWN, "")),
        _ => {
            out.clear();
            link.output(out, 1 << 16);
        }
    }
}
