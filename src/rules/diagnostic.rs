//! A mistake in a rules file, shown where it stands: `file:line:column`, the line, a caret, and
//! what would be valid.

use std::fmt;
use std::path::Path;

/// One mistake or warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file as the caller named it: the rules file or one of its lists.
    pub file: String,
    /// 1-based; 0 where the file as a whole is meant.
    pub line: usize,
    /// 1-based, in Unicode scalar values.
    pub column: usize,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What would be valid; empty where nothing better can be said.
    pub help: String,
    /// The line as written; of a very long one the beginning.
    pub excerpt: String,
    /// How many characters of the line are meant.
    pub width: usize,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(f, "{}: {}", self.file, self.message)?;
        } else {
            write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
            let number = self.line.to_string();
            let gutter = " ".repeat(number.len());
            write!(f, "\n {number} | {}", self.excerpt)?;
            let before = self.excerpt.chars().take(self.column.saturating_sub(1));
            let indent: String = before.map(blank_as_wide_as).collect();
            write!(f, "\n {gutter} | {indent}{}", "^".repeat(self.width.max(1)))?;
        }
        if !self.help.is_empty() {
            write!(f, "\n   = {}", self.help)?;
        }
        Ok(())
    }
}

/// Keeps the caret under its character on a terminal, where Chinese is two columns wide.
fn blank_as_wide_as(c: char) -> char {
    match c {
        '\t' => '\t',
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => '\u{3000}',
        _ => ' ',
    }
}

/// Why a rules file cannot be used: every mistake in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", Many(.mistakes))]
pub struct LoadError {
    /// In the order of the file; never empty.
    pub mistakes: Vec<Diagnostic>,
}

struct Many<'a>(&'a [Diagnostic]);

impl fmt::Display for Many<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, mistake) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{mistake}")?;
        }
        Ok(())
    }
}

impl LoadError {
    /// The file could not even be read.
    pub(super) fn unreadable(file: &Path, error: &std::io::Error) -> Self {
        Self {
            mistakes: vec![whole_file(
                &file.display().to_string(),
                &format!("cannot be read: {error}"),
            )],
        }
    }
}

/// A mistake of a file as a whole.
pub(super) fn whole_file(file: &str, message: &str) -> Diagnostic {
    Diagnostic {
        file: file.to_owned(),
        line: 0,
        column: 0,
        message: message.to_owned(),
        help: String::new(),
        excerpt: String::new(),
        width: 0,
    }
}

/// Of the valid names, the one that was probably meant, else all of them.
pub(super) fn did_you_mean(written: &str, valid: &[&str]) -> String {
    near_name(written, valid).unwrap_or_else(|| any_of(valid))
}

/// The question whether a name was meant that is nearly the one written; of several the first.
pub(super) fn near_name(written: &str, valid: &[&str]) -> Option<String> {
    let distance = |name: &&&str| strsim::damerau_levenshtein(written, name);
    let name = valid.iter().min_by_key(distance)?;
    let near = distance(&name) <= 1 + written.chars().count() / 4;
    near.then(|| format!("did you mean `{name}`?"))
}

/// All valid names, where there are any.
pub(super) fn any_of(valid: &[&str]) -> String {
    if valid.is_empty() { String::new() } else { format!("valid here: {}", valid.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_below_its_character_also_behind_chinese() {
        let shown = Diagnostic {
            file: "rules.yaml".into(),
            line: 12,
            column: 4,
            message: "unknown word `bad`".into(),
            help: did_you_mean("bad", &["bed"]),
            excerpt: "中文 bad".into(),
            width: 3,
        };
        let expected = "rules.yaml:12:4: unknown word `bad`\n 12 | 中文 bad\n    | \u{3000}\u{3000} ^^^\n   = did you mean `bed`?";
        assert_eq!(shown.to_string(), expected);
    }

    #[test]
    fn a_near_miss_is_named_and_a_far_one_lists_what_there_is() {
        assert_eq!(did_you_mean("keywrod", &["keyword", "link"]), "did you mean `keyword`?");
        assert_eq!(did_you_mean("xyz", &["keyword", "link"]), "valid here: keyword, link");
    }
}
