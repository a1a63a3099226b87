//! What a backend promises of the chain, of lists and of searching.

use super::*;

const LATER: Duration = Duration::from_hours(1);

async fn follow(store: &dyn Store) {
    while store.follow(NOW.after(LATER)).await.unwrap() {}
}

async fn verified(store: &dyn Store) -> Verified {
    store.verify(None, &mut |_| ()).await.unwrap()
}

pub(in crate::store) async fn the_chain_covers_what_was_decided_and_done(store: &dyn Store) {
    assert_eq!(verified(store).await, Verified::default());
    store.record(record(key("g", "", 1), "bad", true)).await.unwrap();
    store.record(record(key("g", "", 2), "fine", false)).await.unwrap();
    store.record(record(key("g", "", 2), "other", true)).await.unwrap();
    // Messages are too new to make a link of their own; each conflict is one.
    assert!(!store.follow(NOW.after(Duration::from_secs(1))).await.unwrap());
    assert_eq!((verified(store).await.links, verified(store).await.behind), (1, 2));
    let lease = lease_all(store).await;
    follow(store).await;
    assert_eq!(verified(store).await.behind, 1, "a call under way is not in the chain");
    let done = vec![update(&lease.jobs[0], JobState::Recalled, Some(0))];
    store.finish(finished(&lease), done).await.unwrap();
    store.set_paused(&By::new("ada", NOW), true).await.unwrap();
    follow(store).await;
    let first = verified(store).await;
    assert_eq!((first.rows, first.behind, first.findings.len()), (5, 0, 0));
    assert_eq!(first.head.len(), 64);
    assert_eq!(store.head().await.unwrap(), first.head);
    store.record(record(key("g", "", 3), "more", false)).await.unwrap();
    follow(store).await;
    let second = store.verify(Some(&first.head), &mut |_| ()).await.unwrap();
    assert_eq!((second.rows, second.findings.len()), (6, 0));
    assert_ne!(second.head, first.head);
    let cut = store.verify(Some(&"0".repeat(64)), &mut |_| ()).await.unwrap();
    assert_eq!(cut.findings.len(), 1);
}

pub(in crate::store) async fn the_chain_holds_when_text_is_let_go(store: &dyn Store) {
    for seq in 1..=6 {
        let mut record = record(key("g", "", seq), &format!("words {seq}"), seq % 2 == 0);
        record.message.sender = if seq < 4 { "mallory".into() } else { "ann".into() };
        store.record(record).await.unwrap();
        if seq == 3 {
            follow(store).await;
        }
    }
    store.record(record(key("g", "", 5), "conflict of mallory", true)).await.unwrap();
    follow(store).await;
    let mallory = "mallory".into();
    assert!(store.erase_some(&mallory, 0, 100).await.unwrap().is_some());
    let after = verified(store).await;
    assert_eq!((after.rows, after.erased, after.findings.len()), (7, 4, 0), "{after:?}");
    // What was erased before it came into the chain agrees as well.
    store.record(record(key("g", "", 7), "late", false)).await.unwrap();
    store.erase_some(&mallory, 0, 100).await.unwrap();
    follow(store).await;
    assert_eq!(verified(store).await.findings, []);
    let everything = Cutoffs { rows: Some(NOW.after(LATER)), ..Cutoffs::default() };
    while store.prune_some(everything, 1).await.unwrap().more {}
    let pruned = verified(store).await;
    assert_eq!((pruned.rows, pruned.pruned, pruned.findings.len()), (0, 8, 0), "{pruned:?}");
    store.record(record(key("g", "", 8), "and on", false)).await.unwrap();
    follow(store).await;
    assert_eq!((verified(store).await.rows, verified(store).await.findings.len()), (1, 0));
}

/// Lists by every two filters hold what going through all rows holds, page by page.
pub(in crate::store) async fn lists_hold_what_the_filters_mean(store: &dyn Store) {
    for n in 1..=120_u64 {
        let (group, topic) = [("g", ""), ("h", ""), ("c", "t1"), ("c", "t2")][(n % 4) as usize];
        let mut record = record(key(group, topic, n), &format!("words {n}"), n % 3 == 0);
        record.message.sender = ["ann", "bob", "eve"][(n / 5 % 3) as usize].into();
        record.message.received_at = NOW.after(Duration::from_secs(n * 60));
        if n % 9 == 0 {
            record.judgement.hits[0].rule = "odd".into();
            record.judgement.verdict = Verdict::Flag;
            record.job = None;
        }
        if n % 12 == 0 && n % 9 != 0 {
            record.job.as_mut().unwrap().state = JobState::Held;
        }
        store.record(record).await.unwrap();
        if n == 100 {
            follow(store).await;
        }
    }
    let some = |value: &str| Some(value.to_owned());
    let filters = [
        Filter { group: some("g"), ..Filter::default() },
        Filter { group: some("c"), ..Filter::default() },
        Filter { group: some("c"), topic: some("t1"), ..Filter::default() },
        Filter { sender: some("ann"), ..Filter::default() },
        Filter { rule: some("bait"), ..Filter::default() },
        Filter { rule: some("odd"), ..Filter::default() },
        Filter { state: some("recall"), ..Filter::default() },
        Filter { state: some("flag"), ..Filter::default() },
        Filter { state: some("held"), ..Filter::default() },
        Filter { since: Some(NOW.after(Duration::from_mins(90))), ..Filter::default() },
        Filter { until: Some(NOW.after(Duration::from_mins(70))), ..Filter::default() },
    ];
    for view in [View::Messages, View::Verdicts, View::Hits, View::Recalls] {
        let all = everything(store, view, Filter { limit: 1000, ..Filter::default() }).await;
        for one in &filters {
            for other in &filters {
                let both = Filter {
                    group: one.group.clone().or_else(|| other.group.clone()),
                    topic: one.topic.clone().or_else(|| other.topic.clone()),
                    sender: one.sender.clone().or_else(|| other.sender.clone()),
                    rule: one.rule.clone().or_else(|| other.rule.clone()),
                    state: one.state.clone().or_else(|| other.state.clone()),
                    since: one.since.or(other.since),
                    until: one.until.or(other.until),
                    limit: 7,
                    ..Filter::default()
                };
                let meant: Vec<_> =
                    all.iter().filter(|row| is_meant(row, &both)).cloned().collect();
                assert_eq!(everything(store, view, both.clone()).await, meant, "{view:?} {both:?}");
            }
        }
    }
}

pub(in crate::store) async fn hits_are_found_by_who_wrote_what_was_hit(store: &dyn Store) {
    store.record(record(key("g", "", 1), "fine", false)).await.unwrap();
    store.record(record(key("g", "", 2), "bad", true)).await.unwrap();
    let mut other = record(key("g", "", 1), "other and bad", true);
    other.message.sender = "ann".into();
    store.record(other).await.unwrap();
    let mut bob = record(key("h", "", 1), "bad too", true);
    bob.message.sender = "bob".into();
    store.record(bob).await.unwrap();
    let hits = async |filter: Filter| {
        let rows = everything(store, View::Hits, filter).await;
        let of = |row: &serde_json::Value| {
            format!("{}/{}", row["group_id"].as_str().unwrap(), row["msg_seq"])
        };
        rows.iter().map(of).collect::<Vec<_>>()
    };
    let of = |sender: &str| Filter { sender: Some(sender.into()), ..Filter::default() };
    assert_eq!(hits(of("mallory")).await, ["g/2"]);
    assert_eq!(hits(of("ann")).await, ["g/1"]);
    assert_eq!(hits(of("bob")).await, ["h/1"]);
    let in_g = Filter { group: Some("g".into()), limit: 1, ..Filter::default() };
    assert_eq!(hits(in_g.clone()).await, ["g/1", "g/2"]);
    assert_eq!(hits(Filter { group: Some("g".into()), ..of("bob") }).await, [""; 0]);
    let everything_old = Cutoffs { rows: Some(NOW.after(LATER)), ..Cutoffs::default() };
    follow(store).await;
    while store.prune_some(everything_old, 10).await.unwrap().more {}
    assert_eq!(hits(in_g).await, [""; 0]);
}

pub(in crate::store) async fn a_state_that_a_list_does_not_have_is_no_rows_at_once(
    store: &dyn Store,
) {
    for seq in 1..=3 {
        store.record(record(key("g", "", seq), "bad", true)).await.unwrap();
    }
    let of_state = |state: &str| Filter { state: Some(state.into()), ..Filter::default() };
    for view in View::all() {
        if view.filters().iter().any(|(name, _)| *name == "state") {
            let page = store.page(view, &of_state("nonsense")).await.unwrap();
            assert_eq!((page.rows.len(), page.next), (0, None), "{view:?}");
        }
    }
    for (view, state) in
        [(View::Messages, "recall"), (View::Hits, "live"), (View::Recalls, "pending")]
    {
        assert_eq!(everything(store, view, of_state(state)).await.len(), 3, "{view:?}");
    }
}

async fn everything(store: &dyn Store, view: View, mut filter: Filter) -> Vec<serde_json::Value> {
    let mut rows = Vec::new();
    loop {
        let page = store.page(view, &filter).await.unwrap();
        rows.extend(page.objects());
        filter.cursor = page.next;
        if page.next.is_none() {
            return rows;
        }
    }
}

fn is_meant(row: &serde_json::Value, filter: &Filter) -> bool {
    let is = |column: &str, value: &Option<String>| {
        value.as_ref().is_none_or(|value| row[column] == value.as_str())
    };
    let seq = row["msg_seq"].as_u64().unwrap();
    let rule = match seq {
        seq if seq.is_multiple_of(9) => Some("odd"),
        seq if seq.is_multiple_of(3) => Some("bait"),
        _ => None,
    };
    let at = NOW.after(Duration::from_secs(seq * 60));
    let state = ["state", "mode", "verdict"].into_iter().find(|column| row.get(column).is_some());
    is("group_id", &filter.group)
        && is("topic_id", &filter.topic)
        && is("sender", &filter.sender)
        && is(state.unwrap(), &filter.state)
        && filter.rule.as_ref().is_none_or(|wanted| rule == Some(wanted.as_str()))
        && filter.since.is_none_or(|since| at >= since)
        && filter.until.is_none_or(|until| at < until)
}
