//! What a backtest found. Parts of it are made page by page and put together in order.

use std::collections::HashMap;

use super::Options;
use super::top::Top;
use crate::model::{
    Action, GroupId, Judgement, MessageKey, Mode, RuleId, RulesVersion, Source, Timestamp, UserId,
    Verdict, excerpt,
};
use crate::rules::CompiledRules;
use crate::store::{ConversationId, JudgedMessage};

/// Characters of a message shown in a sample.
const EXCERPT: usize = 80;

/// What a rule set would have done otherwise.
#[derive(Clone, Debug)]
pub struct Report {
    pub rules_version: RulesVersion,
    /// Messages judged again and compared.
    pub messages: u64,
    /// Messages whose text is no longer kept: neither judged nor compared.
    pub without_text: u64,
    /// Of those compared, messages that came from history, where Chat tells neither platform nor
    /// mentions.
    pub from_history: u64,
    /// Contents that came for a known key; they are not compared.
    pub conflicts: u64,
    pub first_received_at: Option<Timestamp>,
    pub last_received_at: Option<Timestamp>,
    /// Messages by what was decided then and what would be now.
    pub verdicts: [[u64; Verdict::ALL.len()]; Verdict::ALL.len()],
    /// Messages with any difference: a verdict, a hit or the mode of one.
    pub changed: u64,
    /// Every rule of the candidate in its order, then those that only hit then.
    pub rules: Vec<RuleTally>,
    groups: Top<GroupId>,
    senders: Top<UserId>,
    /// Messages that would be recalled, by conversation: all, and those that were not meant to be.
    recalls: HashMap<ConversationId, (u64, u64)>,
    samples: usize,
    identifier: UserId,
}

/// New and lost hits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub new: u64,
    pub lost: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.new += other.new;
        self.lost += other.lost;
    }
    pub(crate) fn changes(&self) -> u64 {
        self.new + self.lost
    }
}

/// A rule, by messages that it hit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleTally {
    pub rule: RuleId,
    /// In the candidate; `None` where it is not there, or off.
    pub mode: Option<Mode>,
    pub hits: Tally,
    pub same: u64,
    /// Of the same, those that now count otherwise: live instead of shadow, or the reverse.
    pub other_mode: u64,
    pub new_samples: Vec<Sample>,
    pub lost_samples: Vec<Sample>,
}

/// A message that a rule now hits, or no longer does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    pub key: MessageKey,
    pub sender: UserId,
    pub received_at: Timestamp,
    /// The beginning of its text.
    pub text: String,
    pub then: Verdict,
    pub now: Verdict,
}

/// What enforcing a rule set would have cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Messages that would be recalled.
    pub messages: u64,
    /// At the batch size, each group and topic apart, all of them waiting at once.
    pub calls: u64,
}

impl Report {
    pub(super) fn new(rules: &CompiledRules, options: &Options) -> Self {
        let tally = |rule: RuleId, mode: Mode| RuleTally {
            mode: (mode != Mode::Off).then_some(mode),
            ..RuleTally::of(rule)
        };
        let summaries = rules.summaries().into_iter();
        Self {
            rules_version: rules.version().clone(),
            messages: 0,
            without_text: 0,
            from_history: 0,
            conflicts: 0,
            first_received_at: None,
            last_received_at: None,
            verdicts: [[0; Verdict::ALL.len()]; Verdict::ALL.len()],
            changed: 0,
            rules: summaries.map(|rule| tally(rule.id, rule.mode)).collect(),
            groups: Top::default(),
            senders: Top::default(),
            recalls: HashMap::new(),
            samples: options.samples,
            identifier: options.identifier.clone(),
        }
    }

    /// Groups with the most changed hits.
    #[must_use]
    pub fn groups(&self, most: usize) -> Vec<(&GroupId, Tally)> {
        self.groups.first(most)
    }

    /// Senders with the most changed hits.
    #[must_use]
    pub fn senders(&self, most: usize) -> Vec<(&UserId, Tally)> {
        self.senders.first(most)
    }

    /// Whether groups or senders were so many that the counts of the rarer ones may be too low.
    #[must_use]
    pub fn is_rough(&self) -> bool {
        self.groups.rough || self.senders.rough
    }

    /// What enforcing the candidate would have cost in all.
    #[must_use]
    pub fn cost(&self, batch_size: usize) -> Cost {
        self.cost_of(batch_size, |(all, _)| all)
    }

    /// What it would have cost to recall the messages that were not meant to be recalled then.
    #[must_use]
    pub fn extra_cost(&self, batch_size: usize) -> Cost {
        self.cost_of(batch_size, |(_, extra)| extra)
    }

    fn cost_of(&self, batch_size: usize, count: impl Fn((u64, u64)) -> u64) -> Cost {
        let mut cost = Cost::default();
        for recalls in self.recalls.values() {
            let messages = count(*recalls);
            cost.messages += messages;
            cost.calls += messages.div_ceil(batch_size.max(1) as u64);
        }
        cost
    }

    /// Takes in a message with what the candidate says of it.
    pub(super) fn compare(
        &mut self,
        rules: &CompiledRules,
        judged: &JudgedMessage,
        now: &Judgement,
    ) {
        let message = &judged.message;
        self.messages += 1;
        self.from_history += u64::from(message.source == Source::History);
        self.saw(message.received_at);
        self.verdicts[judged.verdict as usize][now.verdict as usize] += 1;
        if now.verdict == Verdict::Recall && self.would_recall(rules, judged, now) {
            let counts = self.recalls.entry(judged.conversation.conversation_id).or_default();
            counts.0 += 1;
            counts.1 += u64::from(judged.verdict != Verdict::Recall);
        }
        if judged.hits.is_empty() && now.hits.is_empty() {
            self.changed += u64::from(judged.verdict != now.verdict);
            return;
        }
        let mut tally = Tally::default();
        let mut other_mode = 0;
        let mut last: Option<&RuleId> = None;
        for hit in &now.hits {
            // Hits come in order of the rules, so those of a rule stand in a row.
            if last.replace(&hit.rule) == Some(&hit.rule) {
                continue;
            }
            let then = judged.hits.iter().find(|then| then.rule == hit.rule);
            let rule = self.rule(&hit.rule);
            if let Some(then) = then {
                rule.same += 1;
                rule.other_mode += u64::from(then.mode != hit.mode);
                other_mode += u64::from(then.mode != hit.mode);
            } else {
                rule.hits.new += 1;
                tally.new += 1;
                self.sample(&hit.rule, true, judged, now);
            }
        }
        for (at, then) in judged.hits.iter().enumerate() {
            let again = now.hits.iter().any(|hit| hit.rule == then.rule)
                || judged.hits[..at].iter().any(|earlier| earlier.rule == then.rule);
            if !again {
                self.rule(&then.rule).hits.lost += 1;
                tally.lost += 1;
                self.sample(&then.rule, false, judged, now);
            }
        }
        if tally.changes() > 0 {
            self.groups.add(&message.key.group_id, tally);
            self.senders.add(&message.sender, tally);
        }
        let changed = tally.changes() + other_mode > 0 || judged.verdict != now.verdict;
        self.changed += u64::from(changed);
    }

    /// Puts a later part behind this one.
    pub(super) fn merge(&mut self, part: Self) {
        self.messages += part.messages;
        self.without_text += part.without_text;
        self.from_history += part.from_history;
        self.changed += part.changed;
        for at in [part.first_received_at, part.last_received_at].into_iter().flatten() {
            self.saw(at);
        }
        for (mine, its) in self.verdicts.iter_mut().flatten().zip(part.verdicts.iter().flatten()) {
            *mine += its;
        }
        let most = self.samples;
        for its in part.rules {
            let rule = self.rule(&its.rule);
            rule.hits.add(its.hits);
            rule.same += its.same;
            rule.other_mode += its.other_mode;
            extend(&mut rule.new_samples, its.new_samples, most);
            extend(&mut rule.lost_samples, its.lost_samples, most);
        }
        self.groups.merge(part.groups);
        self.senders.merge(part.senders);
        for (conversation, (all, extra)) in part.recalls {
            let counts = self.recalls.entry(conversation).or_default();
            counts.0 += all;
            counts.1 += extra;
        }
    }

    /// Whether a recall would be made: nobody can recall what Chat does not keep, the account of
    /// quell is left alone, and a rule may be rolled out to a share.
    fn would_recall(&self, rules: &CompiledRules, judged: &JudgedMessage, now: &Judgement) -> bool {
        let message = &judged.message;
        let asks = |hit: &&crate::model::Hit| {
            hit.mode == Mode::Live
                && hit.action == Action::Recall
                && rules.is_rolled_out(&hit.rule, &message.key)
        };
        !message.online_only
            && message.sender != self.identifier
            && now.hits.iter().find(asks).is_some()
    }

    fn saw(&mut self, at: Timestamp) {
        self.first_received_at = Some(self.first_received_at.map_or(at, |first| first.min(at)));
        self.last_received_at = Some(self.last_received_at.map_or(at, |last| last.max(at)));
    }

    /// A rule's tally, made behind the others where it is none of the candidate's.
    fn rule(&mut self, rule: &RuleId) -> &mut RuleTally {
        let place = self.rules.iter().position(|known| known.rule == *rule);
        let place = place.unwrap_or_else(|| {
            self.rules.push(RuleTally::of(rule.clone()));
            self.rules.len() - 1
        });
        &mut self.rules[place]
    }

    fn sample(&mut self, rule: &RuleId, new: bool, judged: &JudgedMessage, now: &Judgement) {
        let most = self.samples;
        let rule = self.rule(rule);
        let samples = if new { &mut rule.new_samples } else { &mut rule.lost_samples };
        if samples.len() < most {
            samples.push(Sample {
                key: judged.message.key.clone(),
                sender: judged.message.sender.clone(),
                received_at: judged.message.received_at,
                text: excerpt(judged.message.text.as_str(), EXCERPT),
                then: judged.verdict,
                now: now.verdict,
            });
        }
    }
}

impl RuleTally {
    fn of(rule: RuleId) -> Self {
        Self {
            rule,
            mode: None,
            hits: Tally::default(),
            same: 0,
            other_mode: 0,
            new_samples: Vec::new(),
            lost_samples: Vec::new(),
        }
    }
}

fn extend(samples: &mut Vec<Sample>, more: Vec<Sample>, most: usize) {
    let room = most.saturating_sub(samples.len());
    samples.extend(more.into_iter().take(room));
}
