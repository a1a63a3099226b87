//! What a backend promises of sequences that no callback brought.

use super::*;

const MINUTE: Duration = Duration::from_mins(1);

/// Messages of group `g` with these sequences; answers the number of the conversation.
async fn arrived(store: &dyn Store, seqs: &[MsgSeq]) -> ConversationId {
    for seq in seqs {
        store.record(record(key("g", "", *seq), "fine", false)).await.unwrap();
    }
    store.seen_after(0, 1).await.unwrap()[0].conversation_id
}

fn gap(conversation_id: ConversationId, from_seq: MsgSeq, to_seq: MsgSeq) -> NewGap {
    NewGap { conversation_id, from_seq, to_seq, repairable: true }
}

fn noted(gaps: Vec<NewGap>) -> NotedGaps {
    NotedGaps { gaps, checkpoint: 1, at: NOW, ..NotedGaps::default() }
}

/// Rows of `v_gaps`, lowest sequence first.
async fn shown(store: &dyn Store) -> Vec<String> {
    let page = rows(store, View::Gaps).await;
    let mut gaps: Vec<_> = page
        .rows
        .iter()
        .map(|row| {
            let cell = |name| text(page.cell(row, name));
            let from: MsgSeq = cell("from_seq").parse().unwrap();
            (from, format!("{from}-{} {} {}", cell("to_seq"), cell("state"), cell("reason")))
        })
        .collect();
    gaps.sort();
    gaps.into_iter().map(|(_, gap)| gap).collect()
}

pub(in crate::store) async fn what_is_recorded_is_told_once(store: &dyn Store) {
    let mut sightings = store.sightings();
    let id = arrived(store, &[4, 4, 5]).await;
    let mut seen = Vec::new();
    while let Ok(sighting) = sightings.try_recv() {
        let Sighting::Seen(these) = sighting else { panic!("{sighting:?}") };
        seen.extend(these.into_iter().map(|seen| (seen.conversation_id, seen.msg_seq)));
    }
    assert_eq!(seen, [(id, 4), (id, 5)]);
    store.destroyed(destroyed(&[], NOW.after(MINUTE))).await.unwrap();
    assert_eq!(sightings.try_recv(), Ok(Sighting::Ended(vec![id])));
}

pub(in crate::store) async fn a_gap_is_open_until_it_is_explained(store: &dyn Store) {
    let id = arrived(store, &[1, 30]).await;
    store.note_gaps(noted(vec![gap(id, 2, 29)])).await.unwrap();
    assert_eq!(store.open_sequences().await.unwrap(), 28);
    let open = store.open_gaps(NOW, 10).await.unwrap();
    assert_eq!((open.len(), open[0].from_seq, open[0].to_seq, open[0].attempts), (1, 2, 29, 0));
    let explained = Explained {
        conversation_id: id,
        from_seq: 10,
        to_seq: 29,
        runs: vec![(10, 14, Finding::System), (15, 29, Finding::Expired)],
        at: NOW.after(MINUTE),
    };
    store.explain(explained, Vec::new()).await.unwrap();
    let expired = "15-29 legitimate expired, deleted or never stored";
    assert_eq!(shown(store).await, ["2-9 open null", "10-14 legitimate system entry", expired]);
    let known = store.known(id, 1, 40).await.unwrap();
    assert_eq!((known.messages.as_slice(), known.explained.len()), (&[1, 30][..], 2));
    assert!(known.covers(1) && known.covers(12) && !known.covers(9) && !known.covers(31));
    // The rest turns out the same: it is one run.
    let explained = Explained {
        conversation_id: id,
        from_seq: 2,
        to_seq: 9,
        runs: vec![(2, 9, Finding::System)],
        at: NOW.after(MINUTE),
    };
    store.explain(explained, Vec::new()).await.unwrap();
    assert_eq!(shown(store).await, ["2-14 legitimate system entry", expired]);
    // A probe that was under way at the same time finds what is explained already.
    let explained = Explained {
        conversation_id: id,
        from_seq: 12,
        to_seq: 31,
        runs: vec![(12, 29, Finding::Expired), (31, 31, Finding::System)],
        at: NOW.after(MINUTE),
    };
    store.explain(explained, Vec::new()).await.unwrap();
    let tip = "31-31 legitimate system entry";
    assert_eq!(shown(store).await, ["2-14 legitimate system entry", expired, tip]);
}

pub(in crate::store) async fn a_late_callback_leaves_no_gap(store: &dyn Store) {
    let id = arrived(store, &[1, 5]).await;
    store.note_gaps(noted(vec![gap(id, 2, 4)])).await.unwrap();
    let late = NotedGaps { late: vec![(id, 3)], checkpoint: 2, at: NOW, ..NotedGaps::default() };
    store.note_gaps(late).await.unwrap();
    assert_eq!(shown(store).await, ["2-2 open null", "4-4 open null"]);
    assert_eq!(store.gaps_checkpoint().await.unwrap(), 2);
}

pub(in crate::store) async fn gaps_are_listed_by_when_they_were_found(store: &dyn Store) {
    let id = arrived(store, &[1, 100]).await;
    for n in 1..=9 {
        let at = NOW.after(MINUTE * 10 * n);
        let seq = MsgSeq::from(n) * 10;
        let found = NotedGaps { at, ..noted(vec![gap(id, seq, seq + 8)]) };
        store.note_gaps(found).await.unwrap();
    }
    // Each part of the first ones is a row that was made after the last one was found.
    let at = NOW.after(MINUTE * 200);
    let late = vec![(id, 14), (id, 25), (id, 36), (id, 47)];
    store.note_gaps(NotedGaps { late, at, ..noted(Vec::new()) }).await.unwrap();
    let found = async |filter: Filter| {
        let page = store.page(View::Gaps, &filter).await.unwrap();
        let mut from: Vec<MsgSeq> =
            page.rows.iter().map(|row| text(page.cell(row, "from_seq")).parse().unwrap()).collect();
        from.sort_unstable();
        from
    };
    let time = |minutes| Some(NOW.after(MINUTE * minutes));
    let since = Filter { since: time(50), ..Filter::default() };
    assert_eq!(found(since.clone()).await, [50, 60, 70, 80, 90]);
    let open = Filter { state: Some("open".into()), group: Some("g".into()), ..since };
    assert_eq!(found(open).await, [50, 60, 70, 80, 90]);
    let until = Filter { until: time(30), ..Filter::default() };
    assert_eq!(found(until).await, [10, 15, 20, 26]);
    let between = Filter { since: time(40), until: time(60), ..Filter::default() };
    assert_eq!(found(between).await, [40, 48, 50]);
}

pub(in crate::store) async fn what_history_holds_is_recorded_and_explained_at_once(
    store: &dyn Store,
) {
    let mut sightings = store.sightings();
    let id = arrived(store, &[1, 4]).await;
    store.note_gaps(noted(vec![gap(id, 2, 3)])).await.unwrap();
    let explained = Explained {
        conversation_id: id,
        from_seq: 2,
        to_seq: 3,
        runs: vec![(2, 3, Finding::Message)],
        at: NOW,
    };
    // A callback brought one of them meanwhile.
    store.record(record(key("g", "", 3), "late", false)).await.unwrap();
    let messages = [(2, "lost"), (3, "late")];
    let messages = messages.map(|(seq, text)| record(key("g", "", seq), text, seq == 2)).to_vec();
    let recorded = store.explain(explained, messages).await.unwrap();
    assert_eq!(recorded, [Recorded::New, Recorded::Duplicate]);
    assert_eq!(shown(store).await, ["2-3 filled message"]);
    assert_eq!(waiting(store).await.len(), 1);
    let mut told = Vec::new();
    while let Ok(Sighting::Seen(seen)) = sightings.try_recv() {
        told.extend(seen.iter().map(|seen| seen.msg_seq));
    }
    assert_eq!(told, [1, 4, 3, 2]);
}

pub(in crate::store) async fn a_clock_set_back_holds_no_pull_up(store: &dyn Store) {
    let id = arrived(store, &[1, 5]).await;
    store.note_gaps(noted(vec![gap(id, 2, 4)])).await.unwrap();
    store.start_backfill(&By::new("ann", NOW), &"g".into(), &"".into(), 1, 0).await.unwrap();
    let an_hour_earlier = NOW.before(60 * MINUTE);
    assert_eq!(store.open_gaps(an_hour_earlier, 10).await.unwrap().len(), 1);
    assert_eq!(store.running_backfills(an_hour_earlier, 10).await.unwrap().len(), 1);
}

pub(in crate::store) async fn the_last_messages_of_a_group_that_ended_are_read_back(
    store: &dyn Store,
) {
    let id = arrived(store, &[1, 2, 9]).await;
    store.destroyed(destroyed(&[], NOW.after(MINUTE))).await.unwrap();
    let all = store.seen_after(0, 10).await.unwrap();
    let reached = store.reached(all[1].message_id, 0, 10).await.unwrap();
    let it: Vec<_> = reached.iter().map(|it| (it.conversation_id, it.high, it.has_ended)).collect();
    assert_eq!(it, [(id, 2, true)]);
    assert_eq!(store.reached(all[2].message_id, 0, 10).await.unwrap(), []);
}

pub(in crate::store) async fn a_gap_without_history_is_never_open(store: &dyn Store) {
    let id = arrived(store, &[1, 5]).await;
    let hopeless = NewGap { repairable: false, ..gap(id, 2, 4) };
    store.note_gaps(noted(vec![hopeless])).await.unwrap();
    assert_eq!(shown(store).await, ["2-4 unrepairable groups of this type have no history"]);
    assert_eq!(store.open_gaps(NOW, 10).await.unwrap(), []);
}

pub(in crate::store) async fn what_cannot_be_pulled_waits_and_may_be_given_up(store: &dyn Store) {
    let id = arrived(store, &[1, 5]).await;
    store.note_gaps(noted(vec![gap(id, 2, 4)])).await.unwrap();
    let failed = Unexplained {
        conversation_id: id,
        from_seq: 2,
        to_seq: 4,
        reason: "10002".into(),
        due_at: NOW.after(MINUTE),
        give_up: false,
        at: NOW,
    };
    store.unexplained(failed.clone()).await.unwrap();
    assert_eq!(store.open_gaps(NOW, 10).await.unwrap(), []);
    assert_eq!(store.open_gaps(NOW.after(MINUTE), 10).await.unwrap()[0].attempts, 1);
    store.unexplained(Unexplained { give_up: true, ..failed }).await.unwrap();
    assert_eq!(shown(store).await, ["2-4 unrepairable 10002"]);
}

pub(in crate::store) async fn what_history_did_not_list_may_turn_up(store: &dyn Store) {
    let id = arrived(store, &[1, 9]).await;
    store.note_gaps(noted(vec![gap(id, 2, 8)])).await.unwrap();
    let explained = |from_seq, to_seq, finding| Explained {
        conversation_id: id,
        from_seq,
        to_seq,
        runs: vec![(from_seq, to_seq, finding)],
        at: NOW,
    };
    store.explain(explained(2, 8, Finding::Absent), Vec::new()).await.unwrap();
    assert!(!store.known(id, 1, 9).await.unwrap().covers(5));
    store.explain(explained(5, 5, Finding::Message), Vec::new()).await.unwrap();
    let absent = "legitimate not in history";
    let left = [format!("2-4 {absent}"), "5-5 filled message".into(), format!("6-8 {absent}")];
    assert_eq!(shown(store).await, left);
}

pub(in crate::store) async fn where_an_account_stood_can_be_read_back(store: &dyn Store) {
    let id = arrived(store, &[3, 4, 9]).await;
    let all = store.seen_after(0, 10).await.unwrap();
    let checkpoint = all[1].message_id;
    let reached = store.reached(checkpoint, 0, 10).await.unwrap();
    assert_eq!((reached.len(), reached[0].high, reached[0].has_gaps), (1, 4, false));
    assert_eq!(store.seen_after(checkpoint, 10).await.unwrap(), all[2..]);
    store.note_gaps(noted(vec![gap(id, 5, 8)])).await.unwrap();
    let reached = store.reached(checkpoint, 0, 10).await.unwrap();
    assert_eq!((reached[0].has_gaps, reached[0].noted.as_slice()), (true, &[(5, 8)][..]));
    assert_eq!(store.reached(checkpoint, id, 10).await.unwrap(), []);
}

pub(in crate::store) async fn the_end_of_a_group_closes_its_gaps(store: &dyn Store) {
    let id = arrived(store, &[1, 5]).await;
    let firsts = vec![(id, 7)];
    let noted = NotedGaps { firsts, ..noted(vec![gap(id, 2, 3)]) };
    store.note_gaps(noted.clone()).await.unwrap();
    assert_eq!(store.running_backfills(NOW, 10).await.unwrap().len(), 1);
    store.destroyed(destroyed(&[], NOW.after(MINUTE))).await.unwrap();
    assert_eq!(store.running_backfills(NOW.after(MINUTE), 10).await.unwrap(), []);
    assert_eq!(store.conversation(id).await.unwrap(), None);
    let later = NotedGaps { gaps: vec![gap(id, 4, 4)], firsts: vec![(id, 9)], ..noted };
    store.note_gaps(later).await.unwrap();
    // Under that id there may be another group by now.
    assert_eq!(store.running_backfills(NOW.after(MINUTE), 10).await.unwrap(), []);
    let gone = ["2-3 unrepairable group destroyed", "4-4 unrepairable group destroyed"];
    assert_eq!(shown(store).await, gone);
}

pub(in crate::store) async fn a_backfill_goes_down_page_by_page(store: &dyn Store) {
    let by = By::new("ann", NOW);
    let id = store.start_backfill(&by, &"g".into(), &"".into(), 1, 0).await.unwrap();
    let step =
        |outcome| BackfillStep { backfill_id: id, outcome, recorded: 3, recalls: 1, at: NOW };
    store.backfilled(step(StepOutcome::Next(80))).await.unwrap();
    let running = store.running_backfills(NOW, 10).await.unwrap();
    assert_eq!((running[0].next_seq, running[0].from_seq, running[0].attempts), (80, 1, 0));
    let again = StepOutcome::Again { why: "10002".into(), due_at: NOW.after(MINUTE) };
    store.backfilled(step(again)).await.unwrap();
    assert_eq!(store.running_backfills(NOW, 10).await.unwrap(), []);
    store.backfilled(step(StepOutcome::Done("read down to 1".into()))).await.unwrap();
    let page = rows(store, View::Backfills).await;
    let cell = |name| text(page.cell(&page.rows[0], name));
    assert_eq!((cell("state").as_str(), cell("recorded").as_str()), ("done", "9"));
    assert_eq!(cell("requested_by"), "operator:ann");
    assert!(!store.cancel_backfill(&by, id).await.unwrap());
    let next = store.start_backfill(&by, &"g".into(), &"".into(), 1, 0).await.unwrap();
    assert!(store.cancel_backfill(&by, next).await.unwrap());
    assert_eq!(store.running_backfills(NOW.after(MINUTE), 10).await.unwrap(), []);
}

pub(in crate::store) async fn open_gaps_hold_no_pruning_up(store: &dyn Store) {
    let id = arrived(store, &[1, 3, 5, 7, 9]).await;
    let open = vec![gap(id, 2, 2), gap(id, 4, 4)];
    store.note_gaps(noted(open)).await.unwrap();
    store.note_gaps(noted(vec![gap(id, 6, 6), gap(id, 8, 8)])).await.unwrap();
    for seq in [6, 8] {
        let explained = Explained {
            conversation_id: id,
            from_seq: seq,
            to_seq: seq,
            runs: vec![(seq, seq, Finding::System)],
            at: NOW,
        };
        store.explain(explained, Vec::new()).await.unwrap();
    }
    super::retention::prune_rows(store, 1).await;
    assert_eq!(shown(store).await, ["2-2 open null", "4-4 open null"]);
    // One that is closed later goes the next time.
    let explained = Explained {
        conversation_id: id,
        from_seq: 2,
        to_seq: 2,
        runs: vec![(2, 2, Finding::System)],
        at: NOW,
    };
    store.explain(explained, Vec::new()).await.unwrap();
    super::retention::prune_rows(store, 1).await;
    assert_eq!(shown(store).await, ["4-4 open null"]);
}
