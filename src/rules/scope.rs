//! Where a rule applies, and to whom.

use super::decode::OneOrMany;
use super::file::Selection;
use crate::model::Message;

/// Which messages are meant.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    types: Option<Vec<String>>,
    groups: Option<Vec<String>>,
    topics: Option<Vec<String>>,
    senders: Option<Vec<String>>,
}

impl Scope {
    pub(crate) fn of(written: &Selection) -> Self {
        let values = |field: &Option<OneOrMany<String>>| field.as_ref().map(|many| many.0.clone());
        Self {
            types: values(&written.types),
            groups: values(&written.groups),
            topics: values(&written.topics),
            senders: values(&written.senders),
        }
    }

    /// Whether every field given agrees.
    pub(crate) fn holds(&self, message: &Message) -> bool {
        let agrees = |values: &Option<Vec<String>>, actual: &str| {
            values.as_ref().is_none_or(|values| any_fits(values, actual))
        };
        agrees(&self.types, message.group_type.0.as_str())
            && agrees(&self.groups, message.key.group_id.as_str())
            && agrees(&self.topics, message.key.topic_id.as_str())
            && agrees(&self.senders, message.sender.as_str())
    }
}

/// Whether a name is one of the values, or begins as one that ends in `*` does.
pub(crate) fn any_fits(values: &[String], actual: &str) -> bool {
    values.iter().any(|value| match value.strip_suffix('*') {
        Some(start) => actual.starts_with(start),
        None => value == actual,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_end() {
        let values = ["@TGS#1".to_owned(), "team-*".to_owned()];
        assert!(any_fits(&values, "team-blue") && any_fits(&values, "@TGS#1"));
        assert!(!any_fits(&values, "@TGS#12") && !any_fits(&values, "steam-1"));
    }
}
