//! Where jobs may restore to: whoever may ask for a restore decides neither which files of this host are
//! replaced nor which directories hold what a guest holds.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Component, Path, PathBuf},
};

use tresor_problem::{Kind, Problem};

/// The directories that this host's administrator allowed.
#[derive(Debug, Clone)]
pub(crate) struct RestoreDirs(Vec<PathBuf>);

impl RestoreDirs {
    /// Those that were allowed; none: `usual` alone.
    pub(crate) fn new(allowed: &[PathBuf], usual: PathBuf) -> Self {
        match allowed {
            [] => Self(vec![usual]),
            allowed => Self(allowed.to_vec()),
        }
    }

    /// The directory that an order means, links followed. A relative one is below the first that is
    /// allowed.
    pub(crate) fn resolve(&self, to: &Path) -> Result<PathBuf, Problem> {
        let mut below = to.components().peekable();
        let ups = to.components().any(|part| part == Component::ParentDir);
        let asked = match (below.peek(), self.0.first()) {
            (Some(Component::Normal(_)), Some(first)) => first.join(to),
            _ => to.to_owned(),
        };
        if ups || !asked.is_absolute() {
            return Err(self.refused(to));
        }
        let failed = |error: io::Error| failed(&asked, &error);
        for allowed in &self.0 {
            let allowed = existing(allowed).map_err(failed)?;
            let real = followed(&asked).map_err(failed)?;
            if real != allowed && real.starts_with(&allowed) {
                return Ok(real);
            }
        }
        Err(self.refused(to))
    }

    fn refused(&self, to: &Path) -> Problem {
        let allowed: Vec<_> = self.0.iter().map(|dir| dir.display().to_string()).collect();
        Kind::RestoreTargetNotAllowed {
            path: to.display().to_string(),
            allowed: allowed.join(", "),
        }
        .into()
    }
}

fn failed(path: &Path, error: &io::Error) -> Problem {
    let path = path.display().to_string();
    let reason = error.to_string();
    Problem::caused_by(Kind::RestoreTargetFailed { path, reason }, error)
}

/// An allowed directory, made when it is not there: what is in it is as secret as the guests.
fn existing(dir: &Path) -> io::Result<PathBuf> {
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir);
    made?;
    fs::canonicalize(dir)
}

/// Where a path leads that need not be there yet.
fn followed(path: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(path) {
        Ok(real) => Ok(real),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // A link that leads to nothing is no place.
            if fs::symlink_metadata(path).is_ok() {
                return Err(error);
            }
            match (path.parent(), path.file_name()) {
                (Some(parent), Some(name)) => Ok(followed(parent)?.join(name)),
                _ => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_what_lies_below_an_allowed_directory_is_a_target() {
        let root = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(root.path()).unwrap();
        let (first, second) = (real.join("restored"), real.join("more"));
        let outside = real.join("etc");
        fs::create_dir(&outside).unwrap();
        let dirs = RestoreDirs::new(&[first.clone(), second.clone()], real.join("usual"));
        assert_eq!(dirs.resolve(Path::new("a")).unwrap(), first.join("a"));
        assert_eq!(dirs.resolve(Path::new("a/b")).unwrap(), first.join("a/b"));
        let absolute = second.join("web01/new");
        assert_eq!(dirs.resolve(&absolute).unwrap(), absolute);
        symlink(&outside, first.join("out")).unwrap();
        symlink(real.join("nowhere"), first.join("dangling")).unwrap();
        symlink(&second, real.join("in")).unwrap();
        assert_eq!(
            dirs.resolve(&real.join("in/x")).unwrap(),
            second.join("x"),
            "a link that leads in"
        );
        for refused in [
            "",
            ".",
            "/",
            "..",
            "../etc",
            "a/../../etc",
            "./a/../..",
            "out",
            "out/a",
        ] {
            let problem = dirs.resolve(Path::new(refused)).unwrap_err();
            assert!(
                problem.is("RestoreTargetNotAllowed"),
                "{refused}: {problem}"
            );
        }
        for refused in [&first, &outside, &outside.join("a"), &real.join("usual/a")] {
            let problem = dirs.resolve(refused).unwrap_err();
            assert!(
                problem.is("RestoreTargetNotAllowed"),
                "{refused:?}: {problem}"
            );
        }
        for broken in ["dangling", "dangling/a"] {
            let problem = dirs.resolve(Path::new(broken)).unwrap_err();
            assert!(problem.is("RestoreTargetFailed"), "{broken}: {problem}");
        }
    }

    #[test]
    fn without_an_allowed_directory_there_is_the_usual_one() {
        let root = tempfile::tempdir().unwrap();
        let usual = fs::canonicalize(root.path()).unwrap().join("restored");
        let dirs = RestoreDirs::new(&[], usual.clone());
        assert_eq!(dirs.resolve(Path::new("a")).unwrap(), usual.join("a"));
        let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&usual).unwrap());
        assert_eq!(mode & 0o777, 0o700);
    }
}
