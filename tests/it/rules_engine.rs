//! Judging messages: scope, exemptions, modes, overrides, windows.

use std::path::Path;

use quell::model::{
    Action, Element, GroupType, Mentions, Message, MessageKey, Mode, Severity, Signals, Source,
    Text, Timestamp, Verdict,
};
use quell::rules::{self, CompiledRules, Windows};
use quell::text;
use serde_json::json;

const SECOND: i64 = 1000;

fn load(yaml: &str) -> CompiledRules {
    let yaml = format!("version: 1\n{yaml}");
    rules::load_str("rules.yaml", &yaml, Path::new("")).unwrap_or_else(|e| panic!("{e}")).rules
}

fn message(group: &str, sender: &str, seq: u64, at: i64, text: &str) -> Message {
    let elements =
        vec![Element { msg_type: "TIMTextElem".into(), content: json!({ "Text": text }).into() }];
    Message {
        key: MessageKey { group_id: group.into(), topic_id: "".into(), msg_seq: seq },
        group_type: GroupType("Public".into()),
        sender: sender.into(),
        operator: sender.into(),
        sent_at: Timestamp(at),
        received_at: Timestamp(at),
        source: Source::Callback,
        online_only: false,
        platform: "Android".into(),
        mentions: Mentions::default(),
        text: text::extract(&elements, ""),
        elements,
        cloud_custom_data: String::new(),
        content_hash: [u8::try_from(seq % 251).unwrap(); 16],
    }
}

fn verdict(rules: &CompiledRules, message: &Message) -> Verdict {
    rules.judge(message, &Signals::default()).verdict
}

#[test]
fn a_rule_applies_where_its_scope_holds_and_no_exemption_does() {
    let rules = load(
        "rules:\n  - id: a\n    when: { keyword: [bad] }\n    scope: { groups: [g1, 'team-*'], types: Public }\n    exempt: { senders: [boss] }\n",
    );
    for (group, sender, expected) in [
        ("g1", "joe", Verdict::Recall),
        ("team-7", "joe", Verdict::Recall),
        ("g2", "joe", Verdict::Pass),
        ("g1", "boss", Verdict::Pass),
    ] {
        assert_eq!(
            verdict(&rules, &message(group, sender, 1, 0, "bad")),
            expected,
            "{group} {sender}"
        );
    }
}

#[test]
fn shadow_hits_are_recorded_and_decide_nothing() {
    let rules = load(
        "rules:\n  - { id: a, mode: shadow, when: { keyword: [bad] } }\n  - { id: b, mode: 'off', when: { keyword: [bad] } }\n  - { id: c, actions: [flag], when: { keyword: [worse] } }\n",
    );
    let judged = rules.judge(&message("g", "s", 1, 0, "bad"), &Signals::default());
    assert_eq!(judged.verdict, Verdict::Pass);
    assert_eq!(
        judged.hits.iter().map(|h| (h.rule.as_str(), h.mode)).collect::<Vec<_>>(),
        [("a", Mode::Shadow)]
    );
    let judged = rules.judge(&message("g", "s", 2, 0, "worse"), &Signals::default());
    assert_eq!((judged.verdict, judged.hits[0].action), (Verdict::Flag, Action::Flag));
}

#[test]
fn overrides_change_a_rule_in_their_groups_alone() {
    let rules = load(
        "rules:\n  - { id: a, when: { keyword: [bad] } }\noverrides:\n  - { groups: ['test-*'], rules: { a: { mode: shadow, severity: low } } }\n  - { groups: [test-1], rules: { a: { mode: 'off' } } }\n",
    );
    let judge = |group| rules.judge(&message(group, "s", 1, 0, "bad"), &Signals::default());
    assert_eq!(judge("g").verdict, Verdict::Recall);
    let shadowed = judge("test-2");
    assert_eq!((shadowed.verdict, shadowed.hits[0].severity), (Verdict::Pass, Severity::Low));
    assert!(judge("test-1").hits.is_empty());
}

#[test]
fn a_hit_may_span_elements_and_names_the_original_characters() {
    let rules = load("rules:\n  - { id: a, when: { keyword: [bad] } }\n");
    let mut split = message("g", "s", 1, 0, "");
    split.elements = ["这ba", "d吧"]
        .map(|text| Element {
            msg_type: "TIMTextElem".into(),
            content: json!({ "Text": text }).into(),
        })
        .into();
    split.text = text::extract(&split.elements, "");
    let judged = rules.judge(&split, &Signals::default());
    let hit = &judged.hits[0];
    assert_eq!((hit.start, hit.end, hit.text.as_str()), (1, 5, "ba\nd"));
}

#[test]
fn a_rollout_changes_no_verdict_and_answers_the_same_every_time() {
    let rules = load("rules:\n  - { id: a, rollout: 0.3, when: { keyword: [bad] } }\n");
    let share = (0..1000)
        .filter(|seq| {
            let message = message("g", "s", *seq, 0, "bad");
            assert_eq!(verdict(&rules, &message), Verdict::Recall);
            let once = rules.is_rolled_out(&"a".into(), &message.key);
            assert_eq!(once, rules.is_rolled_out(&"a".into(), &message.key));
            once
        })
        .count();
    assert!((200..400).contains(&share), "{share}");
}

#[test]
fn a_rollout_means_the_same_messages_in_every_version() {
    let rules = load("rules:\n  - { id: a, rollout: 0.3, when: { keyword: [bad] } }\n");
    let meant =
        |seq: &u64| rules.is_rolled_out(&"a".into(), &message("g", "s", *seq, 0, "bad").key);
    assert_eq!(
        (0..40).filter(meant).collect::<Vec<_>>(),
        [3, 6, 7, 9, 11, 12, 20, 21, 29, 30, 31, 38]
    );
}

#[test]
fn a_flood_is_counted_by_the_messages_own_time() {
    let rules = load("rules:\n  - { id: flood, when: { flood: { messages: 3, within: 10s } } }\n");
    let windows = Windows::default();
    let judge = |seq, at: i64, sender| {
        let message = message("g", sender, seq, at * SECOND, "hi");
        let signals = windows.observe(&rules, &message);
        rules.judge(&message, &signals).verdict
    };
    assert_eq!(judge(1, 0, "a"), Verdict::Pass);
    assert_eq!(judge(2, 1, "a"), Verdict::Pass);
    assert_eq!(judge(2, 1, "a"), Verdict::Pass, "a repeated callback is one message");
    assert_eq!(judge(3, 2, "b"), Verdict::Pass, "another sender");
    assert_eq!(judge(4, 5, "a"), Verdict::Recall);
    assert_eq!(judge(5, 30, "a"), Verdict::Pass, "the others lie too far back");
}

#[test]
fn repeats_are_seen_through_disguise_and_across_senders() {
    let rules = load(
        "rules:\n  - { id: same, when: { repeat: { times: 3, within: 10m } } }\n  - { id: campaign, when: { repeat: { times: 3, senders: 3, within: 10m, by: anyone, in: everywhere, near: true } } }\n",
    );
    let windows = Windows::default();
    let bait = "加微信领红包每天稳赚三百元名额有限先到先得联系客服小美";
    let rules_hit = |seq, group, sender, text: &str| {
        let message = message(group, sender, seq, i64::try_from(seq).unwrap() * SECOND, text);
        let signals = windows.observe(&rules, &message);
        let hits = rules.judge(&message, &signals).hits;
        hits.into_iter().map(|hit| hit.rule.to_string()).collect::<Vec<_>>()
    };
    assert!(rules_hit(1, "g1", "a", "Buy gold at the shop").is_empty());
    assert!(rules_hit(2, "g1", "a", "B.U.Y gold at the shop!!!").is_empty());
    assert_eq!(rules_hit(3, "g1", "a", "ｂｕｙ ｇｏｌｄ at the shop"), ["same"]);
    assert!(rules_hit(4, "g1", "x", bait).is_empty());
    assert!(rules_hit(5, "g2", "y", &format!("{bait}哦")).is_empty());
    assert_eq!(rules_hit(6, "g3", "z", &format!("【{bait}】")), ["campaign"]);
}

#[test]
fn a_newcomer_is_one_for_the_first_messages_and_a_refill_remembers() {
    let rules = load("rules:\n  - { id: new, when: { all: [{ newcomer: 2 }, { link: any }] } }\n");
    let text = "see a.example.com/x";
    let run = |windows: &Windows, seq| {
        let message = message("g", "s", seq, 0, text);
        rules.judge(&message, &windows.observe(&rules, &message)).verdict
    };
    let windows = Windows::default();
    let verdicts: Vec<_> = (1..=3).map(|seq| run(&windows, seq)).collect();
    assert_eq!(verdicts, [Verdict::Recall, Verdict::Recall, Verdict::Pass]);
    let refilled = Windows::default();
    let stored: Vec<_> = (1..=2).map(|seq| message("g", "s", seq, 0, text)).collect();
    refilled.refill(&rules, &stored);
    assert_eq!(run(&refilled, 3), Verdict::Pass);
}

#[test]
fn an_old_verdict_is_derived_again_from_its_signals() {
    let rules = load("rules:\n  - { id: flood, when: { flood: { messages: 2, within: 10s } } }\n");
    let windows = Windows::default();
    let _ = windows.observe(&rules, &message("g", "s", 1, 0, "hi"));
    let message = message("g", "s", 2, 0, "hi");
    let signals = windows.observe(&rules, &message);
    assert_eq!(rules.judge(&message, &signals).verdict, Verdict::Recall);
    let stored = serde_json::to_string(&signals).unwrap();
    let read: Signals = serde_json::from_str(&stored).unwrap();
    assert_eq!(rules.judge(&message, &read), rules.judge(&message, &signals));
    assert_eq!(verdict(&rules, &message), Verdict::Pass, "without its signals nobody counted");
}

#[test]
fn windows_stay_bounded_whatever_the_traffic() {
    let rules = load("rules:\n  - { id: flood, when: { flood: { messages: 300, within: 1h } } }\n");
    let windows = Windows::default();
    let mut last = Signals::default();
    for seq in 0..500 {
        last = windows.observe(&rules, &message("g", "s", seq, 0, "hi"));
    }
    assert_eq!(last.count("flood/group/3600s"), Some(128), "no more are remembered for one sender");
}

#[test]
fn exceptions_cancel_only_what_they_cover() {
    let rules = load(
        "rules:\n  - { id: a, when: { keyword: [口交] }, unless: [{ phrase: [路口交通] }] }\n",
    );
    let judge = |text| verdict(&rules, &message("g", "s", 1, 0, text));
    assert_eq!(judge("路口交通很堵"), Verdict::Pass);
    assert_eq!(judge("路口交通很堵，口交"), Verdict::Recall);
    assert_eq!(judge("道路口交叉"), Verdict::Recall);
}

#[test]
fn a_line_of_a_list_may_have_a_severity_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let yaml = "version: 1\nlists: { bait: { file: bait.txt } }\nrules:\n  - { id: a, severity: low, when: { keyword: { list: bait } } }\n";
    let write = |list: &str| std::fs::write(dir.path().join("bait.txt"), list).unwrap();
    write("free gift card\tcritical\n# a comment\nbuy now\n");
    let rules = rules::load_str("rules", yaml, dir.path()).unwrap().rules;
    let severities = |text: &str| -> Vec<_> {
        rules.judge_text(&Text::bare(text)).hits.iter().map(|hit| hit.severity).collect()
    };
    assert_eq!(severities("buy now"), [Severity::Low]);
    assert_eq!(severities("f.r.e.e gift card"), [Severity::Critical]);
    assert_eq!(severities("buy now: free gift card"), [Severity::Low, Severity::Critical]);
    write("buy now\nfree gift card\thihg\n");
    let error = rules::load_str("rules", yaml, dir.path()).unwrap_err().to_string();
    assert!(error.contains("bait.txt:2:16: `hihg` behind a tab is not a severity"), "{error}");
    assert!(error.contains("did you mean `high`?"), "{error}");
}
