//! The role that keeps account of sequences that no callback brought.

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::{Conversation, ConversationId, Error, Record, Recorded};
use crate::model::{Message, MsgSeq, Source, Timestamp};

/// What is recorded, in order of the commits.
pub type Sightings = mpsc::UnboundedReceiver<Sighting>;

/// Sequences that no callback brought, and stretches of history being read.
#[async_trait]
pub trait Gaps: Send + Sync {
    /// What is recorded from now on. Only the latest subscriber gets it.
    fn sightings(&self) -> Sightings;

    /// Where the account stands: everything recorded up to there has had its gaps noted.
    async fn gaps_checkpoint(&self) -> Result<i64, Error>;

    /// How far each conversation had come at the checkpoint, in order of their ids, behind `after`.
    async fn reached(
        &self,
        checkpoint: i64,
        after: ConversationId,
        limit: usize,
    ) -> Result<Vec<Reached>, Error>;

    /// What was recorded behind a message, in order of recording.
    async fn seen_after(&self, message_id: i64, limit: usize) -> Result<Vec<Seen>, Error>;

    /// Notes gaps, first sequences and late messages, and moves the checkpoint, all at once.
    ///
    /// A gap whose conversation has ended is noted as unrepairable, whatever it says.
    async fn note_gaps(&self, noted: NotedGaps) -> Result<(), Error>;

    /// Open gaps that may be pulled now, those due longest first.
    async fn open_gaps(&self, now: Timestamp, limit: usize) -> Result<Vec<OpenGap>, Error>;

    /// What is known of a stretch of a conversation.
    async fn known(
        &self,
        conversation: ConversationId,
        from: MsgSeq,
        to: MsgSeq,
    ) -> Result<Known, Error>;

    /// Notes what sequences turned out to hold: they are open no longer. The messages among them are
    /// recorded in the same transaction, so that whatever happens each of them is in the account
    /// too. Answers what became of each.
    async fn explain(
        &self,
        explained: Explained,
        messages: Vec<Record>,
    ) -> Result<Vec<Recorded>, Error>;

    /// Notes that a stretch could not be pulled, and when to try again; `give_up` closes it as
    /// unrepairable.
    async fn unexplained(&self, failed: Unexplained) -> Result<(), Error>;

    /// A group or topic by its number, where its present life is meant; `None` where it has ended.
    async fn conversation(
        &self,
        conversation: ConversationId,
    ) -> Result<Option<Conversation>, Error>;

    /// From when on callbacks count as missed: when quell first watched.
    async fn watching_since(&self) -> Result<Timestamp, Error>;

    /// Messages of a stretch as they are stored, for comparing them with what history says now. Those
    /// whose content is no longer kept are left out.
    async fn stored_messages(
        &self,
        conversation: ConversationId,
        from: MsgSeq,
        to: MsgSeq,
    ) -> Result<Vec<Message>, Error>;

    /// How far messages were read once more to find edits; 0 where they never were.
    async fn reread_through(&self) -> Result<i64, Error>;

    /// Notes how far messages were read once more.
    async fn set_reread_through(&self, message_id: i64) -> Result<(), Error>;

    /// How many sequences are missing and not yet explained.
    async fn open_sequences(&self) -> Result<u64, Error>;
}

/// Something that the account of sequences has to know.
#[derive(Clone, Debug, PartialEq)]
pub enum Sighting {
    /// Messages that were recorded for the first time.
    Seen(Vec<Seen>),
    /// Conversations that are no more.
    Ended(Vec<ConversationId>),
    /// A transaction failed. Should it have been committed all the same, nobody was told of it.
    Failed,
}

/// A message that was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub conversation_id: ConversationId,
    pub msg_seq: MsgSeq,
    pub message_id: i64,
    pub received_at: Timestamp,
    pub source: Source,
    /// Whether Chat keeps a history that could be pulled.
    pub has_history: bool,
}

/// How far a conversation had come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    pub conversation_id: ConversationId,
    /// The largest sequence; 0 where there was no message yet.
    pub high: MsgSeq,
    pub received_at: Timestamp,
    pub has_history: bool,
    /// Whether its group or topic is no more. Told of where something of it was recorded behind the
    /// checkpoint, so that its last holes are noted too.
    pub has_ended: bool,
    /// Whether there are gaps noted that a late message could still close.
    pub has_gaps: bool,
    /// Runs above `high` that were explained or noted since, lowest first.
    pub noted: Vec<(MsgSeq, MsgSeq)>,
}

/// What has been found out about missing sequences since the last time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotedGaps {
    pub gaps: Vec<NewGap>,
    /// First sequence seen of conversations that began with another than 1.
    pub firsts: Vec<(ConversationId, MsgSeq)>,
    /// Sequences whose callback came after they had been noted.
    pub late: Vec<(ConversationId, MsgSeq)>,
    pub checkpoint: i64,
    pub at: Timestamp,
}

/// A run of sequences that no callback brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewGap {
    pub conversation_id: ConversationId,
    pub from_seq: MsgSeq,
    pub to_seq: MsgSeq,
    /// Whether history can tell what it holds.
    pub repairable: bool,
}

/// A gap that waits to be pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenGap {
    pub conversation_id: ConversationId,
    pub from_seq: MsgSeq,
    pub to_seq: MsgSeq,
    pub found_at: Timestamp,
    pub attempts: u32,
}

/// What is known of a stretch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Sequences with a message, lowest first.
    pub messages: Vec<MsgSeq>,
    /// Runs without one that are explained for good, lowest first.
    pub explained: Vec<(MsgSeq, MsgSeq)>,
    /// Sequences with a recall job that nothing has confirmed yet.
    pub unconfirmed: Vec<MsgSeq>,
}

impl Known {
    /// Whether nothing has to be found out about a sequence.
    #[must_use]
    pub fn covers(&self, seq: MsgSeq) -> bool {
        self.messages.binary_search(&seq).is_ok()
            || self.explained.iter().any(|(from, to)| (*from..=*to).contains(&seq))
    }
}

/// What a missing sequence turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A message; it is recorded now.
    Message,
    /// A tip such as "Ann joined".
    System,
    /// A message that was taken back.
    Recalled,
    /// Expired, deleted or never stored.
    Expired,
    /// History does not list it.
    Absent,
    /// Its entry in history is of no known shape.
    Unreadable,
}

impl Finding {
    /// The state and reason that `v_gaps` shows.
    #[must_use]
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Message => ("filled", "message"),
            Self::System => ("legitimate", "system entry"),
            Self::Recalled => ("legitimate", "recalled"),
            Self::Expired => ("legitimate", "expired, deleted or never stored"),
            Self::Absent => ("legitimate", "not in history"),
            Self::Unreadable => ("unrepairable", "its entry in history cannot be read"),
        }
    }
}

/// What a pulled stretch holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    pub conversation_id: ConversationId,
    /// Everything in here is accounted for now.
    pub from_seq: MsgSeq,
    pub to_seq: MsgSeq,
    /// What no callback brought.
    pub runs: Vec<(MsgSeq, MsgSeq, Finding)>,
    pub at: Timestamp,
}

/// A stretch that could not be pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unexplained {
    pub conversation_id: ConversationId,
    pub from_seq: MsgSeq,
    pub to_seq: MsgSeq,
    pub reason: String,
    pub due_at: Timestamp,
    pub give_up: bool,
    pub at: Timestamp,
}
