//! The one writer: takes whatever waits, does it in one transaction, and answers all of it at once.
//!
//! While one transaction is being synced, the next one's work gathers by itself. Only while there is much
//! to do does it wait for more, and then two milliseconds at most: a page of an index that many messages
//! share is written once for all of them. Work that fails a transaction is tried again alone, so that it
//! cannot take others down with it; after a failed commit the connection is opened anew, since its state
//! is unknown.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime;
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};

use super::checkpoint::{Checkpoints, Lost};
use super::connection::Connection;
use super::conversations::{Arrival, Conversations, Known};
use super::keys::Keys;
use super::open::Options;
use super::place::Place;
use super::record::{self, Ids};
use crate::model::faults::fault;
use crate::store::{ConversationId, Error, JobEvent, Record, Recorded, Recording, Seen, Sighting};

/// Statements, such as leases, that may wait. Their number is bounded by who issues them.
const OPERATIONS: usize = 4096;
/// Most operations in one transaction.
const OPERATIONS_AT_ONCE: usize = 64;
/// Transactions with so many messages show that there is much to do: more than come in [`APART`] at half of
/// what can be done, where each had better be answered soon. One alone shows that something was in the
/// way: each counts one up, each other one down, and from two on there is much to do.
const BUSY: usize = 64;
const BUSY_FROM: u8 = 2;
const BUSY_AT_MOST: u8 = 4;
/// Then transactions begin so far apart: without that they had some 54 messages each at 42,000 a second,
/// and with it some 97, which took a tenth of the CPU time away.
const APART: Duration = Duration::from_millis(2);
/// While unhealthy, whether that is over is tried so often.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// How long to wait before the database is opened again after a failure.
const REOPEN_AFTER: Duration = Duration::from_millis(200);
/// Failure after failure is told of so often: a full disk holds the log, too.
const TELL_AGAIN: Duration = Duration::from_secs(10);

/// Something to be done within a transaction.
pub(super) trait Operation: Send + 'static {
    type Answer: Send + 'static;
    /// Does it. May be run again if the transaction fails.
    fn run(&self, writing: &mut Writing<'_>) -> Result<Self::Answer, Error>;
}

/// A transaction in progress.
pub(super) struct Writing<'a> {
    pub connection: &'a Connection,
    pub conversations: &'a mut Conversations,
    pub ids: &'a mut Ids,
    pub keys: &'a mut Keys,
    /// What the queue's worker is told once this is committed.
    pub events: Vec<JobEvent>,
    /// What the account of sequences is told once this is committed.
    pub seen: Vec<Seen>,
    pub ended: Vec<ConversationId>,
}

/// An [`Operation`] and who waits for it.
trait Pending: Send {
    fn run(&mut self, writing: &mut Writing<'_>) -> Result<(), Error>;
    fn answer(self: Box<Self>, outcome: Result<(), Error>);
}

struct Asked<O: Operation> {
    operation: O,
    answer: Option<O::Answer>,
    reply: oneshot::Sender<Result<O::Answer, Error>>,
}

impl<O: Operation> Pending for Asked<O> {
    fn run(&mut self, writing: &mut Writing<'_>) -> Result<(), Error> {
        self.answer = Some(self.operation.run(writing)?);
        Ok(())
    }
    fn answer(self: Box<Self>, outcome: Result<(), Error>) {
        let answer = match (outcome, self.answer) {
            (Ok(()), Some(answer)) => Ok(answer),
            (Ok(()), None) => Err(Error::Closed),
            (Err(error), _) => Err(error),
        };
        // Whoever asked may have gone; the effect stands.
        let _ = self.reply.send(answer);
    }
}

struct Entry {
    record: Record,
    reply: oneshot::Sender<Result<Recorded, Error>>,
}

/// A handle to the writer.
pub(super) struct Writer {
    records: mpsc::Sender<Entry>,
    operations: mpsc::Sender<Box<dyn Pending>>,
    shared: Arc<Shared>,
    /// Told when the thread has ended.
    ended: AsyncMutex<Option<oneshot::Receiver<()>>>,
    stop: tokio_util::sync::CancellationToken,
}

#[derive(Default)]
struct Shared {
    unhealthy: AtomicBool,
    lost: Lost,
    listener: Listener<JobEvent>,
    watcher: Listener<Sighting>,
}

impl Writer {
    /// Takes over a connection, on a thread of its own: what blocks there, a sync above all, blocks
    /// nobody else.
    pub(super) fn start(connection: Connection, options: &Options) -> Result<Self, Error> {
        let (ids, keys) = (Ids::read(&connection)?, Keys::read(&connection)?);
        let (records, records_in) = mpsc::channel(options.queue);
        let (operations, operations_in) = mpsc::channel(OPERATIONS);
        let shared = Arc::new(Shared::default());
        let checkpoints = Checkpoints::start(options, shared.lost.clone())?;
        let stop = tokio_util::sync::CancellationToken::new();
        let task = Task {
            connection: Some(connection),
            checkpoints: Some(checkpoints),
            options: options.clone(),
            conversations: Conversations::default(),
            ids,
            keys,
            place: Place::of(&options.path),
            told: None,
            shared: Arc::clone(&shared),
            callers: runtime::Handle::current(),
        };
        let waiting = runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|error| Error::Unavailable(error.to_string()))?;
        let (ending, ended) = oneshot::channel();
        let stopping = stop.clone();
        std::thread::Builder::new()
            .name("quell-writer".to_owned())
            .spawn(move || {
                waiting.block_on(task.run(records_in, operations_in, stopping));
                let _ = ending.send(());
            })
            .map_err(|error| Error::Unavailable(error.to_string()))?;
        Ok(Self { records, operations, shared, ended: AsyncMutex::new(Some(ended)), stop })
    }

    /// Hands over a record; fails at once where too many wait.
    pub(super) fn record(&self, record: Record) -> Recording {
        let (reply, answer) = oneshot::channel();
        match self.records.try_send(Entry { record, reply }) {
            Ok(()) => Recording::waiting(answer),
            Err(mpsc::error::TrySendError::Full(_)) => {
                Recording::refused(Error::Overloaded(self.records.max_capacity()))
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Recording::refused(Error::Closed),
        }
    }

    /// Does an operation and answers once it is committed.
    pub(super) async fn perform<O: Operation>(&self, operation: O) -> Result<O::Answer, Error> {
        let (reply, answer) = oneshot::channel();
        let asked = Box::new(Asked { operation, answer: None, reply });
        self.operations.send(asked).await.map_err(|_| Error::Closed)?;
        answer.await.unwrap_or(Err(Error::Closed))
    }

    /// Sends what happens to the queue to a new listener, in place of the one before.
    pub(super) fn subscribe(&self) -> mpsc::UnboundedReceiver<JobEvent> {
        self.shared.listener.subscribe()
    }

    /// Sends what is recorded to a new watcher, in place of the one before.
    pub(super) fn sightings(&self) -> mpsc::UnboundedReceiver<Sighting> {
        self.shared.watcher.subscribe()
    }

    pub(super) fn is_healthy(&self) -> bool {
        !self.shared.unhealthy.load(Ordering::Relaxed) && !self.operations.is_closed()
    }

    pub(super) fn is_alive(&self) -> bool {
        !self.operations.is_closed()
    }

    /// Empties the log, so that nothing is in it that was there before. Answers whether that could be done.
    pub(super) async fn empty_log(&self, options: &Options) -> Result<bool, Error> {
        let (options, lost) = (options.clone(), self.shared.lost.clone());
        let asked = tokio::task::spawn_blocking(move || {
            if lost.is_so() {
                return Err(Error::Closed);
            }
            let emptied = Connection::open(&options)?.empty_log();
            if let Err(error) = &emptied {
                lost.note(error);
            }
            Ok(emptied?)
        });
        asked.await.unwrap_or(Err(Error::Closed))
    }

    /// Does what waits, then ends.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        if let Some(ended) = self.ended.lock().await.take() {
            // A panic in the writer was reported where it happened.
            let _ = ended.await;
        }
    }
}

/// Whoever lets go of it without closing it wants nothing more of it.
impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Whoever wants to be told of something, if anybody does.
struct Listener<T>(Mutex<Option<mpsc::UnboundedSender<T>>>);

impl<T> Default for Listener<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Listener<T> {
    fn subscribe(&self) -> mpsc::UnboundedReceiver<T> {
        let (sender, receiver) = mpsc::unbounded_channel();
        *self.lock() = Some(sender);
        receiver
    }
    fn tell(&self, what: impl IntoIterator<Item = T>) {
        let mut listener = self.lock();
        if let Some(sender) = listener.as_ref() {
            let gone = what.into_iter().any(|event| sender.send(event).is_err());
            if gone {
                *listener = None;
            }
        }
    }
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<mpsc::UnboundedSender<T>>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The writer itself.
struct Task {
    /// `None` after a failure, until it is opened again.
    connection: Option<Connection>,
    /// Never of other files than the connection's.
    checkpoints: Option<Checkpoints>,
    options: Options,
    conversations: Conversations,
    ids: Ids,
    keys: Keys,
    place: Place,
    /// When a failure was told of, until it is over.
    told: Option<Instant>,
    shared: Arc<Shared>,
    /// Where those run who wait for answers.
    callers: runtime::Handle,
}

/// What goes into one transaction.
#[derive(Default)]
struct Batch {
    entries: Vec<Entry>,
    operations: Vec<Box<dyn Pending>>,
}

impl Task {
    async fn run(
        mut self,
        mut records: mpsc::Receiver<Entry>,
        mut operations: mpsc::Receiver<Box<dyn Pending>>,
        stop: tokio_util::sync::CancellationToken,
    ) {
        let (mut busy, mut busy_until) = (0_u8, None);
        loop {
            let mut batch = Batch::default();
            if let Some(until) = busy_until.take() {
                // Asleep it is woken by nobody, which is cheaper than to wait for each message.
                std::thread::sleep(Instant::saturating_duration_since(&until, Instant::now()));
            }
            tokio::select! {
                biased;
                n = operations.recv_many(&mut batch.operations, OPERATIONS_AT_ONCE), if !operations.is_closed() => {
                    if n == 0 { break; }
                }
                n = records.recv_many(&mut batch.entries, self.options.batch), if !records.is_closed() => {
                    if n == 0 { break; }
                }
                () = tokio::time::sleep(TRY_AGAIN), if self.shared.unhealthy.load(Ordering::Relaxed) => {
                    // Nobody may write while we say that we cannot.
                    let _ = self.transaction(&[], &mut []);
                }
                () = self.shared.lost.wait() => return,
                () = stop.cancelled() => {
                    // Nothing new is let in; what was let in is still done.
                    records.close();
                    operations.close();
                }
            }
            while batch.operations.len() < OPERATIONS_AT_ONCE
                && let Ok(operation) = operations.try_recv()
            {
                batch.operations.push(operation);
            }
            while batch.entries.len() < self.options.batch
                && let Ok(entry) = records.try_recv()
            {
                batch.entries.push(entry);
            }
            if batch.entries.is_empty() && batch.operations.is_empty() {
                if records.is_closed() {
                    break;
                }
                continue;
            }
            busy = match batch.entries.len() {
                BUSY.. => (busy + 1).min(BUSY_AT_MOST),
                _ => busy.saturating_sub(1),
            };
            busy_until = (busy >= BUSY_FROM).then(|| Instant::now() + APART);
            self.write(batch);
            if let (Some(connection), Some(checkpoints)) = (&self.connection, &mut self.checkpoints)
            {
                checkpoints.tend(connection);
            }
            if self.shared.lost.is_so() {
                return;
            }
        }
        self.checkpoints = None;
        if self.shared.lost.is_so() {
            return;
        }
        // Readers may be open longer than this: whoever copies the database alone shall have all of it.
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.settle().and_then(|_| connection.close())
        {
            tracing::warn!(%error, "the database did not close cleanly");
        }
    }

    /// Writes a batch; if that fails, each of its parts alone.
    fn write(&mut self, mut batch: Batch) {
        let records: Vec<_> = batch.entries.iter().map(|entry| &entry.record).collect();
        let first = self.transaction(&records, &mut batch.operations);
        let error = match first {
            Ok(recorded) => {
                return self.answer(batch, recorded);
            }
            Err(error) => error,
        };
        if self.told.is_none_or(|told| told.elapsed() >= TELL_AGAIN) {
            self.told = Some(Instant::now());
            tracing::error!(
                error = %error,
                messages = batch.entries.len(),
                operations = batch.operations.len(),
                "a transaction failed: nothing of it is acknowledged"
            );
        }
        // What ails the database ails every part; what one part is refused for, the others are not.
        if matches!(error, Error::Unavailable(_))
            || batch.entries.len() + batch.operations.len() == 1
        {
            return batch.fail(&error);
        }
        let mut parts: VecDeque<Batch> = VecDeque::new();
        parts.extend(
            batch
                .operations
                .into_iter()
                .map(|operation| Batch { operations: vec![operation], ..Batch::default() }),
        );
        parts.extend(
            batch
                .entries
                .into_iter()
                .map(|entry| Batch { entries: vec![entry], ..Batch::default() }),
        );
        while let Some(part) = parts.pop_front() {
            self.write(part);
        }
    }

    /// Answers everybody from a task among theirs: to wake each of them from here would be a call
    /// into the system for nearly every one.
    fn answer(&self, batch: Batch, recorded: Vec<Recorded>) {
        self.callers.spawn(async move {
            for (entry, outcome) in batch.entries.into_iter().zip(recorded) {
                // Whoever asked may have gone; what was done stands.
                let _ = entry.reply.send(Ok(outcome));
            }
            for operation in batch.operations {
                operation.answer(Ok(()));
            }
        });
    }

    fn connect(&mut self) -> Result<(), Error> {
        if self.connection.is_some() {
            return Ok(());
        }
        if self.shared.lost.is_so() {
            return Err(Error::Closed);
        }
        self.place.check_database()?;
        let connection =
            Connection::open(&self.options).inspect_err(|_| std::thread::sleep(REOPEN_AFTER))?;
        self.checkpoints = Some(Checkpoints::start(&self.options, self.shared.lost.clone())?);
        self.place.reopened();
        self.conversations = Conversations::default();
        self.ids = Ids::read(&connection)?;
        self.keys = Keys::read(&connection)?;
        self.connection = Some(connection);
        Ok(())
    }

    fn transaction(
        &mut self,
        records: &[&Record],
        operations: &mut [Box<dyn Pending>],
    ) -> Result<Vec<Recorded>, Error> {
        let started = Instant::now();
        if let Err(error) = self.connect() {
            self.shared.unhealthy.store(true, Ordering::Relaxed);
            return Err(error);
        }
        let Some(connection) = &self.connection else { return Err(Error::Closed) };
        let doubtful = self.shared.unhealthy.load(Ordering::Relaxed);
        let mut writing = Writing {
            connection,
            conversations: &mut self.conversations,
            ids: &mut self.ids,
            keys: &mut self.keys,
            events: Vec::new(),
            seen: Vec::new(),
            ended: Vec::new(),
        };
        let done = writing.attempt(records, operations, &mut self.place, doubtful);
        let Writing { events, seen, ended, .. } = writing;
        self.shared.unhealthy.store(done.is_err(), Ordering::Relaxed);
        match done {
            Ok(recorded) => {
                fault!("after_commit_before_ack");
                if self.told.take().is_some() {
                    tracing::info!("the database can be written again");
                }
                self.conversations.committed();
                metrics::histogram!("quell_store_commit_seconds").record(started.elapsed());
                metrics::histogram!("quell_store_commit_messages")
                    .record(usize_to_f64(records.len()));
                self.shared.listener.tell(events);
                let ended = (!ended.is_empty()).then_some(Sighting::Ended(ended));
                let seen = (!seen.is_empty()).then_some(Sighting::Seen(seen));
                self.shared.watcher.tell(ended.into_iter().chain(seen));
                Ok(recorded)
            }
            Err(error) => {
                // Its state is unknown: a rollback may fail too, and a failed sync must not be
                // repeated on the same file handle.
                metrics::counter!("quell_store_failures_total").increment(1);
                self.shared.listener.tell([JobEvent::Failed]);
                self.shared.watcher.tell([Sighting::Failed]);
                self.checkpoints = None;
                self.connection = None;
                Err(error)
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a batch holds some thousand rows at most")]
fn usize_to_f64(n: usize) -> f64 {
    n as f64
}

impl Writing<'_> {
    /// The conversation that a message belongs to, made where there is none.
    pub(super) fn conversation(&mut self, arrival: &Arrival<'_>) -> Result<Known, Error> {
        self.conversations.of(self.connection, self.keys, arrival)
    }

    fn attempt(
        &mut self,
        records: &[&Record],
        operations: &mut [Box<dyn Pending>],
        place: &mut Place,
        doubtful: bool,
    ) -> Result<Vec<Recorded>, Error> {
        self.connection.execute("begin immediate", [])?;
        for operation in operations {
            operation.run(self)?;
        }
        if doubtful {
            // Only writing shows whether it can be written: a transaction that changes nothing commits on
            // a full disk, too.
            self.connection.mark()?;
        }
        let recorded = record::all(self, records)?;
        place.check()?;
        fault!("before_commit", Err(Error::Unavailable("disk I/O error (injected)".to_owned())));
        self.connection.execute("commit", [])?;
        Ok(recorded)
    }
}

impl Batch {
    fn fail(self, error: &Error) {
        for entry in self.entries {
            let _ = entry.reply.send(Err(error.clone()));
        }
        for operation in self.operations {
            operation.answer(Err(error.clone()));
        }
    }
}
