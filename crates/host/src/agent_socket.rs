//! Where a VM's guest agent channel ends, read off QEMU's command line.

use std::path::PathBuf;

/// The name of the port that the guest agent opens.
const PORT: &str = "org.qemu.guest_agent.0";

/// The socket behind the guest agent's port; `None` when there is none, or one that is no socket. The
/// command line is the user's: what is not understood is passed over.
pub(crate) fn agent_socket(command_line: &[String]) -> Option<PathBuf> {
    let values = |option: &str| {
        let option = option.to_owned();
        let pairs = command_line.windows(2);
        pairs.filter_map(move |pair| match pair {
            [name, value] if name.trim_start_matches('-') == option && name.starts_with('-') => {
                Some(value.as_str())
            }
            _ => None,
        })
    };
    let port = values("device").find(|device| {
        let named = field(device, "name");
        device.starts_with("virtserialport") && named.as_deref() == Some(PORT)
    })?;
    let chardev = field(port, "chardev")?;
    let socket = values("chardev").find(|value| {
        value.starts_with("socket,") && field(value, "id").as_deref() == Some(chardev.as_str())
    })?;
    field(socket, "path").map(PathBuf::from)
}

/// A field of `key=value,key=value`, in which a comma of a value is doubled.
fn field(options: &str, key: &str) -> Option<String> {
    let mut rest = options;
    while !rest.is_empty() {
        let mut one = String::new();
        loop {
            match rest.split_once(',') {
                None => {
                    one.push_str(rest);
                    rest = "";
                    break;
                }
                Some((before, after)) => {
                    one.push_str(before);
                    match after.strip_prefix(',') {
                        Some(more) => {
                            one.push(',');
                            rest = more;
                        }
                        None => {
                            rest = after;
                            break;
                        }
                    }
                }
            }
        }
        if let Some((name, value)) = one.split_once('=')
            && name == key
        {
            return Some(value.to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<String> {
        let words: Vec<_> = text.split(' ').map(str::to_owned).collect();
        agent_socket(&words).map(|path| path.display().to_string())
    }

    #[test]
    fn a_table_of_command_lines() {
        let cases = [
            (
                "qemu -chardev socket,id=a,path=/run/a.sock,server=on,wait=off -device virtio-serial \
                 -device virtserialport,chardev=a,name=org.qemu.guest_agent.0",
                Some("/run/a.sock"),
            ),
            (
                "qemu -device virtserialport,bus=s.0,nr=1,chardev=ga,id=c0,name=org.qemu.guest_agent.0 \
                 -chardev socket,path=/a,,b,id=ga -chardev socket,path=/x,id=other",
                Some("/a,b"),
            ),
            // Another port, another kind of channel, and none at all.
            (
                "qemu -chardev socket,id=a,path=/x -device virtserialport,chardev=a,name=com.redhat.spice.0",
                None,
            ),
            (
                "qemu -chardev pty,id=a -device virtserialport,chardev=a,name=org.qemu.guest_agent.0",
                None,
            ),
            (
                "qemu -device virtserialport,chardev=a,name=org.qemu.guest_agent.0",
                None,
            ),
            ("qemu -device", None),
        ];
        for (line, expected) in cases {
            assert_eq!(of(line).as_deref(), expected, "{line}");
        }
    }
}
