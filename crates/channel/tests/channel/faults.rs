//! A wire that cuts, stalls, delays, loses, doubles and garbles bytes at places that a seed says: every
//! call ends with the right answer or with an error, and no data is ever wrong.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};
use tresor_channel::{Connection, Error, ErrorKind, Role};

use crate::calls::{give, take};
use crate::pair::{HANGS, body, impatient, serve};

/// Small and exact: numbers from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 8) % limit.max(1)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harm {
    Nothing,
    Cut,
    Stall,
    Delay,
    Lose(usize),
    Double(usize),
    Garble(u8),
}

/// What happens to one direction, and after how many bytes.
#[derive(Debug, Clone, Copy)]
struct Plan {
    at: u64,
    harm: Harm,
    piece: usize,
}

impl Plan {
    fn of(random: &mut Random) -> Self {
        let len = 1 + usize::try_from(random.below(300)).unwrap();
        let harm = match random.below(8) {
            0 | 1 => Harm::Nothing,
            2 => Harm::Cut,
            3 => Harm::Stall,
            4 => Harm::Delay,
            5 => Harm::Lose(len),
            6 => Harm::Double(len),
            _ => Harm::Garble(1 << random.below(8)),
        };
        // As often in the greeting as anywhere else.
        let within = [200, 2000, 50_000, 1_000_000][usize::try_from(random.below(4)).unwrap()];
        Self {
            at: random.below(within),
            harm,
            piece: 1 + usize::try_from(random.below(20_000)).unwrap(),
        }
    }
}

/// One direction of the wire. Ends when it is cut or an end closes.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    plan: Plan,
) -> std::io::Result<()> {
    let mut buffer = vec![0; plan.piece];
    let mut seen = 0;
    let mut due = plan.harm != Harm::Nothing;
    loop {
        let got = from.read(&mut buffer).await?;
        if got == 0 {
            return to.shutdown().await;
        }
        let mut data = buffer[..got].to_vec();
        let before = seen;
        seen += got as u64;
        if due && plan.at < seen {
            due = false;
            let at = usize::try_from(plan.at - before).unwrap();
            let end = |len: usize| data.len().min(at + len);
            match plan.harm {
                Harm::Nothing => {}
                Harm::Cut => return to.write_all(&data[..at]).await,
                Harm::Stall => {
                    to.write_all(&data[..at]).await?;
                    return std::future::pending().await;
                }
                Harm::Delay => {
                    to.write_all(&data[..at]).await?;
                    data.drain(..at);
                    sleep(Duration::from_millis(300)).await;
                }
                Harm::Lose(len) => drop(data.drain(at..end(len))),
                Harm::Double(len) => {
                    let twice = data[at..end(len)].to_vec();
                    data.splice(at..at, twice);
                }
                Harm::Garble(bits) => data[at] ^= bits,
            }
        }
        to.write_all(&data).await?;
    }
}

/// A wire between two sockets. It is cut as a whole when one direction is.
async fn wire(near: UnixStream, far: UnixStream, there: Plan, back: Plan) {
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    tokio::select! {
        _ = carry(near_read, far_write, there) => {}
        _ = carry(far_read, near_write, back) => {}
    }
}

#[derive(Debug, Default)]
struct Outcome {
    right: usize,
    failed: usize,
}

async fn run(seed: u64) -> Outcome {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let (there, back) = (Plan::of(&mut random), Plan::of(&mut random));
    let (near, wire_near) = UnixStream::pair().unwrap();
    let (far, wire_far) = UnixStream::pair().unwrap();
    let carrying = tokio::spawn(wire(wire_near, wire_far, there, back));
    let opened = tokio::join!(
        Connection::open(near, impatient(Role::Service)),
        Connection::open(far, impatient(Role::Host))
    );
    let mut outcome = Outcome::default();
    if let (Ok(service), Ok(host)) = opened {
        serve(&service);
        serve(&host);
        let calls = (0..8).map(|at| {
            let connection = if at % 2 == 0 { &host } else { &service };
            let len = usize::try_from(random.below(400_000)).unwrap();
            let connection = connection.clone();
            tokio::spawn(async move {
                let right: Result<bool, Error> = match at / 2 % 3 {
                    0 => take(&connection, len).await.map(|sum| sum == (len, true)),
                    1 => give(&connection, len).await.map(|got| got == body(len)),
                    _ => {
                        let answer = connection.call("echo", b"all").await;
                        answer.map(|answer| answer.head == b"all")
                    }
                };
                right
            })
        });
        for call in calls.collect::<Vec<_>>() {
            match call.await.unwrap() {
                Ok(right) => {
                    assert!(right, "seed {seed}: wrong data; {there:?}, {back:?}");
                    outcome.right += 1;
                }
                Err(error) => {
                    // What the other end saw of the same harm may come before our own end.
                    let harmed = there.harm != Harm::Nothing || back.harm != Harm::Nothing;
                    assert!(harmed, "seed {seed}: {error:?}");
                    assert!(is_an_end(&error), "seed {seed}: {error:?}");
                    outcome.failed += 1;
                }
            }
        }
    }
    carrying.abort();
    outcome
}

fn is_an_end(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Lost
            | ErrorKind::Protocol
            | ErrorKind::Reset
            | ErrorKind::Silent
            | ErrorKind::Restarted
            | ErrorKind::Cancelled
            | ErrorKind::Refused
    )
}

/// `TRESOR_SEED` says where to begin, `TRESOR_RUNS` how many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_harmful_wire_gives_right_answers_or_errors() {
    let number = |name: &str, else_: u64| {
        std::env::var(name).map_or(else_, |number| number.parse().unwrap())
    };
    let (seed, runs) = (number("TRESOR_SEED", 1), number("TRESOR_RUNS", 48));
    println!("TRESOR_SEED={seed} TRESOR_RUNS={runs}");
    let mut all = Outcome::default();
    for first in (seed..seed + runs).step_by(8) {
        let batch: Vec<_> = (first..(first + 8).min(seed + runs))
            .map(|seed| tokio::spawn(timeout(HANGS, run(seed))))
            .collect();
        for (seed, one) in (first..).zip(batch) {
            let one = one.await.unwrap();
            let one = one.unwrap_or_else(|_| panic!("seed {seed} hangs"));
            all.right += one.right;
            all.failed += one.failed;
        }
    }
    println!("{all:?}");
    // The harm does harm, and not all of it.
    assert!(all.right > 0 && all.failed > 0, "{all:?}");
}
