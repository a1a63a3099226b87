//! Bodies that are nearly JSON, made into JSON.
//!
//! What is mended is what message content can bring about in a sender or a relay that writes JSON
//! carelessly; the frame around the content is not guessed at. Every repair keeps the text around
//! the broken place, since that is what the rules look at.

use serde_json::Value;

use super::Unreadable;

/// Deeper values become `null`. `serde_json` gives up at 128 levels, and a nested forward takes
/// six of them; giving up would let the text above pass unseen.
const MAX_DEPTH: usize = 100;

/// Reads a body as JSON after mending it.
pub(super) fn read(body: &[u8]) -> Result<Value, Unreadable> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let text = String::from_utf8_lossy(body);
    serde_json::from_str(&mended(&text))
        .map_err(|error| Unreadable::NotJson { line: error.line(), column: error.column() })
}

fn mended(text: &str) -> String {
    let mut mend = Mend { rest: text, out: String::with_capacity(text.len() + 16), depth: 0 };
    while let Some(first) = mend.rest.chars().next() {
        match first {
            '"' => mend.string(),
            '{' | '[' if mend.depth == MAX_DEPTH => mend.too_deep(),
            '-' | '0'..='9' => mend.number(),
            // Bare control characters outside of strings mean nothing.
            _ if first.is_ascii_control() && !first.is_ascii_whitespace() => mend.skip(1),
            _ => {
                match first {
                    '{' | '[' => mend.depth += 1,
                    '}' | ']' => mend.depth = mend.depth.saturating_sub(1),
                    _ => {}
                }
                mend.copy(first.len_utf8());
            }
        }
    }
    mend.out
}

struct Mend<'a> {
    rest: &'a str,
    out: String,
    depth: usize,
}

impl Mend<'_> {
    fn copy(&mut self, bytes: usize) {
        let (copied, rest) = self.rest.split_at(bytes);
        self.out.push_str(copied);
        self.rest = rest;
    }
    fn skip(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes..];
    }

    /// A string, from its opening quote to its closing one or the end of all.
    fn string(&mut self) {
        self.copy(1);
        loop {
            let plain = |c: char| c == '"' || c == '\\' || c.is_ascii_control();
            let run = self.rest.find(plain).unwrap_or(self.rest.len());
            self.copy(run);
            match self.rest.as_bytes().first() {
                None => return,
                Some(b'"') => return self.copy(1),
                Some(b'\\') => self.escape(),
                Some(0x7f) => self.copy(1),
                Some(control) => {
                    let control = format!("\\u{control:04x}");
                    self.out.push_str(&control);
                    self.skip(1);
                }
            }
        }
    }

    fn escape(&mut self) {
        match self.rest.as_bytes().get(1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.copy(2),
            Some(b'u') => match code_unit(self.rest) {
                Some(0xd800..=0xdbff)
                    if matches!(code_unit(&self.rest[6..]), Some(0xdc00..=0xdfff)) =>
                {
                    self.copy(12);
                }
                Some(0xd800..=0xdfff) => {
                    self.out.push('\u{fffd}');
                    self.skip(6);
                }
                Some(_) => self.copy(6),
                None => self.backslash(),
            },
            _ => self.backslash(),
        }
    }

    /// A backslash that escapes nothing stands for itself.
    fn backslash(&mut self) {
        self.out.push_str("\\\\");
        self.skip(1);
    }

    /// A number that overflows a double is no reason to lose the message around it.
    fn number(&mut self) {
        let end = |c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E');
        let len = self.rest.find(end).unwrap_or(self.rest.len());
        if self.rest[..len].parse::<f64>().is_ok_and(f64::is_infinite) {
            self.out.push_str("null");
            self.skip(len);
        } else {
            self.copy(len);
        }
    }

    /// Drops an array or object with all that is in it.
    fn too_deep(&mut self) {
        let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
        let mut len = self.rest.len();
        for (at, byte) in self.rest.bytes().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_string => escaped = true,
                b'"' => in_string = !in_string,
                b'{' | b'[' if !in_string => depth += 1,
                b'}' | b']' if !in_string => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                len = at + 1;
                break;
            }
        }
        self.out.push_str("null");
        self.skip(len);
    }
}

/// The code unit of an escape such as `\u4f60` at the start of a text.
fn code_unit(text: &str) -> Option<u32> {
    let hex = text.strip_prefix("\\u")?.get(..4)?;
    hex.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(hex, 16).ok())?
}
