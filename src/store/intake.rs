//! The role that takes in what Chat says.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::Error;
use crate::model::{
    GroupId, JobState, Judgement, Message, MsgSeq, RequestedBy, RulesVersion, Severity, Signals,
    Timestamp, TopicId, UserId,
};

/// Takes in messages and what else Chat reports.
#[async_trait]
pub trait Intake: Send + Sync {
    /// Stores a message with its verdict, hits and recall job, and answers once that is committed.
    /// It is handed over by the call itself: whoever lets go of the answer takes nothing back.
    ///
    /// The same content again is [`Recorded::Duplicate`] and changes nothing. Other content under a
    /// known key is kept beside the first, with its hits, and gets the job unless an unfinished one
    /// for that key is there.
    ///
    /// Fails at once with [`Error::Overloaded`] when too many writes wait.
    fn record(&self, record: Record) -> Recording;

    /// Keeps an authentic body that could not be read, making room by dropping the oldest.
    async fn quarantine(&self, body: Quarantined) -> Result<(), Error>;

    /// Takes note that messages were recalled, by us or by anyone.
    ///
    /// Fills the confirmation time of their jobs. A job not yet called for is `gone`; one whose
    /// earlier call had an unclear outcome is `recalled` if it was `ours`.
    async fn recalled(&self, recalled: Recalled) -> Result<(), Error>;

    /// Takes note that a group or topics of it are gone: their unfinished jobs are refused, and what
    /// comes under the same id later is another conversation.
    async fn destroyed(&self, destroyed: Destroyed) -> Result<(), Error>;

    /// The id behind which the messages received since then lie, but not more than `most` of them.
    async fn message_before(&self, since: Timestamp, most: usize) -> Result<i64, Error>;

    /// Stored messages behind an id, in order of recording.
    async fn messages_after(&self, after: i64, limit: usize) -> Result<Vec<StoredMessage>, Error>;

    /// Makes a rule set known. Must come before a record that was judged by it.
    async fn rules_loaded(&self, rules: RuleSet) -> Result<(), Error>;
}

/// A judged message on its way into the store.
#[derive(Clone, Debug)]
pub struct Record {
    /// Boxed, since a record is moved from hand to hand until it is written.
    pub message: Box<Message>,
    pub judgement: Judgement,
    pub signals: Signals,
    pub job: Option<NewJob>,
}

/// A message as the store holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredMessage {
    /// Grows with every recorded message.
    pub message_id: i64,
    pub message: Message,
}

/// The recall job that a message gets.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// `Pending`, `Held`, or a final state where it is known beforehand that no call can succeed.
    pub state: JobState,
    pub reason: Option<String>,
    pub severity: Severity,
    pub requested_by: RequestedBy,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    New,
    Duplicate,
    /// Other content than the first that was recorded under this key.
    Conflict,
}

/// What will have become of a record. A type of its own, since every message waits for one: a boxed
/// future would be another allocation for each.
#[derive(Debug)]
pub struct Recording(Result<oneshot::Receiver<Result<Recorded, Error>>, Error>);

impl Recording {
    /// It was handed over, and the answer will come from there; [`Error::Closed`] if none comes.
    #[must_use]
    pub fn waiting(answer: oneshot::Receiver<Result<Recorded, Error>>) -> Self {
        Self(Ok(answer))
    }
    /// It was not taken.
    #[must_use]
    pub fn refused(error: Error) -> Self {
        Self(Err(error))
    }
}

impl Future for Recording {
    type Output = Result<Recorded, Error>;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Ok(answer) => {
                let answer = ready!(Pin::new(answer).poll(context));
                Poll::Ready(answer.unwrap_or(Err(Error::Closed)))
            }
            Err(error) => Poll::Ready(Err(error.clone())),
        }
    }
}

/// A body that could not be read.
#[derive(Clone, Debug)]
pub struct Quarantined {
    pub received_at: Timestamp,
    pub command: String,
    pub reason: String,
    pub body: Vec<u8>,
}

/// Messages that were recalled.
#[derive(Clone, Debug)]
pub struct Recalled {
    pub group_id: GroupId,
    pub topic_id: TopicId,
    pub seqs: Vec<MsgSeq>,
    /// Whether the account that did it is the one our calls are made in.
    pub ours: bool,
    pub operator: UserId,
    pub at: Timestamp,
}

/// A group, or topics of a community, that are no more.
#[derive(Clone, Debug)]
pub struct Destroyed {
    pub group_id: GroupId,
    /// Empty: the group as a whole.
    pub topic_ids: Vec<TopicId>,
    pub at: Timestamp,
}

/// A rule set that comes into force.
#[derive(Clone, Debug)]
pub struct RuleSet {
    pub version: RulesVersion,
    /// JSON array: id, why, mode, severity and actions of each rule.
    pub rules: String,
    pub at: Timestamp,
}
