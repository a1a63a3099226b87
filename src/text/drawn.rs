//! Letters drawn with signs: `|-|` for h, `|_` for l, `()` for o.
//!
//! The result is a further reading beside the plain one: brackets and bars mostly are just that.

use super::chars::{self, CharFold};
use super::symbols::{Symbol, Symbols};

/// Drawings and their letters, the longer ones first. A bar alone is an i or l among letters, which
/// the reading of signs knows.
const DRAWINGS: &[(&str, char)] = &[
    ("/\\/\\", 'm'),
    ("\\/\\/", 'w'),
    ("|\\/|", 'm'),
    ("|/\\|", 'w'),
    ("|--|", 'h'),
    ("|-|", 'h'),
    ("|_|", 'u'),
    ("(_)", 'u'),
    ("|\\|", 'n'),
    ("/\\", 'a'),
    ("\\/", 'v'),
    ("|_", 'l'),
    ("|)", 'd'),
    ("|<", 'k'),
    ("|=", 'f'),
    ("()", 'o'),
    ("[]", 'o'),
];

/// The text with drawn letters in place of their drawings; `None` where it has none beside others.
pub(crate) fn undrawn(symbols: &Symbols) -> Option<Symbols> {
    let from = &symbols.row;
    let mut row: Vec<Symbol> = Vec::new();
    let (mut at, mut copied) = (0, 0);
    while at < from.len() {
        let Some((letter, length)) = drawing(from, at) else {
            at += 1;
            continue;
        };
        let beside = at.checked_sub(1).is_some_and(|before| from[before].is_letter())
            || row.last().is_some_and(|_| copied == at)
            || from.get(at + length).is_some_and(Symbol::is_letter)
            || drawing(from, at + length).is_some();
        if beside {
            row.extend(&from[copied..at]);
            let (start, end) = (from[at].start, from[at + length - 1].end);
            let fold = chars::letter(letter, CharFold::SIGN | CharFold::STROKE);
            row.push(Symbol { fold, start, end });
            copied = at + length;
        }
        at += length;
    }
    if row.is_empty() {
        return None;
    }
    row.extend(&from[copied..]);
    Some(Symbols { row, ..symbols.flags() })
}

/// The letter drawn at a place, and of how many signs.
fn drawing(row: &[Symbol], at: usize) -> Option<(char, usize)> {
    let first = row.get(at).filter(|symbol| !symbol.is_letter())?.fold.plain;
    let mut fitting = DRAWINGS.iter().filter(|(signs, _)| signs.starts_with(first));
    fitting.find_map(|(signs, letter)| {
        let length = signs.len();
        let there = row.get(at..at + length)?.iter().map(|symbol| symbol.fold.plain);
        // In `|_|_` the second bar begins a letter of its own.
        let open = *letter == 'u' && row.get(at + length).is_some_and(|s| s.fold.plain == '_');
        (there.eq(signs.chars()) && !open).then_some((*letter, length))
    })
}

#[cfg(test)]
mod tests {
    use super::super::symbols::Squeezed;
    use super::*;

    #[test]
    fn drawn_letters_are_read() {
        for (text, expected) in [
            ("|-|ello", Some("heio")),
            ("he|_|_()", Some("heio")),
            ("/\\/\\oney", Some("money")),
            ("|<as|_|r", Some("kasur")),
            ("a | b | c", None),
            ("(see below)", None),
            (":-) () ^_^", None),
            ("C:\\games\\new", None),
        ] {
            let symbols = Symbols::of(text);
            let read = undrawn(&symbols).map(|read| Squeezed::of(&read).into_text());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }
}
