//! Reading a rules file and its lists, and reporting every mistake at its place.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::compile::{self, Item, List};
use super::decode::{At, FromNode, Note, Notes};
use super::diagnostic::{Diagnostic, LoadError, did_you_mean, whole_file};
use super::engine::CompiledRules;
use super::file::{ListFile, ListSource, RulesFile};
use super::yaml::{self, Place};
use crate::model::{RulesVersion, Severity};

/// The largest rules file or list read, in bytes.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// A rule set that can run, and what is doubtful about it.
#[derive(Debug)]
pub struct Loaded {
    pub rules: CompiledRules,
    pub warnings: Vec<Diagnostic>,
}

/// Reads and compiles a rules file. List paths in it are relative to it.
pub fn load(path: &Path) -> Result<Loaded, LoadError> {
    let yaml = read(path).map_err(|error| LoadError::unreadable(path, &error))?;
    let base = path.parent().unwrap_or_else(|| Path::new(""));
    load_str(&path.display().to_string(), &yaml, base)
}

/// Compiles a rules file given as text. `name` stands in messages, `base_dir` is where list paths
/// begin.
pub fn load_str(name: &str, yaml: &str, base_dir: &Path) -> Result<Loaded, LoadError> {
    load_from(name, yaml, Lists { base_dir, confined: false })
}

/// Compiles a rules file that somebody sent: its lists are read below `base_dir` and nowhere else, so
/// that it cannot be used to look at other files.
pub fn load_confined(name: &str, yaml: &str, base_dir: &Path) -> Result<Loaded, LoadError> {
    load_from(name, yaml, Lists { base_dir, confined: true })
}

/// Where list files may lie.
#[derive(Clone, Copy)]
struct Lists<'a> {
    base_dir: &'a Path,
    confined: bool,
}

impl Lists<'_> {
    fn allows(self, written: &str) -> bool {
        let inside = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
        !self.confined || Path::new(written).components().all(inside)
    }
}

fn load_from(name: &str, yaml: &str, from: Lists<'_>) -> Result<Loaded, LoadError> {
    let lines: Vec<&str> = yaml.lines().collect();
    let shown = |note: &Note| diagnostic(name, &lines, note);
    let root = yaml::parse(yaml).map_err(|broken| {
        let note = Note { at: broken.at, message: broken.message, help: String::new() };
        LoadError { mistakes: vec![shown(&note)] }
    })?;
    let mut notes = Notes::default();
    let mut digest = Sha256::new();
    absorb(&mut digest, yaml.as_bytes());
    let file = RulesFile::from_node(&root, &mut notes);
    let mut elsewhere = Vec::new();
    let compiled = file.map(|file| {
        let lists = read_lists(&file, from, &mut digest, &mut notes, &mut elsewhere);
        compile::compile(&file, &lists, &mut notes)
    });
    notes.mistakes.sort_by_key(|note| (note.at.line, note.at.column));
    notes.warnings.sort_by_key(|note| (note.at.line, note.at.column));
    match compiled {
        Some(compiled) if notes.mistakes.is_empty() && elsewhere.is_empty() => {
            let of_file = RulesVersion::from(hex(&digest.finalize()[..8]));
            let rules = CompiledRules {
                version: of_file.clone(),
                of_file,
                file: name.to_owned(),
                source: yaml.to_owned(),
                compiled: Arc::new(compiled),
                allowed: Arc::default(),
            };
            Ok(Loaded { rules, warnings: notes.warnings.iter().map(shown).collect() })
        }
        _ => {
            let mut mistakes: Vec<_> = notes.mistakes.iter().map(shown).collect();
            mistakes.append(&mut elsewhere);
            Err(LoadError { mistakes })
        }
    }
}

/// Length first, so that no two sequences of files have the same bytes.
fn absorb(digest: &mut Sha256, bytes: &[u8]) {
    digest.update((bytes.len() as u64).to_le_bytes());
    digest.update(bytes);
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

pub(super) fn diagnostic(file: &str, lines: &[&str], note: &Note) -> Diagnostic {
    let line = lines.get(note.at.line.wrapping_sub(1)).copied().unwrap_or_default();
    let room = line.chars().count().saturating_sub(note.at.column.saturating_sub(1));
    Diagnostic {
        file: file.to_owned(),
        line: note.at.line,
        column: note.at.column,
        message: note.message.clone(),
        help: note.help.clone(),
        excerpt: line.to_owned(),
        width: note.at.width.clamp(1, room.max(1)),
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    if std::fs::metadata(path)?.len() > MAX_FILE_BYTES {
        return Err(std::io::Error::other("larger than 64 MiB"));
    }
    let text = std::fs::read_to_string(path)?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

fn read_lists(
    file: &RulesFile,
    from: Lists<'_>,
    digest: &mut Sha256,
    notes: &mut Notes,
    elsewhere: &mut Vec<Diagnostic>,
) -> BTreeMap<String, List> {
    let mut lists = BTreeMap::new();
    for (name, source) in file.lists.iter().flatten() {
        let list = match &source.value {
            ListSource::Inline(items) => inline(items, notes),
            ListSource::File(written) => from_file(written, from, digest, notes, elsewhere),
        };
        lists.insert(name.clone(), list);
    }
    lists
}

fn inline(items: &[At<String>], notes: &mut Notes) -> List {
    for item in items.iter().filter(|item| item.value.trim().is_empty()) {
        notes.mistake(item.at, "an empty phrase would match everywhere");
    }
    let item = |item: &At<String>| Item { text: item.value.trim().to_owned(), severity: None };
    let items = items.iter().map(item).collect();
    List { items, wholeness: None }
}

fn from_file(
    written: &ListFile,
    from: Lists<'_>,
    digest: &mut Sha256,
    notes: &mut Notes,
    elsewhere: &mut Vec<Diagnostic>,
) -> List {
    if !from.allows(&written.file.value) {
        let message = "a list of this file must lie beside the rules in force or below";
        notes.mistake(written.file.at, message);
        return List::default();
    }
    let path: PathBuf = from.base_dir.join(&written.file.value);
    let text = match read(&path) {
        Ok(text) => text,
        Err(error) => {
            let message = format!("cannot read the list {}: {error}", path.display());
            notes.mistake_with(written.file.at, message, "paths are relative to the rules file");
            return List::default();
        }
    };
    absorb(digest, text.as_bytes());
    let shown = path.display().to_string();
    let mut items = Vec::new();
    for (line, at) in text.lines().zip(1..) {
        match item(line) {
            Ok(item) => items.extend(item),
            Err(unknown) => elsewhere.push(not_a_severity(&shown, at, line, unknown)),
        }
    }
    if items.is_empty() && elsewhere.is_empty() {
        elsewhere.push(whole_file(&shown, "the list holds no phrase"));
    }
    List { items, wholeness: written.words }
}

/// The phrase of a line and its severity behind a tab: none for an empty line or a comment, what is
/// written for a severity where it is none.
fn item(line: &str) -> Result<Option<Item>, &str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let Some((phrase, written)) = line.rsplit_once('\t') else {
        return Ok(Some(Item { text: line.to_owned(), severity: None }));
    };
    let severity = Severity::from_word(written.trim()).ok_or(written.trim())?;
    Ok(Some(Item { text: phrase.trim().to_owned(), severity: Some(severity) }))
}

fn not_a_severity(file: &str, line: usize, excerpt: &str, unknown: &str) -> Diagnostic {
    let names: Vec<&str> = Severity::ALL.iter().map(|severity| severity.as_str()).collect();
    let before = excerpt.rfind(unknown).unwrap_or(0);
    Diagnostic {
        file: file.to_owned(),
        line,
        column: excerpt[..before].chars().count() + 1,
        message: format!("`{unknown}` behind a tab is not a severity"),
        help: did_you_mean(unknown, &names),
        excerpt: excerpt.to_owned(),
        width: unknown.chars().count(),
    }
}

/// A place in the rules file, for messages made after loading.
pub(super) fn at(rules: &CompiledRules, at: Place, message: String) -> Diagnostic {
    let lines: Vec<&str> = rules.source.lines().collect();
    diagnostic(&rules.file, &lines, &Note { at, message, help: String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_somebody_sent_reads_lists_beside_the_rules_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("lists")).unwrap();
        std::fs::write(folder.path().join("lists/bait.txt"), "free gift card\n").unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(outside.path(), "secret\n").unwrap();
        let rules = |list: &str| {
            format!(
                "version: 1\nlists:\n  bait: {{ file: '{list}' }}\n\
                 rules:\n  - id: bait\n    when: {{ keyword: {{ list: bait }} }}\n"
            )
        };
        let load = |list: &str| load_confined("sent.yaml", &rules(list), folder.path());
        assert!(load("lists/bait.txt").is_ok() && load("./lists/bait.txt").is_ok());
        for list in [outside.path().to_str().unwrap(), "../x.txt", "lists/../../x.txt"] {
            let refused = load(list).unwrap_err();
            assert!(refused.to_string().contains("must lie beside"), "{refused}");
        }
        let anywhere =
            load_str("own.yaml", &rules(outside.path().to_str().unwrap()), folder.path());
        assert!(anywhere.is_ok());
    }
}
