//! `contact`: ways to reach somebody outside the group.
//!
//! ```yaml
//! contact: any
//! contact: [wechat, qq, phone]
//! ```
//!
//! Finds mobile numbers, and handles and numbers that follow the name of a messenger however that
//! name is written (`VX`, `薇信`, `扣扣`). A handle without such a name beside it is not found: any
//! word could be one.

use schemars::JsonSchema;

use crate::rules::compile::{Compiler, LeafId};
use crate::rules::decode::{At, FromNode, Notes, OneOrMany, word};
use crate::rules::kinds::pattern;
use crate::rules::yaml::{Node, Place};

word! {
    /// A way to reach somebody.
    enum Kind: "a kind of contact" {
        /// Every kind.
        Any = "any",
        /// Mobile numbers of mainland China, and international numbers.
        Phone = "phone",
        Wechat = "wechat",
        Qq = "qq",
        Telegram = "telegram",
        Whatsapp = "whatsapp",
    }
}

/// What is written below `contact`: kinds, or `any`.
#[derive(Clone, Debug, JsonSchema)]
pub(crate) struct Written(OneOrMany<At<Kind>>);

impl FromNode for Written {
    fn from_node(node: &Node, notes: &mut Notes) -> Option<Self> {
        OneOrMany::from_node(node, notes).map(Self)
    }
}

/// Tried on the loose reading, where a messenger has one name. What has to stand before and behind a
/// contact is no part of it: the contact goes from the first group that matched to the last one.
const PATTERNS: &[(Kind, &str)] = &[
    (Kind::Phone, r"(?:^|[^\d])(1[3-9]\d[ .-]?\d{4}[ .-]?\d{4})(?:$|[^\d])"),
    (Kind::Phone, r"(?:^|[^\d])(1[ .-][3-9](?:[ .-]\d){9})(?:$|[^\d])"),
    (Kind::Phone, r"(\+(?:\d[ ().-]{0,2}){9,14}\d)"),
    (
        Kind::Wechat,
        r"(?:(微信|wechat|weixin|卫星)|(?:^|[^a-z/])([vw]x))(?:号|群|id|我|联系|搜|同号)?\s?[:：]\s?([a-z0-9][a-z0-9_-]{4,19})",
    ),
    // `v: Value` is a line of a program; a handle behind a lone letter has digits.
    (
        Kind::Wechat,
        r"(?:^|[^a-z/])([vw](?:号|群|id|我|联系|搜|同号)?\s?[:：]\s?)(?:([a-z][a-z_-]{1,14}\d[a-z0-9_-]{2,18})|(\d{6,11})(?:\D|$))",
    ),
    (
        Kind::Wechat,
        r"(?:(微信|wechat|weixin)|(?:^|[^a-z/])([vw]x))(?:号|群|id|我|联系|搜|同号|是)?[^\w\n]{0,4}([a-z][a-z-]{0,15}[0-9_][a-z0-9_-]{2,15})",
    ),
    (
        Kind::Wechat,
        r"(?:(微信|wechat|weixin)|(?:^|[^a-z/])([vw]x))(?:号|群|id|我|联系|搜|同号|是)?[^\w\n]{0,4}(1?\d{6,11})(?:\D|$)",
    ),
    (
        Kind::Qq,
        r"(?:^|[^a-z])((?:q ?q|加q|q群|q裙|q号|企鹅|扣扣)(?:群|号|裙|群号)?[^\w\n]{0,4}[1-9]\d{4,10})",
    ),
    (Kind::Telegram, r"(?:^|[^a-z0-9.])((?:t\.me|telegram\.me|telegram\.dog)/\+?[a-z0-9_]{3,})"),
    // Not the first half of an e-mail address.
    (
        Kind::Telegram,
        r"(?:^|[^a-z])((?:tg|telegram|电报|飞机|飞机号)(?:号|群|id|频道)?[^\w\n]{0,4}@[a-z][a-z0-9_]{3,31})(?:[^a-z0-9_.]|\.\s|\.?$)",
    ),
    // Of an address what may stand in one, and not what closes the sentence.
    (Kind::Telegram, r"(tg://(?:resolve|join)(?:[a-z0-9_?=&%./+-]*[a-z0-9_=]|\S))"),
    (
        Kind::Whatsapp,
        r"((?:wa\.me|api\.whatsapp\.com|chat\.whatsapp\.com)/(?:[a-z0-9_?=&%./+-]*[a-z0-9_=]|\S))",
    ),
    (
        Kind::Whatsapp,
        r"(whats\s?app[^\w\n]{0,4}(?:(?:me|us|at|on|number|no)\W{1,2}){0,3}[^\w\n]{0,4}\+?(?:\d[ ().-]{0,2}){7,14}\d)",
    ),
];

impl Written {
    pub(crate) fn compile(&self, at: Place, c: &mut Compiler<'_>) -> LeafId {
        let leaf = c.new_leaf();
        let wanted = |kind: Kind| self.0.0.iter().any(|w| w.value == kind || w.value == Kind::Any);
        for (kind, pattern) in PATTERNS {
            if wanted(*kind)
                && let Err(why) = pattern::add_marked(pattern, leaf, c)
            {
                c.notes.mistake(at, why);
            }
        }
        leaf
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::model::Text;
    use crate::rules::load_str;

    /// The kinds of contact found in a text.
    fn found(text: &str) -> Vec<String> {
        let rule = |kind: &str| format!("  - {{ id: {kind}, when: {{ contact: {kind} }} }}\n");
        let kinds = ["phone", "wechat", "qq", "telegram", "whatsapp"];
        let yaml = format!("version: 1\nrules:\n{}", kinds.map(rule).concat());
        let rules = load_str("contact", &yaml, Path::new("")).unwrap().rules;
        let hits = rules.judge_text(&Text::bare(text)).hits;
        hits.into_iter().map(|hit| hit.rule.to_string()).collect()
    }

    #[test]
    fn contacts_are_found_however_their_messenger_is_written() {
        for (text, kind) in [
            ("手机 138-1234-5678", "phone"),
            ("1 3 8 1 2 3 4 5 6 7 8", "phone"),
            ("+44 20 7946 0958", "phone"),
            ("VX: abc_12345", "wechat"),
            ("加V：abc12345", "wechat"),
            ("薇❤信 abc123456", "wechat"),
            ("我的微信是 abc12345", "wechat"),
            ("Ｑ Ｑ：12345678", "qq"),
            ("加Q12345678", "qq"),
            ("扣扣群 612345678", "qq"),
            ("TG@seller_01", "telegram"),
            ("飞机 @abcd123", "telegram"),
            ("https://t.me/+AbCdEf12", "telegram"),
            ("wa.me/15551234567", "whatsapp"),
            ("whats app me on +1-555-123-4567", "whatsapp"),
        ] {
            assert!(found(text).iter().any(|found| found == kind), "{text}");
        }
    }

    #[test]
    fn a_hit_is_the_contact_alone_and_a_phrase_spares_it() {
        for (before, contact, behind) in [
            ("手机 ", "138-1234-5678", "，谢谢"),
            ("打", "1 3 8 1 2 3 4 5 6 7 8", "吧"),
            ("call ", "+44 20 7946 0958", " now"),
            ("加", "VX: abc_12345", "。"),
            ("加", "VX: abc_12345_", "。"),
            ("(", "微信：abc12345", ")"),
            ("有事 ", "V：abc12345", " 找我"),
            ("有事 ", "V：12345678", " 找我"),
            ("我的", "微信 abc12345", "，谢谢"),
            ("我的", "微信 12345678", "，谢谢"),
            ("加 ", "VX 12345678", " 谢谢"),
            ("进 ", "扣扣群 612345678", "!"),
            ("see ", "t.me/official", " now"),
            ("加", "t.me/official", "吧"),
            ("https://", "t.me/official_1", "!"),
            ("上 ", "TG@seller_01", ", 快"),
            ("点 ", "tg://resolve?domain=abc", "，快"),
            ("请看", "wa.me/15551234567", "。快"),
            ("just ", "whats app me on 1-555-123-4567", "!"),
        ] {
            let text = format!("{before}{contact}{behind} {before}{contact}{behind}");
            let judged = |more: &str| {
                let yaml = format!(
                    "version: 1\nrules:\n  - {{ id: x, when: {{ contact: any }}{more} }}\n"
                );
                let rules = load_str("contact", &yaml, Path::new("")).unwrap().rules;
                let hits = rules.judge_text(&Text::bare(&text)).hits;
                hits.into_iter().map(|hit| hit.text).collect::<Vec<_>>()
            };
            assert_eq!(judged(""), [contact, contact], "{text}");
            let spared = judged(&format!(", unless: [{{ phrase: ['{contact}'] }}]"));
            assert_eq!(spared, [""; 0], "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_a_contact_is_none() {
        for text in [
            "微信 8.0.32 更新了",
            "QQ 2021 版本",
            "订单号 20261122001234",
            "let v: Value = w;",
            "w: 1024px",
            "let v: u32_t = 5",
            "the telegram@example.com address",
            "坐飞机 @机场",
            "https://cdn.example.com/vxKq47abc.png",
            "http://t.co/wxLgV8xKDX",
            "192.168.138.1234",
        ] {
            assert_eq!(found(text), Vec::<String>::new(), "{text}");
        }
    }
}
