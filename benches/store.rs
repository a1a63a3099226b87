//! What a message costs in the store: recording it, and taking it into the chain behind the writer:
//! `cargo bench --bench store`. With `TMPDIR` in memory, syncing costs nothing and the rest is seen.

use std::sync::Arc;

use divan::Bencher;
use divan::counter::ItemsCount;
use quell::model::{
    Element, GroupType, Judgement, Mentions, Message, MessageKey, Signals, Source, Text, Timestamp,
    Verdict,
};
use quell::store::sqlite::{Options, Sqlite, open};
use quell::store::{Intake, Record, RuleSet, Trail};
use tokio::runtime::Runtime;

const NOW: Timestamp = Timestamp(1_764_005_001_000);
const MESSAGES: u32 = 20_480;
/// Messages that wait for their commit at a time.
const WAITING: usize = 256;
const GROUPS: u32 = 1_000;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

fn record(number: u32) -> Record {
    let text = format!("message {number}: see you at the meeting tomorrow, 明天下午三点开会");
    let sender = format!("user{}", number.wrapping_mul(2_654_435_761) % 20_000);
    let mut content_hash = [0; 16];
    content_hash[..4].copy_from_slice(&number.to_le_bytes());
    Record {
        message: Box::new(Message {
            key: MessageKey {
                group_id: format!("@TGS#{}", number.wrapping_mul(40_503) % GROUPS).into(),
                topic_id: "".into(),
                msg_seq: u64::from(number),
            },
            group_type: GroupType("Public".into()),
            sender: sender.as_str().into(),
            operator: sender.as_str().into(),
            sent_at: NOW,
            received_at: NOW,
            source: Source::Callback,
            online_only: false,
            platform: "Android".into(),
            mentions: Mentions::default(),
            elements: vec![Element {
                msg_type: "TIMTextElem".into(),
                content: serde_json::json!({ "Text": text }).into(),
            }],
            cloud_custom_data: String::new(),
            text: Text::bare(&text),
            content_hash,
        }),
        judgement: Judgement {
            verdict: Verdict::Pass,
            hits: Vec::new(),
            rules_version: "v1".into(),
        },
        signals: Signals::default(),
        job: None,
    }
}

struct Bench {
    runtime: Runtime,
    store: Arc<Sqlite>,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let folder = tempfile::tempdir().expect("a folder");
        let store = runtime.block_on(async {
            let store = open(&Options::at(&folder.path().join("quell.db"))).await.expect("a store");
            let rules = RuleSet { version: "v1".into(), rules: "[]".into(), at: NOW };
            store.rules_loaded(rules).await.expect("a rule set");
            Arc::new(store)
        });
        Self { runtime, store, _folder: folder }
    }

    fn record(&self, records: Vec<Record>) {
        self.runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for record in records {
                if tasks.len() == WAITING {
                    tasks.join_next().await.expect("a task").expect("no panic");
                }
                let store = Arc::clone(&self.store);
                tasks.spawn(async move { store.record(record).await.expect("it is recorded") });
            }
            tasks.join_all().await;
        });
    }

    fn follow(&self) {
        let later = NOW.after(std::time::Duration::from_hours(1));
        self.runtime
            .block_on(async { while self.store.follow(later).await.expect("it is followed") {} });
    }
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn a_message_recorded(bencher: Bencher<'_, '_>) {
    bencher
        .counter(ItemsCount::new(MESSAGES))
        .with_inputs(|| (Bench::new(), (0..MESSAGES).map(record).collect::<Vec<_>>()))
        .bench_local_values(|(bench, records)| {
            bench.record(records);
            bench
        });
}

/// Its key filed, its digest made and linked.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn a_message_followed(bencher: Bencher<'_, '_>) {
    bencher
        .counter(ItemsCount::new(MESSAGES))
        .with_inputs(|| {
            let bench = Bench::new();
            bench.record((0..MESSAGES).map(record).collect());
            bench
        })
        .bench_local_values(|bench| {
            bench.follow();
            bench
        });
}
