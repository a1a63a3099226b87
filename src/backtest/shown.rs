//! A report as programs read it: `quell backtest --format json` and the API say the same.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Cost, Report, RuleTally, Sample};
use crate::model::{Mode, RuleId, RulesVersion, Timestamp, Verdict};
use crate::rules::CompiledRules;

/// What a recall costs.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub calls_per_second: u32,
    /// Messages a call.
    pub batch_size: usize,
}

/// What a rule set would have done otherwise.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = BacktestReport)]
pub struct Shown {
    #[schema(value_type = String)]
    pub rules_version: RulesVersion,
    /// Messages judged again and compared.
    pub messages: u64,
    #[schema(value_type = Option<i64>)]
    pub first_received_at: Option<Timestamp>,
    #[schema(value_type = Option<i64>)]
    pub last_received_at: Option<Timestamp>,
    /// Messages with any difference: a verdict, a hit or the mode of one.
    pub changed: u64,
    /// Messages whose text is no longer kept: neither judged nor compared.
    pub without_text: u64,
    /// Messages that came from history, where Chat tells neither platform nor mentions.
    pub from_history: u64,
    /// Contents that came for a known sequence; they are not compared.
    pub conflicts: u64,
    /// Hits that are new, of all rules.
    pub new: u64,
    /// Hits that were lost, of all rules.
    pub lost: u64,
    /// Every pair of verdicts.
    pub verdicts: Vec<ShownVerdicts>,
    /// Every rule of the candidate in its order, then those that only hit then.
    pub rules: Vec<ShownRule>,
    /// Those with the most changed hits.
    pub groups: Vec<ShownGroup>,
    /// Those with the most changed hits.
    pub senders: Vec<ShownSender>,
    /// What enforcing the candidate would have cost in all.
    pub cost: ShownCost,
    /// The same of messages that were not meant to be recalled then.
    pub extra_cost: ShownCost,
    /// What the figures leave out, in words.
    pub notes: Vec<String>,
}

/// Messages by what was decided then and what would be now.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = BacktestVerdicts)]
pub struct ShownVerdicts {
    /// `pass`, `flag` or `recall`.
    #[schema(value_type = String)]
    pub then: Verdict,
    #[schema(value_type = String)]
    pub now: Verdict,
    pub messages: u64,
}

/// A rule, by messages that it hit.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = BacktestRule)]
pub struct ShownRule {
    #[schema(value_type = String)]
    pub rule: RuleId,
    /// In the candidate; null where it is not there, or off.
    #[schema(value_type = Option<String>)]
    pub mode: Option<Mode>,
    pub new: u64,
    pub lost: u64,
    pub same: u64,
    /// Of the same, those that now count otherwise: live instead of shadow, or the reverse.
    pub other_mode: u64,
    pub new_samples: Vec<ShownSample>,
    pub lost_samples: Vec<ShownSample>,
}

/// A message that a rule now hits, or no longer does.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = BacktestSample)]
pub struct ShownSample {
    pub group_id: String,
    pub topic_id: String,
    pub msg_seq: u64,
    pub sender: String,
    #[schema(value_type = i64)]
    pub received_at: Timestamp,
    #[schema(value_type = String)]
    pub then: Verdict,
    #[schema(value_type = String)]
    pub now: Verdict,
    /// The beginning of its text.
    pub text: String,
}

/// Changed hits in a group.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = BacktestGroup)]
pub struct ShownGroup {
    pub group_id: String,
    pub new: u64,
    pub lost: u64,
}

/// Changed hits of a sender.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = BacktestSender)]
pub struct ShownSender {
    pub sender: String,
    pub new: u64,
    pub lost: u64,
}

/// What recalls would have cost.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = BacktestCost)]
pub struct ShownCost {
    pub messages: u64,
    pub calls: u64,
    pub seconds: f64,
}

impl Shown {
    /// A report with so many groups and senders.
    #[must_use]
    pub fn of(report: &Report, rules: &CompiledRules, pace: Pace, most: usize) -> Self {
        let pairs =
            Verdict::ALL.iter().flat_map(|then| Verdict::ALL.iter().map(move |now| (*then, *now)));
        let verdicts = pairs.map(|(then, now)| {
            let messages = report.verdicts[then as usize][now as usize];
            ShownVerdicts { then, now, messages }
        });
        let groups = report.groups(most).into_iter().map(|(id, tally)| ShownGroup {
            group_id: id.to_string(),
            new: tally.new,
            lost: tally.lost,
        });
        let senders = report.senders(most).into_iter().map(|(id, tally)| ShownSender {
            sender: id.to_string(),
            new: tally.new,
            lost: tally.lost,
        });
        Self {
            rules_version: report.rules_version.clone(),
            messages: report.messages,
            first_received_at: report.first_received_at,
            last_received_at: report.last_received_at,
            changed: report.changed,
            without_text: report.without_text,
            from_history: report.from_history,
            conflicts: report.conflicts,
            new: report.rules.iter().map(|tally| tally.hits.new).sum(),
            lost: report.rules.iter().map(|tally| tally.hits.lost).sum(),
            verdicts: verdicts.collect(),
            rules: report.rules.iter().map(ShownRule::from).collect(),
            groups: groups.collect(),
            senders: senders.collect(),
            cost: ShownCost::of(report.cost(pace.batch_size), pace),
            extra_cost: ShownCost::of(report.extra_cost(pace.batch_size), pace),
            notes: notes(report, rules),
        }
    }
}

impl From<&RuleTally> for ShownRule {
    fn from(tally: &RuleTally) -> Self {
        Self {
            rule: tally.rule.clone(),
            mode: tally.mode,
            new: tally.hits.new,
            lost: tally.hits.lost,
            same: tally.same,
            other_mode: tally.other_mode,
            new_samples: tally.new_samples.iter().map(ShownSample::from).collect(),
            lost_samples: tally.lost_samples.iter().map(ShownSample::from).collect(),
        }
    }
}

impl From<&Sample> for ShownSample {
    fn from(sample: &Sample) -> Self {
        Self {
            group_id: sample.key.group_id.to_string(),
            topic_id: sample.key.topic_id.to_string(),
            msg_seq: sample.key.msg_seq,
            sender: sample.sender.to_string(),
            received_at: sample.received_at,
            then: sample.then,
            now: sample.now,
            text: sample.text.clone(),
        }
    }
}

impl ShownCost {
    fn of(cost: Cost, pace: Pace) -> Self {
        let calls = u32::try_from(cost.calls).unwrap_or(u32::MAX);
        let seconds = f64::from(calls) / f64::from(pace.calls_per_second.max(1));
        Self { messages: cost.messages, calls: cost.calls, seconds }
    }
}

/// What the figures leave out, in words.
fn notes(report: &Report, rules: &CompiledRules) -> Vec<String> {
    let mut notes = Vec::new();
    if report.without_text > 0 {
        notes.push(format!(
            "{} messages were left out: their text is no longer kept",
            grouped(report.without_text)
        ));
    }
    let asking = rules.asking_the_callback();
    if report.from_history > 0 && !asking.is_empty() {
        let names: Vec<_> = asking.iter().map(RuleId::as_str).collect();
        notes.push(format!(
            "{} messages came from history, which tells neither platform nor mentions: {} may \
             miss some of them",
            grouped(report.from_history),
            names.join(", ")
        ));
    }
    if report.conflicts > 0 {
        notes.push(format!(
            "{} contents that came for a known sequence (v_conflicts) are not compared",
            grouped(report.conflicts)
        ));
    }
    if report.is_rough() {
        notes.push(
            "very many groups or senders changed: those with few changes are not counted in full"
                .into(),
        );
    }
    notes
}

/// A number with its thousands apart.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}
