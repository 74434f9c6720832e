//! Two ends, and a pipe between them that never waits.

use tresor_link_proto::{Error, Event, Limits, Link, Own, Role};

pub(crate) const SERVICE: u64 = 0x1111;
pub(crate) const HOST: u64 = 0x2222;

/// Small enough for a test to use them up.
pub(crate) const TIGHT: Limits = Limits {
    streams: 3,
    stream_credit: 64 << 10,
    connection_credit: 128 << 10,
};

pub(crate) fn service() -> Own {
    let mut own = Own::new(SERVICE, Role::Service, &[Role::Host, Role::Agent], "0.1.0");
    own.limits = TIGHT;
    own
}

pub(crate) fn host() -> Own {
    let mut own = Own::new(HOST, Role::Host, &[Role::Service], "0.1.0");
    own.limits = TIGHT;
    own
}

/// All that an end has to send.
pub(crate) fn output(link: &mut Link) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let before = out.len();
        link.output(&mut out, before + (64 << 10));
        if out.len() == before {
            return out;
        }
    }
}

pub(crate) fn events(link: &mut Link) -> Vec<Event> {
    std::iter::from_fn(|| link.event()).collect()
}

/// Lets both ends say all they have to say.
pub(crate) fn pump(a: &mut Link, b: &mut Link) -> Result<(), Error> {
    loop {
        let (from_a, from_b) = (output(a), output(b));
        if from_a.is_empty() && from_b.is_empty() {
            return Ok(());
        }
        b.receive(&from_a)?;
        a.receive(&from_b)?;
    }
}

/// A service and a host that know each other.
pub(crate) fn pair() -> (Link, Link) {
    let (mut a, mut b) = (Link::new(service()), Link::new(host()));
    pump(&mut a, &mut b).unwrap();
    assert!(a.peer().is_some() && b.peer().is_some());
    (a, b)
}
