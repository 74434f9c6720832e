use tresor_link_proto::{Decoder, ErrorKind, Frame, Header, Hello, Kind, Limits, Role, limits};

fn hello() -> Frame {
    Hello {
        session: 77,
        echo: 0,
        wants_answer: true,
        versions: (1, 1),
        role: Role::Agent,
        limits: Limits::SMALL,
        program: "0.1.0".to_owned(),
    }
    .frame()
}

fn data(body: &[u8]) -> Frame {
    let header = Header {
        version: 1,
        kind: Kind::Data,
        last: false,
        session: 5,
        stream: 1,
        sequence: 0,
        length: u32::try_from(body.len()).unwrap(),
    };
    let body = body.to_vec();
    Frame { header, body }
}

fn all(decoder: &mut Decoder, mut input: &[u8]) -> Vec<Frame> {
    std::iter::from_fn(|| decoder.next(&mut input).unwrap()).collect()
}

#[test]
fn frames_come_out_as_they_went_in_however_they_are_cut() {
    let frames = [data(b"one"), data(&[7; 300]), hello()];
    let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
    for step in [1, 2, 31, 32, 33, 100, bytes.len()] {
        let mut decoder = Decoder::default();
        decoder.in_step();
        let found: Vec<_> = bytes
            .chunks(step)
            .flat_map(|part| all(&mut decoder, part))
            .collect();
        assert_eq!(found, frames);
    }
}

/// What an earlier peer may have left: text, half a header, a frame that was cut off, whole frames.
#[test]
fn a_greeting_is_found_behind_whatever_lies_in_the_pipe() {
    let old = data(&[0xf5; 5000]).encode();
    let text = b"login: \xf5TRL\xf5TR".to_vec();
    let cases: Vec<Vec<u8>> = vec![
        text,
        old.clone(),
        old[..20].to_vec(),
        old[..40].to_vec(),
        old[..old.len() - 1].to_vec(),
        old[3..].to_vec(),
        [old.as_slice(), &old[..3000]].concat(),
    ];
    for garbage in cases {
        for step in [1, 7, 10_000] {
            let bytes = [garbage.as_slice(), &hello().encode()].concat();
            let mut decoder = Decoder::default();
            let found: Vec<_> = bytes
                .chunks(step)
                .flat_map(|part| all(&mut decoder, part))
                .collect();
            assert_eq!(found, [hello()], "{} bytes of garbage", garbage.len());
            assert_eq!(decoder.skipped(), garbage.len() as u64);
        }
    }
}

/// A greeting that was cut off takes the next one for its rest. Greetings are repeated: soon there is enough.
#[test]
fn a_greeting_that_was_cut_off_hides_the_next_one_only_for_a_while() {
    let mut cut = hello();
    cut.body.resize(limits::HELLO_LIMIT, 0);
    cut.header.length = u32::try_from(cut.body.len()).unwrap();
    let mut decoder = Decoder::default();
    assert!(all(&mut decoder, &cut.encode()[..40]).is_empty());
    let heard = (0..30).find(|_| !all(&mut decoder, &hello().encode()).is_empty());
    assert!(heard.is_some_and(|times| times < 20), "{heard:?}");
}

/// Looking for a greeting takes in more than the greeting: the rest is not lost.
#[test]
fn what_follows_a_greeting_is_read_in_step() {
    let mut cut = hello();
    cut.body.resize(600, 0);
    cut.header.length = 600;
    let mut bytes = cut.encode()[..100].to_vec();
    bytes.extend(hello().encode());
    let follows: Vec<Frame> = (0..20_u8).map(|at| data(&[at; 40])).collect();
    bytes.extend(follows.iter().flat_map(Frame::encode));
    let mut decoder = Decoder::default();
    let mut input = bytes.as_slice();
    assert_eq!(decoder.next(&mut input).unwrap(), Some(hello()));
    assert!(input.len() < 20 * 76);
    decoder.in_step();
    assert_eq!(all(&mut decoder, input), follows);
}

#[test]
fn in_step_every_flipped_bit_is_an_error() {
    let frame = data(b"some data");
    let bytes = frame.encode();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let mut decoder = Decoder::default();
        decoder.in_step();
        let error = decoder.next(&mut flipped.as_slice()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfStep, "bit {bit}");
    }
}

/// A header that fits its check, with one thing wrong.
#[test]
fn headers_that_nobody_writes_are_refused() {
    let good = data(&[1]).header;
    let with = |change: fn(&mut Header)| {
        let mut header = good;
        change(&mut header);
        let body = vec![0; header.length as usize];
        Frame { header, body }.encode()
    };
    let table = [
        (with(|h| h.session = 0), ErrorKind::Malformed),
        (with(|h| h.stream = 0), ErrorKind::Malformed),
        (with(|h| h.last = true), ErrorKind::Malformed),
        (with(|h| h.kind = Kind::Ping), ErrorKind::Malformed),
    ];
    for (bytes, kind) in table {
        let mut decoder = Decoder::default();
        decoder.in_step();
        let error = decoder.next(&mut bytes.as_slice()).unwrap_err();
        assert_eq!(error.kind(), kind);
    }
}

/// The header alone is refused: nothing waits for, or makes room for, what it promises.
#[test]
fn a_length_beyond_the_limit_is_refused_before_its_body() {
    for (kind, limit) in [
        (5_u8, limits::CONTROL_LIMIT),
        (19, limits::DATA_LIMIT),
        (16, limits::CONTROL_LIMIT),
    ] {
        let mut bytes = data(&[1]).encode()[..limits::HEADER_LEN].to_vec();
        bytes[5] = kind;
        bytes[16] = u8::from(kind > 6);
        bytes[24..28].copy_from_slice(&u32::try_from(limit + 1).unwrap().to_le_bytes());
        let check = crc32c(&bytes[..28]);
        bytes[28..].copy_from_slice(&check.to_le_bytes());
        let mut decoder = Decoder::default();
        decoder.in_step();
        let error = decoder.next(&mut bytes.as_slice()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }
}

/// The check as the page says it, by another way than the crate's.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |mut sum: u32| {
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0x82f6_3b78 & 0_u32.wrapping_sub(sum & 1));
        }
        sum
    };
    !bytes
        .iter()
        .fold(!0, |sum, byte| step(sum ^ u32::from(*byte)))
}
