//! The command loop of tests, on a virtio-serial port of its own, so that a test never takes the
//! channel that the product uses.
//!
//! A request is `T1 ID LENGTH\n` and LENGTH bytes for `sh -c`; the answer is
//! `T1 ID CODE LENGTH\n` and LENGTH bytes (standard output and error as they came). Each command
//! has its own thread, so one that hangs in a frozen file system stops no other. What is no
//! header is skipped up to the next newline: after a lost connection both sides find their feet.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Write},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use crate::{
    args::Args,
    report::{During, Failure},
    status,
};

const MAX_COMMAND: u64 = 1 << 20;
const MAX_OUTPUT: u64 = 4 << 20;
/// An unconnected port reads as end of file at once.
const UNCONNECTED: Duration = Duration::from_millis(10);

/// Serves commands for ever.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let path = args.path("port")?;
    let port = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .during("open", &path)?;
    let answers = Arc::new(Mutex::new(port.try_clone().during("open", &path)?));
    let mut requests = BufReader::new(port);
    loop {
        match next_request(&mut requests).during("read", &path)? {
            None => status::rest(UNCONNECTED),
            Some(request) => {
                let answers = Arc::clone(&answers);
                thread::spawn(move || serve(&request, &answers));
            }
        }
    }
}

struct Request {
    id: String,
    command: String,
}

/// `None`: nobody is connected, or the line was no header.
fn next_request(port: &mut BufReader<File>) -> io::Result<Option<Request>> {
    let mut line = Vec::new();
    port.by_ref().take(128).read_until(b'\n', &mut line)?;
    let Some((id, length)) = parse_header(&line) else {
        return Ok(None);
    };
    let mut command = vec![0; usize::try_from(length).unwrap_or(0)];
    port.read_exact(&mut command)?;
    Ok(Some(Request {
        id,
        command: String::from_utf8_lossy(&command).into_owned(),
    }))
}

fn parse_header(line: &[u8]) -> Option<(String, u64)> {
    let text = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let mut words = text.strip_prefix("T1 ")?.split(' ');
    let id = words.next()?.to_owned();
    let length = words.next()?.parse().ok()?;
    (words.next().is_none() && length <= MAX_COMMAND).then_some((id, length))
}

fn serve(request: &Request, answers: &Mutex<File>) {
    let (code, output) = match execute(&request.command) {
        Ok(answer) => answer,
        Err(error) => (126, format!("cannot run: {error}\n").into_bytes()),
    };
    let mut answer = format!("T1 {} {code} {}\n", request.id, output.len()).into_bytes();
    answer.extend_from_slice(&output);
    if let Ok(mut port) = answers.lock() {
        // Nobody left to tell: the test that asked has gone.
        drop(port.write_all(&answer));
    }
}

/// Runs a command to its end. A command killed by a signal has code 128 + signal.
fn execute(command: &str) -> io::Result<(i32, Vec<u8>)> {
    use std::os::unix::process::ExitStatusExt;
    let (reader, writer) = io::pipe()?;
    let mut child = Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .spawn()?;
    let mut output = Vec::new();
    let mut reader = reader;
    reader.by_ref().take(MAX_OUTPUT).read_to_end(&mut output)?;
    io::copy(&mut reader, &mut io::sink())?;
    let status = child.wait()?;
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok((code, output))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_and_bounded_header_counts() {
        assert_eq!(parse_header(b"T1 a7 12\n"), Some(("a7".to_owned(), 12)));
        for bad in [
            &b"T1 a7 12"[..],
            b"T2 a7 12\n",
            b"T1 a7 9999999999\n",
            b"T1 a7\n",
            b"T1 a7 1 2\n",
            b"\n",
            b"\xff\n",
        ] {
            assert_eq!(parse_header(bad), None, "{bad:?}");
        }
    }
}
