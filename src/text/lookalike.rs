//! Characters that stand in for a Latin letter because they look like it.
//!
//! Compatibility forms (full-width, circled, mathematical) are not listed: Unicode's own folding
//! knows them. What is listed here is what senders use and Unicode's list of confusables either
//! lacks or gives to another character. The rest is asked of that list, for letters of scripts that
//! can pass for Latin at all: Arabic, Indic, Thai, Chinese, Japanese and Korean letters never turn
//! into Latin ones.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Each Latin letter with its look-alikes, lower-case forms only where case folding finds the rest.
const LETTERS: &[(char, &str)] = &[
    ('a', "аαɑᴀɐᗩꓮꭺ∀ª🅐🅰ⱥᶏẚ"),
    ('b', "вβʙɓƀᗷьҍꞗ🅑🅱ƃƅᴃᵬᶀꞵ"),
    ('c', "сϲᴄɔƈȼᑕᏟꮯ🅒🅲ɕʗↄꜿꞓꞔ"),
    ('d', "ԁᴅɗđᗪꓒδժ🅓🅳ƌȡɖᵭᶁᶑꝺꟈ"),
    ('e', "еεёєҽᴇǝɘəɛҿ℮є🅔🅴ɇɜɝᴈᶒᶓᶔⱸⱻꬳꬴ"),
    ('f', "ғꜰƒɟᖴϝʄ🅕🅵ᵮᶂꝼꟻⅎꬵ"),
    ('g', "ɡɢɠǥԍցᘜɣ🅖🅶ʛᵷᵹꝿꞡꬶ"),
    ('h', "нһʜħɦհᕼɥ🅗🅷ʮʯⱨꞕ"),
    ('i', "іιɪıɩɨїꭵἰ🅘🅸ᴉᵻᶖꟷ"),
    ('j', "јᴊʝɉյᒍϳ🅙🅹"),
    ('k', "кκᴋƙҡқʞ🅚🅺ᶄⱪꝁꝃꝅꞣĸ"),
    ('l', "ʟłɭƚӏᒪɫլ🅛🅻ȴɬᴌᶅⱡꝉꞎꬷꬸꬹ"),
    ('m', "мᴍɱᗰϻʍ🅜🅼ɰᴟᵯᶆꟺꬺ"),
    ('n', "ηпиɴɲոռᑎπŋɳƞй🅝🅽ȵᴎᵰᶇꞑꞥꬻ"),
    ('o', "оοσᴏօøɵө๏ססഠ౦ᓍ🅞🅾ǿᴐᴒᴓᶗⱺꝋꝍꬾꬿ"),
    ('p', "рρᴘƥᑭþҏ🅟🅿ᵱᵽᶈꝑꝓꝕꟼ"),
    ('q', "ԛզգɋʠ🅠🆀ꝗꝙꞯ"),
    ('r', "ʀɹɾɽꭇꮁᖇгяɼɍ🅡🆁ɺɻɿᴙᴚᵲᵳᶉⱹꞃꞧꭆꭉꭋꭌꭨ"),
    ('s', "ѕꜱʂςʃƽ🅢🆂ȿᵴᶊẜꞅꞩꟊ"),
    ('t', "тτᴛʈŧƭʇէ🅣🆃ƫȶⱦᵵꞇ"),
    ('u', "υᴜʊսցᑌµμцʉ🅤🆄ᴝᵾᶙꞹ"),
    ('v', "νᴠѵʋᐯʌ🅥🆅ⱱⱴꝟ"),
    ('w', "ωᴡԝɯшщᗯѡա🅦🆆ⱳ"),
    ('x', "хχӿ᙭🅧🆇ᶍꭓꭖꭗꭘꭙ"),
    ('y', "уγʏүуʎ¥ყɏ🅨🆈ƴ"),
    ('z', "ᴢʐƶɀʑζ🅩🆉ȥᵶᶎ"),
];

/// Symbols that are read as a letter only where they stand among letters.
const SYMBOLS: &[(char, &str)] = &[
    ('a', "@₳"),
    ('b', "₿฿"),
    ('c', "¢₵₡"),
    ('e', "€"),
    ('f', "₣"),
    ('g', "₲"),
    ('i', "!|¡❗❕"),
    ('k', "₭"),
    ('l', "£"),
    ('m', "₥"),
    ('n', "₦"),
    ('o', "⭕"),
    ('p', "₱₽"),
    ('s', "$₴"),
    ('t', "+₮†✝"),
    ('v', "✌√"),
    ('w', "₩"),
    ('x', "✖❌×"),
    ('y', "¥"),
];

/// Capitals that are drawn like another Latin letter than their small forms.
const CAPITALS: &[(char, &str)] = &[('h', "Η"), ('m', "Μ"), ('n', "Ν"), ('s', "Տ"), ('y', "Υϒ")];

static LETTER_OF: LazyLock<HashMap<char, char>> = LazyLock::new(|| table(LETTERS));
static CAPITAL_OF: LazyLock<HashMap<char, char>> = LazyLock::new(|| table(CAPITALS));
static SYMBOL_OF: LazyLock<HashMap<char, char>> = LazyLock::new(|| table(SYMBOLS));

fn table(rows: &[(char, &str)]) -> HashMap<char, char> {
    let pairs = rows.iter().flat_map(|(latin, forms)| forms.chars().map(|form| (form, *latin)));
    // The first row that names a character keeps it.
    pairs.rev().collect()
}

/// The Latin letter that a letter can be taken for, if it is not a Latin letter itself.
pub(super) fn letter(c: char) -> Option<char> {
    let lower = c.to_lowercase().next().unwrap_or(c);
    if let Some(latin) = LETTER_OF.get(&c).or_else(|| LETTER_OF.get(&lower)) {
        return Some(*latin);
    }
    if !can_pass_for_latin(c) {
        return None;
    }
    // Small and capital letters have to be read alike, and the small one decides where it can.
    unicode_lookalike(lower).or_else(|| unicode_lookalike(c))
}

/// What Unicode's list of confusables says.
fn unicode_lookalike(c: char) -> Option<char> {
    let mut buffer = [0; 4];
    let text: &str = c.encode_utf8(&mut buffer);
    let mut skeleton = unicode_security::skeleton(text);
    match (skeleton.next(), skeleton.next()) {
        (Some(one), None) if one.is_ascii_alphabetic() => Some(one.to_ascii_lowercase()),
        _ => None,
    }
}

/// The Latin capital that a capital is drawn like, where its small form is drawn like another
/// letter: `Ν` like N, while `ν` is like v.
pub(super) fn capital(c: char) -> Option<char> {
    CAPITAL_OF.get(&c).copied()
}

/// The letter of a regional indicator, two of which make a flag.
pub(super) fn regional(c: char) -> Option<char> {
    let letter = u32::from(c).checked_sub(0x1f1e6).filter(|at| *at < 26)?;
    char::from_u32(u32::from('a') + letter)
}

/// The Latin letter that a symbol can be taken for.
pub(super) fn symbol(c: char) -> Option<char> {
    SYMBOL_OF.get(&c).copied()
}

/// Scripts whose letters are drawn like Latin ones: Greek, Cyrillic, Armenian, Cherokee, Coptic,
/// Canadian syllabics, Lisu, the extensions of Latin, historic alphabets and mathematical letters.
fn can_pass_for_latin(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{58f}' | '\u{10a0}'..='\u{10ff}' | '\u{13a0}'..='\u{167f}'
        | '\u{1c80}'..='\u{1eff}' | '\u{1f00}'..='\u{1fff}' | '\u{2100}'..='\u{218f}'
        | '\u{2c60}'..='\u{2dff}' | '\u{a4d0}'..='\u{a4ff}' | '\u{a640}'..='\u{a7ff}'
        | '\u{ab30}'..='\u{abbf}' | '\u{10280}'..='\u{1049f}' | '\u{118a0}'..='\u{118ff}'
        | '\u{1d400}'..='\u{1d7ff}' | '\u{1f100}'..='\u{1f1ff}')
}

/// Letters of a script that is not Latin. What is drawn like them is judged by the words around.
pub(super) fn is_foreign(c: char) -> bool {
    matches!(c,
        '\u{370}'..='\u{58f}' | '\u{10a0}'..='\u{10ff}' | '\u{13a0}'..='\u{167f}'
        | '\u{1c80}'..='\u{1c8f}' | '\u{1f00}'..='\u{1fff}' | '\u{2c80}'..='\u{2dff}'
        | '\u{a4d0}'..='\u{a4ff}' | '\u{a640}'..='\u{a69f}' | '\u{ab70}'..='\u{abbf}')
}

/// Letters that show their script: a word with them is written in it, however many others in it
/// could be Latin.
pub(super) fn is_genuine(c: char) -> bool {
    match c {
        '\u{400}'..='\u{52f}' => "бгджзийлпфцчшщъыьэюяђћљњџґ".contains(c),
        '\u{370}'..='\u{3ff}' => "γδζηθλμξπςσφψω".contains(c),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_latin_is_found_and_real_scripts_are_left_alone() {
        for (form, latin) in
            [('а', 'a'), ('ѕ', 's'), ('ꭇ', 'r'), ('ҽ', 'e'), ('ո', 'n'), ('τ', 't'), ('ǝ', 'e')]
        {
            assert_eq!(letter(form), Some(latin), "{form}");
        }
        for c in "عהกआ中カ한บ口".chars() {
            assert_eq!(letter(c), None, "{c}");
        }
    }

    #[test]
    fn every_look_alike_belongs_to_one_letter() {
        for (latin, forms) in LETTERS {
            assert!(latin.is_ascii_lowercase() && !forms.is_ascii());
        }
    }
}
