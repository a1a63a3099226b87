//! `platform`: what a message was sent from, as Chat's callback says: `RESTAPI`, `Web`, `Android`,
//! `iOS`, `Windows`, `macOS`, `iPad`, `Unknown`. The case of letters does not matter.
//!
//! ```yaml
//! platform: [Web, RESTAPI]
//! ```

use schemars::JsonSchema;

use crate::model::Message;
use crate::rules::decode::{FromNode, Notes, OneOrMany};
use crate::rules::diagnostic::did_you_mean;
use crate::rules::yaml::Node;

/// What is written below `platform`.
#[derive(Clone, Debug, JsonSchema)]
pub(crate) struct Written(OneOrMany<String>);

impl FromNode for Written {
    fn from_node(node: &Node, notes: &mut Notes) -> Option<Self> {
        OneOrMany::from_node(node, notes).map(Self)
    }
}

const KNOWN: &[&str] =
    &["RESTAPI", "Web", "Android", "iOS", "Windows", "macOS", "Mac", "iPad", "Unknown"];

impl Written {
    /// Names that Chat does not document, each with what may be meant.
    pub(crate) fn unknown(&self) -> impl Iterator<Item = (&str, String)> {
        let known = |name: &str| KNOWN.iter().any(|known| known.eq_ignore_ascii_case(name));
        let unknown = self.0.0.iter().map(String::as_str).filter(move |name| !known(name));
        unknown.map(|name| (name, did_you_mean(name, KNOWN)))
    }

    pub(crate) fn holds(&self, message: &Message) -> bool {
        // The Chinese edition of the provider's page says Mac, the English one macOS.
        let same = |a: &str, b: &str| {
            let plain = |name: &str| name.to_ascii_lowercase().replace("macos", "mac");
            plain(a) == plain(b)
        };
        self.0.0.iter().any(|name| same(name, message.platform.as_str()))
    }
}
