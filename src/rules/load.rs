//! Reading a rules file and its lists, and reporting every mistake at its place.

use std::cell::Cell;
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

/// Mistakes and warnings that are told at once, and characters of a line that are shown: no file makes
/// its own report large.
pub(super) const MOST_TOLD: usize = 1_000;
const MOST_EXCERPT: usize = 400;

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
    load_from(name, yaml, &Lists { base_dir, confined: None })
}

/// Compiles a rules file that somebody sent. It must not be a way to look at other files: its lists are
/// read below `base_dir` and nowhere else, and since secrets may lie there too, they are lists that
/// `in_force` reads or end in `.txt`. Together they are no larger than one list may be.
pub fn load_confined(
    name: &str,
    yaml: &str,
    base_dir: &Path,
    in_force: &CompiledRules,
) -> Result<Loaded, LoadError> {
    let confined = Some(Confined { known: &in_force.lists, room: Cell::new(MAX_FILE_BYTES) });
    load_from(name, yaml, &Lists { base_dir, confined })
}

/// Where list files may lie.
struct Lists<'a> {
    base_dir: &'a Path,
    confined: Option<Confined<'a>>,
}

/// What a rules file that somebody sent may read.
struct Confined<'a> {
    /// Lists of the rules in force, as they are written there.
    known: &'a [String],
    /// Bytes that may still be read.
    room: Cell<u64>,
}

impl Lists<'_> {
    /// Why a list is not read, if it is not.
    fn refuse(&self, written: &str) -> Option<&'static str> {
        let confined = self.confined.as_ref()?;
        let path = Path::new(written);
        let inside = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
        if !path.components().all(inside) {
            return Some("a list of this file must lie beside the rules in force or below");
        }
        let is_text = path.extension().is_some_and(|ending| ending == "txt");
        let known = confined.known.iter().any(|known| known == written);
        (!is_text && !known)
            .then_some("a list of this file must end in .txt, or be one of the rules in force")
    }

    fn read(&self, path: &Path) -> std::io::Result<String> {
        let Some(confined) = &self.confined else { return read(path) };
        let length = std::fs::metadata(path)?.len();
        let room = confined.room.get().checked_sub(length);
        let too_much = || std::io::Error::other("the lists are larger than 64 MiB together");
        confined.room.set(room.ok_or_else(too_much)?);
        read(path)
    }
}

fn load_from(name: &str, yaml: &str, from: &Lists<'_>) -> Result<Loaded, LoadError> {
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
    let read = file.as_ref().map(|file| file.list_files().map(str::to_owned).collect());
    let read: Arc<[String]> = read.unwrap_or_default();
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
                lists: read,
                compiled: Arc::new(compiled),
                allowed: Arc::default(),
            };
            let warnings = notes.warnings.iter().take(MOST_TOLD).map(shown).collect();
            Ok(Loaded { rules, warnings })
        }
        _ => {
            let mut mistakes: Vec<_> = notes.mistakes.iter().take(MOST_TOLD).map(shown).collect();
            mistakes.append(&mut elsewhere);
            mistakes.truncate(MOST_TOLD);
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
    let excerpt = beginning(line);
    let room = excerpt.chars().count().saturating_sub(note.at.column.saturating_sub(1));
    Diagnostic {
        file: file.to_owned(),
        line: note.at.line,
        column: note.at.column,
        message: note.message.clone(),
        help: note.help.clone(),
        excerpt,
        width: note.at.width.clamp(1, room.max(1)),
    }
}

/// A line, as far as it is shown.
fn beginning(line: &str) -> String {
    let mut shown: String = line.chars().take(MOST_EXCERPT).collect();
    if shown.len() < line.len() {
        shown.push('…');
    }
    shown
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
    from: &Lists<'_>,
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
    from: &Lists<'_>,
    digest: &mut Sha256,
    notes: &mut Notes,
    elsewhere: &mut Vec<Diagnostic>,
) -> List {
    if let Some(message) = from.refuse(&written.file.value) {
        notes.mistake(written.file.at, message);
        return List::default();
    }
    let path: PathBuf = from.base_dir.join(&written.file.value);
    let text = match from.read(&path) {
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
            Err(_) if elsewhere.len() >= MOST_TOLD => {}
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
        message: format!("`{}` behind a tab is not a severity", beginning(unknown)),
        help: did_you_mean(unknown, &names),
        excerpt: beginning(excerpt),
        width: unknown.chars().count().min(MOST_EXCERPT),
    }
}

/// A place in the rules file, for messages made after loading.
pub(super) fn at(file: &str, lines: &[&str], at: Place, message: String) -> Diagnostic {
    diagnostic(file, lines, &Note { at, message, help: String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_list(list: &str) -> String {
        format!(
            "version: 1\nlists:\n  bait: {{ file: '{list}' }}\n\
             rules:\n  - id: bait\n    when: {{ keyword: {{ list: bait }} }}\n"
        )
    }

    #[test]
    fn a_file_that_somebody_sent_reads_lists_beside_the_rules_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("lists")).unwrap();
        for name in ["lists/bait.txt", "lists/bait.words", "secret_key"] {
            std::fs::write(folder.path().join(name), "free gift card\n").unwrap();
        }
        let outside = tempfile::NamedTempFile::with_suffix(".txt").unwrap();
        std::fs::write(outside.path(), "secret\n").unwrap();
        let own = |list: &str| load_str("own.yaml", &with_list(list), folder.path());
        let in_force = own("lists/bait.words").unwrap().rules;
        let load =
            |list: &str| load_confined("sent.yaml", &with_list(list), folder.path(), &in_force);
        for list in ["lists/bait.txt", "./lists/bait.txt", "lists/bait.words"] {
            assert!(load(list).is_ok(), "{list}");
        }
        for (list, why) in [
            (outside.path().to_str().unwrap(), "must lie beside"),
            ("../x.txt", "must lie beside"),
            ("lists/../../x.txt", "must lie beside"),
            ("secret_key", "must end in .txt"),
            ("lists/other.words", "must end in .txt"),
        ] {
            let refused = load(list).unwrap_err();
            assert!(refused.to_string().contains(why), "{refused}");
        }
        assert!(own(outside.path().to_str().unwrap()).is_ok());
    }

    #[test]
    fn a_file_that_somebody_sent_cannot_have_lists_read_over_and_over() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.txt"), "x".repeat(60)).unwrap();
        let yaml = "version: 1\nlists:\n  a: { file: a.txt }\n  b: { file: a.txt }\n\
                    rules:\n  - id: bait\n    when: { keyword: bait }\n";
        let load = |room| {
            let confined = Some(Confined { known: &[], room: Cell::new(room) });
            load_from("sent.yaml", yaml, &Lists { base_dir: folder.path(), confined })
        };
        assert!(load(120).is_ok());
        let refused = load(119).unwrap_err();
        assert!(refused.to_string().contains("larger than 64 MiB together"), "{refused}");
    }

    #[test]
    fn no_file_makes_its_own_report_large() {
        let bad = "Bad Id, ".repeat(3_000);
        let yaml = format!("version: 1\nrules:\n  - id: a\n    wen: [{bad}]\n    when: x\n");
        let many = format!("version: 1\nrules:\n{}", "  - id: Bad Id\n".repeat(3_000));
        for (yaml, most) in [(yaml, 10), (many, MOST_TOLD)] {
            let mistakes = load_str("r.yaml", &yaml, Path::new("/nowhere")).unwrap_err().mistakes;
            assert!((1..=most).contains(&mistakes.len()), "{}", mistakes.len());
            let longest = mistakes.iter().map(|mistake| mistake.excerpt.chars().count()).max();
            assert!(longest <= Some(MOST_EXCERPT + 1));
            assert!(mistakes.iter().all(|mistake| mistake.to_string().len() < 4_000));
        }
    }
}
