//! What a backend promises of figures.

use super::*;

const HOUR: Duration = Duration::from_hours(1);

/// Recalls the first of what waits, so many milliseconds after it was sent.
async fn recall_one(store: &dyn Store, visible_ms: u64) {
    let job = &waiting(store).await[0];
    let at = job.sent_at.after(Duration::from_millis(visible_ms));
    let request = LeaseRequest {
        conversation_id: job.conversation.conversation_id,
        jobs: vec![job.job_id],
        at: at.before(Duration::from_millis(9)),
    };
    let lease = store.lease(vec![request]).await.unwrap().remove(0);
    let call = FinishedCall {
        started_at: at.before(Duration::from_millis(9)),
        finished_at: at,
        ..finished(&lease)
    };
    let done = vec![update(&lease.jobs[0], JobState::Recalled, Some(0))];
    store.finish(call, done).await.unwrap();
}

/// A message sent and received so long after [`NOW`].
fn later(group: &str, seq: MsgSeq, text: &str, after: Duration) -> Record {
    let mut record = record(key(group, "", seq), text, true);
    record.message.sent_at = NOW.after(after);
    record.message.received_at = record.message.sent_at.after(Duration::from_millis(5));
    record
}

pub(in crate::store) async fn figures_say_what_was_recalled_and_how_fast(store: &dyn Store) {
    for (seq, minutes) in [(1, 0), (2, 1), (3, 2), (4, 130)] {
        let after = Duration::from_mins(minutes);
        store.record(later("g", seq, &format!("bad {seq}"), after)).await.unwrap();
    }
    for visible in [100, 300, 200] {
        recall_one(store, visible).await;
    }
    let buckets = store.exposure(NOW, NOW.after(HOUR * 3), HOUR).await.unwrap();
    let shown: Vec<_> =
        buckets.iter().map(|it| (it.asked, it.recalled, it.p50_ms, it.p99_ms)).collect();
    let none = (0, 0, None, None);
    assert_eq!(shown, [(3, 3, Some(200), Some(300)), none, (1, 0, None, None)]);
    assert!(buckets.iter().all(|bucket| bucket.whole));
    assert_eq!(buckets[1].from, NOW.after(HOUR));
    let too_many = store.exposure(NOW, NOW.after(HOUR * 3), Duration::from_secs(1)).await;
    assert!(matches!(too_many, Err(Error::Invalid(_))));
    let states = store.recalls_by_state(NOW).await.unwrap();
    assert_eq!(states, [("pending".to_owned(), 1), ("recalled".to_owned(), 3)]);
    let none = store.recalls_by_state(NOW.after(HOUR * 9)).await.unwrap();
    assert_eq!(none, []);
    let until = NOW.after(Duration::from_mins(5));
    let calls = store.calls_per_second(NOW, until).await.unwrap();
    let (mut times, mut counts) = (Vec::new(), Vec::new());
    for (at, count) in calls {
        times.push(at.since(NOW).as_secs());
        counts.push(count);
    }
    assert_eq!((times, counts), (vec![0, 60, 120], vec![1, 1, 1]));
}

pub(in crate::store) async fn each_bucket_has_its_own_recalls(store: &dyn Store) {
    // Two an hour but for the third, none in the last; each visible as long as its sequence says.
    for (seq, hour) in (1..).zip([0, 0, 1, 1, 3, 3, 4, 4]) {
        let after = HOUR * hour + Duration::from_mins(seq);
        store.record(later("g", seq, &format!("bad {seq}"), after)).await.unwrap();
        recall_one(store, seq * 100).await;
    }
    let buckets = store.exposure(NOW, NOW.after(HOUR * 6), HOUR).await.unwrap();
    let shown: Vec<_> = buckets.iter().map(|it| (it.recalled, it.p50_ms, it.p99_ms)).collect();
    let none = (0, None, None);
    let two = |low, high| (2, Some(low), Some(high));
    assert_eq!(shown, [two(100, 200), two(300, 400), none, two(500, 600), two(700, 800), none]);
    let all = store.exposure(NOW, NOW.after(HOUR * 6), HOUR * 6).await.unwrap();
    assert_eq!(
        (all.len(), all[0].asked, all[0].p50_ms, all[0].p99_ms),
        (1, 8, Some(400), Some(800))
    );
    // Neither what came before nor what comes after is counted.
    let part = store.exposure(NOW.after(HOUR), NOW.after(HOUR * 4), HOUR).await.unwrap();
    assert_eq!(part, buckets[1..4]);
}

pub(in crate::store) async fn figures_rank_rules_groups_and_senders(store: &dyn Store) {
    for (group, seq, sender) in [("g", 1, "ann"), ("g", 2, "mallory"), ("h", 1, "mallory")] {
        let mut record = later(group, seq, &format!("bad {group} {seq}"), HOUR);
        record.message.sender = sender.into();
        if seq == 2 {
            record.judgement.verdict = Verdict::Flag;
            record.judgement.hits[0].rule = "odd".into();
            record.judgement.hits[0].mode = Mode::Shadow;
        }
        store.record(record).await.unwrap();
    }
    store.record(record(key("g", "", 9), "fine", false)).await.unwrap();
    let message = store.message_id(&key("g", "", 1)).await.unwrap().unwrap();
    let review = Review { messages: vec![message], rule: None, right: false, note: String::new() };
    store.review(&By::new("ada", NOW), &review).await.unwrap();
    let rules = store.top_rules(NOW, 5).await.unwrap();
    let figures = |rule: &str, live_hits, shadow_hits, wrong| RuleFigures {
        rule: rule.into(),
        live_hits,
        shadow_hits,
        right: 0,
        wrong,
    };
    assert_eq!(rules, [figures("bait", 2, 0, 1), figures("odd", 0, 1, 0)]);
    assert_eq!(store.top_rules(NOW, 1).await.unwrap().len(), 1);
    assert_eq!(store.top_rules(NOW.after(HOUR * 3), 5).await.unwrap(), []);
    let places = store.top_places(NOW, 5).await.unwrap();
    let ranked = |name: &str, recall, flag| Ranked { name: name.into(), recall, flag };
    assert_eq!(places.groups, [ranked("g", 1, 1), ranked("h", 1, 0)]);
    assert_eq!(places.senders, [ranked("mallory", 1, 1), ranked("ann", 1, 0)]);
    assert!(places.whole);
    // Other content under a key counts for nobody, and several hits of a message as one.
    let mut twice = later("h", 1, "other and bad", HOUR);
    twice.message.sender = "eve".into();
    store.record(twice).await.unwrap();
    let mut again = later("h", 2, "bad, bad", HOUR);
    again.message.sender = "ann".into();
    again.judgement.hits.push(again.judgement.hits[0].clone());
    store.record(again).await.unwrap();
    let places = store.top_places(NOW, 5).await.unwrap();
    assert_eq!(places.groups, [ranked("g", 1, 1), ranked("h", 2, 0)]);
    assert_eq!(places.senders, [ranked("ann", 2, 0), ranked("mallory", 1, 1)]);
    let mallory = store.sender(&"mallory".into(), None, 2).await.unwrap();
    assert_eq!((mallory.messages, mallory.flag, mallory.recall), (3, 1, 1));
    assert!(mallory.whole);
    assert_eq!(mallory.latest[0]["text"], "fine");
    assert_eq!(mallory.latest[1]["recall_state"], "pending");
    let rest = store.sender(&"mallory".into(), mallory.next, 2).await.unwrap();
    assert_eq!((rest.latest.len(), rest.next), (1, None));
}

pub(in crate::store) async fn a_message_is_told_with_everything_about_it(store: &dyn Store) {
    store.record(record(key("g", "", 1), "bad", true)).await.unwrap();
    store.record(record(key("g", "", 2), "bad as well", true)).await.unwrap();
    store.record(record(key("g", "", 1), "worse", true)).await.unwrap();
    let lease = lease_all(store).await;
    let dead = vec![update(&lease.jobs[0], JobState::Dead, Some(10004))];
    store.finish(finished(&lease), dead).await.unwrap();
    let message = store.message_id(&key("g", "", 1)).await.unwrap().unwrap();
    let by = By::new("ada", NOW.after(HOUR));
    let review = Review { messages: vec![message], rule: None, right: true, note: String::new() };
    store.review(&by, &review).await.unwrap();
    let jobs = JobFilter { jobs: vec![lease.jobs[0].job_id], ..JobFilter::default() };
    store.change_jobs(&by, JobChange::Retry, &jobs).await.unwrap();
    store.set_paused(&by, true).await.unwrap();
    let told = store.story(message).await.unwrap().unwrap();
    assert_eq!((&told.message["text"], &told.message["msg_seq"]), (&"bad".into(), &1.into()));
    assert_eq!(told.message["body"], serde_json::Value::Null);
    let spans: Vec<_> = told.hits.iter().map(|hit| hit["on_conflict"].as_i64()).collect();
    assert_eq!(spans, [Some(0), Some(1)]);
    assert_eq!(told.conflicts[0]["text"], "worse");
    assert_eq!((told.recalls.len(), &told.recalls[0]["state"]), (1, &"pending".into()));
    assert_eq!((told.calls.len(), &told.calls[0]["sequences"]), (1, &"[1,2]".into()));
    assert_eq!((told.reviews.len(), &told.reviews[0]["verdict"]), (1, &"right".into()));
    let acts: Vec<_> = told.operations.iter().filter_map(|act| act["act"].as_str()).collect();
    assert_eq!(acts, ["jobs retry", "review"]);
    assert_eq!(store.story(message + 100).await.unwrap(), None);
    let fine = record(key("g", "", 3), "fine", false);
    store.record(fine).await.unwrap();
    let fine = store.message_id(&key("g", "", 3)).await.unwrap().unwrap();
    let told = store.story(fine).await.unwrap().unwrap();
    assert!(told.calls.is_empty() && told.recalls.is_empty() && told.operations.is_empty());
}

pub(in crate::store) async fn held_jobs_come_oldest_first_with_their_hits(store: &dyn Store) {
    for seq in 1..=3 {
        let mut record = record(key("g", "", seq), &format!("bad {seq}"), true);
        if seq != 2 {
            record.job.as_mut().unwrap().state = JobState::Held;
        }
        store.record(record).await.unwrap();
    }
    let held = store.held(0, 10).await.unwrap();
    let seqs: Vec<_> = held.iter().filter_map(|held| held.job["msg_seq"].as_i64()).collect();
    assert_eq!(seqs, [1, 3]);
    assert_eq!(
        (&held[0].job["text"], &held[0].job["verdict"]),
        (&"bad 1".into(), &"recall".into())
    );
    assert_eq!((held[0].hits.len(), &held[0].hits[0]["end_char"]), (1, &2.into()));
    let first = held[0].job["job_id"].as_i64().unwrap();
    assert_eq!(store.held(first, 10).await.unwrap().len(), 1);
}
