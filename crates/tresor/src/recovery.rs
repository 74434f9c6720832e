//! A recovery key on its way to paper: text, and the same text as a QR code.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use qrcode::{Color, EcLevel, QrCode};
use tresor_host::internal;
use tresor_problem::{Kind, Problem};
use zeroize::Zeroizing;

use crate::output::note;

/// Light modules around the code, which readers need to find it.
const QUIET: usize = 4;
/// Size of a module in the picture, in its own units.
const MODULE: usize = 8;

/// A file for the picture, made before anything else is: a key that cannot be kept is not made.
/// Removed again when it stays empty.
pub(crate) struct NewSvg {
    path: PathBuf,
    file: File,
    is_written: bool,
}

impl NewSvg {
    /// Makes the file, readable by its owner only. Never replaces one.
    ///
    /// # Errors
    /// A usage error that names the file.
    pub(crate) fn reserve(path: &Path) -> Result<Self, Problem> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(|error| unwritable(path, &error))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            is_written: false,
        })
    }

    fn write(mut self, picture: &str) -> Result<(), Problem> {
        let written = self.file.write_all(picture.as_bytes());
        written
            .and_then(|()| self.file.sync_all())
            .map_err(|error| unwritable(&self.path, &error))?;
        self.is_written = true;
        Ok(())
    }
}

impl Drop for NewSvg {
    fn drop(&mut self) {
        if !self.is_written {
            std::fs::remove_file(&self.path).ok();
        }
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Problem {
    let what = format!("The picture {} cannot be written: {error}.", path.display());
    Kind::UsageError { what }.into()
}

/// The text and its code for a terminal. A picture that cannot be written is a warning: the key
/// exists by now, and the text must be shown.
pub(crate) fn print_once(text: &str, svg: Option<NewSvg>) -> Result<Zeroizing<String>, Problem> {
    let modules = Modules::of(text)?;
    let code = modules.half_blocks();
    let printed = Zeroizing::new(format!("    {text}\n\n{}", *code));
    if let Some(svg) = svg {
        let path = svg.path.display().to_string();
        match svg.write(&modules.svg(text)) {
            Ok(()) => note(&format!(
                "A picture of the recovery key, to print and then to delete: {path}"
            )),
            Err(problem) => note(&format!("warning: {}", problem.cause)),
        }
    }
    Ok(printed)
}

/// Dark and light squares, the quiet zone included.
struct Modules {
    width: usize,
    dark: Zeroizing<Vec<bool>>,
}

impl Modules {
    fn of(text: &str) -> Result<Self, Problem> {
        let code = QrCode::with_error_correction_level(text, EcLevel::M);
        let code = code.map_err(|error| internal(format!("The key has no QR code: {error}.")))?;
        let (inner, colors) = (code.width(), Zeroizing::new(dark_of(&code)));
        let width = inner + 2 * QUIET;
        let mut dark = Zeroizing::new(vec![false; width * width]);
        for (at, is_dark) in colors.iter().enumerate() {
            dark[(at / inner + QUIET) * width + at % inner + QUIET] = *is_dark;
        }
        Ok(Self { width, dark })
    }

    fn is_dark(&self, row: usize, column: usize) -> bool {
        self.dark
            .get(row * self.width + column)
            .copied()
            .unwrap_or(false)
    }

    /// Two rows in a line of text. The colours are set, so that a dark terminal shows dark on light.
    fn half_blocks(&self) -> Zeroizing<String> {
        let mut out = Zeroizing::new(String::new());
        for row in (0..self.width).step_by(2) {
            out.push_str("\u{1b}[30;107m");
            for column in 0..self.width {
                let below = row + 1 < self.width && self.is_dark(row + 1, column);
                out.push(match (self.is_dark(row, column), below) {
                    (true, true) => '█',
                    (true, false) => '▀',
                    (false, true) => '▄',
                    (false, false) => ' ',
                });
            }
            out.push_str("\u{1b}[0m\n");
        }
        out
    }

    fn svg(&self, text: &str) -> Zeroizing<String> {
        let (side, caption) = (self.width * MODULE, 3 * MODULE);
        let mut path = Zeroizing::new(String::new());
        for row in 0..self.width {
            for column in (0..self.width).filter(|column| self.is_dark(row, *column)) {
                let (x, y) = (column * MODULE, row * MODULE);
                path.push_str(&format!("M{x} {y}h{MODULE}v{MODULE}h-{MODULE}z"));
            }
        }
        let height = side + 4 * caption;
        let mut lines = Zeroizing::new(String::new());
        for (number, line) in text.as_bytes().chunks(20).enumerate() {
            let line = String::from_utf8_lossy(line);
            let y = side + number * caption;
            lines.push_str(&format!("<text x=\"{MODULE}\" y=\"{y}\">{line}</text>"));
        }
        Zeroizing::new(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {height}\">\
             <rect width=\"{side}\" height=\"{height}\" fill=\"#fff\"/>\
             <path d=\"{}\"/><g font-family=\"monospace\" font-size=\"20\">{}</g></svg>\n",
            *path, *lines
        ))
    }
}

fn dark_of(code: &QrCode) -> Vec<bool> {
    let colors = code.to_colors();
    colors
        .into_iter()
        .map(|color| color == Color::Dark)
        .collect()
}
