//! What `tresor login` keeps: where the service is, how it is known, and the token. One file, for its owner only.

use std::{
    fmt, fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tresor_host::{keys, usage};
use tresor_identity::{Address, Fingerprint};
use tresor_problem::Problem;
use zeroize::Zeroizing;

/// The service that was logged in to.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Context {
    pub(crate) server: Address,
    /// Of its authority; `None`: the system's authorities vouch for it.
    pub(crate) authority: Option<Fingerprint>,
    pub(crate) token: Zeroizing<String>,
}

/// The same as the file has it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    server: String,
    authority: Option<String>,
    token: String,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Context");
        shown.field("server", &self.server.to_string());
        shown.field("authority", &self.authority);
        shown.finish_non_exhaustive()
    }
}

impl Context {
    pub(crate) fn new(
        server: Address,
        authority: Option<Fingerprint>,
        token: Zeroizing<String>,
    ) -> Self {
        Self {
            server,
            authority,
            token,
        }
    }

    /// Where it is kept; `None`: whoever runs this has no home.
    pub(crate) fn file() -> Option<PathBuf> {
        let absolute = |name: &str| {
            let path = std::env::var_os(name).map(PathBuf::from);
            path.filter(|path| path.is_absolute())
        };
        let config = absolute("XDG_CONFIG_HOME");
        let config = config.or_else(|| Some(absolute("HOME")?.join(".config")))?;
        Some(config.join("tresor/login.toml"))
    }

    /// What is kept, if anything is.
    pub(crate) fn load() -> Result<Option<Self>, Problem> {
        match Self::file() {
            Some(file) if file.exists() => Self::read(&file).map(Some),
            _ => Ok(None),
        }
    }

    fn read(file: &Path) -> Result<Self, Problem> {
        let bytes = keys::read_secret(file)?;
        let shown = file.display();
        let damaged = |what: &str| {
            usage(&format!(
                "{shown} is not what `tresor login` writes: {what}. Log in anew, or remove it."
            ))
        };
        let text = std::str::from_utf8(&bytes).map_err(|_| damaged("it is no text"))?;
        // What a parser says of it would repeat the line with the token.
        let written: Written = toml::from_str(text).map_err(|_| damaged("it cannot be read"))?;
        let authority = written.authority.as_deref().map(str::parse).transpose();
        Ok(Self {
            server: written.server.parse().map_err(|_| damaged("`server`"))?,
            authority: authority.map_err(|_| damaged("`authority`"))?,
            token: written.token.into(),
        })
    }

    /// Keeps it, in the place of what was there.
    pub(crate) fn save(&self) -> Result<PathBuf, Problem> {
        let file = Self::file().ok_or_else(|| {
            usage("There is no place to keep the login: neither HOME nor XDG_CONFIG_HOME is set.")
        })?;
        let written = Written {
            server: self.server.to_string(),
            authority: self.authority.map(|authority| authority.to_string()),
            token: self.token.as_str().to_owned(),
        };
        let text = toml::to_string(&written).map(Zeroizing::new);
        let text = text.map_err(|error| tresor_host::internal(format!("{error}.")))?;
        let shown = file.display();
        replace(&file, &text)
            .map_err(|error| usage(&format!("{shown} cannot be written: {error}.")))?;
        Ok(file)
    }

    /// Forgets what is kept; tells whether anything was.
    pub(crate) fn forget() -> Result<bool, Problem> {
        let Some(file) = Self::file() else {
            return Ok(false);
        };
        match fs::remove_file(&file) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => {
                let shown = file.display();
                Err(usage(&format!("{shown} cannot be removed: {error}.")))
            }
        }
    }
}

/// Never readable by others, not even for a moment.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let dir = file.parent().unwrap_or(Path::new("/"));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)?;
    let new = file.with_extension(format!("new-{}", std::process::id()));
    let mut written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    let done = written
        .write_all(text.as_bytes())
        .and_then(|()| written.sync_all())
        .and_then(|()| fs::rename(&new, file));
    if done.is_err() {
        fs::remove_file(&new).ok();
    }
    done
}
