//! The names of what folding did to a stretch of text, for people who ask why it was hit.

use super::chars::{CharFold, Kind, fold};
use super::loosen::loosen;
use super::symbols::Symbols;

/// The steps of folding that changed a stretch of text, in the order in which they are taken.
pub(crate) fn steps(written: &str) -> Vec<&'static str> {
    let symbols = Symbols::of(written);
    let mut found = Vec::new();
    let mut note = |step: &'static str, holds: bool| {
        if holds {
            found.push(step);
        }
    };
    let chars = || written.chars().map(|c| (c, fold(c)));
    let shown = |step: fn(char, &CharFold) -> bool| chars().any(|(c, fold)| step(c, fold));
    note(
        "hidden characters",
        shown(|c, f| f.kind == Kind::Hidden && !is_mark(c) && !is_direction(c)),
    );
    note("direction controls", shown(|c, _| is_direction(c)));
    note("marks", shown(|c, f| f.kind == Kind::Hidden && is_mark(c)));
    note("width and style", shown(|c, f| f.kind == Kind::Several || is_styled(c, f)));
    note("case", shown(|c, _| c.is_uppercase()));
    note(
        "accents",
        shown(|c, f| {
            f.kind == Kind::Word && !c.is_ascii() && f.plain.is_ascii() && !is_styled(c, f)
        }),
    );
    note("look-alikes", shown(|_, f| f.kind == Kind::Word && f.shown != f.plain));
    note(
        "traditional characters",
        shown(|c, f| f.kind == Kind::Free && f.shown != c && !is_styled(c, f)),
    );
    let letters = |a: usize| symbols.row.get(a).is_some_and(|s| s.kind() == Kind::Word);
    let beside = |i: usize| letters(i + 1) || i.checked_sub(1).is_some_and(letters);
    let mixed = |(i, s): (usize, &super::symbols::Symbol)| {
        (s.kind() == Kind::Digit || s.fold.has(CharFold::SIGN)) && beside(i)
    };
    note("digits and signs as letters", symbols.row.iter().enumerate().any(mixed));
    note("separators", symbols.row.iter().any(|s| s.is_gap() && s.kind() != Kind::Line));
    note("split over lines or elements", symbols.row.iter().any(|s| s.kind() == Kind::Line));
    let same =
        |w: &[super::symbols::Symbol]| w[0].is_letter() && w[0].fold.shown == w[1].fold.shown;
    note("repeats", symbols.row.windows(2).any(same));
    found
}

/// The steps that only the aggressive reading takes, as far as a stretch of text shows them.
pub(crate) fn loose_steps(written: &str) -> Vec<&'static str> {
    let symbols = Symbols::of(written);
    let mut steps = Vec::new();
    if symbols.row.iter().any(|symbol| symbol.fold.has(CharFold::PART))
        && loosen(&symbols).is_some()
    {
        steps.push("characters in parts");
    }
    if symbols.row.windows(2).any(|w| w[0].kind() == Kind::Digit && w[1].kind() == Kind::Free) {
        steps.push("digits between characters");
    }
    if steps.is_empty() {
        steps.push("names of contacts");
    }
    steps
}

fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Full-width, circled, mathematical and other compatibility forms.
fn is_styled(c: char, fold: &CharFold) -> bool {
    let compatibility = matches!(c, '\u{2070}'..='\u{209f}' | '\u{2100}'..='\u{24ff}' | '\u{2e80}'..='\u{2fdf}' | '\u{3200}'..='\u{33ff}'
        | '\u{f900}'..='\u{faff}' | '\u{ff00}'..='\u{ffef}' | '\u{1d400}'..='\u{1d7ff}' | '\u{1f100}'..='\u{1f1ff}' | '\u{1d2c}'..='\u{1d6a}' | '\u{2b0}'..='\u{2b8}');
    compatibility && fold.plain != c
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_is_named_where_it_was_taken() {
        for (written, expected) in [
            ("free", vec!["repeats"]),
            ("casino", vec![]),
            ("CASINO", vec!["case"]),
            ("ｃａｓｉｎｏ", vec!["width and style"]),
            ("c.a.s", vec!["separators"]),
            ("c4sino", vec!["digits and signs as letters"]),
            ("сasino", vec!["look-alikes"]),
            ("ca\u{200b}s", vec!["hidden characters"]),
            ("免費", vec!["traditional characters"]),
            ("ca\nsino", vec!["split over lines or elements"]),
            ("çasino", vec!["accents"]),
        ] {
            assert_eq!(steps(written), expected, "{written}");
        }
    }
}
