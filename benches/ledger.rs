//! What the account of sequences costs a message, and a quiet group: `cargo bench --bench ledger`.

use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use quell::model::{Source, Timestamp};
use quell::repair::ledger::Ledger;
use quell::repair::probes::Probes;
use quell::store::{Seen, Sighting};

const NOW: Timestamp = Timestamp(1_764_005_001_000);
const MESSAGES: i64 = 100_000;

#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

/// Messages spread over groups, as they come: some lost, some out of order.
fn traffic(groups: i64) -> Vec<Sighting> {
    let mut next = vec![0_u64; usize::try_from(groups).expect("a count") + 1];
    let mut random = 7_u64;
    let mut seen: Vec<Seen> = (1..=MESSAGES)
        .map(|message_id| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let group = i64::try_from(random >> 33).expect("31 bits") % groups + 1;
            let seq = &mut next[usize::try_from(group).expect("a count")];
            *seq += 1 + u64::from(random.is_multiple_of(50));
            Seen {
                conversation_id: group,
                msg_seq: *seq,
                message_id,
                received_at: NOW,
                source: Source::Callback,
                has_history: true,
            }
        })
        .collect();
    for at in (10..seen.len()).step_by(97) {
        seen.swap(at, at - 3);
    }
    // Some thirty messages a transaction.
    seen.chunks(30).map(|batch| Sighting::Seen(batch.to_vec())).collect()
}

/// Everything that a message costs: being told of over the channel, being taken in, being noted.
#[divan::bench(args = [100, 10_000, 100_000])]
fn a_message(bencher: Bencher<'_, '_>, groups: i64) {
    bencher
        .counter(ItemsCount::new(u32::try_from(MESSAGES).expect("a count")))
        .with_inputs(|| (Ledger::default(), traffic(groups)))
        .bench_local_values(|(mut ledger, traffic)| {
            let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
            for (at, batch) in traffic.into_iter().enumerate() {
                let _ = sender.send(batch);
                while let Ok(Sighting::Seen(seen)) = receiver.try_recv() {
                    for seen in &seen {
                        ledger.observe(seen);
                    }
                }
                if at % 100 == 0 {
                    divan::black_box(ledger.due(NOW, Duration::from_secs(2)));
                }
            }
            ledger
        });
}

/// The memory of groups that said something once and are followed: the largest allocations shown,
/// over 100,000.
#[divan::bench(sample_count = 1)]
fn a_hundred_thousand_quiet_groups(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| {
        let mut ledger = Ledger::default();
        let mut probes = Probes::new(Duration::from_secs(20), Duration::from_hours(24));
        for group in 1..=100_000 {
            ledger.observe(&Seen {
                conversation_id: group,
                msg_seq: 1,
                message_id: group,
                received_at: NOW,
                source: Source::Callback,
                has_history: true,
            });
            for woken in ledger.woken() {
                probes.follow(woken, NOW);
            }
        }
        (ledger, probes)
    });
}
