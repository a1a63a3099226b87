//! What a backend promises of reviews.

use super::*;

fn flagged(seq: MsgSeq, mode: Mode) -> Record {
    let mut record = record(key("g", "", seq), "odd words", true);
    record.job = None;
    record.judgement.hits[0].rule = "odd".into();
    record.judgement.hits[0].mode = mode;
    record.judgement.hits[0].action = Action::Flag;
    record.judgement.verdict = if mode == Mode::Live { Verdict::Flag } else { Verdict::Pass };
    record
}

async fn waiting_for(store: &dyn Store, filter: Filter) -> Vec<String> {
    let page = store.to_review(&filter).await.unwrap();
    assert!(page.next.is_none());
    page.rows.iter().map(|row| text(page.cell(row, "msg_seq"))).collect()
}

fn said(messages: &[i64], rule: Option<&str>, right: bool) -> Review {
    Review { messages: messages.to_vec(), rule: rule.map(Into::into), right, note: "why".into() }
}

async fn id(store: &dyn Store, seq: MsgSeq) -> i64 {
    store.message_id(&key("g", "", seq)).await.unwrap().unwrap()
}

pub(in crate::store) async fn what_was_matched_waits_until_somebody_looked(store: &dyn Store) {
    store.record(record(key("g", "", 1), "fine", false)).await.unwrap();
    store.record(record(key("g", "", 2), "bad", true)).await.unwrap();
    store.record(flagged(3, Mode::Live)).await.unwrap();
    store.record(flagged(4, Mode::Shadow)).await.unwrap();
    let mut held = record(key("h", "", 5), "bad too", true);
    held.message.sender = "ann".into();
    held.job.as_mut().unwrap().state = JobState::Held;
    store.record(held).await.unwrap();
    let by_state = |state: &str| Filter { state: Some(state.into()), ..Filter::default() };
    let by_rule = |rule: &str| Filter { rule: Some(rule.into()), ..Filter::default() };
    assert_eq!(waiting_for(store, Filter::default()).await, ["5", "3", "2"]);
    assert_eq!(waiting_for(store, by_state("flag")).await, ["3"]);
    assert_eq!(waiting_for(store, by_state("recall")).await, ["5", "2"]);
    assert_eq!(waiting_for(store, by_state("held")).await, ["5"]);
    assert_eq!(waiting_for(store, by_rule("odd")).await, ["4", "3"]);
    let both = Filter { state: Some("flag".into()), ..by_rule("odd") };
    assert_eq!(waiting_for(store, both).await, ["3"]);
    let of_ann = Filter { sender: Some("ann".into()), group: Some("h".into()), ..by_rule("bait") };
    assert_eq!(waiting_for(store, of_ann).await, ["5"]);
    let later = Filter { since: Some(NOW.after(Duration::from_hours(1))), ..Filter::default() };
    assert_eq!(waiting_for(store, later).await, [""; 0]);
    assert!(matches!(store.to_review(&by_state("odd")).await, Err(Error::Invalid(_))));
    let first = store.to_review(&Filter { limit: 2, ..Filter::default() }).await.unwrap();
    assert_eq!(first.rows.len(), 2);
    let rest = Filter { cursor: first.next, limit: 2, ..Filter::default() };
    assert_eq!(store.to_review(&rest).await.unwrap().rows.len(), 1);
    let by = By::new("ada", NOW);
    store.review(&by, &said(&[id(store, 2).await], None, true)).await.unwrap();
    assert_eq!(waiting_for(store, Filter::default()).await, ["5", "3"]);
    assert_eq!(waiting_for(store, by_rule("bait")).await, ["5"]);
}

pub(in crate::store) async fn what_waits_is_found_behind_what_was_reviewed(store: &dyn Store) {
    for seq in 1..=300 {
        store.record(flagged(seq, Mode::Live)).await.unwrap();
    }
    let reviewed: Vec<i64> = store.cases(&(1..=300).collect::<Vec<_>>()).await.unwrap()[3..]
        .iter()
        .filter_map(|case| case.message_id)
        .collect();
    store.review(&By::new("ada", NOW), &said(&reviewed, None, true)).await.unwrap();
    assert_eq!(waiting_for(store, Filter::default()).await, ["3", "2", "1"]);
    let first = store.to_review(&Filter { limit: 2, ..Filter::default() }).await.unwrap();
    assert_eq!((first.rows.len(), first.next), (2, Some(id(store, 2).await)));
    let rest = Filter { cursor: first.next, ..Filter::default() };
    assert_eq!(waiting_for(store, rest).await, ["1"]);
}

pub(in crate::store) async fn the_latest_word_on_a_rule_counts(store: &dyn Store) {
    for seq in 1..=4 {
        store.record(record(key("g", "", seq), &format!("bad {seq}"), true)).await.unwrap();
    }
    let (one, two) = (id(store, 1).await, id(store, 2).await);
    let (ada, bob) = (By::new("ada", NOW), By::new("bob", NOW.after(Duration::from_secs(9))));
    store.review(&ada, &said(&[one, two, id(store, 3).await], None, true)).await.unwrap();
    store.review(&bob, &said(&[one], Some("bait"), false)).await.unwrap();
    let precision = store.precision().await.unwrap();
    assert_eq!(precision, [Precision { rule: "bait".into(), right: 2, wrong: 1 }]);
    assert!((precision[0].share() - 2.0 / 3.0).abs() < 1e-9);
    let reviews = rows(store, View::Reviews).await;
    assert_eq!(reviews.rows.len(), 3);
    let latest = &reviews.rows[0];
    let shown = |column| text(reviews.cell(latest, column));
    assert_eq!((shown("verdict"), shown("reviewer")), ("wrong".into(), "bob".into()));
    assert_eq!((shown("msg_seq"), shown("note")), ("1".into(), "why".into()));
    let wrong =
        Filter { state: Some("wrong".into()), rule: Some("bait".into()), ..Filter::default() };
    assert_eq!(store.page(View::Reviews, &wrong).await.unwrap().rows.len(), 1);
    let acts = rows(store, View::Operations).await;
    let acts: Vec<_> = acts.rows.iter().map(|row| text(acts.cell(row, "actor"))).collect();
    assert_eq!(acts, ["bob", "ada"]);
}

pub(in crate::store) async fn a_review_that_makes_no_sense_changes_nothing(store: &dyn Store) {
    store.record(record(key("g", "", 1), "bad", true)).await.unwrap();
    store.record(record(key("g", "", 2), "fine", false)).await.unwrap();
    let (bad, fine) = (id(store, 1).await, id(store, 2).await);
    let by = By::new("ada", NOW);
    for review in [
        said(&[bad, 999], None, true),
        said(&[bad, fine], None, true),
        said(&[bad], Some("another"), true),
    ] {
        assert!(matches!(store.review(&by, &review).await, Err(Error::Invalid(_))), "{review:?}");
    }
    assert_eq!(rows(store, View::Reviews).await.rows.len(), 0);
    assert_eq!(rows(store, View::Operations).await.rows.len(), 0);
    assert_eq!(store.message_id(&key("g", "", 3)).await.unwrap(), None);
    // What an operator had recalled can be reviewed, though no rule matched it.
    let plan = keep(store, 2..=2).await;
    store.apply(&by, plan).await.unwrap();
    store.step(plan, 9, NOW).await.unwrap();
    store.review(&by, &said(&[fine], None, false)).await.unwrap();
    assert_eq!(store.precision().await.unwrap(), []);
}
