//! The Debian package, by `dpkg-deb`: the program, units, the configuration file, manuals, completions.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::{Contents, SHELLS, files::Tree};
use crate::process::{capture, succeeds, tool};

/// Scripts that `dpkg` runs.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];
const UNITS: [&str; 2] = ["tresor.service", "tresor-host.service"];
/// Pages for whoever installs it.
const DOCS: [&str; 3] = ["docs/install.md", "docs/config.md", "docs/service.md"];

const CONFFILE: &str = "etc/tresor/tresor.toml";

const ABOUT: &str = "\
backup of virtual machines of plain QEMU/KVM
 Tresor backs up virtual machines of QEMU hosts into a deduplicated, encrypted
 vault, and brings them back: incrementally by dirty bitmaps, consistent by the
 guest agent, on a schedule, on one host or on many.
";

/// What QEMU's tools are for: `qemu-storage-daemon` opens images of VMs that do not run.
const RECOMMENDS: &str = "qemu-utils";

pub(super) fn make(contents: &Contents, out: &Path) -> Result<PathBuf> {
    let architecture = capture(tool("dpkg").arg("--print-architecture"))?;
    let architecture = architecture.trim();
    let name = format!("tresor_{}_{architecture}", contents.version);
    let work = tempfile::tempdir()?;
    let tree = Tree::new(work.path().join("tresor"))?;
    program(contents, &tree)?;
    documents(contents, &tree)?;
    for unit in UNITS {
        let text = fs::read(contents.root.join("packaging/systemd").join(unit))?;
        tree.write(&format!("usr/lib/systemd/system/{unit}"), 0o644, text)?;
    }
    let config = fs::read(contents.root.join("packaging/tresor.toml"))?;
    tree.write(CONFFILE, 0o644, config)?;
    let hook = fs::read(contents.root.join("guest/fsfreeze-hook"))?;
    tree.write("usr/share/tresor/fsfreeze-hook", 0o755, hook)?;
    let overrides = fs::read(contents.root.join("packaging/debian/lintian-overrides"))?;
    tree.write("usr/share/lintian/overrides/tresor", 0o644, overrides)?;
    let depends = depends(&tree.path().join("usr/bin/tresor"))?;
    control(contents, &tree, architecture, &depends)?;
    let deb = out.join(format!("{name}.deb"));
    let mut build = tool("dpkg-deb");
    // The highest level costs a minute and saves a tenth.
    build.args(["--root-owner-group", "-Zxz", "-z3", "--build"]);
    if !succeeds(build.arg(tree.path()).arg(&deb))? {
        bail!("dpkg-deb fails");
    }
    Ok(deb)
}

/// The program without what only a debugger reads, its manuals and completions.
fn program(contents: &Contents, tree: &Tree) -> Result<()> {
    let stripped = tempfile::NamedTempFile::new()?;
    let mut strip = tool("strip");
    strip.args(["--strip-unneeded", "-o"]).arg(stripped.path());
    if !succeeds(strip.arg(&contents.program))? {
        bail!("strip fails");
    }
    tree.write("usr/bin/tresor", 0o755, fs::read(stripped.path())?)?;
    for (shell, path) in SHELLS {
        tree.write(path, 0o644, contents.completions(shell)?)?;
    }
    let manuals = tempfile::tempdir()?;
    let mut write = Command::new(&contents.program);
    write.args(["debug", "manuals"]).arg(manuals.path());
    if !succeeds(&mut write)? {
        bail!("the manuals cannot be made");
    }
    for page in fs::read_dir(manuals.path())? {
        let page = page?;
        let name = page.file_name().into_string();
        let name = name.ok().context("a manual's name is no text")?;
        let path = format!("usr/share/man/man1/{name}.gz");
        tree.write_gz(&path, &fs::read(page.path())?)?;
    }
    Ok(())
}

fn documents(contents: &Contents, tree: &Tree) -> Result<()> {
    let read = |file: &str| {
        let path = contents.root.join(file);
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    for file in DOCS {
        let name = Path::new(file).file_name().and_then(|name| name.to_str());
        let name = name.context("a document has no name")?;
        tree.write(&format!("usr/share/doc/tresor/{name}"), 0o644, read(file)?)?;
    }
    tree.write_gz("usr/share/doc/tresor/NEWS.gz", &read("CHANGELOG.md")?)?;
    let changelog = format!(
        "tresor ({}) unstable; urgency=medium\n\n  * NEWS.gz has what changed.\n\n \
         -- Tresor <tresor@localhost>  Thu, 01 Jan 2026 00:00:00 +0000\n",
        contents.version
    );
    tree.write_gz("usr/share/doc/tresor/changelog.gz", changelog.as_bytes())?;
    let copyright = read("packaging/debian/copyright")?;
    tree.write("usr/share/doc/tresor/copyright", 0o644, copyright)
}

/// The packages with the libraries that the program is linked with, as `dpkg-shlibdeps` finds them.
fn depends(program: &Path) -> Result<String> {
    // It wants to stand in a source package.
    let source = tempfile::tempdir()?;
    fs::create_dir(source.path().join("debian"))?;
    fs::write(
        source.path().join("debian/control"),
        "Source: tresor\n\nPackage: tresor\nArchitecture: any\n",
    )?;
    let mut ask = tool("dpkg-shlibdeps");
    ask.current_dir(source.path()).arg("-O").arg(program);
    let said = capture(&mut ask).context("dpkg-shlibdeps fails: is dpkg-dev installed?")?;
    let depends = said.trim().strip_prefix("shlibs:Depends=");
    let depends = depends.context("dpkg-shlibdeps names no package")?;
    Ok(depends.to_owned())
}

fn control(contents: &Contents, tree: &Tree, architecture: &str, depends: &str) -> Result<()> {
    let size = tree.installed_kib()?;
    let control = format!(
        "Package: tresor\nVersion: {}\nSection: admin\nPriority: optional\n\
         Architecture: {architecture}\nInstalled-Size: {size}\n\
         Maintainer: Tresor <tresor@localhost>\nDepends: {depends}\nRecommends: {RECOMMENDS}\n\
         Description: {ABOUT}",
        contents.version
    );
    tree.write("DEBIAN/control", 0o644, control)?;
    tree.write("DEBIAN/conffiles", 0o644, format!("/{CONFFILE}\n"))?;
    for script in SCRIPTS {
        let text = fs::read(contents.root.join("packaging/debian").join(script))?;
        tree.write(&format!("DEBIAN/{script}"), 0o755, text)?;
    }
    tree.write("DEBIAN/md5sums", 0o644, checksums(tree.path())?)
}

/// Of each file that is installed, for `dpkg --verify`.
fn checksums(root: &Path) -> Result<String> {
    let mut list = Command::new("sh");
    list.current_dir(root).args([
        "-c",
        "find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum",
    ]);
    capture(&mut list)
}
