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
use crate::rules::file::Fold;
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

/// Tried on the loose reading, where a messenger has one name.
const PATTERNS: &[(Kind, &str)] = &[
    (Kind::Phone, r"(?:^|[^\d])1[3-9]\d[ -]?\d{4}[ -]?\d{4}(?:$|[^\d])"),
    (Kind::Phone, r"\+(?:\d[ ().-]{0,2}){9,14}\d"),
    (
        Kind::Wechat,
        r"(?:微信|wechat|weixin|(?:^|[^a-z])[vw]x?)(?:号|群|id|我|联系|搜|同号)?\s?[:：]\s?[a-z0-9][a-z0-9_-]{4,19}",
    ),
    (
        Kind::Wechat,
        r"(?:微信|wechat|weixin|(?:^|[^a-z])[vw]x)(?:号|群|id|我|联系|搜|同号)?[^\w\n]{0,4}[a-z][a-z-]{0,15}[0-9_][a-z0-9_-]{2,15}",
    ),
    (
        Kind::Wechat,
        r"(?:微信|wechat|weixin|(?:^|[^a-z])[vw]x)(?:号|群|id|我|联系|搜|同号)?[^\w\n]{0,4}1?\d{6,11}(?:\D|$)",
    ),
    (Kind::Qq, r"(?:^|[^a-z])(?:qq|q群|q号|企鹅|扣扣)(?:群|号|裙|群号)?[^\w\n]{0,4}[1-9]\d{4,10}"),
    (Kind::Telegram, r"(?:^|[^a-z0-9.])(?:t\.me|telegram\.me|telegram\.dog)/\+?[a-z0-9_]{3,}"),
    (
        Kind::Telegram,
        r"(?:^|[^a-z])(?:tg|telegram|电报|纸飞机|飞机号)(?:号|群|id|频道)?[^\w\n]{0,4}@[a-z][a-z0-9_]{3,31}",
    ),
    (Kind::Telegram, r"tg://(?:resolve|join)\S+"),
    (Kind::Whatsapp, r"(?:wa\.me|api\.whatsapp\.com|chat\.whatsapp\.com)/\S+"),
    (
        Kind::Whatsapp,
        r"whats\s?app[^\w\n]{0,4}(?:me |us |at |on |number )?[^\w\n]{0,4}\+?(?:\d[ ().-]{0,2}){7,14}\d",
    ),
];

impl Written {
    pub(crate) fn compile(&self, at: Place, c: &mut Compiler<'_>) -> LeafId {
        let leaf = c.new_leaf();
        let wanted = |kind: Kind| self.0.0.iter().any(|w| w.value == kind || w.value == Kind::Any);
        for (kind, pattern) in PATTERNS {
            if wanted(*kind)
                && let Err(why) = pattern::add(pattern, Fold::Aggressive, leaf, c)
            {
                c.notes.mistake(at, why);
            }
        }
        leaf
    }
}
