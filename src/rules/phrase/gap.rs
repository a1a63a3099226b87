//! What stands between two letters of a find.

use crate::text::{Kind, Symbol};

/// What stands between two letters of a find.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "four facts that hold or not")]
pub(super) struct Gap {
    pub(super) symbols: usize,
    pub(super) space: bool,
    pub(super) line: bool,
    /// A sentence, or a part of one, ends here.
    pub(super) sentence: bool,
    /// The same for text without word spaces, where no space has to follow.
    pub(super) free_sentence: bool,
    /// The only mark, where there is one.
    pub(super) mark: Option<char>,
}

impl Gap {
    pub(super) fn of(row: &[Symbol]) -> Self {
        let mut gap = Self { symbols: row.len(), ..Self::default() };
        let mut end_before = false;
        for symbol in row {
            let kind = symbol.kind();
            match kind {
                Kind::Space | Kind::Line => {
                    gap.space |= kind == Kind::Space;
                    gap.line |= kind == Kind::Line;
                    gap.sentence |= end_before;
                    gap.free_sentence |= end_before;
                }
                Kind::WideEnd => (gap.sentence, gap.free_sentence) = (true, true),
                Kind::End => {
                    gap.free_sentence |= symbol.fold.plain != '.';
                    end_before = true;
                }
                _ => {}
            }
            if !matches!(kind, Kind::Space | Kind::Line) {
                gap.mark = Some(symbol.fold.plain);
            }
        }
        gap
    }
    pub(super) fn is_empty(&self) -> bool {
        self.symbols == 0
    }

    /// One sign that neither ends nor joins nor lists anything.
    pub(super) fn is_filler(&self) -> bool {
        let filler = |c| matches!(c, '*' | '_' | '^' | '#' | '丨' | '·' | '•') || c >= '\u{2190}';
        let punctuation = |c| matches!(c, '\u{3000}'..='\u{303f}' | '\u{ff00}'..='\u{ffef}');
        self.symbols == 1 && self.mark.is_some_and(|c| filler(c) && !punctuation(c))
    }
}
