//! The role that reads judged messages back, in the order in which they were recorded.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Conversation, Error};
use crate::model::{Message, Mode, RuleId, Signals, Timestamp, Verdict};

/// Reads back what was judged, and by what. Each page is a read of its own, so that a long walk
/// holds up no one who writes.
#[async_trait]
pub trait Replay: Send + Sync {
    /// The stored messages from a time on, or all of them. What is recorded later is not among them.
    async fn stretch(&self, since: Option<Timestamp>) -> Result<Stretch, Error>;

    /// Messages of a stretch in order of recording, but not more than `limit` of them; of one group
    /// where one is given. Go on behind the page's last id; `None` is the end.
    async fn judged(
        &self,
        stretch: Stretch,
        limit: usize,
        group: Option<&str>,
    ) -> Result<Option<JudgedPage>, Error>;

    /// The same of those alone whose verdict is `least` or worse, whatever their group. What passed is
    /// not read, so that few among many are found at once.
    async fn matched(
        &self,
        stretch: Stretch,
        least: Verdict,
        limit: usize,
    ) -> Result<Option<JudgedPage>, Error>;

    /// The names of what every rule set counted that judged a message of a stretch. What bears one
    /// of them is recorded with each message for which there was anything to count.
    async fn counted(&self, stretch: Stretch) -> Result<HashSet<String>, Error>;

    /// Whether the store knows the group.
    async fn knows_group(&self, group: &str) -> Result<bool, Error>;

    /// How many contents that came for a known key are kept beside messages of a stretch, or of one
    /// group's among them. They are in no page.
    async fn conflicts(&self, stretch: Stretch, group: Option<&str>) -> Result<u64, Error>;
}

/// A run of stored messages: behind one id, up to and with another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub after: i64,
    pub until: i64,
}

impl Stretch {
    /// No fewer messages than there are in it.
    #[must_use]
    pub fn most(&self) -> u64 {
        u64::try_from(self.until.saturating_sub(self.after)).unwrap_or(0)
    }
}

/// Messages as they were read. Making sense of them costs more than reading, and is left to whoever
/// has the time.
pub struct JudgedPage {
    /// The id of its last message.
    pub last: i64,
    decode: Box<dyn FnOnce() -> Result<Vec<JudgedMessage>, Error> + Send>,
}

impl JudgedPage {
    pub(super) fn new(
        last: i64,
        decode: impl FnOnce() -> Result<Vec<JudgedMessage>, Error> + Send + 'static,
    ) -> Self {
        Self { last, decode: Box::new(decode) }
    }

    /// The messages themselves.
    pub fn messages(self) -> Result<Vec<JudgedMessage>, Error> {
        (self.decode)()
    }
}

/// A stored message with what was decided then.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgedMessage {
    pub message_id: i64,
    pub conversation: Arc<Conversation>,
    /// As it was judged, but for the content's digest, in whose place another number tells contents
    /// apart, and the group's type, which is today's.
    pub message: Message,
    /// What the stateful matchers of the rules in force saw.
    pub signals: Signals,
    pub verdict: Verdict,
    /// The rules that matched, each once.
    pub hits: Vec<PastHit>,
    /// Whether the text is still there.
    pub has_text: bool,
}

/// A rule that matched then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastHit {
    pub rule: RuleId,
    pub mode: Mode,
}
