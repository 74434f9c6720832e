//! Package sources of our own, made from the machine's: the same mirrors, keys and components,
//! with the backports suite added.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use super::distro::{Distro, Family};

/// One place to get packages from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    uri: String,
    components: String,
    signed_by: Option<String>,
}

/// Copies the machine's source files into `dir` and adds one for backports.
pub(crate) fn write(dir: &Path, distro: &Distro) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    fs::create_dir_all(dir)?;
    let mut main = None;
    for file in machine_files()? {
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        main = main.or_else(|| find_main(&text, &distro.codename));
        if let Some(name) = file.file_name() {
            fs::write(dir.join(name), text)?;
        }
    }
    if let (Some(main), Family::Debian) = (main, distro.family) {
        fs::write(
            dir.join("tresor-backports.sources"),
            stanza(&main, &distro.backports()),
        )?;
    }
    Ok(())
}

fn machine_files() -> Result<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    let single = Path::new("/etc/apt/sources.list");
    if single.is_file() {
        files.push(single.to_path_buf());
    }
    let parts = Path::new("/etc/apt/sources.list.d");
    if parts.is_dir() {
        for entry in fs::read_dir(parts)? {
            let path = entry?.path();
            let known = path
                .extension()
                .is_some_and(|end| end == "list" || end == "sources");
            if known {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The source that serves the distribution's main suite, in either of the two formats.
fn find_main(text: &str, codename: &str) -> Option<Source> {
    find_stanza(text, codename).or_else(|| find_line(text, codename))
}

fn find_stanza(text: &str, codename: &str) -> Option<Source> {
    text.split("\n\n").find_map(|stanza| {
        let field = |name: &str| {
            stanza
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(|value| value.trim().to_owned())
        };
        let suites = field("Suites")?;
        if !suites.split_whitespace().any(|suite| suite == codename) {
            return None;
        }
        Some(Source {
            uri: field("URIs")?.split_whitespace().next()?.to_owned(),
            components: field("Components").unwrap_or_else(|| "main".to_owned()),
            signed_by: field("Signed-By").filter(|path| !path.is_empty()),
        })
    })
}

fn find_line(text: &str, codename: &str) -> Option<Source> {
    text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix("deb ")?.trim_start();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => ("", rest),
        };
        let mut words = rest.split_whitespace();
        let uri = words.next()?.to_owned();
        if words.next()? != codename {
            return None;
        }
        let signed_by = options
            .split_whitespace()
            .find_map(|option| option.strip_prefix("signed-by="))
            .map(str::to_owned);
        let components = words.collect::<Vec<_>>().join(" ");
        Some(Source {
            uri,
            components,
            signed_by,
        })
    })
}

fn stanza(source: &Source, suite: &str) -> String {
    let mut text = format!(
        "Types: deb\nURIs: {}\nSuites: {suite}\nComponents: {}\n",
        source.uri, source.components
    );
    if let Some(key) = &source.signed_by {
        text.push_str(&format!("Signed-By: {key}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_give_the_same_source() {
        let new = "Types: deb\n# a note\nURIs: http://mirror.invalid/debian\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By: /k.gpg\n\nTypes: deb\nURIs: http://mirror.invalid/security\nSuites: bookworm-security\nComponents: main\n";
        let old = "# note\ndeb-src http://x.invalid/debian bookworm main\ndeb [arch=amd64 signed-by=/k.gpg] http://mirror.invalid/debian bookworm main\n";
        let source = find_main(new, "bookworm").unwrap();
        assert_eq!(find_main(old, "bookworm"), Some(source.clone()));
        assert_eq!(find_main(new, "trixie"), None);
        assert_eq!(
            stanza(&source, "bookworm-backports"),
            "Types: deb\nURIs: http://mirror.invalid/debian\nSuites: bookworm-backports\nComponents: main\nSigned-By: /k.gpg\n"
        );
    }
}
