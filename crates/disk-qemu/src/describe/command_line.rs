//! QEMU's command line: the few options that tell of files of the machine. Pure; the input comes
//! from a process that a guest may have taken over.

/// What is wanted of a command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// `-kernel`.
    pub(super) kernel: Option<String>,
    /// `-initrd`.
    pub(super) initrd: Option<String>,
    /// `-append`.
    pub(super) append: Option<String>,
    /// `-bios`.
    pub(super) bios: Option<String>,
    /// `-cpu`, the model alone.
    pub(super) cpu: Option<String>,
    /// Whether flash refuses writes from outside system management mode.
    pub(super) secure_boot: Option<bool>,
    /// Socket of the TPM emulator.
    pub(super) tpm_socket: Option<String>,
}

/// Reads the options; of an option given twice the last counts, as for QEMU.
pub(super) fn parse(arguments: &[String]) -> Options {
    let mut options = Options::default();
    let mut tpm_chardev = None;
    let mut chardevs = Vec::new();
    let mut rest = arguments.iter().skip(1).peekable();
    while let Some(argument) = rest.next() {
        let Some(option) = argument.strip_prefix('-') else {
            continue;
        };
        let option = option.strip_prefix('-').unwrap_or(option);
        let Some(value) = rest.peek().map(|value| value.as_str()) else {
            break;
        };
        let text = || Some(value.to_owned());
        match option {
            "kernel" => options.kernel = text(),
            "initrd" => options.initrd = text(),
            "append" => options.append = text(),
            "bios" => options.bios = text(),
            "cpu" => options.cpu = keys(value).into_iter().next().map(|(model, _)| model),
            "chardev" => chardevs.push(keys(value)),
            "tpmdev" => tpm_chardev = find(&keys(value), "chardev"),
            "global" => read_global(&mut options, value),
            _ => continue,
        }
        rest.next();
    }
    options.tpm_socket = tpm_chardev.and_then(|id| {
        let chardev = chardevs
            .iter()
            .find(|chardev| find(chardev, "id").as_ref() == Some(&id));
        find(chardev?, "path")
    });
    options
}

fn read_global(options: &mut Options, value: &str) {
    if let Some((_, state)) = value
        .split_once("cfi.pflash01,property=secure,value=")
        .or_else(|| value.split_once("cfi.pflash01.secure="))
    {
        options.secure_boot = Some(matches!(state, "on" | "true" | "yes"));
    }
}

/// Where an id is first given, counted in arguments.
pub(super) fn place_of_id(arguments: &[String], id: &str) -> Option<usize> {
    arguments.iter().position(|argument| {
        if argument.starts_with('{') {
            let object = serde_json::from_str::<serde_json::Value>(argument);
            return object.is_ok_and(|object| object.get("id").is_some_and(|own| own == id));
        }
        find(&keys(argument), "id").as_deref() == Some(id)
    })
}

fn find(keys: &[(String, String)], wanted: &str) -> Option<String> {
    let found = keys.iter().rev().find(|(key, _)| key == wanted);
    found.map(|(_, value)| value.clone())
}

/// Splits `a=b,c=d`; a comma within a value is written twice. A part without `=` is a key.
fn keys(value: &str) -> Vec<(String, String)> {
    let mut parts = vec![String::new()];
    let mut rest = value.chars().peekable();
    while let Some(letter) = rest.next() {
        if letter == ',' && rest.next_if_eq(&',').is_none() {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(letter);
        }
    }
    let split = |part: String| match part.split_once('=') {
        Some((key, value)) => (key.to_owned(), value.to_owned()),
        None => (part, String::new()),
    };
    parts.into_iter().map(split).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_direct_kernel_boot_is_found() {
        let line = "qemu -M q35 -kernel /boot/k --initrd /boot/i -append quiet -cpu qemu64,+avx";
        let options = parse(&arguments(line));
        assert_eq!(options.kernel.as_deref(), Some("/boot/k"));
        assert_eq!(options.initrd.as_deref(), Some("/boot/i"));
        assert_eq!(options.append.as_deref(), Some("quiet"));
        assert_eq!(options.cpu.as_deref(), Some("qemu64"));
    }

    #[test]
    fn the_tpm_is_found_through_its_chardev() {
        let line = "qemu -chardev socket,id=a,path=/x -chardev socket,id=t,path=/run/a,,b/tpm.sock \
                    -tpmdev emulator,id=tpm0,chardev=t -device tpm-tis,tpmdev=tpm0";
        let options = parse(&arguments(line));
        assert_eq!(options.tpm_socket.as_deref(), Some("/run/a,b/tpm.sock"));
    }

    #[test]
    fn secure_boot_is_read_in_both_forms() {
        for (line, expected) in [
            (
                "qemu -global driver=cfi.pflash01,property=secure,value=on",
                Some(true),
            ),
            ("qemu -global cfi.pflash01.secure=off", Some(false)),
            ("qemu -global other.secure=on", None),
        ] {
            assert_eq!(parse(&arguments(line)).secure_boot, expected, "{line}");
        }
    }

    #[test]
    fn a_line_that_ends_early_or_is_empty_is_no_error() {
        assert_eq!(parse(&[]), Options::default());
        assert_eq!(parse(&arguments("qemu -kernel")), Options::default());
        assert_eq!(
            parse(&arguments("qemu - -- -tpmdev chardev=x")),
            Options::default()
        );
    }

    #[test]
    fn ids_have_a_place_in_both_notations() {
        let line = r#"qemu -device virtio-blk-pci,id=a -device {"driver":"x","id":"b"}"#;
        let arguments = arguments(line);
        assert_eq!(place_of_id(&arguments, "a"), Some(2));
        assert_eq!(place_of_id(&arguments, "b"), Some(4));
        assert_eq!(place_of_id(&arguments, "c"), None);
    }
}
