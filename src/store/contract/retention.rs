//! What a backend promises of letting go.

use super::*;
use crate::model::UserId;

const DAY: Duration = Duration::from_hours(24);

async fn texts(store: &dyn Store) -> Vec<String> {
    let page = rows(store, View::Messages).await;
    page.rows.iter().map(|row| text(page.cell(row, "text"))).collect()
}

fn by(sender: &str, seq: MsgSeq, words: &str) -> Record {
    let mut record = record(key("g", "", seq), words, true);
    record.message.sender = sender.into();
    record
}

pub(in crate::store) async fn what_a_person_wrote_can_be_taken_away(store: &dyn Store) {
    for seq in 1..=5 {
        let sender = if seq % 2 == 1 { "mallory" } else { "ann" };
        store.record(by(sender, seq, &format!("bad {seq}"))).await.unwrap();
    }
    // Ann's content under Mallory's sequence stays; Mallory's under Ann's goes.
    store.record(by("ann", 1, "bad conflict of ann")).await.unwrap();
    store.record(by("mallory", 2, "bad conflict of mallory")).await.unwrap();
    let body = Quarantined {
        received_at: NOW,
        command: String::new(),
        reason: "odd".into(),
        body: br#"{"From_Account":"mallory"}"#.to_vec(),
    };
    store.quarantine(body).await.unwrap();
    let mallory = "mallory".into();
    let (mut after, mut rounds) = (0, 0);
    while let Some(erased) = store.erase_some(&mallory, after, 2).await.unwrap() {
        assert!(erased.messages <= 2 && erased.after > after);
        (after, rounds) = (erased.after, rounds + 1);
    }
    assert_eq!(rounds, 2);
    assert_eq!(store.erase_quarantined(&mallory).await.unwrap(), 1);
    assert!(store.scrub().await.unwrap());
    assert_eq!(texts(store).await, ["", "bad 4", "", "bad 2", ""]);
    let conflicts = rows(store, View::Conflicts).await;
    let left: Vec<_> = conflicts.rows.iter().map(|row| text(conflicts.cell(row, "text"))).collect();
    assert_eq!(left, ["", "bad conflict of ann"]);
    let hits = rows(store, View::Hits).await;
    for row in &hits.rows {
        let erased = text(hits.cell(row, "matched_text")).is_empty();
        assert_eq!(erased, text(hits.cell(row, "sender")) == "mallory");
    }
    // What was decided and done stays.
    assert_eq!((hits.rows.len(), states(store).await.len()), (7, 5));
}

pub(in crate::store) async fn what_is_old_is_pruned_a_few_at_a_time(store: &dyn Store) {
    let age = |days: u32| NOW.before(DAY * days);
    for (seq, days) in [(1, 500), (2, 500), (3, 40), (4, 40), (5, 1)] {
        let mut record = record(key("g", "", seq), "words", seq % 2 == 0);
        record.message.sent_at = age(days);
        record.message.received_at = age(days);
        store.record(record).await.unwrap();
        // Rows go once they are in the chain, as many as a link covers.
        while store.follow(NOW).await.unwrap() {}
    }
    let before =
        Cutoffs { text: Some(age(30)), matched_text: Some(age(100)), rows: Some(age(400)) };
    let mut all = Pruned::default();
    loop {
        let pruned = store.prune_some(before, 1).await.unwrap();
        (all.texts, all.rows) = (all.texts + pruned.texts, all.rows + pruned.rows);
        if !pruned.more {
            break;
        }
    }
    // 1 and 2 are gone, 3 has no text, 4 was matched, 5 is new. The recall of 2 still waits.
    assert_eq!(texts(store).await, ["words", "words", ""]);
    assert_eq!(rows(store, View::Hits).await.rows.len(), 1);
    assert_eq!(states(store).await, ["pending", "pending"]);
    assert_eq!(store.prune_some(Cutoffs::default(), 10).await.unwrap(), Pruned::default());
}

/// Prunes rows in steps of `limit`, to the end.
pub(in crate::store) async fn prune_rows(store: &dyn Store, limit: usize) {
    let before = Cutoffs { rows: Some(NOW.after(DAY)), ..Cutoffs::default() };
    while store.prune_some(before, limit).await.unwrap().more {}
}

pub(in crate::store) async fn jobs_that_wait_hold_no_pruning_up(store: &dyn Store) {
    for seq in 1..=5 {
        let mut held = record(key("g", "", seq), "bad", true);
        held.job.as_mut().unwrap().state = JobState::Held;
        store.record(held).await.unwrap();
    }
    for seq in 6..=11 {
        store.record(record(key("g", "", seq), "bad", true)).await.unwrap();
    }
    let lease = lease_all(store).await;
    let ends = [JobState::Recalled, JobState::Gone, JobState::Dead];
    let ended = lease.jobs.iter().zip(ends.into_iter().cycle());
    let updates = ended.map(|(job, state)| update(job, state, Some(0))).collect();
    store.finish(finished(&lease), updates).await.unwrap();
    prune_rows(store, 2).await;
    assert_eq!(states(store).await, ["held"; 5]);
}

pub(in crate::store) async fn a_sender_is_found_in_quarantine_however_it_is_escaped(
    store: &dyn Store,
) {
    let sender = UserId::from("a/\u{4f60}\"\u{1f600}");
    let bodies = [
        r#"{"From_Account":"a/你\"😀"}"#,
        r#"{"From_Account":"a\/\u4f60\"\uD83D\ude00"}"#,
        r#"{"From_Account":"\u0061/你\u0022😀", broken"#,
        r#"{"From_Account":"a/你\\\"😀"}"#,
    ];
    for body in bodies {
        let quarantined = Quarantined {
            received_at: NOW,
            command: String::new(),
            reason: "odd".into(),
            body: body.as_bytes().to_vec(),
        };
        store.quarantine(quarantined).await.unwrap();
    }
    assert_eq!(store.erase_quarantined(&sender).await.unwrap(), 3);
    assert_eq!(rows(store, View::Quarantine).await.rows.len(), 1);
}
