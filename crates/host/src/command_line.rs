//! Where a VM's monitor and its guest agent's channel end, read off QEMU's command line. It is the user's: what
//! is not understood is passed over.

use std::path::PathBuf;

use tresor_model::{HypervisorSource, MachineDefinition};

/// The name of the port that the guest agent opens.
const PORT: &str = "org.qemu.guest_agent.0";

/// The socket behind the guest agent's port; `None` when there is none, or one that is no socket.
#[must_use]
pub fn agent_of(machine: &MachineDefinition) -> Option<PathBuf> {
    agent_socket(command_line(machine))
}

/// The first socket at which QEMU listens for QMP.
#[must_use]
pub fn qmp_of(machine: &MachineDefinition) -> Option<PathBuf> {
    qmp_socket(command_line(machine))
}

fn command_line(machine: &MachineDefinition) -> &[String] {
    let HypervisorSource::Qemu { command_line, .. } = &machine.source;
    command_line
}

fn agent_socket(command_line: &[String]) -> Option<PathBuf> {
    let port = values(command_line, "device").find(|device| {
        let named = field(device, "name");
        device.starts_with("virtserialport") && named.as_deref() == Some(PORT)
    })?;
    socket_of(command_line, &field(port, "chardev")?)
}

/// `-qmp unix:PATH`, else `-mon chardev=ID,mode=control`.
fn qmp_socket(command_line: &[String]) -> Option<PathBuf> {
    let direct = values(command_line, "qmp").find_map(|value| {
        let address = fields(value).next()?;
        address.strip_prefix("unix:").map(PathBuf::from)
    });
    let monitors = values(command_line, "mon");
    let mut control = monitors.filter(|value| field(value, "mode").as_deref() == Some("control"));
    let socket = direct
        .or_else(|| control.find_map(|value| socket_of(command_line, &field(value, "chardev")?)));
    // What is relative to QEMU's directory says nothing.
    socket.filter(|path| path.is_absolute())
}

/// The values of an option, with one dash or two.
fn values<'a>(command_line: &'a [String], option: &'a str) -> impl Iterator<Item = &'a str> {
    let pairs = command_line.windows(2);
    pairs.filter_map(move |pair| match pair {
        [name, value] if name.trim_start_matches('-') == option && name.starts_with('-') => {
            Some(value.as_str())
        }
        _ => None,
    })
}

/// The path of a character device that is a socket.
fn socket_of(command_line: &[String], chardev: &str) -> Option<PathBuf> {
    let socket = values(command_line, "chardev").find(|value| {
        value.starts_with("socket,") && field(value, "id").as_deref() == Some(chardev)
    })?;
    field(socket, "path").map(PathBuf::from)
}

fn field(options: &str, key: &str) -> Option<String> {
    fields(options).find_map(|one| {
        let (name, value) = one.split_once('=')?;
        (name == key).then(|| value.to_owned())
    })
}

/// The fields of `key=value,key=value`, in which a comma of a value is doubled.
fn fields(options: &str) -> impl Iterator<Item = String> {
    let mut rest = options;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut one = String::new();
        while let Some((before, after)) = rest.split_once(',') {
            one.push_str(before);
            match after.strip_prefix(',') {
                Some(more) => {
                    one.push(',');
                    rest = more;
                }
                None => {
                    rest = after;
                    return Some(one);
                }
            }
        }
        one.push_str(rest);
        rest = "";
        Some(one)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<String> {
        let words: Vec<_> = text.split(' ').map(str::to_owned).collect();
        agent_socket(&words).map(|path| path.display().to_string())
    }

    #[test]
    fn a_table_of_monitors() {
        let cases = [
            (
                "qemu -qmp unix:/run/a,,b,server=on,wait=off -qmp unix:/x",
                Some("/run/a,b"),
            ),
            ("qemu --qmp tcp:localhost:4444", None),
            ("qemu -qmp unix:here,server=on", None),
            (
                "qemu -mon chardev=h -chardev socket,id=h,path=/hmp -mon chardev=m,mode=control \
                 -chardev socket,id=m,path=/run/m,server=on",
                Some("/run/m"),
            ),
            (
                "qemu -mon chardev=m,mode=control -chardev socket,id=m,fd=23",
                None,
            ),
            ("qemu -qmp", None),
        ];
        for (line, expected) in cases {
            let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
            let found = qmp_socket(&words).map(|path| path.display().to_string());
            assert_eq!(found.as_deref(), expected, "{line}");
        }
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
