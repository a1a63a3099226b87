//! What a text has to hold for a pattern to match at all.
//!
//! All patterns share one lexicon of such needles, and a pattern runs only on a text that holds
//! one of its own. So a pattern costs nothing where it cannot match, whatever its syntax: the
//! Unicode word boundary, for one, keeps the regex crate from its fast engines on Chinese text.

use regex_syntax::hir::{Capture, Class, Hir, HirKind, Look, Repetition};

use crate::text::fold;

/// The most needles of one pattern.
const MAX_NEEDLES: usize = 64;
/// The largest set of characters that is spelled out.
const MAX_CLASS: usize = 12;

/// Strings of which every match holds at least one; `None` where nothing can be said.
///
/// With `folded` they are sought in folded text, and so are folded themselves.
pub(crate) fn needles(pattern: &Hir, folded: bool) -> Option<Vec<String>> {
    let found = Sets { folded }.of(pattern);
    best([found.exact, found.needed]).filter(|set| worth(set) > 0)
}

/// The pattern without its word boundaries: it matches wherever the pattern does, and elsewhere too.
/// `None` where it has none.
pub(crate) fn without_word_edges(pattern: &Hir) -> Option<Hir> {
    let looks = pattern.properties().look_set();
    looks.contains_word().then(|| widened(pattern))
}

fn widened(hir: &Hir) -> Hir {
    let each = |parts: &[Hir]| parts.iter().map(widened).collect();
    match hir.kind() {
        // What stands at the ends of texts and lines is no word boundary, and cheap.
        HirKind::Look(look) if !is_end(*look) => Hir::empty(),
        HirKind::Capture(capture) => {
            let sub = Box::new(widened(&capture.sub));
            Hir::capture(Capture { sub, ..capture.clone() })
        }
        HirKind::Repetition(repetition) => {
            let sub = Box::new(widened(&repetition.sub));
            Hir::repetition(Repetition { sub, ..repetition.clone() })
        }
        HirKind::Concat(parts) => Hir::concat(each(parts)),
        HirKind::Alternation(parts) => Hir::alternation(each(parts)),
        HirKind::Empty | HirKind::Look(_) | HirKind::Literal(_) | HirKind::Class(_) => hir.clone(),
    }
}

fn is_end(look: Look) -> bool {
    matches!(look, Look::Start | Look::End | Look::StartLF | Look::EndLF)
}

/// How many digits every match of a pattern has at least.
pub(crate) fn least_digits(hir: &Hir) -> usize {
    match hir.kind() {
        HirKind::Literal(literal) => std::str::from_utf8(&literal.0).map_or(0, digits_of),
        HirKind::Class(Class::Unicode(class)) => {
            let mut chars = class.iter().flat_map(|range| range.start()..=range.end());
            usize::from(!class.ranges().is_empty() && chars.all(char::is_numeric))
        }
        HirKind::Repetition(repetition) => {
            least_digits(&repetition.sub).saturating_mul(repetition.min as usize)
        }
        HirKind::Capture(capture) => least_digits(&capture.sub),
        HirKind::Concat(parts) => parts.iter().map(least_digits).sum(),
        HirKind::Alternation(parts) => parts.iter().map(least_digits).min().unwrap_or(0),
        HirKind::Empty | HirKind::Look(_) | HirKind::Class(Class::Bytes(_)) => 0,
    }
}

/// The digits of a text, those of any script.
pub(crate) fn digits_of(text: &str) -> usize {
    if text.is_ascii() {
        return text.bytes().filter(u8::is_ascii_digit).count();
    }
    text.chars().filter(|c| c.is_numeric()).count()
}

/// What is known about the matches of a part of a pattern.
#[derive(Clone, Debug, Default)]
struct Known {
    /// Every match is one of these.
    exact: Option<Vec<String>>,
    /// Every match holds one of these.
    needed: Option<Vec<String>>,
}

struct Sets {
    folded: bool,
}

impl Sets {
    fn of(&self, hir: &Hir) -> Known {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => exactly(vec![String::new()]),
            HirKind::Literal(literal) => match std::str::from_utf8(&literal.0) {
                Ok(text) => exactly(vec![text.chars().map(|c| self.fold(c)).collect()]),
                Err(_) => Known::default(),
            },
            HirKind::Class(Class::Unicode(class)) => {
                let chars = class.ranges().iter().flat_map(|range| range.start()..=range.end());
                self.class(chars.take(MAX_CLASS * 3 + 1).collect())
            }
            HirKind::Class(Class::Bytes(_)) => Known::default(),
            HirKind::Capture(capture) => self.of(&capture.sub),
            HirKind::Repetition(repetition) => {
                let once = self.of(&repetition.sub);
                match (repetition.min, repetition.max) {
                    (1, Some(1)) => once,
                    (0, Some(1)) => Known {
                        exact: once.exact.map(|mut set| {
                            set.push(String::new());
                            set
                        }),
                        needed: None,
                    },
                    (0, _) => Known::default(),
                    _ => Known { exact: None, needed: best([once.exact, once.needed]) },
                }
            }
            HirKind::Concat(parts) => self.sequence(parts),
            HirKind::Alternation(parts) => self.choice(parts),
        }
    }

    fn fold(&self, c: char) -> char {
        if self.folded { fold(c).plain } else { c }
    }

    fn class(&self, chars: Vec<char>) -> Known {
        if chars.len() > MAX_CLASS * 3 {
            return Known::default();
        }
        let mut set: Vec<String> = chars.into_iter().map(|c| self.fold(c).to_string()).collect();
        set.sort_unstable();
        set.dedup();
        if set.len() > MAX_CLASS { Known::default() } else { exactly(set) }
    }

    /// Parts that are known exactly are joined as long as their number allows.
    fn sequence(&self, parts: &[Hir]) -> Known {
        let mut joined = vec![String::new()];
        let mut needed = None;
        let mut whole = true;
        for part in parts {
            let known = self.of(part);
            match known.exact {
                Some(set) if set.len() * joined.len() <= MAX_NEEDLES => {
                    joined = joined
                        .iter()
                        .flat_map(|start| set.iter().map(move |end| format!("{start}{end}")))
                        .collect();
                }
                exact => {
                    whole = false;
                    needed = best([needed, Some(joined), known.needed, exact.clone()]);
                    joined = exact
                        .filter(|set| set.len() <= MAX_NEEDLES)
                        .unwrap_or_else(|| vec![String::new()]);
                }
            }
        }
        if whole {
            return exactly(joined);
        }
        Known { exact: None, needed: best([needed, Some(joined)]) }
    }

    fn choice(&self, parts: &[Hir]) -> Known {
        let known: Vec<Known> = parts.iter().map(|part| self.of(part)).collect();
        let union = |sets: Option<Vec<Vec<String>>>| {
            sets.map(|sets| sets.concat()).filter(|set| set.len() <= MAX_NEEDLES * 4)
        };
        let exact = union(known.iter().map(|known| known.exact.clone()).collect());
        let each = known.into_iter().map(|known| best([known.exact, known.needed]));
        Known { exact, needed: union(each.collect()) }
    }
}

fn exactly(set: Vec<String>) -> Known {
    Known { exact: Some(set), needed: None }
}

/// The set that is rarest in a text.
fn best<const N: usize>(sets: [Option<Vec<String>>; N]) -> Option<Vec<String>> {
    let useful = sets.into_iter().flatten().filter(|set| worth(set) > 0);
    useful.max_by_key(|set| worth(set))
}

/// How seldom a text will hold one of a set: the worth of its most common member.
fn worth(set: &[String]) -> usize {
    let of = |needle: &String| match needle.len() {
        0 => 0,
        1 => needle.chars().map(rarity).sum(),
        length => 8 + length.min(12) * 4,
    };
    let least = set.iter().map(of).min().unwrap_or(0);
    if least == 0 { 0 } else { least * 64 + (64 - set.len().min(63)) }
}

fn rarity(c: char) -> usize {
    match c {
        'e' | 't' | 'a' | 'o' | 'i' | 'n' | 's' | 'r' | 'h' | 'l' | 'd' | ' ' => 1,
        'a'..='z' | '0'..='9' | '.' | ',' => 3,
        _ => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rarest_part_that_has_to_be_there_is_found() {
        for (pattern, expected) in [
            (r"(?i)\bfree\W{0,3}money\b", Some(vec!["money"])),
            ("赚钱.{0,6}加群", Some(vec!["加群"])),
            (r"(?:日赚|月入)\d{2,4}(?:元|块)", Some(vec!["日赚", "月入"])),
            (r"(?i)https?://\S+\.(?:xyz|top)", Some(vec!["://"])),
            (r"\d+", None),
            (".*", None),
            ("(?:abc)?", None),
            ("a|bc*", Some(vec!["a", "b"])),
        ] {
            let hir = regex_syntax::parse(pattern).unwrap();
            let found = needles(&hir, true);
            match (&found, &expected) {
                (Some(found), Some(expected)) => {
                    for needle in expected {
                        assert!(found.iter().any(|f| f.contains(needle)), "{pattern}: {found:?}");
                    }
                }
                (None, None) => {}
                _ => panic!("{pattern}: {found:?}"),
            }
        }
    }
}
