//! What each character is to the matcher: worked out once, a page of 256 characters at a time when
//! a text first needs it, and looked up ever after.

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use unicode_normalization::UnicodeNormalization;

use super::{components, lookalike};

/// The part a character plays in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nobody sees it: format characters, combining marks.
    Hidden,
    /// A letter of a script that writes words apart.
    Word,
    Digit,
    /// A letter of a script that does not: Chinese, Japanese, Korean, Thai and their neighbours.
    Free,
    Space,
    Line,
    /// Any other sign: it separates, and nothing else.
    Mark,
    /// A mark that ends a sentence or a part of one where a space follows.
    End,
    /// The same in full width, which needs no space.
    WideEnd,
    /// Stands for several characters; ask [`expand`].
    Several,
}

/// What a character is to the matcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CharFold {
    /// Folded by width, case and variant, look-alikes untouched.
    pub(crate) plain: char,
    /// The character that it is read as.
    pub(crate) shown: char,
    /// The character that stands for it in the text in which phrases are sought, where everything that
    /// can be taken for one another is the same.
    pub(crate) class: char,
    pub(crate) class_in_utf8: Utf8,
    /// The letter that a sign stands for among letters, or a capital is drawn like; itself where
    /// there is none.
    pub(crate) sign: char,
    pub(crate) kind: Kind,
    pub(crate) flags: u8,
}

/// A character in UTF-8, with NULs behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Utf8 {
    pub(crate) bytes: [u8; 4],
    pub(crate) length: u8,
}

impl Utf8 {
    fn of(c: char) -> Self {
        let mut bytes = [0; 4];
        let length = u8::try_from(c.encode_utf8(&mut bytes).len()).unwrap_or_default();
        Self { bytes, length }
    }
}

impl CharFold {
    /// Belongs to a script that is not Latin and looks Latin.
    pub(crate) const FOREIGN: u8 = 1;
    /// Shows that its script is meant.
    pub(crate) const GENUINE: u8 = 2;
    /// A capital.
    pub(crate) const UPPER: u8 = 4;
    /// A sign that may be a letter.
    pub(crate) const SIGN: u8 = 8;
    /// A combining mark or vowel that a neighbour may take in.
    pub(crate) const JOINS: u8 = 16;
    /// The first part of a character that can be written in parts.
    pub(crate) const PART: u8 = 32;
    /// A sign without which no letter is drawn; a letter that is drawn with signs.
    pub(crate) const STROKE: u8 = 64;
    /// A capital that is drawn like the Latin letter in `sign`, and its small form like another.
    pub(crate) const CAPITAL: u8 = 128;

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn new(kind: Kind, c: char) -> Self {
        let class_in_utf8 = Utf8::of(c);
        Self { plain: c, shown: c, class: c, class_in_utf8, sign: c, kind, flags: 0 }
    }

    fn with_class(self, class: char) -> Self {
        Self { class, class_in_utf8: Utf8::of(class), ..self }
    }
}

struct Page {
    folds: [CharFold; 256],
    /// What those of kind [`Kind::Several`] stand for.
    several: Vec<(char, Box<[CharFold]>)>,
}

static PAGES: [OnceLock<Box<Page>>; 0x1100] = [const { OnceLock::new() }; 0x1100];

/// What a character is.
#[inline]
pub(crate) fn fold(c: char) -> &'static CharFold {
    &page(c).folds[c as usize & 0xff]
}

/// The characters that one of kind [`Kind::Several`] stands for.
#[cold]
pub(crate) fn expand(c: char) -> &'static [CharFold] {
    let several = &page(c).several;
    several.iter().find(|(of, _)| *of == c).map_or(&[], |(_, parts)| parts)
}

#[inline]
fn page(c: char) -> &'static Page {
    let number = c as usize >> 8;
    PAGES[number].get_or_init(|| new_page(number))
}

#[cold]
fn new_page(number: usize) -> Box<Page> {
    let nothing = CharFold::new(Kind::Mark, ' ');
    let mut page = Box::new(Page { folds: [nothing; 256], several: Vec::new() });
    for low in 0..256 {
        let code = u32::try_from(number << 8 | low).unwrap_or(0);
        let Some(c) = char::from_u32(code) else { continue };
        page.folds[low] = classify(c);
        if page.folds[low].kind == Kind::Several {
            let parts = compatible(c).into_iter().take(8).map(|part| simple(part, c));
            page.several.push((c, parts.collect()));
        }
    }
    page
}

/// A Latin letter with other flags than its own: what a sign, or several, among letters is read as.
pub(crate) fn letter(latin: char, flags: u8) -> &'static CharFold {
    static BY_FLAGS: [OnceLock<Vec<CharFold>>; 256] = [const { OnceLock::new() }; 256];
    let letters = BY_FLAGS[usize::from(flags)]
        .get_or_init(|| ('a'..='z').map(|c| CharFold { flags, ..*fold(c) }).collect());
    let at = (latin as usize).checked_sub('a' as usize);
    at.and_then(|at| letters.get(at)).unwrap_or_else(|| fold(latin))
}

fn classify(c: char) -> CharFold {
    let small = classify_by_small_form(c);
    let capital = std::iter::once(c).nfkc().next().and_then(lookalike::capital);
    match capital.filter(|_| small.kind == Kind::Word) {
        Some(sign) => CharFold { sign, flags: small.flags | CharFold::CAPITAL, ..small },
        None => small,
    }
}

fn classify_by_small_form(c: char) -> CharFold {
    if is_hidden(c) {
        return CharFold::new(Kind::Hidden, c);
    }
    // Unicode takes the crescent-shaped sigma for a sigma; it is there for a c.
    let stands_for_itself = |c: char| !has_compatible(c) || matches!(c, 'ϲ' | 'Ϲ');
    if let Some(latin) = lookalike::letter(c).filter(|_| !c.is_alphabetic() || stands_for_itself(c))
    {
        return letter_like(c, latin);
    }
    match compatible(c).as_slice() {
        [] => CharFold::new(Kind::Hidden, c),
        [one] => simple(*one, c),
        _ => CharFold::new(Kind::Several, c),
    }
}

fn has_compatible(c: char) -> bool {
    std::iter::once(c).nfkc().next() != Some(c)
}

/// A character's compatible form: width, circles and styles gone, accents of Latin and Greek
/// letters gone, lower case, the brackets of `⑴` gone.
fn compatible(c: char) -> Vec<char> {
    let mut parts: Vec<char> = std::iter::once(c).nfkc().flat_map(char::to_lowercase).collect();
    if parts.len() > 2 && parts.first() == Some(&'(') && parts.last() == Some(&')') {
        parts = parts[1..parts.len() - 1].to_vec();
    }
    parts.into_iter().flat_map(without_accent).filter(|part| !is_hidden(*part)).collect()
}

fn without_accent(c: char) -> impl Iterator<Item = char> {
    let base = std::iter::once(c).nfd().next().unwrap_or(c);
    let strip = base.is_ascii_alphabetic() || matches!(base, '\u{370}'..='\u{3ff}' | 'е' | 'і');
    std::iter::once(if strip { base } else { c })
}

/// A folded character; `written` is the one it came from.
fn simple(c: char, written: char) -> CharFold {
    let upper = if written.is_uppercase() { CharFold::UPPER } else { 0 };
    if let Some(digit) = ascii_digit(c) {
        return CharFold::new(Kind::Digit, digit).with_class(class(digit));
    }
    if let Some(letter) = lookalike::regional(c) {
        let flags = CharFold::SIGN;
        return CharFold { sign: letter, flags, ..CharFold::new(Kind::Mark, c) };
    }
    if let Some(latin) = lookalike::symbol(c) {
        let kind = match (c, written) {
            ('!', '!') => Kind::End,
            ('!', _) => Kind::WideEnd,
            _ => Kind::Mark,
        };
        let mut fold = CharFold::new(kind, c);
        (fold.sign, fold.flags) = (latin, CharFold::SIGN | stroke(c));
        return fold;
    }
    if c.is_alphabetic() {
        // Single strokes of characters are drawn between others: 加丨微丨信.
        if matches!(c, '丨' | '丶') {
            return CharFold::new(Kind::Mark, c);
        }
        if is_free(c) {
            let mut fold = CharFold::new(Kind::Free, simplified(c));
            fold.flags = if is_joining(c) { CharFold::JOINS } else { 0 };
            fold.flags |= if components::is_first(fold.shown) { CharFold::PART } else { 0 };
            return fold;
        }
        if c.is_ascii() {
            let fold = CharFold::new(Kind::Word, c).with_class(class(c));
            return CharFold { flags: upper, ..fold };
        }
        if let Some(latin) = lookalike::letter(c) {
            let read = letter_like(c, latin);
            return CharFold { flags: read.flags | upper, ..read };
        }
        let genuine = if lookalike::is_genuine(c) { CharFold::GENUINE } else { 0 };
        return CharFold { flags: genuine, ..CharFold::new(Kind::Word, c) };
    }
    let joins = if is_joining(c) { CharFold::JOINS } else { 0 };
    let kind = match c {
        '\n' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => Kind::Line,
        _ if c.is_whitespace() || c == '\u{2800}' => Kind::Space,
        '.' | ',' | '?' | ';' | ':' | '\u{61f}' | '\u{60c}' => Kind::End,
        '。' | '、' | '｡' => Kind::WideEnd,
        _ if joins != 0 => Kind::Free,
        _ => Kind::Mark,
    };
    // Full-width forms were folded to ASCII on the way here; what they end needs no space.
    let wide = kind == Kind::End && matches!(written, '\u{ff00}'..='\u{ff60}');
    let kind = if wide { Kind::WideEnd } else { kind };
    CharFold { flags: joins | stroke(c), ..CharFold::new(kind, c) }
}

fn stroke(c: char) -> u8 {
    if matches!(c, '|' | '\\' | '(' | '[') { CharFold::STROKE } else { 0 }
}

fn letter_like(c: char, latin: char) -> CharFold {
    let lower = c.to_lowercase().next().unwrap_or(c);
    let mut fold = CharFold::new(Kind::Word, lower).with_class(class(latin));
    fold.shown = latin;
    if lookalike::is_foreign(lower) {
        fold.flags |= CharFold::FOREIGN;
    }
    if lookalike::is_genuine(lower) {
        fold.flags |= CharFold::GENUINE;
    }
    fold
}

/// Letters and digits that are written for one another.
pub(crate) fn class(c: char) -> char {
    match c {
        '0' => 'o',
        '1' | 'l' => 'i',
        '2' => 'z',
        '3' => 'e',
        '4' => 'a',
        '5' => 's',
        '6' | '9' => 'g',
        '7' => 't',
        '8' => 'b',
        other => other,
    }
}

fn is_hidden(c: char) -> bool {
    matches!(c,
        '\0'..='\u{8}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{84}' | '\u{86}'..='\u{9f}'
        | '\u{ad}' | '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{61c}' | '\u{115f}'
        | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{1ab0}'..='\u{1aff}'
        | '\u{1dc0}'..='\u{1dff}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{20d0}'..='\u{20ff}' | '\u{302a}'..='\u{302f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{fe20}'..='\u{fe2f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// Voicing marks of kana, and the vowels and finals of Korean syllables written apart.
fn is_joining(c: char) -> bool {
    matches!(c, '\u{3099}' | '\u{309a}' | '\u{1161}'..='\u{11ff}')
}

fn is_free(c: char) -> bool {
    matches!(c,
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1100}'..='\u{11ff}'
        | '\u{1780}'..='\u{17ff}' | '\u{2e80}'..='\u{9fff}' | '\u{a000}'..='\u{a48f}'
        | '\u{a960}'..='\u{a97f}' | '\u{ac00}'..='\u{d7ff}' | '\u{f900}'..='\u{faff}'
        | '\u{1aff0}'..='\u{1b2ff}' | '\u{20000}'..='\u{3ffff}')
}

/// Decimal digits of other scripts; what NFKC folds has been folded.
fn ascii_digit(c: char) -> Option<char> {
    const ZEROS: [u32; 14] = [
        0x30, 0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xe50, 0xed0, 0x1040,
        0x17e0,
    ];
    let code = c as u32;
    let zero = ZEROS.into_iter().find(|zero| (*zero..zero + 10).contains(&code))?;
    char::from_digit(code - zero, 10)
}

/// Traditional to simplified, one character to one.
fn simplified(c: char) -> char {
    static TABLE: LazyLock<HashMap<char, char>> = LazyLock::new(|| {
        let lines = include_str!("traditional.txt").lines().filter(|line| !line.starts_with('#'));
        let pairs = lines.flat_map(str::split_whitespace);
        pairs.filter_map(|pair| Some((pair.chars().next()?, pair.chars().nth(1)?))).collect()
    });
    TABLE.get(&c).copied().unwrap_or(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_read_as_what_they_pass_for() {
        for (written, shown) in [
            ('Ａ', 'a'),
            ('é', 'e'),
            ('ł', 'l'),
            ('а', 'a'),
            ('Ѕ', 's'),
            ('𝒇', 'f'),
            ('🅲', 'c'),
            ('🄵', 'f'),
            ('ⓕ', 'f'),
            ('ᶜ', 'c'),
            ('ꜰ', 'f'),
            ('ꜱ', 's'),
            ('ʀ', 'r'),
            ('ⁿ', 'n'),
            ('費', '费'),
            ('⽪', '皮'),
            ('①', '1'),
            ('٣', '3'),
            ('ａ', 'a'),
            ('⒜', 'a'),
            ('ı', 'i'),
            ('И', 'n'),
            ('É', 'e'),
            ('ć', 'c'),
            ('ｶ', 'カ'),
            ('한', '한'),
            ('я', 'r'),
            ('ђ', 'ђ'),
            ('₂', '2'),
            ('ℴ', 'o'),
        ] {
            assert_eq!(fold(written).shown, shown, "{written}");
        }
    }

    #[test]
    fn folding_a_folded_character_changes_nothing() {
        for code in 0..0x11_0000 {
            let Some(c) = char::from_u32(code) else { continue };
            let once = fold(c);
            if matches!(once.kind, Kind::Word | Kind::Digit | Kind::Free) {
                let twice = fold(once.shown);
                assert_eq!(
                    (twice.shown, twice.class),
                    (once.shown, once.class),
                    "{c} U+{code:04X}"
                );
            }
        }
    }

    #[test]
    fn capitals_are_read_as_their_small_letters() {
        for c in ('α'..='ω').chain('\u{400}'..='\u{45f}').chain('a'..='z') {
            let upper = c.to_uppercase().next().unwrap_or(c);
            if c.is_lowercase() && upper.to_lowercase().eq([c]) {
                assert_eq!(fold(upper).shown, fold(c).shown, "{upper} {c}");
            }
        }
    }

    #[test]
    fn signs_separate_and_may_stand_for_letters() {
        assert_eq!((fold('$').kind, fold('$').sign), (Kind::Mark, 's'));
        assert_eq!(fold('!').kind, Kind::End);
        assert_eq!(fold('！').kind, Kind::WideEnd);
        assert_eq!(fold('，').kind, Kind::WideEnd);
        assert_eq!(fold('\u{200b}').kind, Kind::Hidden);
        assert_eq!(fold('🌸').kind, Kind::Mark);
        assert_eq!(fold('㎏').kind, Kind::Several);
    }
}
