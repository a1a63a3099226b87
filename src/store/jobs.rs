//! The role that holds the recall queue.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::Error;
use crate::model::{GroupId, GroupType, JobId, JobState, MsgSeq, Severity, Timestamp, TopicId};

/// One life of one group or topic.
pub type ConversationId = i64;

/// What happens to the queue while it is being worked.
pub type JobEvents = mpsc::UnboundedReceiver<JobEvent>;

/// The recall queue. The table is the truth; who works it keeps a picture of it from
/// [`Jobs::waiting`] and [`JobEvents`].
#[async_trait]
pub trait Jobs: Send + Sync {
    /// Events from now on. Only the latest subscriber gets them.
    async fn subscribe(&self) -> Result<JobEvents, Error>;

    /// Puts back what a crash left behind: jobs in a call wait again with an unclear outcome, calls
    /// without an answer are marked so. Answers how many jobs it put back.
    async fn recover(&self, now: Timestamp) -> Result<u64, Error>;

    /// Jobs that wait, in order of their ids, behind `after`.
    async fn waiting(&self, after: JobId, limit: usize) -> Result<Vec<QueuedJob>, Error>;

    /// Takes jobs into calls that are about to leave, one [`Lease`] for each request. Jobs that no
    /// longer wait are left out; a lease may come out empty, and then no call was recorded.
    async fn lease(&self, requests: Vec<LeaseRequest>) -> Result<Vec<Lease>, Error>;

    /// Gives a lease back whose call never left.
    async fn unlease(&self, lease: Lease) -> Result<(), Error>;

    /// Records a call's end and what it means for each job. Updates of jobs that are no longer held
    /// under the given lease are refused, that is left out of the answer.
    async fn finish(
        &self,
        call: FinishedCall,
        updates: Vec<JobUpdate>,
    ) -> Result<Vec<SettledJob>, Error>;

    /// Ends waiting jobs without a call, such as those that Chat would refuse by now.
    async fn give_up(
        &self,
        jobs: Vec<JobId>,
        state: JobState,
        reason: String,
        at: Timestamp,
    ) -> Result<Vec<SettledJob>, Error>;

    /// When the latest call left, if any ever did.
    async fn last_call_at(&self) -> Result<Option<Timestamp>, Error>;
}

/// A job that waits for a call.
#[derive(Clone, Debug, PartialEq)]
pub struct QueuedJob {
    pub job_id: JobId,
    pub conversation: Arc<Conversation>,
    pub msg_seq: MsgSeq,
    pub severity: Severity,
    /// Whether it belongs to a sweep, behind live traffic.
    pub background: bool,
    pub sent_at: Timestamp,
    pub due_at: Timestamp,
}

/// What a job's call is addressed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    pub conversation_id: ConversationId,
    pub group_id: GroupId,
    pub topic_id: TopicId,
    pub group_type: GroupType,
}

/// Asks for the jobs of one call.
#[derive(Clone, Debug)]
pub struct LeaseRequest {
    pub conversation_id: ConversationId,
    pub jobs: Vec<JobId>,
    pub at: Timestamp,
}

/// Jobs taken into one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub call_id: i64,
    pub jobs: Vec<LeasedJob>,
}

/// A job in a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeasedJob {
    pub job_id: JobId,
    pub msg_seq: MsgSeq,
    /// Number of this lease: whoever holds an older one can change nothing.
    pub lease: i64,
    /// Earlier attempts that count against the job.
    pub failures: u32,
    /// Whether an earlier call may have worked without our knowing.
    pub unclear: bool,
    pub requested_by: String,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// Chat answered for its messages, whatever it said.
    Answered,
    /// Chat refused the call as a whole.
    Failed,
    /// The call may or may not have had its effect.
    Unclear,
    /// The call never reached Chat.
    Unsent,
}

impl CallOutcome {
    /// The word used in tables and pages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::Unclear => "unclear",
            Self::Unsent => "unsent",
        }
    }
}

/// A call that came to its end.
#[derive(Clone, Debug)]
pub struct FinishedCall {
    pub call_id: i64,
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
    pub duration_ms: i64,
    pub http_status: Option<u16>,
    pub error_code: Option<i64>,
    pub outcome: CallOutcome,
}

/// What a call means for one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobUpdate {
    pub job_id: JobId,
    pub lease: i64,
    pub state: JobState,
    pub ret_code: Option<i64>,
    pub reason: Option<String>,
    /// Not before; for the states that wait.
    pub due_at: Timestamp,
    /// Whether this attempt counts against the job.
    pub failed: bool,
    /// Whether this attempt may have worked all the same.
    pub unclear: bool,
}

/// A job as an update left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettledJob {
    pub job_id: JobId,
    pub state: JobState,
    /// How long it was visible, where Chat answered `RetCode` 0 and it is of live traffic.
    pub exposure: Option<Exposure>,
}

/// From sent to recalled, in milliseconds. Chat's clock and ours both have their part in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// From sent until quell learnt of it.
    pub delivery_ms: i64,
    /// From there until the call left.
    pub queue_ms: i64,
    /// Until Chat's answer.
    pub call_ms: i64,
}

impl Exposure {
    #[must_use]
    pub fn total_ms(&self) -> i64 {
        self.delivery_ms + self.queue_ms + self.call_ms
    }
}

/// A change of the queue that its worker must know of.
#[derive(Clone, Debug, PartialEq)]
pub enum JobEvent {
    /// A job waits: new, or released.
    Queued(QueuedJob),
    /// Jobs that no longer wait: done by others, held, cancelled, their group destroyed.
    Withdrawn(Vec<JobId>),
    /// Jobs that are leased, with the lease's number, and should not be: held, cancelled, their rule
    /// tripped. A call that has not left need not leave.
    Unwanted(Vec<(JobId, i64)>),
    /// A transaction failed. Should it have been committed all the same, nobody was told of it.
    Failed,
    /// Chat says how many calls a second it takes.
    Limit(u32),
}
