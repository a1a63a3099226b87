//! A digest over what a message says, the same however its body is written.
//!
//! It tells a repeated callback from other content under the same key. Everything is written with
//! its length or its type before it, so that no two contents share an encoding.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::model::{Content, Element};

/// The first 16 bytes of SHA-256 over sender, `MsgTime`, elements and custom data.
pub(super) fn of(
    sender: &str,
    msg_time: Option<i64>,
    elements: &[Element],
    cloud_custom_data: &str,
) -> [u8; 16] {
    // Written out first: two dozen small updates cost more than the digest itself.
    let mut out = Vec::with_capacity(FEW_BYTES);
    text(&mut out, sender);
    match msg_time {
        Some(time) => tagged(&mut out, b't', time.to_le_bytes()),
        None => out.push(b'-'),
    }
    length(&mut out, elements.len());
    for element in elements {
        text(&mut out, element.msg_type.as_str());
        content(&mut out, &element.content);
    }
    text(&mut out, cloud_custom_data);
    let mut first = [0; 16];
    first.copy_from_slice(&Sha256::digest(&out)[..16]);
    first
}

/// What most messages need.
const FEW_BYTES: usize = 512;

fn content(out: &mut Vec<u8>, of: &Content) {
    let Some(only) = of.only_text() else { return value(out, &of.to_value()) };
    out.push(b'o');
    length(out, 1);
    text(out, "Text");
    out.push(b's');
    text(out, only);
}

/// As deep as the parser lets values nest.
fn value(out: &mut Vec<u8>, of: &Value) {
    match of {
        Value::Null => out.push(b'n'),
        Value::Bool(false) => out.push(b'0'),
        Value::Bool(true) => out.push(b'1'),
        Value::Number(number) => {
            if let Some(number) = number.as_u64() {
                tagged(out, b'u', number.to_le_bytes());
            } else if let Some(number) = number.as_i64() {
                tagged(out, b'i', number.to_le_bytes());
            } else {
                let bits = number.as_f64().unwrap_or(f64::NAN).to_bits();
                tagged(out, b'f', bits.to_le_bytes());
            }
        }
        Value::String(string) => {
            out.push(b's');
            text(out, string);
        }
        Value::Array(items) => {
            out.push(b'a');
            length(out, items.len());
            for item in items {
                value(out, item);
            }
        }
        // A serde_json map is sorted by key; a test below holds it to that.
        Value::Object(fields) => {
            out.push(b'o');
            length(out, fields.len());
            for (name, field) in fields {
                text(out, name);
                value(out, field);
            }
        }
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    length(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn length(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&(length as u64).to_le_bytes());
}

fn tagged(out: &mut Vec<u8>, tag: u8, bytes: [u8; 8]) {
    out.push(tag);
    out.extend_from_slice(&bytes);
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
    fn a_text_alone_is_an_object_like_any_other() {
        let written = |json: Value| {
            let mut of_value = Vec::new();
            value(&mut of_value, &json);
            let mut of_content = Vec::new();
            content(&mut of_content, &json.into());
            (of_value, of_content)
        };
        for json in [r#"{"Text":"a"}"#, r#"{"Text":""}"#, r#"{"Text":1}"#, r#"{"Text":"a","b":1}"#]
        {
            let (of_value, of_content) = written(serde_json::from_str(json).unwrap());
            assert_eq!(of_value, of_content, "{json}");
        }
    }

    #[test]
    fn it_stays_what_it_is_in_every_database() {
        // Written down when it was first shipped: a repeated callback may meet a row that old.
        let content =
            r#"{"Text":"加微信","n":null,"b":[true,false],"u":7,"i":-7,"f":1.5,"e":{},"s":""}"#;
        assert_eq!(u128::from_be_bytes(hash(content)), 0xe689_703d_df75_707c_d2c7_6d67_256c_39b9);
        assert_eq!(
            u128::from_be_bytes(of("", None, &[], "")),
            0x6ce7_a82d_921b_a7d5_afe3_2a49_1505_96aa
        );
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let of = |sender: &str, time, data: &str| of(sender, time, &[], data);
        assert_ne!(of("ab", Some(1), "c"), of("a", Some(1), "bc"));
        assert_ne!(of("a", None, ""), of("a", Some(0), ""));
        assert_ne!(of("a", Some(1), ""), of("a", Some(2), ""));
    }
}
