//! Tokens in files.

use std::{io::Read as _, path::Path};

use tresor_host::{keys, usage};
use tresor_problem::Problem;
use zeroize::Zeroizing;

/// No token is longer.
const LONGEST: u64 = 4096;

/// The token in a file that only its owner can read; `-`: on stdin.
pub(crate) fn token_in(file: &Path) -> Result<Zeroizing<String>, Problem> {
    if file == Path::new("-") {
        let mut text = Zeroizing::new(String::new());
        let read = std::io::stdin().take(LONGEST).read_to_string(&mut text);
        read.map_err(|error| usage(&format!("The token cannot be read from stdin: {error}.")))?;
        return Ok(Zeroizing::new(text.trim().to_owned()));
    }
    let bytes = keys::read_secret(file)?;
    let text = std::str::from_utf8(&bytes);
    let text = text.map_err(|_| usage(&format!("{} holds no token.", file.display())))?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}
