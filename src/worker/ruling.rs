//! What Chat's answer means for each job of a call.
//!
//! | what came back | the job |
//! | --- | --- |
//! | `RetCode` 0 | `recalled` |
//! | 10030 | `gone`; the store makes it `recalled` where an earlier unclear call was confirmed |
//! | 10031, 10032, 10033, group gone, no permission in this group alone | `refused` |
//! | 10004 and others that blame the request | one by one first, then `dead` |
//! | internal errors, time-outs, resets, no JSON, a message left out | `retry`, in the end `dead` |
//! | too frequent, credential, configuration, Chat not reached | `retry`, never counted against it |
//!
//! Pure: randomness and time are arguments.

use std::time::Duration;

use rand::Rng;

use super::circuit::Sign;
use crate::chat::client::{CallResult, Recalled};
use crate::chat::error::{Class, meaning};
use crate::model::{JobState, Timestamp};
use crate::store::{CallOutcome, ConversationId, JobUpdate, LeasedJob};

/// The first wait after a failure lies between 0 and this, each further one between 0 and twice as
/// much ("full jitter", so that what failed together does not come back together) ...
const BACKOFF: Duration = Duration::from_millis(500);
/// ... up to this.
const LONGEST_BACKOFF: Duration = Duration::from_mins(5);
/// After a failure that blames no message: soon, for the limiter and the circuit do the waiting.
const SOON: Duration = Duration::from_millis(200);
/// A code that no list names gets so many tries.
const TRIES_OF_UNKNOWN: u32 = 4;
/// No permission, and no group yet that gives it: so many tries before it is this group's affair.
const TRIES_WITHOUT_PERMISSION: u32 = 5;

/// What is known apart from the answer.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    pub now: Timestamp,
    pub conversation_id: ConversationId,
    /// Whether other calls succeed, so that a failure is about this one.
    pub healthy: bool,
    /// Whether the account was let do its work elsewhere since this group first refused it.
    pub permitted_elsewhere: bool,
    /// Whether calls stand still and this one was a probe.
    pub halted: bool,
    /// Failures that a job may have.
    pub max_attempts: u32,
}

/// What follows from a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Ruling {
    pub outcome: CallOutcome,
    pub http_status: Option<u16>,
    pub error_code: Option<i64>,
    pub updates: Vec<JobUpdate>,
    /// What is tried again must be called for one by one.
    pub alone: bool,
    /// What the call says about calling in general.
    pub sign: Sign,
    /// Chat complained of too many calls: wait at least so long.
    pub slow_down: Option<Duration>,
}

/// Rules on a call.
pub fn rule(
    jobs: &[LeasedJob],
    result: &CallResult<Recalled>,
    circumstances: &Circumstances,
    random: &mut impl Rng,
) -> Ruling {
    let mut court = Court { jobs, circumstances, random };
    match result {
        CallResult::NotSent { why } => {
            let updates = court.each(|_| Fate::later(format!("not sent: {why}"), SOON));
            Ruling {
                outcome: CallOutcome::Unsent,
                ..ruling(updates, Sign::Unreachable(why.clone()))
            }
        }
        CallResult::Unclear { why, http_status } => {
            let failed = circumstances.healthy;
            let updates =
                court.each(|_| Fate { unclear: true, ..Fate::again(why.to_string(), failed) });
            Ruling {
                outcome: CallOutcome::Unclear,
                http_status: *http_status,
                ..ruling(updates, Sign::Unreachable(why.to_string()))
            }
        }
        CallResult::Answered(answer) => {
            let code = answer.error_code;
            let ruling = match answer.class() {
                Class::Done => court.items(&answer.value),
                class => court.whole(class, code, &answer.error_info),
            };
            Ruling { http_status: Some(answer.http_status), error_code: Some(code), ..ruling }
        }
    }
}

fn ruling(updates: Vec<JobUpdate>, sign: Sign) -> Ruling {
    Ruling {
        outcome: CallOutcome::Failed,
        http_status: None,
        error_code: None,
        updates,
        alone: false,
        sign,
        slow_down: None,
    }
}

/// What happens to one job.
struct Fate {
    state: JobState,
    ret_code: Option<i64>,
    reason: Option<String>,
    /// For what is tried again: at this time; by back-off where it is not said.
    wait: Option<Duration>,
    failed: bool,
    unclear: bool,
}

impl Fate {
    fn ends(state: JobState, ret_code: i64) -> Self {
        let reason = (ret_code != 0).then(|| explain(ret_code));
        Self { state, ret_code: Some(ret_code), reason, wait: None, failed: false, unclear: false }
    }
    /// Tried again after a back-off.
    fn again(reason: String, failed: bool) -> Self {
        Self {
            state: JobState::Retry,
            ret_code: None,
            reason: Some(reason),
            wait: None,
            failed,
            unclear: false,
        }
    }
    /// Tried again soon, for it is no fault of the message.
    fn later(reason: String, wait: Duration) -> Self {
        Self { wait: Some(wait), ..Self::again(reason, false) }
    }
}

fn explain(code: i64) -> String {
    format!("code {code}: {}", meaning(code))
}

struct Court<'a, R> {
    jobs: &'a [LeasedJob],
    circumstances: &'a Circumstances,
    random: &'a mut R,
}

impl<R: Rng> Court<'_, R> {
    /// The answer speaks for each message.
    fn items(&mut self, recalled: &Recalled) -> Ruling {
        let code_of = |job: &LeasedJob| {
            recalled.items.iter().find(|item| item.msg_seq == job.msg_seq)?.ret_code
        };
        let mut sign = Sign::Answered;
        let mut slow_down = None;
        let conversation_id = self.circumstances.conversation_id;
        for job in self.jobs {
            match code_of(job).map(|code| (code, Class::of_item(code))) {
                Some((0, _)) => sign = Sign::Recalled(conversation_id),
                Some((code, Class::Configuration)) => {
                    sign = Sign::Configuration(explain(code));
                    break;
                }
                Some((_, Class::NotPermitted)) if sign == Sign::Answered => {
                    sign = Sign::NotPermitted(conversation_id);
                }
                Some((_, Class::RateLimited { wait })) => slow_down = Some(wait),
                _ => {}
            }
        }
        let circumstances = *self.circumstances;
        let updates = self.each(|job| match code_of(job) {
            None => Fate { unclear: true, ..Fate::again("left out of the answer".into(), true) },
            Some(code) => item(code, job, &circumstances),
        });
        Ruling { outcome: CallOutcome::Answered, slow_down, ..ruling(updates, sign) }
    }

    /// The answer speaks for the call as a whole.
    fn whole(&mut self, class: Class, code: i64, info: &str) -> Ruling {
        let why = explain(code);
        let mut slow_down = None;
        let mut alone = false;
        let (sign, updates) = match class {
            Class::RateLimited { wait } => {
                slow_down = Some(wait);
                (Sign::Busy, self.each(|_| Fate::later(why.clone(), SOON)))
            }
            Class::GroupBusy => {
                let wait = class.retry_after().unwrap_or(SOON);
                (Sign::Busy, self.each(|_| Fate::later(why.clone(), wait)))
            }
            Class::Credential => {
                (Sign::Credential(why.clone()), self.each(|_| Fate::later(why.clone(), SOON)))
            }
            Class::Configuration => {
                (Sign::Configuration(why.clone()), self.each(|_| Fate::later(why.clone(), SOON)))
            }
            Class::NotPermitted => {
                let circumstances = *self.circumstances;
                let sign = Sign::NotPermitted(circumstances.conversation_id);
                (sign, self.each(|job| not_permitted(code, job, &circumstances)))
            }
            Class::GroupGone => {
                (Sign::Answered, self.each(|_| Fate::ends(JobState::Refused, code)))
            }
            // Said of several messages at once, one of them may be what it is about.
            Class::Dead | Class::Gone | Class::Refused if self.jobs.len() > 1 => {
                alone = true;
                (Sign::Answered, self.each(|_| Fate::later(why.clone(), Duration::ZERO)))
            }
            Class::Dead | Class::Gone | Class::Refused => {
                let circumstances = *self.circumstances;
                (Sign::Answered, self.each(|job| item(code, job, &circumstances)))
            }
            Class::Unknown | Class::Done => {
                let why = format!("{why}: {info}");
                let fate = |job: &LeasedJob| unknown(code, &why, job);
                (Sign::Answered, self.each(fate))
            }
            Class::Retry => {
                let failed = self.circumstances.healthy;
                (Sign::Unreachable(why.clone()), self.each(|_| Fate::again(why.clone(), failed)))
            }
        };
        Ruling { alone, slow_down, ..ruling(updates, sign) }
    }

    fn each(&mut self, fate: impl Fn(&LeasedJob) -> Fate) -> Vec<JobUpdate> {
        let jobs = self.jobs;
        jobs.iter().map(|job| self.update(job, fate(job))).collect()
    }

    fn update(&mut self, job: &LeasedJob, fate: Fate) -> JobUpdate {
        let mut state = fate.state;
        let failures = job.failures + u32::from(fate.failed);
        let mut reason = fate.reason;
        if state == JobState::Retry && fate.failed && failures >= self.circumstances.max_attempts {
            state = JobState::Dead;
            let why = reason.unwrap_or_default();
            reason = Some(format!("gave up after {failures} failed attempts; the last: {why}"));
        }
        let wait = fate.wait.unwrap_or_else(|| backoff(failures, self.random));
        JobUpdate {
            job_id: job.job_id,
            lease: job.lease,
            state,
            ret_code: fate.ret_code,
            reason,
            due_at: if state == JobState::Retry {
                self.circumstances.now.after(wait)
            } else {
                self.circumstances.now
            },
            failed: fate.failed,
            unclear: fate.unclear,
        }
    }
}

/// What one message's code means for its job.
fn item(code: i64, job: &LeasedJob, circumstances: &Circumstances) -> Fate {
    match Class::of_item(code) {
        Class::Done => Fate::ends(JobState::Recalled, 0),
        Class::Gone => Fate::ends(JobState::Gone, code),
        Class::Refused | Class::GroupGone => Fate::ends(JobState::Refused, code),
        Class::NotPermitted => not_permitted(code, job, circumstances),
        Class::Dead => Fate::ends(JobState::Dead, code),
        Class::Retry => Fate { ret_code: Some(code), ..Fate::again(explain(code), true) },
        Class::RateLimited { .. } | Class::GroupBusy | Class::Credential | Class::Configuration => {
            Fate { ret_code: Some(code), ..Fate::later(explain(code), SOON) }
        }
        Class::Unknown => unknown(code, &explain(code), job),
    }
}

/// No permission is this group's affair where others give it, and everybody's where none does.
fn not_permitted(code: i64, job: &LeasedJob, circumstances: &Circumstances) -> Fate {
    if circumstances.permitted_elsewhere {
        return Fate::ends(JobState::Refused, code);
    }
    if circumstances.halted {
        return Fate::later(explain(code), SOON);
    }
    if job.failures + 1 >= TRIES_WITHOUT_PERMISSION {
        return Fate::ends(JobState::Refused, code);
    }
    Fate::again(explain(code), true)
}

fn unknown(code: i64, why: &str, job: &LeasedJob) -> Fate {
    let fate = if job.failures + 1 >= TRIES_OF_UNKNOWN {
        Fate { failed: true, ..Fate::ends(JobState::Dead, code) }
    } else {
        Fate::again(why.to_owned(), true)
    };
    Fate { ret_code: Some(code), ..fate }
}

fn backoff(failures: u32, random: &mut impl Rng) -> Duration {
    let doubled = BACKOFF.saturating_mul(1 << failures.saturating_sub(1).min(20));
    doubled.min(LONGEST_BACKOFF).mul_f64(random.random::<f64>())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::chat::client::{Answer, RecallItem, Unclear};

    const NOW: Timestamp = Timestamp(1_000_000);

    fn job(msg_seq: u64, failures: u32) -> LeasedJob {
        LeasedJob {
            job_id: i64::try_from(msg_seq).unwrap(),
            msg_seq,
            lease: 1,
            failures,
            unclear: false,
            requested_by: "rule:x".into(),
        }
    }

    fn answer(error_code: i64, items: &[(u64, Option<i64>)]) -> CallResult<Recalled> {
        let items =
            items.iter().map(|&(msg_seq, ret_code)| RecallItem { msg_seq, ret_code }).collect();
        CallResult::Answered(Answer {
            http_status: 200,
            error_code,
            error_info: String::new(),
            request_id: String::new(),
            failed: error_code != 0,
            value: Recalled { items, unasked: Vec::new() },
        })
    }

    fn circumstances() -> Circumstances {
        Circumstances {
            now: NOW,
            conversation_id: 1,
            healthy: true,
            permitted_elsewhere: true,
            halted: false,
            max_attempts: 12,
        }
    }

    fn ruled(jobs: &[LeasedJob], result: &CallResult<Recalled>) -> Ruling {
        rule(jobs, result, &circumstances(), &mut StdRng::seed_from_u64(1))
    }

    fn states(ruling: &Ruling) -> Vec<JobState> {
        ruling.updates.iter().map(|update| update.state).collect()
    }

    #[test]
    fn each_message_gets_its_own_answer() {
        use JobState::{Dead, Gone, Recalled, Refused, Retry};
        let jobs: Vec<_> = (1..=9).map(|seq| job(seq, 0)).collect();
        let codes = [0, 10030, 10031, 10032, 10033, 10004, 10002, 987_654];
        let mut items: Vec<_> = (1..=8).zip(codes).map(|(seq, code)| (seq, Some(code))).collect();
        items.push((9, None));
        items.reverse();
        let ruling = ruled(&jobs, &answer(0, &items));
        let expected = [Recalled, Gone, Refused, Refused, Refused, Dead, Retry, Retry, Retry];
        assert_eq!(states(&ruling), expected);
        assert_eq!(ruling.outcome, CallOutcome::Answered);
        assert!(ruling.updates[8].unclear && !ruling.updates[6].unclear);
        assert_eq!(
            ruling.updates[1].reason.as_deref(),
            Some("code 10030: the message does not exist")
        );
    }

    /// Every code of the provider's list (page `errors`), said of a call with one message.
    #[test]
    fn every_code_has_its_consequence() {
        use JobState::{Dead, Gone, Refused, Retry};
        let transient: &[i64] = &[
            10_002, 20_004, 20_005, 20_027, 20_028, 60_008, 60_013, 60_014, 70_169, 70_202, 70_500,
            80_003, 90_992, 90_994, 90_995, 91_000,
        ];
        let unknown: &[i64] = &[70_346, 70_347, 70_348, 70_401, 424_242];
        let too_frequent: &[i64] = &[10_006, 60_007, 60_011, 60_018, 60_019, 60_028, 70_050];
        let group_busy: &[i64] = &[10_023];
        let credential: &[i64] =
            &[20_002, 60_004, 60_005, 60_025, 70_001, 70_002, 70_003, 70_005, 70_052];
        let configuration: &[i64] = &[
            10_003, 10_026, 10_041, 10_059, 11_000, 60_002, 60_006, 60_009, 60_010, 60_012, 60_016,
            60_017, 60_020, 60_021, 60_026, 60_027, 70_009, 70_013, 70_014, 70_016, 70_020, 70_051,
            70_114, 70_398, 70_403, 70_404, 72_000, 72_002, 80_005, 90_009,
        ];
        let dead: &[i64] = &[
            10_004, 10_005, 10_011, 10_012, 10_016, 10_017, 10_018, 10_019, 10_051, 10_052, 20_001,
            60_003, 60_015, 70_107, 70_206, 70_399, 70_402, 71_000, 80_001, 80_002, 80_004, 90_001,
            90_002, 90_003, 90_004, 90_005, 90_006, 90_007, 90_008, 90_010, 93_000,
        ];
        let refused: &[i64] =
            &[10_007, 10_010, 10_015, 10_031, 10_032, 10_033, 10_044, 20_016, 110_013];
        let gone: &[i64] = &[10_030, 20_022];
        let rows = [
            (transient, Retry, true),
            (unknown, Retry, true),
            (too_frequent, Retry, false),
            (group_busy, Retry, false),
            (credential, Retry, false),
            (configuration, Retry, false),
            (dead, Dead, false),
            (refused, Refused, false),
            (gone, Gone, false),
        ];
        for (codes, state, failed) in rows {
            for &code in codes {
                let ruling = ruled(&[job(1, 0)], &answer(code, &[]));
                let update = &ruling.updates[0];
                assert_eq!((update.state, update.failed), (state, failed), "code {code}");
                assert_eq!(ruling.error_code, Some(code));
                assert_eq!(ruling.slow_down.is_some(), too_frequent.contains(&code), "code {code}");
                let signs = (
                    matches!(ruling.sign, Sign::Credential(_)),
                    matches!(ruling.sign, Sign::Configuration(_)),
                    matches!(ruling.sign, Sign::Unreachable(_)),
                );
                let expected = (
                    credential.contains(&code),
                    configuration.contains(&code),
                    transient.contains(&code),
                );
                assert_eq!(signs, expected, "code {code}");
            }
        }
    }

    #[test]
    fn a_batch_refused_as_a_whole_is_tried_one_by_one() {
        let ruling = ruled(&[job(1, 0), job(2, 0)], &answer(10_004, &[]));
        assert!(ruling.alone);
        assert_eq!(states(&ruling), [JobState::Retry; 2]);
        assert!(ruling.updates.iter().all(|update| !update.failed && update.due_at == NOW));
        let alone = ruled(&[job(1, 0)], &answer(10_004, &[]));
        assert_eq!((states(&alone), alone.alone), (vec![JobState::Dead], false));
    }

    #[test]
    fn retries_end() {
        let ruling = ruled(&[job(1, 10), job(2, 11)], &answer(10_002, &[]));
        assert_eq!(states(&ruling), [JobState::Retry, JobState::Dead]);
        let reason = ruling.updates[1].reason.as_deref().unwrap();
        assert!(reason.contains("12 failed attempts") && reason.contains("10002"), "{reason}");
        let unknown = ruled(&[job(1, 3)], &answer(424_242, &[]));
        assert_eq!(states(&unknown), [JobState::Dead]);
    }

    #[test]
    fn an_outage_counts_against_no_message() {
        let outage = Circumstances { healthy: false, ..circumstances() };
        let mut random = StdRng::seed_from_u64(1);
        for result in [
            CallResult::Unclear { why: Unclear::TimedOut, http_status: None },
            CallResult::NotSent { why: "refused".into() },
            answer(10_002, &[]),
        ] {
            let ruling = rule(&[job(1, 11)], &result, &outage, &mut random);
            assert_eq!(states(&ruling), [JobState::Retry]);
            assert!(matches!(ruling.sign, Sign::Unreachable(_)));
        }
    }

    #[test]
    fn what_may_have_worked_is_unclear() {
        let lost = CallResult::Unclear { why: Unclear::TimedOut, http_status: None };
        assert!(ruled(&[job(1, 0)], &lost).updates[0].unclear);
        let not_sent = CallResult::NotSent { why: "connection refused".into() };
        assert!(!ruled(&[job(1, 0)], &not_sent).updates[0].unclear);
    }

    #[test]
    fn no_permission_is_the_groups_affair_once_others_permit() {
        let mut first = circumstances();
        first.permitted_elsewhere = false;
        let mut random = StdRng::seed_from_u64(1);
        let no = answer(10_007, &[]);
        let ruling = rule(&[job(1, 0), job(2, 4)], &no, &first, &mut random);
        assert_eq!(states(&ruling), [JobState::Retry, JobState::Refused]);
        assert_eq!(ruling.sign, Sign::NotPermitted(1));
        assert_eq!(states(&ruled(&[job(1, 0)], &no)), [JobState::Refused]);
        first.halted = true;
        let probe = rule(&[job(1, 9)], &no, &first, &mut random);
        assert_eq!((states(&probe), probe.updates[0].failed), (vec![JobState::Retry], false));
        let item = answer(0, &[(1, Some(10_007))]);
        assert_eq!(rule(&[job(1, 0)], &item, &first, &mut random).sign, Sign::NotPermitted(1));
    }

    #[test]
    fn waits_grow_and_stay_bounded() {
        let mut random = StdRng::seed_from_u64(1);
        let longest = |failures| {
            let mut random = StdRng::seed_from_u64(2);
            (0..1000).map(|_| backoff(failures, &mut random)).max().unwrap()
        };
        assert!(longest(1) <= BACKOFF && longest(1) > BACKOFF / 2);
        assert!(longest(4) > BACKOFF * 7 && longest(4) <= BACKOFF * 8);
        assert!(backoff(u32::MAX, &mut random) <= LONGEST_BACKOFF);
    }
}
