//! A service and a host on two sockets, and what they answer to each other.

use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tresor_channel::{Connection, Failure, Options, Request, Role, Timing};

/// A test that hangs fails; nothing is asserted about how long it takes.
pub(crate) const HANGS: Duration = Duration::from_secs(120);

pub(crate) fn options(role: Role) -> Options {
    Options::new(role, &[Role::Service, Role::Host, Role::Agent], "0.1.0")
}

/// Sees quickly that nobody is there.
pub(crate) fn impatient(role: Role) -> Options {
    let mut options = options(role);
    options.timing = Timing {
        greet_every: Duration::from_millis(50),
        greet_limit: Duration::from_secs(3),
        ping_every: Duration::from_millis(100),
        silence_limit: Duration::from_secs(2),
        leave_limit: Duration::from_secs(5),
    };
    options
}

pub(crate) async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    (near.unwrap(), far.unwrap().0)
}

/// Two ends on a unix socket pair; the service answers.
pub(crate) async fn pair() -> (Connection, Connection) {
    pair_with(options(Role::Service), options(Role::Host)).await
}

pub(crate) async fn pair_with(service: Options, host: Options) -> (Connection, Connection) {
    let (service, host) = opened(service, host).await;
    serve(&service);
    (service, host)
}

/// Two ends, neither of which answers.
pub(crate) async fn unserved() -> (Connection, Connection) {
    opened(options(Role::Service), options(Role::Host)).await
}

async fn opened(service: Options, host: Options) -> (Connection, Connection) {
    let (near, far) = UnixStream::pair().unwrap();
    let opened = tokio::join!(Connection::open(near, service), Connection::open(far, host));
    (opened.0.unwrap(), opened.1.unwrap())
}

pub(crate) fn serve(connection: &Connection) -> JoinHandle<()> {
    let connection = connection.clone();
    tokio::spawn(async move { connection.serve(answer).await })
}

/// The byte at a place of a test's body.
pub(crate) fn byte_at(at: usize) -> u8 {
    ((at as u64).wrapping_mul(0x9e37_79b9) >> 11).to_le_bytes()[0]
}

pub(crate) fn body(len: usize) -> Vec<u8> {
    (0..len).map(byte_at).collect()
}

/// What both ends can do.
pub(crate) async fn answer(mut request: Request) {
    let answered = match request.method.as_str() {
        "echo" => request.reply.answer(&request.head),
        // Counts the body, and says whether it was right.
        "take" => {
            let mut len = 0;
            let mut right = true;
            loop {
                match request.body.read().await {
                    Ok(Some(data)) => {
                        right &= data.iter().zip(len..).all(|(b, at)| *b == byte_at(at));
                        len += data.len();
                    }
                    Ok(None) => break,
                    // Half a body: nobody waits for the answer, or it is a failure.
                    Err(error) => {
                        let failure = Failure::new("HalfABody", error.to_string());
                        request.reply.fail(&failure).ok();
                        return;
                    }
                }
            }
            request.reply.json(&(len, right))
        }
        "give" => {
            let len: usize = request.json().unwrap();
            let Ok(mut out) = request.reply.with_body(b"{}") else {
                return;
            };
            for at in (0..len).step_by(10_000) {
                let piece: Vec<u8> = (at..len.min(at + 10_000)).map(byte_at).collect();
                if out.write(&piece).await.is_err() {
                    return;
                }
            }
            out.finish()
        }
        "half" => {
            let mut out = request.reply.with_body(b"{}").unwrap();
            out.write(&body(1000)).await.unwrap();
            out.fail(&Failure::new("DiskReadFailed", "sector 7"))
        }
        "refuse" => {
            let mut failure = Failure::new("VaultStorageFull", "no space is left");
            failure.fields.insert("location".into(), "/vault".into());
            request.reply.fail(&failure)
        }
        "early" => request.reply.answer(b"enough"),
        "wait" => std::future::pending().await,
        "panic" => panic!("as the test wants"),
        _ => request.unknown(),
    };
    answered.ok();
}
