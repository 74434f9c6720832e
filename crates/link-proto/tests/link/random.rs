//! Two ends, and callers that do anything at any time: no end ever sees a violation, every body comes
//! as it was sent, and when the callers are through everything is over.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tresor_link_proto::{Error, Failure, Link, Misuse, Notice, Read, Reply, StreamId, codes};

use crate::pair::{output, pair};

#[derive(Debug, Clone)]
enum Act {
    Call { body: bool },
    Accept,
    Answer { which: usize, body: bool },
    Fail { which: usize },
    Write { which: usize, len: usize },
    Finish { which: usize },
    Read { which: usize, pieces: usize },
    Reply { which: usize },
    Release { which: usize },
    Send { room: usize, cut: usize },
    Ping,
}

fn act() -> impl Strategy<Value = Act> {
    let which = 0..8_usize;
    prop_oneof![
        4 => any::<bool>().prop_map(|body| Act::Call { body }),
        4 => Just(Act::Accept),
        4 => (which.clone(), any::<bool>()).prop_map(|(which, body)| Act::Answer { which, body }),
        1 => which.clone().prop_map(|which| Act::Fail { which }),
        8 => (which.clone(), 1..90_000_usize).prop_map(|(which, len)| Act::Write { which, len }),
        2 => which.clone().prop_map(|which| Act::Finish { which }),
        8 => (which.clone(), 1..4_usize).prop_map(|(which, pieces)| Act::Read { which, pieces }),
        4 => which.clone().prop_map(|which| Act::Reply { which }),
        1 => which.prop_map(|which| Act::Release { which }),
        8 => (1..200_000_usize, 1..5000_usize).prop_map(|(room, cut)| Act::Send { room, cut }),
        1 => Just(Act::Ping),
    ]
}

/// One end and what its caller has in hand.
struct End {
    link: Link,
    streams: Vec<StreamId>,
    /// Bytes that went into and came out of each stream here.
    put: BTreeMap<StreamId, u64>,
    got: BTreeMap<StreamId, u64>,
}

/// The byte at a place of a body, by its stream and direction.
fn byte_at(stream: StreamId, opener: bool, at: u64) -> u8 {
    let mixed = (u64::from(stream.number()) * 2 + u64::from(opener) + 1).wrapping_mul(0x9e37_79b9);
    (mixed.wrapping_add(at.wrapping_mul(0x0100_0193)) >> 7).to_le_bytes()[0]
}

impl End {
    fn new(link: Link) -> Self {
        Self {
            link,
            streams: Vec::new(),
            put: BTreeMap::new(),
            got: BTreeMap::new(),
        }
    }

    fn which(&self, which: usize) -> Option<StreamId> {
        let count = self.streams.len().max(1);
        self.streams.get(which % count).copied()
    }

    /// Whether this end opened it: the service has odd ones.
    fn opened(stream: StreamId, service: bool) -> bool {
        (stream.number() % 2 == 1) == service
    }

    fn read(&mut self, stream: StreamId, service: bool, pieces: usize) {
        for _ in 0..pieces {
            let Read::Data(data) = self.link.read(stream) else {
                return;
            };
            let got = self.got.entry(stream).or_default();
            for byte in data {
                let by_opener = !Self::opened(stream, service);
                assert_eq!(byte, byte_at(stream, by_opener, *got));
                *got += 1;
            }
        }
    }

    fn write(&mut self, stream: StreamId, service: bool, len: usize) {
        let put = self.put.entry(stream).or_default();
        let by_opener = Self::opened(stream, service);
        let data: Vec<u8> = (*put..*put + len as u64)
            .map(|at| byte_at(stream, by_opener, at))
            .collect();
        if let Ok(taken) = self.link.write(stream, &data) {
            *put += taken as u64;
        }
    }

    fn act(&mut self, act: &Act, service: bool) {
        while self.link.event().is_some() {}
        match *act {
            Act::Call { body } => match self.link.request("some.method", b"{}", body) {
                Ok(stream) => self.streams.push(stream),
                Err(error) => assert!(matches!(error, Misuse::StreamsTaken | Misuse::Leaving)),
            },
            Act::Accept => {
                let request = self.link.accept();
                self.streams.extend(request.map(|request| request.stream));
            }
            Act::Answer { which, body } => {
                if let Some(stream) = self.which(which) {
                    self.link.answer(stream, b"{}", body).ok();
                }
            }
            Act::Fail { which } => {
                if let Some(stream) = self.which(which) {
                    let failure = Failure::new("Interrupted", "by chance");
                    self.link.fail(stream, &failure).ok();
                }
            }
            Act::Write { which, len } => {
                if let Some(stream) = self.which(which) {
                    self.write(stream, service, len);
                }
            }
            Act::Finish { which } => {
                if let Some(stream) = self.which(which) {
                    self.link.finish(stream).ok();
                }
            }
            Act::Read { which, pieces } => {
                if let Some(stream) = self.which(which) {
                    self.read(stream, service, pieces);
                }
            }
            Act::Reply { which } => {
                if let Some(stream) = self.which(which) {
                    let found: Reply = self.link.reply(stream);
                    drop(found);
                }
            }
            Act::Release { which } => {
                if let Some(stream) = self.which(which) {
                    self.link.release(stream);
                    self.streams.retain(|held| *held != stream);
                }
            }
            Act::Ping => drop(self.link.ping()),
            Act::Send { .. } => {}
        }
    }

    fn send(&mut self, to: &mut Self, room: usize, cut: usize) -> Result<(), Error> {
        let mut out = Vec::new();
        self.link.output(&mut out, room);
        out.chunks(cut).try_for_each(|part| to.link.receive(part))
    }
}

/// Lets go of everything, says goodbye, and waits until nothing more is said.
fn wind_up(ends: &mut [End; 2]) -> Result<(), Error> {
    for end in &mut *ends {
        for stream in std::mem::take(&mut end.streams) {
            end.link.release(stream);
        }
        end.link.goodbye(&Notice::new(codes::SHUTDOWN, ""));
    }
    let [a, b] = ends;
    loop {
        let (from_a, from_b) = (output(&mut a.link), output(&mut b.link));
        if from_a.is_empty() && from_b.is_empty() {
            return Ok(());
        }
        b.link.receive(&from_a)?;
        a.link.receive(&from_b)?;
        for end in [&mut *a, &mut *b] {
            while let Some(request) = end.link.accept() {
                end.link.release(request.stream);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn callers_may_do_anything_at_any_time(acts in proptest::collection::vec((any::<bool>(), act()), 1..300)) {
        let (a, b) = pair();
        let mut ends = [End::new(a), End::new(b)];
        for (service, act) in &acts {
            let [a, b] = &mut ends;
            let (end, other) = if *service { (a, b) } else { (b, a) };
            if let Act::Send { room, cut } = *act {
                end.send(other, room, cut).map_err(|error| TestCaseError::fail(error.to_string()))?;
            } else {
                end.act(act, *service);
            }
        }
        wind_up(&mut ends).map_err(|error| TestCaseError::fail(error.to_string()))?;
        for end in &ends {
            prop_assert!(end.link.is_drained());
        }
    }

    /// Bytes of anybody, in step or not: an end or an error, never a panic.
    #[test]
    fn any_bytes_are_taken_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..4000), open in any::<bool>()) {
        let mut link = if open { pair().0 } else { Link::new(crate::pair::service()) };
        drop(link.receive(&bytes));
        output(&mut link);
    }
}
