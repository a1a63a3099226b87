//! A digest over what a message says, the same however its body is written.
//!
//! It tells a repeated callback from other content under the same key. Everything is written with
//! its length or its type before it, so that no two contents share an encoding.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::model::Element;

/// The first 16 bytes of SHA-256 over sender, `MsgTime`, elements and custom data.
pub(super) fn of(
    sender: &str,
    msg_time: Option<i64>,
    elements: &[Element],
    cloud_custom_data: &str,
) -> [u8; 16] {
    let mut digest = Sha256::new();
    text(&mut digest, sender);
    match msg_time {
        Some(time) => tagged(&mut digest, b't', time.to_le_bytes()),
        None => digest.update(b"-"),
    }
    length(&mut digest, elements.len());
    for element in elements {
        text(&mut digest, &element.msg_type);
        value(&mut digest, &element.content);
    }
    text(&mut digest, cloud_custom_data);
    let mut first = [0; 16];
    first.copy_from_slice(&digest.finalize()[..16]);
    first
}

/// As deep as the parser lets values nest.
fn value(digest: &mut Sha256, of: &Value) {
    match of {
        Value::Null => digest.update(b"n"),
        Value::Bool(false) => digest.update(b"0"),
        Value::Bool(true) => digest.update(b"1"),
        Value::Number(number) => {
            if let Some(number) = number.as_u64() {
                tagged(digest, b'u', number.to_le_bytes());
            } else if let Some(number) = number.as_i64() {
                tagged(digest, b'i', number.to_le_bytes());
            } else {
                let bits = number.as_f64().unwrap_or(f64::NAN).to_bits();
                tagged(digest, b'f', bits.to_le_bytes());
            }
        }
        Value::String(string) => {
            digest.update(b"s");
            text(digest, string);
        }
        Value::Array(items) => {
            digest.update(b"a");
            length(digest, items.len());
            for item in items {
                value(digest, item);
            }
        }
        // A serde_json map is sorted by key; a test below holds it to that.
        Value::Object(fields) => {
            digest.update(b"o");
            length(digest, fields.len());
            for (name, field) in fields {
                text(digest, name);
                value(digest, field);
            }
        }
    }
}

fn text(digest: &mut Sha256, text: &str) {
    length(digest, text.len());
    digest.update(text);
}

fn length(digest: &mut Sha256, length: usize) {
    digest.update((length as u64).to_le_bytes());
}

fn tagged(digest: &mut Sha256, tag: u8, bytes: [u8; 8]) {
    digest.update([tag]);
    digest.update(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(content: &str) -> [u8; 16] {
        let content = serde_json::from_str(content).unwrap();
        of("a", Some(1), &[Element { msg_type: "T".into(), content }], "")
    }

    #[test]
    fn spelling_and_order_do_not_matter() {
        assert_eq!(hash(r#"{"b":1,"a":"\u4f60"}"#), hash(r#"{ "a": "你", "b": 1 }"#));
    }

    #[test]
    fn other_content_has_another_digest() {
        let contents = [
            "null",
            "0",
            "1",
            "-1",
            "1.0",
            r#""1""#,
            "true",
            "[]",
            "{}",
            "[1]",
            "[[1]]",
            r#"["1"]"#,
            r#"{"1":1}"#,
            r#"[1,""]"#,
            r#""""#,
            r#"["a","b"]"#,
            r#"["ab",""]"#,
        ];
        let distinct: std::collections::HashSet<_> = contents.iter().map(|c| hash(c)).collect();
        assert_eq!(distinct.len(), contents.len());
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let of = |sender: &str, time, data: &str| of(sender, time, &[], data);
        assert_ne!(of("ab", Some(1), "c"), of("a", Some(1), "bc"));
        assert_ne!(of("a", None, ""), of("a", Some(0), ""));
        assert_ne!(of("a", Some(1), ""), of("a", Some(2), ""));
    }
}
