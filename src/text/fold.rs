//! Folding: a second reading of a text in which what looks alike is alike, with the way back.

use unicode_normalization::UnicodeNormalization;

/// A folded text and where each of its characters came from.
#[derive(Clone, Debug, Default)]
pub struct Folded {
    text: String,
    /// For each byte of the folded text the bytes of the original that it stands for.
    origin: Vec<(u32, u32)>,
}

impl Folded {
    /// The text as it is.
    #[must_use]
    pub fn none(text: &str) -> Self {
        let mut folded = Self::default();
        for (at, c) in text.char_indices() {
            folded.push(c, at, at + c.len_utf8());
        }
        folded
    }

    /// Width, case and invisible characters folded.
    #[must_use]
    pub fn standard(text: &str) -> Self {
        let mut folded = Self::default();
        for (at, c) in text.char_indices() {
            let end = at + c.len_utf8();
            if c.is_ascii() {
                folded.push(c.to_ascii_lowercase(), at, end);
            } else if !is_invisible(c) {
                for part in std::iter::once(c).nfkc().flat_map(char::to_lowercase) {
                    folded.push(part, at, end);
                }
            }
        }
        folded
    }

    fn push(&mut self, c: char, start: usize, end: usize) {
        self.text.push(c);
        let place =
            (u32::try_from(start).unwrap_or(u32::MAX), u32::try_from(end).unwrap_or(u32::MAX));
        self.origin.resize(self.text.len(), place);
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The bytes of the original that a span of folded bytes stands for.
    #[must_use]
    pub fn original(&self, start: usize, end: usize) -> (usize, usize) {
        match (self.origin.get(start), self.origin.get(end.wrapping_sub(1))) {
            (Some(first), Some(last)) if start < end => (first.0 as usize, last.1 as usize),
            _ => (0, 0),
        }
    }
}

fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{e0000}'..='\u{e0fff}')
}
