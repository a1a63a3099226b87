//! The tests that every backend has to pass. A backend calls [`contract_tests`] with a function that
//! makes an empty store.

mod figures;
mod gaps;
mod retention;
mod reviews;
mod trail;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::model::{
    Action, Element, GroupType, Hit, JobState, Judgement, Mentions, Message, MessageKey, Mode,
    MsgSeq, RequestedBy, Severity, Signals, Source, Text, Timestamp, Verdict,
};

/// Makes one `#[tokio::test]` of each test of the contract.
macro_rules! contract_tests {
    ($fresh:expr) => {
        $crate::store::contract::contract_tests!(@each $fresh;
            a_message_is_stored_once,
            other_content_under_the_same_key_is_kept_beside_the_first,
            a_key_that_comes_twice_in_one_batch_is_stored_once,
            a_conflict_gets_no_second_unfinished_job,
            topics_number_their_messages_apart,
            a_job_is_leased_once,
            an_answer_to_an_older_lease_changes_nothing,
            a_lease_given_back_leaves_no_trace,
            a_crash_leaves_jobs_waiting_with_an_unclear_outcome,
            a_recall_by_others_ends_a_waiting_job,
            a_callback_confirms_an_unclear_recall,
            a_repeat_answered_with_gone_is_recalled_once_confirmed,
            a_destroyed_group_refuses_its_jobs_and_starts_afresh,
            a_destroyed_topic_leaves_its_siblings_alone,
            a_call_under_way_when_its_group_ends_is_not_repeated,
            a_late_message_belongs_to_the_life_it_was_sent_in,
            within_the_second_of_the_end_the_sequence_tells_the_life,
            a_moderators_recall_does_not_make_ours_of_it,
            what_a_tripped_rule_asks_for_is_held,
            a_lease_of_a_tripped_rule_comes_back_held,
            a_sweeps_lease_ends_with_its_plan,
            quarantine_is_bounded,
            pages_go_backwards_through_everything,
            what_waits_is_told_to_the_worker,
            messages_are_read_back_as_they_were_judged,
            what_is_recorded_is_told_once,
            a_gap_is_open_until_it_is_explained,
            a_late_callback_leaves_no_gap,
            gaps_are_listed_by_when_they_were_found,
            what_history_holds_is_recorded_and_explained_at_once,
            a_clock_set_back_holds_no_pull_up,
            the_last_messages_of_a_group_that_ended_are_read_back,
            a_gap_without_history_is_never_open,
            what_cannot_be_pulled_waits_and_may_be_given_up,
            what_history_did_not_list_may_turn_up,
            where_an_account_stood_can_be_read_back,
            the_end_of_a_group_closes_its_gaps,
            a_backfill_goes_down_page_by_page,
            what_a_person_wrote_can_be_taken_away,
            what_is_old_is_pruned_a_few_at_a_time,
            jobs_that_wait_hold_no_pruning_up,
            open_gaps_hold_no_pruning_up,
            a_sender_is_found_in_quarantine_however_it_is_escaped,
            judged_messages_come_back_in_pages_with_what_was_decided,
            a_plan_does_nothing_until_it_is_applied_in_steps,
            a_cancelled_plan_ends_what_waits,
            a_plan_leaves_out_what_was_dealt_with_meanwhile,
            what_was_never_recorded_can_be_meant,
            a_sweeps_retry_ends_with_its_plan,
            a_refusal_is_no_failure_of_the_store,
            what_is_wanted_of_a_job_in_a_call_is_remembered,
            what_was_matched_waits_until_somebody_looked,
            what_waits_is_found_behind_what_was_reviewed,
            the_latest_word_on_a_rule_counts,
            a_review_that_makes_no_sense_changes_nothing,
            figures_say_what_was_recalled_and_how_fast,
            each_bucket_has_its_own_recalls,
            figures_rank_rules_groups_and_senders,
            a_message_is_told_with_everything_about_it,
            held_jobs_come_oldest_first_with_their_hits,
            the_chain_covers_what_was_decided_and_done,
            the_chain_holds_when_text_is_let_go,
            lists_hold_what_the_filters_mean,
            hits_are_found_by_who_wrote_what_was_hit,
            a_state_that_a_list_does_not_have_is_no_rows_at_once,
        );
    };
    (@each $fresh:expr; $($name:ident),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $name() {
                let fresh = $fresh;
                let (store, _kept) = fresh().await;
                $crate::store::contract::rules(&store).await;
                $crate::store::contract::$name(&store).await;
            }
        )+
    };
}
pub(super) use contract_tests;
pub(super) use figures::*;
pub(super) use gaps::*;
pub(super) use retention::*;
pub(super) use reviews::*;
pub(super) use trail::*;

pub(super) const NOW: Timestamp = Timestamp(1_764_000_000_000);
const VERSION: &str = "v1";

pub(super) async fn rules(store: &dyn Store) {
    let rules = RuleSet { version: VERSION.into(), rules: "[]".into(), at: NOW };
    store.rules_loaded(rules).await.unwrap();
}

pub(super) fn key(group: &str, topic: &str, msg_seq: MsgSeq) -> MessageKey {
    MessageKey { group_id: group.into(), topic_id: topic.into(), msg_seq }
}

pub(super) fn record(key: MessageKey, text: &str, recall: bool) -> Record {
    let mut hash = [0; 16];
    hash[..text.len().min(16)].copy_from_slice(&text.as_bytes()[..text.len().min(16)]);
    let hit = Hit {
        rule: "bait".into(),
        mode: Mode::Live,
        severity: Severity::High,
        action: Action::Recall,
        start: 0,
        end: 2,
        text: text.chars().take(2).collect(),
    };
    Record {
        message: Box::new(Message {
            key,
            group_type: GroupType("Public".into()),
            sender: "mallory".into(),
            operator: "mallory".into(),
            sent_at: NOW,
            received_at: NOW.after(Duration::from_millis(30)),
            source: Source::Callback,
            online_only: false,
            platform: "Android".into(),
            mentions: Mentions::default(),
            elements: vec![Element {
                msg_type: "TIMTextElem".into(),
                content: serde_json::json!({ "Text": text }).into(),
            }],
            cloud_custom_data: String::new(),
            text: Text::bare(text),
            content_hash: hash,
        }),
        judgement: Judgement {
            verdict: if recall { Verdict::Recall } else { Verdict::Pass },
            hits: if recall { vec![hit] } else { Vec::new() },
            rules_version: VERSION.into(),
        },
        signals: Signals::default(),
        job: recall.then(|| NewJob {
            state: JobState::Pending,
            reason: None,
            severity: Severity::High,
            requested_by: RequestedBy::Rule("bait".into()),
        }),
    }
}

/// A message of the group `g` that no rule matched.
pub(super) fn message(seq: MsgSeq) -> Record {
    record(key("g", "", seq), "fine", false)
}

async fn rows(store: &dyn Store, view: View) -> Page {
    store.page(view, &Filter::default()).await.unwrap()
}

async fn states(store: &dyn Store) -> Vec<String> {
    let page = rows(store, View::Recalls).await;
    page.rows.iter().map(|row| text(page.cell(row, "state"))).collect()
}

fn text(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => text.clone(),
        Cell::Integer(number) => number.to_string(),
        Cell::Null => "null".into(),
    }
}

async fn waiting(store: &dyn Store) -> Vec<QueuedJob> {
    store.waiting(0, 100).await.unwrap()
}

async fn lease_all(store: &dyn Store) -> Lease {
    let jobs = waiting(store).await;
    let request = LeaseRequest {
        conversation_id: jobs[0].conversation.conversation_id,
        jobs: jobs.iter().map(|job| job.job_id).collect(),
        at: NOW.after(Duration::from_millis(40)),
    };
    store.lease(vec![request]).await.unwrap().remove(0)
}

fn finished(lease: &Lease) -> FinishedCall {
    FinishedCall {
        call_id: lease.call_id,
        started_at: NOW.after(Duration::from_millis(41)),
        finished_at: NOW.after(Duration::from_millis(90)),
        duration_ms: 49,
        http_status: Some(200),
        error_code: Some(0),
        outcome: CallOutcome::Answered,
    }
}

fn update(job: &LeasedJob, state: JobState, ret_code: Option<i64>) -> JobUpdate {
    JobUpdate {
        job_id: job.job_id,
        lease: job.lease,
        state,
        ret_code,
        reason: None,
        due_at: NOW,
        failed: false,
        unclear: ret_code.is_none(),
    }
}

fn recalled(seqs: &[MsgSeq], ours: bool) -> Recalled {
    Recalled {
        group_id: "g".into(),
        topic_id: "".into(),
        seqs: seqs.to_vec(),
        ours,
        operator: "somebody".into(),
        at: NOW.after(Duration::from_millis(95)),
    }
}

pub(super) async fn a_message_is_stored_once(store: &dyn Store) {
    let record = record(key("g", "", 1), "加微信领红包", true);
    assert_eq!(store.record(record.clone()).await.unwrap(), Recorded::New);
    assert_eq!(store.record(record).await.unwrap(), Recorded::Duplicate);
    let messages = rows(store, View::Messages).await;
    assert_eq!(messages.rows.len(), 1);
    let row = &messages.rows[0];
    assert_eq!(text(messages.cell(row, "group_id")), "g");
    assert_eq!(text(messages.cell(row, "text")), "加微信领红包");
    assert_eq!(text(messages.cell(row, "verdict")), "recall");
    assert_eq!(text(messages.cell(row, "source")), "callback");
    assert_eq!(text(messages.cell(row, "rules_version")), VERSION);
    assert_eq!(text(messages.cell(row, "received_at_iso")), "2025-11-24T16:00:00.030Z");
    let hits = rows(store, View::Hits).await;
    assert_eq!(hits.rows.len(), 1);
    assert_eq!(text(hits.cell(&hits.rows[0], "matched_text")), "加微");
    assert_eq!(states(store).await, ["pending"]);
}

pub(super) async fn other_content_under_the_same_key_is_kept_beside_the_first(store: &dyn Store) {
    store.record(record(key("g", "", 1), "benign", false)).await.unwrap();
    let bad = record(key("g", "", 1), "bad", true);
    assert_eq!(store.record(bad.clone()).await.unwrap(), Recorded::Conflict);
    assert_eq!(store.record(bad).await.unwrap(), Recorded::Duplicate);
    let messages = rows(store, View::Messages).await;
    assert_eq!(messages.rows.len(), 1);
    assert_eq!(text(messages.cell(&messages.rows[0], "text")), "benign");
    let conflicts = rows(store, View::Conflicts).await;
    assert_eq!(text(conflicts.cell(&conflicts.rows[0], "text")), "bad");
    assert_eq!(text(conflicts.cell(&conflicts.rows[0], "verdict")), "recall");
    assert_eq!(states(store).await, ["pending"]);
    assert_eq!(rows(store, View::Hits).await.rows.len(), 1);
}

pub(super) async fn a_key_that_comes_twice_in_one_batch_is_stored_once(store: &dyn Store) {
    let one = || store.record(record(key("g", "", 7), "one", false));
    let other = store.record(record(key("g", "", 7), "other", false));
    let (a, b, c, d) = tokio::join!(one(), one(), other, one());
    let outcomes = [a.unwrap(), b.unwrap(), c.unwrap(), d.unwrap()];
    let count = |wanted| outcomes.iter().filter(|outcome| **outcome == wanted).count();
    assert_eq!(
        (count(Recorded::New), count(Recorded::Duplicate), count(Recorded::Conflict)),
        (1, 2, 1)
    );
}

pub(super) async fn a_conflict_gets_no_second_unfinished_job(store: &dyn Store) {
    store.record(record(key("g", "", 1), "bad one", true)).await.unwrap();
    store.record(record(key("g", "", 1), "bad two", true)).await.unwrap();
    assert_eq!(states(store).await, ["pending"]);
    let lease = lease_all(store).await;
    // The call under way recalls the sequence, whatever its content.
    store.record(record(key("g", "", 1), "bad two and a half", true)).await.unwrap();
    assert_eq!(states(store).await, ["leased"]);
    let updates = vec![update(&lease.jobs[0], JobState::Recalled, Some(0))];
    store.finish(finished(&lease), updates).await.unwrap();
    store.record(record(key("g", "", 1), "bad three", true)).await.unwrap();
    assert_eq!(states(store).await, ["pending", "recalled"]);
}

pub(super) async fn topics_number_their_messages_apart(store: &dyn Store) {
    for topic in ["", "a", "b"] {
        let outcome = store.record(record(key("g", topic, 1), "bad", true)).await.unwrap();
        assert_eq!(outcome, Recorded::New);
    }
    let mut topics: Vec<_> = waiting(store)
        .await
        .iter()
        .map(|job| job.conversation.topic_id.as_str().to_owned())
        .collect();
    topics.sort();
    assert_eq!(topics, ["", "a", "b"]);
}

pub(super) async fn a_job_is_leased_once(store: &dyn Store) {
    store.record(record(key("g", "", 1), "bad", true)).await.unwrap();
    let jobs = waiting(store).await;
    let request = LeaseRequest {
        conversation_id: jobs[0].conversation.conversation_id,
        jobs: vec![jobs[0].job_id],
        at: NOW,
    };
    let leases = store.lease(vec![request.clone(), request]).await.unwrap();
    assert_eq!((leases[0].jobs.len(), leases[1].jobs.len()), (1, 0));
    assert_eq!(waiting(store).await, []);
    let updates = vec![update(&leases[0].jobs[0], JobState::Recalled, Some(0))];
    let settled = store.finish(finished(&leases[0]), updates).await.unwrap();
    let exposure = settled[0].exposure.unwrap();
    assert_eq!((exposure.delivery_ms, exposure.queue_ms, exposure.call_ms), (30, 11, 49));
    assert_eq!(exposure.total_ms(), 90);
    let calls = rows(store, View::Calls).await;
    assert_eq!(calls.rows.len(), 1);
    assert_eq!(text(calls.cell(&calls.rows[0], "sequences")), "[1]");
    assert_eq!(text(calls.cell(&calls.rows[0], "outcome")), "answered");
    let recalls = rows(store, View::Recalls).await;
    assert_eq!(text(recalls.cell(&recalls.rows[0], "exposure_ms")), "90");
    assert_eq!(text(recalls.cell(&recalls.rows[0], "attempts")), "1");
}

pub(super) async fn an_answer_to_an_older_lease_changes_nothing(store: &dyn Store) {
    store.record(record(key("g", "", 1), "bad", true)).await.unwrap();
    let old = lease_all(store).await;
    store.recover(NOW).await.unwrap();
    let new = lease_all(store).await;
    let late = vec![update(&old.jobs[0], JobState::Dead, Some(10004))];
    assert_eq!(store.finish(finished(&old), late).await.unwrap(), []);
    assert_eq!(states(store).await, ["leased"]);
    let answer = vec![update(&new.jobs[0], JobState::Recalled, Some(0))];
    assert_eq!(store.finish(finished(&new), answer).await.unwrap().len(), 1);
    assert_eq!(states(store).await, ["recalled"]);
}

pub(super) async fn a_lease_given_back_leaves_no_trace(store: &dyn Store) {
    store.record(record(key("g", "", 1), "bad", true)).await.unwrap();
    let before = waiting(store).await;
    let lease = lease_all(store).await;
    store.unlease(lease).await.unwrap();
    assert_eq!(waiting(store).await, before);
    assert_eq!(rows(store, View::Calls).await.rows.len(), 0);
    let recalls = rows(store, View::Recalls).await;
    assert_eq!(text(recalls.cell(&recalls.rows[0], "attempts")), "0");
}

pub(super) async fn a_crash_leaves_jobs_waiting_with_an_unclear_outcome(store: &dyn Store) {
    store.record(record(key("g", "", 1), "bad", true)).await.unwrap();
    lease_all(store).await;
    assert_eq!(store.recover(NOW).await.unwrap(), 1);
    assert_eq!(store.recover(NOW).await.unwrap(), 0);
    assert!(lease_all(store).await.jobs[0].unclear);
    let calls = rows(store, View::Calls).await;
    assert_eq!(text(calls.cell(&calls.rows[1], "outcome")), "unclear");
    assert!(store.last_call_at().await.unwrap().is_some());
}

pub(super) async fn a_recall_by_others_ends_a_waiting_job(store: &dyn Store) {
    let mut events = store.subscribe().await.unwrap();
    store.record(record(key("g", "", 1), "bad", true)).await.unwrap();
    store.recalled(recalled(&[1, 2], false)).await.unwrap();
    assert_eq!(states(store).await, ["gone"]);
    assert!(matches!(events.recv().await, Some(JobEvent::Queued(_))));
    assert!(matches!(events.recv().await, Some(JobEvent::Withdrawn(ids)) if ids.len() == 1));
}

pub(super) async fn a_callback_confirms_an_unclear_recall(store: &dyn Store) {
    store.record(record(key("g", "", 1), "bad", true)).await.unwrap();
    let lease = lease_all(store).await;
    let unclear = vec![update(&lease.jobs[0], JobState::Retry, None)];
    store.finish(finished(&lease), unclear).await.unwrap();
    store.recalled(recalled(&[1], true)).await.unwrap();
    assert_eq!(states(store).await, ["recalled"]);
    let recalls = rows(store, View::Recalls).await;
    assert_eq!(text(recalls.cell(&recalls.rows[0], "exposure_ms")), "null");
    assert_ne!(text(recalls.cell(&recalls.rows[0], "confirmed_at")), "null");
}

pub(super) async fn a_repeat_answered_with_gone_is_recalled_once_confirmed(store: &dyn Store) {
    store.record(record(key("g", "", 1), "bad", true)).await.unwrap();
    let lease = lease_all(store).await;
    let unclear = vec![update(&lease.jobs[0], JobState::Retry, None)];
    store.finish(finished(&lease), unclear).await.unwrap();
    let lease = lease_all(store).await;
    let gone = vec![update(&lease.jobs[0], JobState::Gone, Some(10030))];
    store.finish(finished(&lease), gone).await.unwrap();
    assert_eq!(states(store).await, ["gone"]);
    store.recalled(recalled(&[1], true)).await.unwrap();
    assert_eq!(states(store).await, ["recalled"]);
}

fn destroyed(topics: &[&str], at: Timestamp) -> Destroyed {
    Destroyed {
        group_id: "g".into(),
        topic_ids: topics.iter().map(|topic| (*topic).into()).collect(),
        at,
    }
}

pub(super) async fn a_destroyed_group_refuses_its_jobs_and_starts_afresh(store: &dyn Store) {
    store.record(record(key("g", "", 1), "bad", true)).await.unwrap();
    let gone_at = NOW.after(Duration::from_secs(5));
    store.destroyed(destroyed(&[], gone_at)).await.unwrap();
    assert_eq!(states(store).await, ["refused"]);
    // A straggler of the first life, then the same sequence in the second.
    let late = record(key("g", "", 2), "late", true);
    store.record(late).await.unwrap();
    assert_eq!(states(store).await, ["refused", "refused"]);
    let mut again = record(key("g", "", 1), "other", true);
    again.message.sent_at = gone_at.after(Duration::from_mins(1));
    assert_eq!(store.record(again.clone()).await.unwrap(), Recorded::New);
    // The callback comes once more; the second life goes on.
    store.destroyed(destroyed(&[], gone_at)).await.unwrap();
    assert_eq!(states(store).await, ["pending", "refused", "refused"]);
    assert_eq!(store.record(again).await.unwrap(), Recorded::Duplicate);
}

pub(super) async fn a_destroyed_topic_leaves_its_siblings_alone(store: &dyn Store) {
    for topic in ["", "a", "b"] {
        store.record(record(key("g", topic, 1), "bad", true)).await.unwrap();
    }
    store.destroyed(destroyed(&["a"], NOW.after(Duration::from_secs(5)))).await.unwrap();
    assert_eq!(states(store).await, ["pending", "refused", "pending"]);
}

pub(super) async fn quarantine_is_bounded(store: &dyn Store) {
    for n in 0..7 {
        let body = Quarantined {
            received_at: NOW,
            command: "Group.CallbackAfterSendMsg".into(),
            reason: "no GroupId".into(),
            body: vec![b'0' + n, 0xff],
        };
        store.quarantine(body).await.unwrap();
    }
    let kept = rows(store, View::Quarantine).await;
    assert_eq!(kept.rows.len(), 5);
    assert_eq!(text(kept.cell(&kept.rows[4], "body")), "2\u{fffd}");
}

pub(super) async fn pages_go_backwards_through_everything(store: &dyn Store) {
    for seq in 1..=25 {
        store.record(record(key("g", "", seq), "x", seq % 5 == 0)).await.unwrap();
    }
    let mut filter = Filter { limit: 10, group: Some("g".into()), ..Filter::default() };
    let mut seen = Vec::new();
    loop {
        let page = store.page(View::Messages, &filter).await.unwrap();
        seen.extend(page.rows.iter().map(|row| page.cell(row, "msg_seq").clone()));
        filter.cursor = page.next;
        if page.next.is_none() {
            break;
        }
    }
    assert_eq!(seen, (1..=25).rev().map(Cell::Integer).collect::<Vec<_>>());
    let of = |filter: Filter| async move {
        store.page(View::Messages, &filter).await.unwrap().rows.len()
    };
    assert_eq!(of(Filter { rule: Some("bait".into()), ..Filter::default() }).await, 5);
    assert_eq!(of(Filter { state: Some("recall".into()), ..Filter::default() }).await, 5);
    assert_eq!(of(Filter { group: Some("' or 1 --".into()), ..Filter::default() }).await, 0);
    assert_eq!(of(Filter { since: Some(NOW), until: Some(NOW), ..Filter::default() }).await, 0);
    let refused = Filter { rule: Some("bait".into()), ..Filter::default() };
    assert!(matches!(store.page(View::Calls, &refused).await, Err(Error::Invalid(_))));
    assert_eq!(store.jobs_by_state().await.unwrap(), [("pending".to_owned(), 5)]);
}

pub(super) async fn what_waits_is_told_to_the_worker(store: &dyn Store) {
    let mut events = store.subscribe().await.unwrap();
    store.record(record(key("g", "", 1), "fine", false)).await.unwrap();
    let mut online = record(key("g", "", 2), "bad", true);
    if let Some(job) = &mut online.job {
        job.state = JobState::Refused;
    }
    store.record(online).await.unwrap();
    store.record(record(key("g", "", 3), "bad", true)).await.unwrap();
    let Some(JobEvent::Queued(job)) = events.recv().await else { panic!("no job was told of") };
    assert_eq!((job.msg_seq, job.severity), (3, Severity::High));
    assert_eq!(vec![job], waiting(store).await);
    assert!(events.try_recv().is_err());
    assert_eq!(Arc::strong_count(&waiting(store).await[0].conversation), 1);
}

pub(super) async fn messages_are_read_back_as_they_were_judged(store: &dyn Store) {
    let plain = record(key("g", "t", 1), "plain\ntext", false);
    let mut rich = record(key("g", "", 2), "", false);
    rich.message.elements = vec![
        Element {
            msg_type: "TIMFaceElem".into(),
            content: serde_json::json!({"Index": 1, "Data": "smile"}).into(),
        },
        Element {
            msg_type: "TIMTextElem".into(),
            content: serde_json::json!({"Text": "look"}).into(),
        },
    ];
    rich.message.cloud_custom_data = r#"{"quote":"before"}"#.into();
    rich.message.mentions = Mentions { everyone: true, accounts: vec!["ann".into()] };
    rich.message.operator = "administrator".into();
    rich.message.online_only = true;
    let mut judged = vec![*plain.message.clone(), *rich.message.clone()];
    for message in &mut judged {
        message.text = crate::text::extract(&message.elements, &message.cloud_custom_data);
    }
    for (mut record, message) in [plain, rich].into_iter().zip(&judged) {
        record.message.text = message.text.clone();
        store.record(record).await.unwrap();
    }
    let first = store.message_before(Timestamp(0), 100).await.unwrap();
    let stored = store.messages_after(first, 100).await.unwrap();
    assert_eq!(
        stored.iter().map(|stored| &stored.message).collect::<Vec<_>>(),
        judged.iter().collect::<Vec<_>>()
    );
    let latest = store.message_before(Timestamp(0), 1).await.unwrap();
    assert_eq!(store.messages_after(latest, 100).await.unwrap().len(), 1);
    let none = store.message_before(NOW.after(Duration::from_secs(9)), 100).await.unwrap();
    assert_eq!(store.messages_after(none, 100).await.unwrap(), []);
}

pub(super) async fn a_call_under_way_when_its_group_ends_is_not_repeated(store: &dyn Store) {
    store.record(record(key("g", "", 1), "bad", true)).await.unwrap();
    let lease = lease_all(store).await;
    store.destroyed(destroyed(&[], NOW.after(Duration::from_secs(5)))).await.unwrap();
    let again = vec![update(&lease.jobs[0], JobState::Retry, None)];
    store.finish(finished(&lease), again).await.unwrap();
    assert_eq!(lease_all(store).await.jobs, []);
    assert_eq!(states(store).await, ["refused"]);
}

pub(super) async fn a_late_message_belongs_to_the_life_it_was_sent_in(store: &dyn Store) {
    let gone_at = NOW.after(Duration::from_secs(5));
    store.record(record(key("g", "", 1), "old", false)).await.unwrap();
    store.destroyed(destroyed(&[], gone_at)).await.unwrap();
    let mut new = record(key("g", "", 1), "new", false);
    new.message.sent_at = gone_at.after(Duration::from_secs(5));
    store.record(new).await.unwrap();
    // Sequence 2 of the old life, told late: it must not be recalled from the new group.
    store.record(record(key("g", "", 2), "old and bad", true)).await.unwrap();
    assert_eq!(states(store).await, ["refused"]);
    // A recall in the old life says nothing about the new one.
    let mut bad = record(key("g", "", 3), "new and bad", true);
    bad.message.sent_at = gone_at.after(Duration::from_secs(6));
    store.record(bad).await.unwrap();
    store.recalled(recalled(&[3], false)).await.unwrap();
    assert_eq!(states(store).await, ["pending", "refused"]);
}

pub(super) async fn within_the_second_of_the_end_the_sequence_tells_the_life(store: &dyn Store) {
    let mut old = record(key("g", "", 1), "old", false);
    old.message.sent_at = NOW.before(Duration::from_mins(1));
    store.record(old).await.unwrap();
    store.destroyed(destroyed(&[], NOW.after(Duration::from_millis(300)))).await.unwrap();
    let again = record(key("g", "", 1), "new and bad", true);
    assert_eq!(store.record(again).await.unwrap(), Recorded::New);
    assert_eq!(states(store).await, ["pending"]);
}

pub(super) async fn a_moderators_recall_does_not_make_ours_of_it(store: &dyn Store) {
    store.record(record(key("g", "", 1), "bad", true)).await.unwrap();
    let lease = lease_all(store).await;
    store.recalled(recalled(&[1], false)).await.unwrap();
    let unclear = vec![update(&lease.jobs[0], JobState::Retry, None)];
    store.finish(finished(&lease), unclear).await.unwrap();
    let lease = lease_all(store).await;
    let gone = vec![update(&lease.jobs[0], JobState::Gone, Some(10030))];
    store.finish(finished(&lease), gone).await.unwrap();
    assert_eq!(states(store).await, ["gone"]);
}

pub(super) async fn what_a_tripped_rule_asks_for_is_held(store: &dyn Store) {
    let by = By::new("quell", NOW);
    store.record(record(key("g", "", 1), "bad", true)).await.unwrap();
    let lease = lease_all(store).await;
    store.record(record(key("g", "", 2), "bad", true)).await.unwrap();
    store.trip(&by, &"bait".into(), "too much").await.unwrap();
    // On its way while the rule tripped, and in a call then.
    store.record(record(key("g", "", 3), "bad", true)).await.unwrap();
    let again = vec![update(&lease.jobs[0], JobState::Retry, None)];
    store.finish(finished(&lease), again).await.unwrap();
    assert_eq!(states(store).await, ["held", "held", "held"]);
    let released = store.change_jobs(&by, JobChange::Release, &JobFilter::default()).await.unwrap();
    assert_eq!((released, waiting(store).await.len()), (3, 3));
    assert!(store.untrip(&by, &"bait".into()).await.unwrap());
    assert!(!store.untrip(&by, &"bait".into()).await.unwrap());
    let acts = rows(store, View::Operations).await;
    let acts: Vec<_> = acts.rows.iter().map(|row| text(acts.cell(row, "act"))).collect();
    assert_eq!(acts, ["rule reset", "jobs release", "rule tripped"]);
}

/// A lease that did not leave, and one that a crash broke off.
pub(super) async fn a_lease_of_a_tripped_rule_comes_back_held(store: &dyn Store) {
    let by = By::new("quell", NOW);
    let mut events = store.subscribe().await.unwrap();
    store.record(record(key("g", "", 1), "bad", true)).await.unwrap();
    let unsent = lease_all(store).await;
    store.record(record(key("g", "", 2), "bad", true)).await.unwrap();
    let broken_off = lease_all(store).await;
    store.trip(&by, &"bait".into(), "too much").await.unwrap();
    let mut unwanted = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let JobEvent::Unwanted(leased) = event {
            unwanted.extend(leased);
        }
    }
    let leased = [&unsent, &broken_off].map(|lease| (lease.jobs[0].job_id, lease.jobs[0].lease));
    assert_eq!(unwanted, leased);
    store.unlease(unsent).await.unwrap();
    assert_eq!(states(store).await, ["leased", "held"]);
    store.recover(NOW).await.unwrap();
    assert_eq!(states(store).await, ["held", "held"]);
    assert_eq!(waiting(store).await, []);
    let recalls = rows(store, View::Recalls).await;
    for row in &recalls.rows {
        assert_eq!(text(recalls.cell(row, "reason")), "rule tripped");
        assert_eq!(text(recalls.cell(row, "finished_at")), "null");
    }
    // What an operator releases goes out, and what an operator wants comes first.
    store.change_jobs(&by, JobChange::Release, &JobFilter::default()).await.unwrap();
    let lease = lease_all(store).await;
    assert_eq!(lease.jobs.len(), 2);
    store.change_jobs(&by, JobChange::Cancel, &JobFilter::default()).await.unwrap();
    store.unlease(lease).await.unwrap();
    assert_eq!(states(store).await, ["cancelled", "cancelled"]);
}

pub(super) async fn a_sweeps_lease_ends_with_its_plan(store: &dyn Store) {
    let by = By::new("ada", NOW);
    let plan = keep(store, 1..=1).await;
    store.apply(&by, plan).await.unwrap();
    store.step(plan, 9, NOW).await.unwrap();
    let unsent = lease_all(store).await;
    let other = keep(store, 2..=2).await;
    store.apply(&by, other).await.unwrap();
    store.step(other, 9, NOW).await.unwrap();
    lease_all(store).await;
    store.cancel(&by, plan).await.unwrap();
    store.cancel(&by, other).await.unwrap();
    store.unlease(unsent).await.unwrap();
    store.recover(NOW).await.unwrap();
    assert_eq!(states(store).await, ["cancelled", "cancelled"]);
    let recalls = rows(store, View::Recalls).await;
    for row in &recalls.rows {
        assert_eq!(text(recalls.cell(row, "reason")), "plan cancelled");
        assert_ne!(text(recalls.cell(row, "finished_at")), "null");
    }
}

pub(super) async fn judged_messages_come_back_in_pages_with_what_was_decided(store: &dyn Store) {
    for seq in 1..=5 {
        let mut record = record(key("g", "", seq), &format!("text {seq}"), seq == 4);
        record.message.received_at = NOW.after(Duration::from_mins(10 * seq));
        record.signals.counts.insert("flood/group/10s".into(), 7);
        if seq == 5 {
            record.message.key.group_id = "other \"group\"".into();
            record.message.text = Text::bare("nul \u{0}, quote \", end");
            record.message.elements[0].content =
                serde_json::json!({ "Text": record.message.text.as_str() }).into();
            record.message.mentions.accounts = vec!["a \"b\"".into()];
        }
        store.record(record).await.unwrap();
    }
    store.record(record(key("g", "", 1), "other", true)).await.unwrap();
    let all = store.stretch(None).await.unwrap();
    assert_eq!((all.most(), store.conflicts(all, None).await.unwrap()), (5, 1));
    assert_eq!(store.conflicts(all, Some("elsewhere")).await.unwrap(), 0);
    let page = store.judged(all, 3, None).await.unwrap().unwrap();
    let rest = Stretch { after: page.last, ..all };
    let first = page.messages().unwrap();
    let second = store.judged(rest, 3, None).await.unwrap().unwrap();
    let end = Stretch { after: second.last, ..all };
    let second = second.messages().unwrap();
    assert!(store.judged(end, 3, None).await.unwrap().is_none());
    assert_eq!((first.len(), second.len()), (3, 2));
    assert!(
        first
            .iter()
            .chain(&second)
            .all(|judged| judged.has_text && judged.signals.count("flood/group/10s") == Some(7))
    );
    assert!(first[0].hits.is_empty(), "the hits of a conflict are its own");
    assert_eq!((second[0].verdict, second[0].message.text.as_str()), (Verdict::Recall, "text 4"));
    assert_eq!(second[0].hits, [PastHit { rule: "bait".into(), mode: Mode::Live }]);
    let odd = &second[1].message;
    assert_eq!(odd.text.as_str(), "nul \u{0}, quote \", end");
    assert_eq!(odd.mentions.accounts, ["a \"b\"".into()]);
    let of_group = store.judged(all, 9, Some("other \"group\"")).await.unwrap().unwrap();
    assert_eq!(of_group.messages().unwrap(), second[1..]);
    let matched = store.matched(all, Verdict::Flag, 9).await.unwrap().unwrap();
    assert_eq!((matched.last, matched.messages().unwrap()), (end.after - 1, second[..1].to_vec()));
    let rest = Stretch { after: end.after - 1, ..all };
    assert!(store.matched(rest, Verdict::Flag, 9).await.unwrap().is_none());
    // Some that were received a little before may be among them, none that came later is missing.
    let since = store.stretch(Some(NOW.after(Duration::from_mins(35)))).await.unwrap();
    assert_eq!(since.most(), 2);
    assert_eq!(store.stretch(Some(NOW.after(Duration::from_hours(9)))).await.unwrap().most(), 0);
    assert!(store.knows_group("g").await.unwrap() && !store.knows_group("h").await.unwrap());
    assert!(store.counted(all).await.unwrap().is_empty(), "its rules do not say what they count");
    // The hits of what lies in between stay with it.
    let odd = record(key("other \"group\"", "", 6), "last", false);
    store.record(record(key("g", "", 6), "text 6", true)).await.unwrap();
    store.record(odd).await.unwrap();
    let all = Stretch { until: store.stretch(None).await.unwrap().until, ..all };
    let of_group = store.judged(all, 9, Some("other \"group\"")).await.unwrap().unwrap();
    let of_group = of_group.messages().unwrap();
    assert!(of_group.len() == 2 && of_group[1].hits.is_empty(), "{of_group:?}");
    let matched = store.matched(all, Verdict::Recall, 1).await.unwrap().unwrap();
    let rest = Stretch { after: matched.last, ..all };
    let rest = store.matched(rest, Verdict::Recall, 9).await.unwrap().unwrap().messages().unwrap();
    assert_eq!((rest.len(), rest[0].message.text.as_str()), (1, "text 6"));
    assert_eq!(store.matched(all, Verdict::Pass, 9).await.unwrap().unwrap().last, all.until);
}

/// Keeps a plan of sequences of `g`.
async fn keep(store: &dyn Store, seqs: std::ops::RangeInclusive<MsgSeq>) -> PlanId {
    let which =
        Meant::Sequences { group: "g".into(), topic: String::new(), seqs: seqs.collect(), at: NOW };
    let meant = store.meant(&which, 1_000).await.unwrap();
    let plan = NewPlan {
        asked: "{}".into(),
        digest: "d".into(),
        rules_version: VERSION.into(),
        calls: 1,
        messages: meant.into_iter().map(|message| (message, None)).collect(),
    };
    store.keep(&By::new("ada", NOW), plan).await.unwrap()
}

pub(super) async fn a_plan_does_nothing_until_it_is_applied_in_steps(store: &dyn Store) {
    let by = By::new("ada", NOW);
    let plan = keep(store, 1..=5).await;
    assert!(store.unfinished_plans().await.unwrap().is_empty());
    assert!(!store.step(plan, 2, NOW).await.unwrap());
    assert_eq!(waiting(store).await, []);
    let mut events = store.subscribe().await.unwrap();
    store.apply(&by, plan).await.unwrap();
    store.apply(&by, plan).await.unwrap();
    assert_eq!(store.unfinished_plans().await.unwrap(), [plan]);
    for (queued, more) in [(2, true), (4, true), (5, false)] {
        assert_eq!(store.step(plan, 2, NOW).await.unwrap(), more);
        assert_eq!(waiting(store).await.len(), queued);
        assert_eq!(store.plan(plan).await.unwrap().unwrap().progress, queued as u64);
    }
    assert!(waiting(store).await.iter().all(|job| job.background));
    assert!(matches!(events.recv().await, Some(JobEvent::Queued(job)) if job.background));
    let kept = store.plan(plan).await.unwrap().unwrap();
    assert_eq!((kept.state, kept.messages, kept.groups), (crate::model::PlanState::Applied, 5, 1));
    assert_eq!(kept.jobs, [("pending".to_owned(), 5)]);
    let acts = rows(store, View::Operations).await;
    let acts: Vec<_> = acts.rows.iter().map(|row| text(acts.cell(row, "act"))).collect();
    assert_eq!(acts, ["plan apply", "plan"]);
    assert_eq!(store.plan(plan + 1).await.unwrap(), None);
    assert!(matches!(store.apply(&by, plan + 1).await, Err(Error::Invalid(_))));
}

pub(super) async fn a_cancelled_plan_ends_what_waits(store: &dyn Store) {
    let by = By::new("ada", NOW);
    let plan = keep(store, 1..=5).await;
    store.apply(&by, plan).await.unwrap();
    assert!(store.step(plan, 3, NOW).await.unwrap());
    store.cancel(&by, plan).await.unwrap();
    assert!(store.step(plan, 2, NOW).await.unwrap());
    assert!(!store.step(plan, 2, NOW).await.unwrap());
    assert_eq!(states(store).await, ["cancelled", "cancelled", "cancelled"]);
    assert!(matches!(store.apply(&by, plan).await, Err(Error::Invalid(_))));
    let plans = rows(store, View::Plans).await;
    assert_eq!(text(plans.cell(&plans.rows[0], "state")), "cancelled");
    assert_eq!(text(plans.cell(&plans.rows[0], "finished_at_iso")), "2025-11-24T16:00:00.000Z");
}

pub(super) async fn a_plan_leaves_out_what_was_dealt_with_meanwhile(store: &dyn Store) {
    for seq in 1..=3 {
        store.record(record(key("g", "", seq), "fine", false)).await.unwrap();
    }
    let plan = keep(store, 1..=3).await;
    let other = keep(store, 2..=2).await;
    let by = By::new("ada", NOW);
    store.apply(&by, other).await.unwrap();
    assert!(!store.step(other, 9, NOW).await.unwrap());
    store.apply(&by, plan).await.unwrap();
    assert!(!store.step(plan, 9, NOW).await.unwrap());
    let seqs: Vec<_> = waiting(store).await.iter().map(|job| job.msg_seq).collect();
    assert_eq!(seqs, [2, 1, 3]);
    let obstacles = store.plan(plan).await.unwrap().unwrap().obstacles;
    assert_eq!(obstacles, [("dealt with since it was planned".to_owned(), 1)]);
}

pub(super) async fn what_was_never_recorded_can_be_meant(store: &dyn Store) {
    store.record(record(key("g", "", 5), "fine", false)).await.unwrap();
    let plan = keep(store, 4..=6).await;
    let planned = store.planned(plan, 10).await.unwrap();
    let senders: Vec<_> = planned.iter().map(|message| message.sender.as_str()).collect();
    assert_eq!(senders, ["", "mallory", ""]);
    // What was never recorded was sent before what came after it, at the latest.
    let which = Meant::Sequences {
        group: "g".into(),
        topic: String::new(),
        seqs: vec![4, 6],
        at: NOW.after(Duration::from_mins(1)),
    };
    let meant = store.meant(&which, 9).await.unwrap();
    assert_eq!(
        (Some(meant[0].sent_at), meant[1].sent_at),
        (planned[1].sent_at, NOW.after(Duration::from_mins(1)))
    );
    // That is no moment at which it was sent, and is not shown as one.
    assert_eq!((planned[0].sent_at, planned[2].sent_at), (None, None));
    store.apply(&By::new("ada", NOW), plan).await.unwrap();
    store.step(plan, 9, NOW).await.unwrap();
    let recalls = rows(store, View::Recalls).await;
    let ids: Vec<_> =
        recalls.rows.iter().map(|row| text(recalls.cell(row, "message_id"))).collect();
    assert_eq!((ids[0].as_str(), ids[2].as_str()), ("null", "null"));
    let asked = text(recalls.cell(&recalls.rows[0], "requested_by"));
    assert_eq!(asked, format!("plan:{plan}"));
}

pub(super) async fn what_is_wanted_of_a_job_in_a_call_is_remembered(store: &dyn Store) {
    let by = By::new("ada", NOW);
    let change = async |change, seq: i64| {
        let page = rows(store, View::Recalls).await;
        let row = page.rows.iter().find(|row| text(page.cell(row, "msg_seq")) == seq.to_string());
        let job = text(page.cell(row.unwrap(), "job_id")).parse().unwrap();
        let which = JobFilter { jobs: vec![job], ..JobFilter::default() };
        store.change_jobs(&by, change, &which).await.unwrap()
    };
    for seq in 1..=6 {
        store.record(record(key("g", "", seq), "bad", true)).await.unwrap();
    }
    let mut lease = lease_all(store).await;
    lease.jobs.sort_by_key(|job| job.msg_seq);
    assert_eq!(change(JobChange::Cancel, 1).await, 1);
    assert_eq!(change(JobChange::Cancel, 1).await, 0);
    for seq in 2..=4 {
        assert_eq!(change(JobChange::Hold, seq).await, 1);
    }
    assert_eq!(change(JobChange::Release, 3).await, 1);
    assert_eq!(change(JobChange::Cancel, 5).await, 1);
    assert_eq!(states(store).await, ["leased"; 6]);
    // What the call did is done; only another try is no longer wanted.
    let mut updates: Vec<_> =
        lease.jobs[..5].iter().map(|job| update(job, JobState::Retry, None)).collect();
    updates[3] = update(&lease.jobs[3], JobState::Recalled, Some(0));
    store.finish(finished(&lease), updates).await.unwrap();
    let expected = ["cancelled", "held", "retry", "recalled", "cancelled", "leased"];
    let mut found = states(store).await;
    found.reverse();
    assert_eq!(found, expected);
    let page = rows(store, View::Recalls).await;
    let reasons: Vec<_> = page.rows.iter().map(|row| text(page.cell(row, "reason"))).collect();
    assert!(reasons.contains(&"cancelled by ada".to_owned()), "{reasons:?}");
    assert!(reasons.contains(&"held by ada".to_owned()), "{reasons:?}");
    // A lease that did not leave, and one that a crash broke off.
    let retry = lease_all(store).await;
    change(JobChange::Hold, 3).await;
    store.unlease(retry).await.unwrap();
    change(JobChange::Cancel, 6).await;
    store.recover(NOW).await.unwrap();
    let mut found = states(store).await;
    found.sort();
    assert_eq!(found, ["cancelled", "cancelled", "cancelled", "held", "held", "recalled"]);
    // What is let go again is not bound by what was wanted before.
    assert_eq!(change(JobChange::Release, 3).await, 1);
    let lease = lease_all(store).await;
    let again = vec![update(&lease.jobs[0], JobState::Retry, None)];
    store.finish(finished(&lease), again).await.unwrap();
    assert_eq!(waiting(store).await.len(), 1);
}

pub(super) async fn a_refusal_is_no_failure_of_the_store(store: &dyn Store) {
    let by = By::new("ada", NOW);
    let mut stream = record(key("av", "", 1), "fine", false);
    stream.message.group_type = GroupType("AVChatRoom".into());
    store.record(stream).await.unwrap();
    let cancelled = keep(store, 1..=1).await;
    store.cancel(&by, cancelled).await.unwrap();
    store.step(cancelled, 9, NOW).await.unwrap();
    let done = keep(store, 2..=2).await;
    store.apply(&by, done).await.unwrap();
    store.step(done, 9, NOW).await.unwrap();
    let lease = lease_all(store).await;
    let answer = vec![update(&lease.jobs[0], JobState::Recalled, Some(0))];
    store.finish(finished(&lease), answer).await.unwrap();
    let acts = rows(store, View::Operations).await.rows.len();
    let mut events = store.subscribe().await.unwrap();
    let refused = [
        store.apply(&by, 999).await,
        store.apply(&by, cancelled).await,
        store.cancel(&by, done).await,
        store.start_backfill(&by, &"av".into(), &"".into(), 1, 0).await.map(drop),
    ];
    assert!(refused.iter().all(|answer| matches!(answer, Err(Error::Invalid(_)))), "{refused:?}");
    assert!(events.try_recv().is_err(), "whoever follows the queue was told of a failure");
    assert_eq!(rows(store, View::Operations).await.rows.len(), acts);
}

pub(super) async fn a_sweeps_retry_ends_with_its_plan(store: &dyn Store) {
    let by = By::new("ada", NOW);
    let plan = keep(store, 1..=1).await;
    store.apply(&by, plan).await.unwrap();
    store.step(plan, 9, NOW).await.unwrap();
    let lease = lease_all(store).await;
    // Nothing waits, but the call under way may fail.
    store.cancel(&by, plan).await.unwrap();
    assert!(!store.step(plan, 9, NOW).await.unwrap());
    assert_eq!(states(store).await, ["leased"]);
    let again = vec![update(&lease.jobs[0], JobState::Retry, None)];
    let settled = store.finish(finished(&lease), again).await.unwrap();
    assert_eq!((settled[0].state, settled[0].exposure), (JobState::Cancelled, None));
    assert_eq!(states(store).await, ["cancelled"]);
    let plan = keep(store, 2..=2).await;
    store.apply(&by, plan).await.unwrap();
    store.step(plan, 9, NOW).await.unwrap();
    let lease = lease_all(store).await;
    let done = vec![update(&lease.jobs[0], JobState::Recalled, Some(0))];
    store.finish(finished(&lease), done).await.unwrap();
    assert!(matches!(store.cancel(&by, plan).await, Err(Error::Invalid(_))), "all was done");
}
