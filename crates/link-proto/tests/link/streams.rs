use tresor_link_proto::{
    ErrorKind, Event, Failure, Link, Misuse, Notice, Read, Reply, StreamId, codes, failures,
};

use crate::pair::{TIGHT, events, output, pair, pump};

fn answer_of(link: &mut Link, stream: StreamId) -> Vec<u8> {
    match link.reply(stream) {
        Reply::Answer { head, .. } => head,
        other => panic!("{other:?}"),
    }
}

/// Writes all of it, as far as credit goes, while the other end reads nothing.
fn stuff(from: &mut Link, to: &mut Link, stream: StreamId) -> usize {
    let mut total = 0;
    loop {
        let taken = from.write(stream, &[3; 10_000]).unwrap();
        pump(from, to).unwrap();
        if taken == 0 {
            return total;
        }
        total += taken;
    }
}

#[test]
fn a_call_and_its_answer() {
    let (mut a, mut b) = pair();
    events(&mut a);
    let stream = b
        .request("disks.list", br#"{"vm":"web01"}"#, false)
        .unwrap();
    pump(&mut a, &mut b).unwrap();
    assert_eq!(events(&mut a), [Event::Request]);
    let request = a.accept().unwrap();
    assert_eq!(request.method, "disks.list");
    assert_eq!(request.head, br#"{"vm":"web01"}"#);
    assert!(!request.body);
    assert_eq!(b.reply(stream), Reply::Pending);
    a.answer(request.stream, b"[]", false).unwrap();
    a.release(request.stream);
    pump(&mut a, &mut b).unwrap();
    assert_eq!(answer_of(&mut b, stream), b"[]");
    assert_eq!(b.read(stream), Read::End);
    b.release(stream);
    assert_eq!(b.reply(stream), Reply::Cancelled);
}

#[test]
fn both_ends_open_streams() {
    let (mut a, mut b) = pair();
    let of_a = a.request("vm.freeze", b"1", false).unwrap();
    let of_b = b.request("disks.list", b"2", false).unwrap();
    assert_eq!((of_a.number(), of_b.number()), (1, 2));
    pump(&mut a, &mut b).unwrap();
    assert_eq!(b.accept().unwrap().head, b"1");
    assert_eq!(a.accept().unwrap().head, b"2");
}

#[test]
fn failures_travel_with_their_fields() {
    let (mut a, mut b) = pair();
    let stream = b.request("vault.put", b"", true).unwrap();
    pump(&mut a, &mut b).unwrap();
    let request = a.accept().unwrap();
    let mut failure = Failure::new("VaultStorageFull", "no space\nis left");
    failure.fields.insert("location".into(), "/vault".into());
    a.fail(request.stream, &failure).unwrap();
    a.release(request.stream);
    pump(&mut a, &mut b).unwrap();
    let found = match b.reply(stream) {
        Reply::Failed(found) => found,
        other => panic!("{other:?}"),
    };
    assert_eq!(found.code, "VaultStorageFull");
    assert_eq!(found.fields, failure.fields);
    assert_eq!(found.text, "no space is left");
    // The body is not wanted any more, and the place is free without anybody's doing.
    assert_eq!(b.write(stream, b"x"), Err(Misuse::StreamOver));
    assert!(events(&mut b).contains(&Event::Places));
}

#[test]
fn an_answer_can_fail_in_the_middle_of_its_body() {
    let (mut a, mut b) = pair();
    let stream = b.request("logs.fetch", b"", false).unwrap();
    pump(&mut a, &mut b).unwrap();
    let request = a.accept().unwrap();
    a.answer(request.stream, b"{}", true).unwrap();
    assert_eq!(a.write(request.stream, b"first").unwrap(), 5);
    a.fail(request.stream, &Failure::new("DiskReadFailed", "sector 7"))
        .unwrap();
    a.release(request.stream);
    pump(&mut a, &mut b).unwrap();
    assert_eq!(answer_of(&mut b, stream), b"{}");
    assert_eq!(b.read(stream), Read::Data(b"first".to_vec()));
    assert!(matches!(b.read(stream), Read::Failed(failure) if failure.code == "DiskReadFailed"));
}

/// A stream that nobody reads holds as much as its credit, and not what others need.
#[test]
fn a_slow_stream_holds_up_nobody() {
    let (mut a, mut b) = pair();
    let slow = b.request("vault.put", b"slow", true).unwrap();
    let quick = b.request("vault.put", b"quick", true).unwrap();
    pump(&mut a, &mut b).unwrap();
    let (first, second) = (a.accept().unwrap().stream, a.accept().unwrap().stream);
    let held = stuff(&mut b, &mut a, slow);
    assert!(held <= TIGHT.stream_credit as usize + 10_000, "{held}");
    let mut got = 0;
    while got < 1 << 20 {
        b.write(quick, &[1; 20_000]).unwrap();
        pump(&mut a, &mut b).unwrap();
        while let Read::Data(data) = a.read(second) {
            got += data.len();
        }
    }
    let mut late = 0;
    for _ in 0..4 {
        while let Read::Data(data) = a.read(first) {
            late += data.len();
        }
        pump(&mut a, &mut b).unwrap();
    }
    assert_eq!(late, held, "nothing was lost meanwhile");
}

#[test]
fn a_cancelled_call_is_over_on_both_sides() {
    let (mut a, mut b) = pair();
    let stream = b.request("vm.watch", b"", false).unwrap();
    pump(&mut a, &mut b).unwrap();
    let request = a.accept().unwrap().stream;
    a.answer(request, b"", true).unwrap();
    stuff(&mut a, &mut b, request);
    b.release(stream);
    pump(&mut a, &mut b).unwrap();
    assert!(a.is_cancelled(request));
    a.release(request);
    pump(&mut a, &mut b).unwrap();
    // All places are free again, and so is the credit.
    for _ in 0..TIGHT.streams {
        b.request("vm.watch", b"", false).unwrap();
    }
    assert!(pump(&mut a, &mut b).is_ok());
}

#[test]
fn a_call_that_was_given_up_before_anybody_took_it_is_not_handed_out() {
    let (mut a, mut b) = pair();
    for _ in 0..50 {
        let stream = b.request("vm.watch", b"", false).unwrap();
        pump(&mut a, &mut b).unwrap();
        b.release(stream);
        pump(&mut a, &mut b).unwrap();
    }
    assert!(a.accept().is_none());
    // Given up before it left: the other end never hears of it.
    let stream = b.request("vm.watch", b"", false).unwrap();
    b.release(stream);
    assert!(output(&mut b).is_empty());
}

#[test]
fn places_are_given_back_by_both_ends() {
    let (mut a, mut b) = pair();
    for _ in 0..TIGHT.streams {
        b.request("vm.watch", b"", false).unwrap();
    }
    assert_eq!(b.request("vm.watch", b"", false), Err(Misuse::StreamsTaken));
    pump(&mut a, &mut b).unwrap();
    events(&mut b);
    let request = a.accept().unwrap().stream;
    a.answer(request, b"", false).unwrap();
    a.release(request);
    pump(&mut a, &mut b).unwrap();
    assert!(events(&mut b).contains(&Event::Places));
    b.request("vm.watch", b"", false).unwrap();
    pump(&mut a, &mut b).unwrap();
}

#[test]
fn goodbye_lets_what_is_under_way_go_on() {
    let (mut a, mut b) = pair();
    let under_way = b.request("disks.list", b"", false).unwrap();
    pump(&mut a, &mut b).unwrap();
    let request = a.accept().unwrap().stream;
    // It crosses the goodbye, and is told that nobody looked at it.
    let crossing = b.request("disks.list", b"", false).unwrap();
    a.goodbye(&Notice::new(codes::SHUTDOWN, "an update"));
    pump(&mut a, &mut b).unwrap();
    assert!(a.accept().is_none() && !a.may_accept());
    assert!(matches!(b.reply(crossing), Reply::Failed(f) if f.code == failures::LEAVING));
    b.release(crossing);
    assert_eq!(b.request("disks.list", b"", false), Err(Misuse::Leaving));
    assert_eq!(a.request("disks.list", b"", false), Err(Misuse::Leaving));
    assert_eq!(b.farewell().unwrap().text, "an update");
    assert!(!a.is_drained() && !b.is_drained());
    a.answer(request, b"done", false).unwrap();
    a.release(request);
    pump(&mut a, &mut b).unwrap();
    assert_eq!(answer_of(&mut b, under_way), b"done");
    assert!(a.is_drained() && b.is_drained());
}

#[test]
fn pings_are_answered_and_a_reset_is_told() {
    let (mut a, mut b) = pair();
    assert!(a.ping() && !a.ping());
    pump(&mut a, &mut b).unwrap();
    assert!(!a.awaits_pong() && a.ping());
    a.reset(&Notice::new(codes::SILENCE, "nothing for 30 s"));
    let error = b.receive(&output(&mut a)).unwrap_err();
    let code = codes::SILENCE;
    assert_eq!(error.kind(), ErrorKind::PeerReset { code });
    assert_eq!(error.about(), "nothing for 30 s");
    // Nobody answers a reset with another one.
    assert!(output(&mut b).is_empty());
    assert_eq!(b.request("x", b"", false), Err(Misuse::NotOpen));
}

#[test]
fn what_a_caller_does_wrong_changes_nothing() {
    let (mut a, mut b) = pair();
    for method in ["", "Über", "a b", &"x".repeat(65)] {
        assert_eq!(b.request(method, b"", false), Err(Misuse::MethodInvalid));
    }
    assert_eq!(b.request("x", &[0; 70_000], false), Err(Misuse::TooLarge));
    let stream = b.request("x", b"", false).unwrap();
    assert_eq!(b.write(stream, b"x"), Err(Misuse::StreamOver));
    assert_eq!(b.finish(stream), Err(Misuse::StreamOver));
    assert_eq!(b.answer(stream, b"", false), Err(Misuse::StreamOver));
    pump(&mut a, &mut b).unwrap();
    let request = a.accept().unwrap().stream;
    assert_eq!(a.write(request, b"x"), Err(Misuse::StreamOver));
    assert_eq!(
        a.answer(request, &[0; 70_000], false),
        Err(Misuse::TooLarge)
    );
    a.answer(request, b"", false).unwrap();
    assert_eq!(a.answer(request, b"", false), Err(Misuse::StreamOver));
    assert_eq!(
        a.fail(request, &Failure::new("X", "")),
        Err(Misuse::StreamOver)
    );
    assert!(pump(&mut a, &mut b).is_ok());
}
