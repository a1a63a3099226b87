//! Other people's text in a page. Whatever a message, a name or an id holds, it stays text, stays
//! within its element, and what would be invisible or reorder the line is shown as a mark.

use std::fmt::{self, Write};

use askama::filters::HtmlSafe;

/// Invisible letters in a row that are kept: accents and the like. More is a way to paint over the
/// lines around.
const COMBINING: usize = 3;

/// HTML that was made here and may go into a page as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Html(String);

impl fmt::Display for Html {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl HtmlSafe for Html {}

/// A stretch of characters to be set off, and the rule that asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span<'a> {
    pub start: usize,
    pub end: usize,
    pub rule: &'a str,
}

/// A text on its own.
pub(super) fn text(text: &str) -> Html {
    marked(text, &[])
}

/// The beginning of a text in one line.
pub(super) fn excerpt(text: &str, most: usize) -> Html {
    excerpt_marked(text, &[], most)
}

/// The beginning of a text in one line with the matched characters set off.
pub(super) fn excerpt_marked(text: &str, spans: &[Span<'_>], most: usize) -> Html {
    let mut short: String =
        text.chars().take(most).map(|c| if c == '\n' { ' ' } else { c }).collect();
    if text.chars().nth(most).is_some() {
        short.push('…');
    }
    marked(&short, spans)
}

/// A text with the matched characters set off.
pub(super) fn marked(text: &str, spans: &[Span<'_>]) -> Html {
    let mut html = String::with_capacity(text.len() + 64);
    html.push_str("<bdi class=\"said\">");
    let mut open: Option<usize> = None;
    let mut combining = 0;
    let mut before = ' ';
    for (at, c) in text.chars().enumerate() {
        let inside = spans.iter().position(|span| span.start <= at && at < span.end);
        if open.is_some() && open != inside {
            html.push_str("</mark>");
        }
        if let Some(span) = inside
            && open != inside
        {
            html.push_str("<mark title=\"");
            escape(&mut html, spans[span].rule);
            html.push_str("\">");
        }
        open = inside;
        combining = if is_combining(c) { combining + 1 } else { 0 };
        if combining <= COMBINING {
            character(&mut html, c, before);
        }
        before = c;
    }
    if open.is_some() {
        html.push_str("</mark>");
    }
    html.push_str("</bdi>");
    Html(html)
}

fn character(html: &mut String, c: char, before: char) {
    match c {
        '\n' => html.push('\n'),
        // Joins emoji to one picture; elsewhere it only hides.
        '\u{200d}' if before > '\u{2000}' && !before.is_alphabetic() => html.push(c),
        _ if is_unseen(c) => {
            html.push_str("<span class=\"unseen\">");
            let _ = write!(html, "U+{:04X}", u32::from(c));
            html.push_str("</span>");
        }
        _ => escape_char(html, c),
    }
}

/// Characters without a picture of their own, those that turn the direction of a line among them.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

fn is_combining(c: char) -> bool {
    unicode_normalization::char::is_combining_mark(c)
}

fn escape(html: &mut String, text: &str) {
    for c in text.chars() {
        escape_char(html, c);
    }
}

fn escape_char(html: &mut String, c: char) {
    match c {
        '<' => html.push_str("&lt;"),
        '>' => html.push_str("&gt;"),
        '&' => html.push_str("&amp;"),
        '"' => html.push_str("&quot;"),
        '\'' => html.push_str("&#39;"),
        _ => html.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inside(html: &Html) -> String {
        let html = html.to_string();
        let inside = html.strip_prefix("<bdi class=\"said\">").unwrap();
        inside.strip_suffix("</bdi>").unwrap().to_owned()
    }

    #[test]
    fn markup_stays_text() {
        let html = inside(&text("<script>alert('x')</script>&\""));
        assert_eq!(html, "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&quot;");
    }

    #[test]
    fn what_turns_or_hides_is_shown() {
        let html = inside(&text("a\u{202e}b\u{200b}c\u{0}\u{2066}"));
        let seen = |code: &str| format!("<span class=\"unseen\">U+{code}</span>");
        let expected =
            format!("a{}b{}c{}{}", seen("202E"), seen("200B"), seen("0000"), seen("2066"));
        assert_eq!(html, expected);
        for c in (0..=0x10_ffff).filter_map(char::from_u32).filter(|c| is_unseen(*c)) {
            if c != '\n' {
                assert!(!inside(&text(&format!("x{c}"))).contains(c), "{c:?}");
            }
        }
    }

    #[test]
    fn emoji_and_accents_stay_whole_and_towers_do_not() {
        assert_eq!(inside(&text("👨\u{200d}👩")), "👨\u{200d}👩");
        assert_eq!(inside(&text("e\u{301}")), "e\u{301}");
        let tower = format!("z{}", "\u{335}".repeat(50));
        assert_eq!(inside(&text(&tower)).chars().count(), 1 + COMBINING);
    }

    #[test]
    fn matched_characters_are_set_off() {
        let spans =
            [Span { start: 1, end: 3, rule: "a\"b" }, Span { start: 2, end: 4, rule: "other" }];
        assert_eq!(
            inside(&marked("加微信<号", &spans)),
            "加<mark title=\"a&quot;b\">微信</mark><mark title=\"other\">&lt;</mark>号"
        );
        assert_eq!(inside(&excerpt("one\ntwo three", 7)), "one two…");
    }
}
