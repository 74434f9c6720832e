//! Who holds a QMP socket that gives no greeting.
//!
//! QEMU accepts one client per socket and leaves the others in the listen queue. The kernel knows
//! the accepted end by the socket's path, the other end of that by the accepted one
//! (`NETLINK_SOCK_DIAG`, sock\_diag(7)), and the process by its open files. Each of these may not be
//! told to us: then nobody is named.

use std::{fs, path::Path};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink::INET_DIAG,
        netlink::SocketAddrNetlink, recv, sendto, socket_with, sockopt,
    },
};

/// `SOCK_DIAG_BY_FAMILY`, a request for one socket.
const BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
/// `UDIAG_SHOW_PEER`, and the attribute it gives.
const SHOW_PEER: u32 = 4;
const PEER: u16 = 2;
/// Length of `nlmsghdr`, of it with `unix_diag_req`, and of it with `unix_diag_msg`.
const HEADER: usize = 16;
const REQUEST: u32 = 40;
const ANSWER: usize = HEADER + 16;
/// The state of a connected socket in `/proc/net/unix`.
const CONNECTED: &str = "03";
/// An answer has a few dozen bytes.
const BUFFER: usize = 4096;
/// How long the kernel is given to answer.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(1);

/// The process at the other end of a connection to the socket at `path`, in words; `None` where
/// that is not to be found out. Blocks for as long as reading `/proc` takes.
pub(crate) fn holder_of(path: &Path) -> Option<String> {
    let listed = fs::read_to_string("/proc/net/unix").ok()?;
    let path = path.to_str()?;
    // Whoever waits in the queue, as we do, has no accepted end yet: its inode is 0.
    accepted(&listed, path)
        .filter_map(|inode| peer_of(inode).ok()?)
        .find_map(process_with)
}

/// Inodes of the accepted ends of a listener, from `/proc/net/unix`.
fn accepted<'a>(listed: &'a str, path: &'a str) -> impl Iterator<Item = u32> + 'a {
    // Num RefCount Protocol Flags Type St Inode Path
    listed.lines().filter_map(move |line| {
        let mut words = line.split_ascii_whitespace().skip(5);
        let (state, inode) = (words.next()?, words.next()?.parse().ok()?);
        // What is left is the path, which may have spaces.
        (state == CONNECTED && inode != 0 && line.ends_with(&format!(" {path}"))).then_some(inode)
    })
}

/// The inode of the other end of a socket.
fn peer_of(inode: u32) -> Result<Option<u32>, Errno> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(INET_DIAG),
    )?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(LIMIT))?;
    let kernel = SocketAddrNetlink::new(0, 0);
    sendto(&socket, &request(inode), SendFlags::empty(), &kernel)?;
    let mut buffer = [0; BUFFER];
    let (length, _) = recv(&socket, &mut buffer, RecvFlags::empty())?;
    Ok(parse(buffer.get(..length).unwrap_or_default()))
}

fn request(inode: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    // nlmsghdr: length, type, flags, sequence, port.
    bytes.extend(REQUEST.to_ne_bytes());
    bytes.extend(BY_FAMILY.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST.to_ne_bytes());
    bytes.extend([0; 8]);
    // unix_diag_req: family, protocol, padding, states (all), inode, what to show, no cookie.
    bytes.extend([AddressFamily::UNIX.as_raw().to_ne_bytes()[0], 0, 0, 0]);
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend(inode.to_ne_bytes());
    bytes.extend(SHOW_PEER.to_ne_bytes());
    bytes.extend([0xff; 8]);
    bytes
}

/// The peer in an answer; `None` when it is an error, or says nothing of a peer.
pub(crate) fn parse(answer: &[u8]) -> Option<u32> {
    let word = |at: usize| Some(u16::from_ne_bytes(answer.get(at..at + 2)?.try_into().ok()?));
    if word(4)? != BY_FAMILY {
        return None;
    }
    let mut at = ANSWER;
    loop {
        let (length, kind) = (usize::from(word(at)?), word(at + 2)?);
        if kind == PEER {
            let value = answer.get(at + 4..at + 8)?;
            return Some(u32::from_ne_bytes(value.try_into().ok()?));
        }
        // An attribute has at least its own header; the next one is aligned to four bytes.
        at = at.checked_add(length.max(4).next_multiple_of(4))?;
    }
}

/// The process that has a socket open, in words.
fn process_with(inode: u32) -> Option<String> {
    let wanted = format!("socket:[{inode}]");
    for process in fs::read_dir("/proc").ok()?.flatten() {
        // Not `self`, which is one of them.
        if process
            .file_name()
            .to_string_lossy()
            .parse::<u32>()
            .is_err()
        {
            continue;
        }
        // Of another user, or gone meanwhile: not to be seen.
        let Ok(files) = fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let has_it = files.flatten().any(|file| {
            fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == wanted.as_str())
        });
        if has_it {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            let pid = process.file_name();
            return Some(format!(
                "process {} ({})",
                pid.to_string_lossy(),
                name.trim()
            ));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_ends_are_told_from_listeners_and_from_the_queue() {
        let listed = "Num RefCount Protocol Flags Type St Inode Path\n\
             0: 00000002 00000000 00010000 0001 01 111 /run/a b/qmp\n\
             0: 00000003 00000000 00000000 0001 03 222 /run/a b/qmp\n\
             0: 00000003 00000000 00000000 0001 03 0 /run/a b/qmp\n\
             0: 00000003 00000000 00000000 0001 03 333\n\
             0: 00000003 00000000 00000000 0001 03 444 /run/other/qmp\n";
        let found: Vec<_> = accepted(listed, "/run/a b/qmp").collect();
        assert_eq!(found, [222]);
    }

    #[test]
    fn an_answer_is_read_within_its_bounds() {
        let mut answer = vec![0; ANSWER];
        answer[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
        assert_eq!(parse(&answer), None);
        // Another attribute of 5 bytes, padded, then the peer.
        answer.extend(5_u16.to_ne_bytes());
        answer.extend([9, 0, 1, 0, 0, 0]);
        answer.extend(8_u16.to_ne_bytes());
        answer.extend(PEER.to_ne_bytes());
        answer.extend(4711_u32.to_ne_bytes());
        assert_eq!(parse(&answer), Some(4711));
        for length in 0..answer.len() {
            assert_eq!(parse(&answer[..length]), None, "{length}");
        }
    }

    #[test]
    fn this_process_is_found_at_the_other_end() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s");
        let listener = std::os::unix::net::UnixListener::bind(&path).expect("listens");
        assert_eq!(holder_of(&path), None);
        let _client = std::os::unix::net::UnixStream::connect(&path).expect("connects");
        let _accepted = listener.accept().expect("accepts");
        let holder = holder_of(&path).expect("the kernel tells");
        let ours = format!("process {} ", std::process::id());
        assert!(holder.starts_with(&ours), "{holder}");
    }
}
