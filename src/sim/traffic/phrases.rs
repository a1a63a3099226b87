//! What the made-up members say: lines with blanks, some harmless, some not. Which of the two is
//! known from the list that a line stands in, never asked of the rules.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

const HARMLESS: &str = include_str!("harmless.txt");
const VIOLATING: &str = include_str!("violating.txt");

const NAMES: &[&str] =
    &["Mei", "小李", "Omar", "阿强", "Lena", "王老师", "Piotr", "佳佳", "Sana", "老张"];

/// The lines, and the dice that fill their blanks.
#[derive(Debug)]
pub(super) struct Phrases {
    harmless: Vec<&'static str>,
    violating: Vec<&'static str>,
}

impl Phrases {
    pub(super) fn new() -> Self {
        let lines = |text: &'static str| text.lines().filter(|line| !line.is_empty()).collect();
        Self { harmless: lines(HARMLESS), violating: lines(VIOLATING) }
    }

    /// `MsgBody` as JSON text.
    pub(super) fn body(&self, violating: bool, rng: &mut StdRng) -> String {
        let lines = if violating { &self.violating } else { &self.harmless };
        let line = lines.choose(rng).copied().unwrap_or_default();
        let text = serde_json::Value::from(filled(line, rng));
        match rng.random_range(0..100) {
            0..4 => element(
                "TIMFileElem",
                &format!(
                    r#""UUID":"f1","FileSize":20481,"FileName":{text},"Url":"https://files.example.net/f1","Download_Flag":2"#
                ),
            ),
            4..8 => {
                let card = serde_json::json!({"kind": "card", "title": text}).to_string();
                let card = serde_json::Value::from(card);
                element("TIMCustomElem", &format!(r#""Data":{card},"Desc":"","Ext":"","Sound":"""#))
            }
            8..14 => format!(
                r#"[{{"MsgType":"TIMTextElem","MsgContent":{{"Text":{text}}}}},{{"MsgType":"TIMFaceElem","MsgContent":{{"Index":14,"Data":"pack2/wink"}}}}]"#
            ),
            14..18 if !violating => element(
                "TIMImageElem",
                r#""UUID":"i1","ImageFormat":1,"ImageInfoArray":[{"Type":1,"Size":91234,"Width":640,"Height":480,"URL":"https://files.example.net/i1.jpg"}]"#,
            ),
            _ => element("TIMTextElem", &format!(r#""Text":{text}"#)),
        }
    }
}

fn element(msg_type: &str, content: &str) -> String {
    format!(r#"[{{"MsgType":"{msg_type}","MsgContent":{{{content}}}}}]"#)
}

/// A line with its blanks filled: `{n}` a number, `{h}` an hour, `{who}` a name, `{z}` a character
/// that nobody sees.
fn filled(line: &str, rng: &mut StdRng) -> String {
    let mut text = String::with_capacity(line.len() + 8);
    let mut rest = line;
    while let Some((before, blank)) = rest.split_once('{') {
        text.push_str(before);
        let (name, after) = blank.split_once('}').unwrap_or((blank, ""));
        match name {
            "n" => text.push_str(&rng.random_range(1..10_000).to_string()),
            "h" => text.push_str(&rng.random_range(1..13).to_string()),
            "who" => text.push_str(NAMES.choose(rng).copied().unwrap_or_default()),
            "z" => text.push('\u{200b}'),
            _ => {}
        }
        rest = after;
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_body_is_json_and_every_blank_is_filled() {
        let phrases = Phrases::new();
        let mut rng = StdRng::seed_from_u64(1);
        for n in 0..5000 {
            let body = phrases.body(n % 2 == 0, &mut rng);
            let elements: Value = serde_json::from_str(&body).unwrap();
            assert!(elements[0]["MsgContent"].is_object(), "{body}");
            assert!(!body.contains("{n}") && !body.contains("{who}") && !body.contains("{z}"));
        }
    }

    #[test]
    fn there_is_enough_to_say_in_both_languages() {
        let phrases = Phrases::new();
        let ascii = phrases.harmless.iter().filter(|line| line.is_ascii()).count();
        assert!(ascii > 70 && phrases.harmless.len() - ascii > 70);
        assert!(phrases.violating.len() > 35);
    }
}
