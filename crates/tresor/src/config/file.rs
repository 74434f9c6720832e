//! The file: read, and judged as a whole: each line that is wrong is named, with what would be right.

use std::{
    fs::File,
    io::{ErrorKind, Read as _},
    ops::Range,
    path::{Path, PathBuf},
};

use clap::{
    Command,
    error::{ContextKind, ContextValue, Error as ClapError, ErrorKind as ClapKind},
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};
use tresor_problem::{Kind, Problem};

use super::{
    near::nearest,
    options::{FileOption, Section, Shape, key_of, left_out, options},
};

/// Larger files are none of ours.
const MOST_BYTES: u64 = 1 << 20;
/// So many mistakes are told at once.
const MOST_TOLD: usize = 20;

/// A file without mistakes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigFile {
    pub(crate) path: PathBuf,
    pub(crate) settings: Vec<Setting>,
}

/// One key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) section: Section,
    /// The option's, for clap.
    pub(crate) id: String,
    /// As the command line would have it; several where the option may be given several times.
    pub(crate) words: Vec<String>,
    /// Counted from 1.
    pub(crate) line: usize,
}

/// Something wrong in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Defect {
    pub(super) line: usize,
    pub(super) wrong: String,
}

impl ConfigFile {
    /// Reads it. `None`: it is not there, and need not be.
    pub(super) fn read(path: &Path, needed: bool, root: &Command) -> Result<Option<Self>, Problem> {
        let unreadable = |reason: String| -> Problem {
            let path = path.display().to_string();
            Kind::ConfigUnreadable { path, reason }.into()
        };
        let mut text = String::new();
        let read = File::open(path).and_then(|file| {
            let mut file = file.take(MOST_BYTES + 1);
            file.read_to_string(&mut text)
        });
        match read {
            Ok(_) if text.len() as u64 <= MOST_BYTES => {}
            Ok(_) => return Err(unreadable("it is larger than 1 MiB".to_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound && !needed => return Ok(None),
            Err(error) => return Err(unreadable(error.to_string())),
        }
        match parse(&text, root) {
            Ok(settings) => Ok(Some(Self {
                path: path.to_owned(),
                settings,
            })),
            Err(defects) => Err(invalid(path, &defects)),
        }
    }

    /// What the file says of an option.
    pub(crate) fn setting(&self, section: Section, id: &str) -> Option<&Setting> {
        let mut all = self.settings.iter();
        all.find(|setting| setting.section == section && setting.id == id)
    }
}

fn invalid(path: &Path, defects: &[Defect]) -> Problem {
    let told = defects.iter().take(MOST_TOLD);
    let told = told.map(|defect| format!("line {}: {}", defect.line, defect.wrong));
    let mut wrong = told.collect::<Vec<_>>().join("; ");
    if defects.len() > MOST_TOLD {
        wrong.push_str(&format!("; and {} more", defects.len() - MOST_TOLD));
    }
    let path = path.display().to_string();
    Kind::ConfigInvalid { path, wrong }.into()
}

/// What a text sets, or everything that is wrong in it.
pub(super) fn parse(text: &str, root: &Command) -> Result<Vec<Setting>, Vec<Defect>> {
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_at(text, &span));
        let wrong = error.message().to_owned();
        vec![Defect { line, wrong }]
    })?;
    let mut reader = Reader {
        text,
        root,
        options: options(root),
        settings: Vec::new(),
        defects: Vec::new(),
    };
    reader.table(Section::Common, table.get_ref());
    if reader.defects.is_empty() {
        return Ok(reader.settings);
    }
    reader.defects.sort_by_key(|defect| defect.line);
    Err(reader.defects)
}

struct Reader<'a> {
    text: &'a str,
    root: &'a Command,
    options: Vec<FileOption>,
    settings: Vec<Setting>,
    defects: Vec<Defect>,
}

impl Reader<'_> {
    fn table(&mut self, section: Section, table: &DeTable<'_>) {
        for (key, value) in table {
            let line = line_at(self.text, &key.span());
            let name: &str = key.get_ref();
            if section == Section::Common
                && let Some(inner) = Section::TABLES.iter().find(|table| table.name() == name)
            {
                match value.get_ref() {
                    DeValue::Table(table) => self.table(*inner, table),
                    _ => self.wrong(line, format!("`{name}` is a table: write `[{name}]`")),
                }
                continue;
            }
            let found = self.options.iter();
            let mut found = found.filter(|option| option.section == section);
            match found.find(|option| option.key == name).cloned() {
                Some(option) => self.setting(&option, line, value),
                None => self.wrong(line, self.unknown(section, name)),
            }
        }
    }

    fn wrong(&mut self, line: usize, wrong: String) {
        self.defects.push(Defect { line, wrong });
    }

    /// Of a key that there is not: what it may have been meant to be.
    fn unknown(&self, section: Section, name: &str) -> String {
        let shown = section.full(name);
        if let Some(why) = left_out(section, &name.replace('_', "-")) {
            return format!("`{shown}` cannot stand here: {why}");
        }
        let keys = |section| {
            let options = self
                .options
                .iter()
                .filter(move |option| option.section == section);
            options.map(|option| option.key.as_str())
        };
        if let Some(near) = nearest(name, keys(section)) {
            return format!(
                "there is no option `{shown}`: `{}` may be meant",
                section.full(near)
            );
        }
        let others = Section::ALL.into_iter().filter(|other| *other != section);
        let elsewhere = |other: &Section| keys(*other).any(|key| key == key_of(name));
        if let Some(other) = others.into_iter().find(elsewhere) {
            let place = match other {
                Section::Common => "above all tables".to_owned(),
                Section::Serve | Section::Host => format!("below `[{}]`", other.name()),
            };
            return format!("there is no option `{shown}`: `{name}` belongs {place}");
        }
        if section == Section::Common
            && let Some(near) = nearest(name, Section::TABLES.map(Section::name))
        {
            return format!("there is no table `[{name}]`: `[{near}]` may be meant");
        }
        format!("there is no option `{shown}`")
    }

    fn setting(&mut self, option: &FileOption, line: usize, value: &Spanned<DeValue<'_>>) {
        let full = option.full();
        let Some(words) = words(option.shape(), value.get_ref()) else {
            let right = example_of(option.shape());
            let kind = kind_of(value.get_ref());
            self.wrong(line, format!("`{full}` is {kind}: it has to be {right}"));
            return;
        };
        for word in &words {
            if let Some(reason) = refused(self.root, option, word) {
                let shown = if option.is_secret() { "…" } else { word };
                let named = option.arg.get_value_names().and_then(<[_]>::first);
                let wanted = named.map(|name| format!(" ({name})")).unwrap_or_default();
                self.wrong(
                    line,
                    format!("`{full}`{wanted} cannot be \"{shown}\": {reason}"),
                );
            }
        }
        self.settings.push(Setting {
            section: option.section,
            id: option.arg.get_id().to_string(),
            words,
            line,
        });
    }
}

/// A value as the command line has it; `None`: it is of another kind.
fn words(shape: Shape, value: &DeValue<'_>) -> Option<Vec<String>> {
    let text = |value: &DeValue<'_>| match value {
        DeValue::String(text) => Some(text.to_string()),
        _ => None,
    };
    match (shape, value) {
        (Shape::Text, value) => Some(vec![text(value)?]),
        (Shape::List, DeValue::Array(list)) => list.iter().map(|one| text(one.get_ref())).collect(),
        (Shape::Switch, DeValue::Boolean(on)) => Some(vec![on.to_string()]),
        (Shape::List | Shape::Switch, _) => None,
    }
}

fn example_of(shape: Shape) -> &'static str {
    match shape {
        Shape::Text => "a text in quotes",
        Shape::List => "a list of texts, as [\"one\", \"two\"]",
        Shape::Switch => "true or false",
    }
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "a switch",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list, with something in it that is no text",
        DeValue::Table(_) => "a table",
    }
}

/// Why the option's own parser refuses a value.
fn refused(root: &Command, option: &FileOption, word: &str) -> Option<String> {
    if option.shape() == Shape::Switch {
        return None;
    }
    let args = [root.get_name().to_owned()]
        .into_iter()
        .chain((option.section != Section::Common).then(|| option.section.name().to_owned()))
        .chain([format!("--{}={word}", option.long())]);
    let error = root.clone().try_get_matches_from(args).err()?;
    // Whatever else is missing beside this one value is no matter here.
    match error.kind() {
        ClapKind::ValueValidation | ClapKind::InvalidValue => Some(reason(&error)),
        _ => None,
    }
}

fn reason(error: &ClapError) -> String {
    if let Some(ContextValue::Strings(valid)) = error.get(ContextKind::ValidValue)
        && !valid.is_empty()
    {
        return format!("it is one of {}", valid.join(", "));
    }
    std::error::Error::source(error).map_or_else(
        || "it cannot be empty".to_owned(),
        std::string::ToString::to_string,
    )
}

fn line_at(text: &str, span: &Range<usize>) -> usize {
    let before = text.as_bytes().get(..span.start);
    let before = before.unwrap_or(text.as_bytes());
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}
