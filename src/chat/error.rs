//! The error codes of the REST API and what each asks for.
//!
//! Meanings come from page `errors`, the codes of group calls also from pages `recall` and
//! `history`; what to do about them is quell's judgement. Chat answers HTTP 200 whatever happened,
//! so the code in the body is the answer. A code stands either for the whole call (`ErrorCode`) or
//! for one message of it (`RetCode` in `RecallRetList`); the same number can ask for different
//! things in the two places, so there are two ways to ask: [`Class::of_call`], [`Class::of_item`].

use std::time::Duration;

/// What a code asks for. A worker acts differently for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It worked, or somebody else's attempt did.
    Done,
    /// Passes by itself: try again later.
    Retry,
    /// Too many calls: slow all calls down, wait at least this long, try again.
    RateLimited { wait: Duration },
    /// Too much going on in this group: leave the group alone for a while, try again.
    GroupBusy,
    /// The `UserSig` was refused: make a new one and try again once; a second refusal in a row is
    /// [`Class::Configuration`].
    Credential,
    /// Nothing works until a person changes the account, the plan or the configuration: stop
    /// calling, keep the queue.
    Configuration,
    /// No permission, or not for this kind of group: the messages are refused where one group
    /// alone says so, the configuration is wrong where every group does.
    NotPermitted,
    /// The group is gone or never was: every message of it is refused.
    GroupGone,
    /// The message is not there (any more): somebody else recalled it, or our own unclear attempt.
    Gone,
    /// Chat will never recall this message.
    Refused,
    /// The request is at fault. Said of a call with several messages, one of them may be what is
    /// bad: call them one by one before giving any up.
    Dead,
    /// A code that no list names. Worth a few retries and a look by a person.
    Unknown,
}

/// One code with its meaning and class.
struct Known {
    code: i64,
    class: Class,
    meaning: &'static str,
}

impl Class {
    /// What the `ErrorCode` of a call asks for.
    #[must_use]
    pub fn of_call(code: i64) -> Self {
        known(code).map_or(Self::Unknown, |known| known.class)
    }

    /// What the `RetCode` of one message asks for.
    ///
    /// A code about credentials or accounts makes no sense beside a call that succeeded, so it
    /// stops nothing there.
    #[must_use]
    pub fn of_item(code: i64) -> Self {
        match Self::of_call(code) {
            Self::Credential => Self::Unknown,
            Self::Configuration if !is_about_recall(code) => Self::Unknown,
            class => class,
        }
    }

    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::Retry
                | Self::RateLimited { .. }
                | Self::GroupBusy
                | Self::Credential
                | Self::Unknown
        )
    }

    /// How long to wait at least, where the code itself says so.
    #[must_use]
    pub fn retry_after(self) -> Option<Duration> {
        match self {
            Self::RateLimited { wait } => Some(wait),
            Self::GroupBusy => Some(Duration::from_secs(1)),
            _ => None,
        }
    }
}

/// What a code means, in the provider's words made short.
#[must_use]
pub fn meaning(code: i64) -> &'static str {
    known(code).map_or("a code that no list names", |known| known.meaning)
}

fn known(code: i64) -> Option<&'static Known> {
    CODES.binary_search_by_key(&code, |known| known.code).ok().map(|at| &CODES[at])
}

/// Configuration errors that Chat may well report for each message of a call.
fn is_about_recall(code: i64) -> bool {
    matches!(code, 10_026 | 10_041 | 10_059 | 11_000)
}

const fn code(code: i64, class: Class, meaning: &'static str) -> Known {
    Known { code, class, meaning }
}

const NOW: Class = Class::RateLimited { wait: Duration::ZERO };
const MINUTE: Class = Class::RateLimited { wait: Duration::from_mins(1) };
const HOUR: Class = Class::RateLimited { wait: Duration::from_hours(1) };

use Class::{
    Configuration, Credential, Dead, Done, Gone, GroupBusy, GroupGone, NotPermitted, Refused,
    Retry, Unknown,
};

/// In order of the code.
#[rustfmt::skip]
const CODES: &[Known] = &[
    code(0, Done, "success"),
    // Groups.
    code(10_002, Retry, "internal error of the group service"),
    code(10_003, Configuration, "wrong command name"),
    code(10_004, Dead, "bad parameter"),
    code(10_005, Dead, "too many accounts in the request"),
    code(10_006, NOW, "group operations too frequent"),
    code(10_007, NotPermitted, "no permission, or not for this type of group"),
    code(10_010, GroupGone, "the group does not exist"),
    code(10_011, Dead, "the request's JSON could not be parsed"),
    code(10_012, Dead, "bad UserID"),
    code(10_015, GroupGone, "invalid group id"),
    code(10_016, Dead, "refused by the application's own callback"),
    code(10_017, Dead, "the sender is muted"),
    code(10_018, Dead, "the answer would be larger than 1 MB"),
    code(10_019, Dead, "missing UserID"),
    code(10_023, GroupBusy, "too many messages in the group"),
    code(10_026, Configuration, "the command is disabled for this application"),
    code(10_030, Gone, "the message does not exist"),
    code(10_031, Refused, "the time limit for a recall is over"),
    code(10_032, Refused, "the message cannot be recalled"),
    code(10_033, Refused, "groups of this type have no recall"),
    code(10_041, Configuration, "the application is configured without group recall"),
    code(10_044, Refused, "groups of this type have no history"),
    code(10_051, Dead, "the range is too large"),
    code(10_052, Dead, "no messages in the range"),
    code(10_059, Configuration, "the feature needs a higher plan"),
    code(11_000, Configuration, "communities are switched off"),
    // Messages.
    code(20_001, Dead, "bad request packet"),
    code(20_002, Credential, "UserSig expired"),
    code(20_004, Retry, "network exception"),
    code(20_005, Retry, "internal error"),
    code(20_016, Refused, "the time limit for a recall is over"),
    code(20_022, Gone, "the message does not exist"),
    code(20_023, Done, "the message is recalled already"),
    code(20_027, Retry, "version conflict"),
    code(20_028, Retry, "changed by somebody else at once"),
    // The gateway.
    code(60_002, Configuration, "the URL could not be parsed"),
    code(60_003, Dead, "the request's JSON could not be parsed"),
    code(60_004, Credential, "account check failed"),
    code(60_005, Credential, "account check failed"),
    code(60_006, Configuration, "invalid SDKAppID"),
    code(60_007, NOW, "REST calls too frequent"),
    code(60_008, Retry, "time-out within the service"),
    code(60_009, Configuration, "no such resource: check the URL"),
    code(60_010, Configuration, "an administrator account is required"),
    code(60_011, NOW, "the application's calls are too frequent"),
    code(60_012, Configuration, "SDKAppID is missing"),
    code(60_013, Retry, "bad response within the service"),
    code(60_014, Retry, "account check timed out"),
    code(60_015, Dead, "UserID is no string"),
    code(60_016, Configuration, "the application is disabled"),
    code(60_017, Configuration, "the request is disabled"),
    code(60_018, NOW, "too frequent"),
    code(60_019, NOW, "too frequent"),
    code(60_020, Configuration, "the plan is not bought, expired or in arrears"),
    code(60_021, Configuration, "the source address is not allowed"),
    code(60_025, Credential, "SDKAppID, identifier, UserSig or contenttype is wrong"),
    code(60_026, Configuration, "the host does not match the application's region"),
    code(60_027, Configuration, "the product has no such resource"),
    code(60_028, HOUR, "the trial edition's requests of 24 hours are used up"),
    // Accounts.
    code(70_001, Credential, "UserSig expired"),
    code(70_002, Credential, "UserSig is empty"),
    code(70_003, Credential, "UserSig is illegal"),
    code(70_005, Credential, "UserSig is illegal"),
    code(70_009, Configuration, "UserSig was made with another key"),
    code(70_013, Configuration, "identifier is not that of the UserSig"),
    code(70_014, Configuration, "SDKAppID is not that of the UserSig"),
    code(70_016, Configuration, "the application has no such key"),
    code(70_020, Configuration, "SDKAppID not found, or of another region"),
    code(70_050, MINUTE, "UserSig failed too often: wait a minute"),
    code(70_051, Configuration, "the account is on the block list"),
    code(70_052, Credential, "UserSig is no longer valid"),
    code(70_107, Dead, "the account does not exist"),
    code(70_114, Configuration, "log-in is restricted"),
    code(70_169, Retry, "internal time-out"),
    code(70_202, Retry, "internal time-out"),
    code(70_206, Dead, "bad quantity in a batch"),
    code(70_346, Unknown, "named in no current list"),
    code(70_347, Unknown, "named in no current list"),
    code(70_348, Unknown, "named in no current list"),
    code(70_398, Configuration, "the account quota is used up"),
    code(70_399, Dead, "accounts cannot be deleted so"),
    code(70_401, Unknown, "named in no current list"),
    code(70_402, Dead, "illegal parameters"),
    code(70_403, Configuration, "an administrator account is required"),
    code(70_404, Configuration, "the SDK is too old"),
    code(70_500, Retry, "internal error"),
    code(71_000, Dead, "accounts cannot be deleted so"),
    code(72_000, Configuration, "the free daily users are used up"),
    code(72_002, Configuration, "the free monthly users are used up"),
    code(80_001, Dead, "blocked by the provider's own moderation"),
    code(80_002, Dead, "the message is too long"),
    code(80_003, Retry, "the application's callback timed out"),
    code(80_004, Dead, "blocked by the provider's own moderation"),
    code(80_005, Configuration, "the service is deactivated"),
    // Single chat and message changes.
    code(90_001, Dead, "the request's JSON could not be parsed"),
    code(90_002, Dead, "MsgBody has another shape"),
    code(90_003, Dead, "To_Account is missing"),
    code(90_004, Dead, "the request has another shape"),
    code(90_005, Dead, "MsgRandom is missing"),
    code(90_006, Dead, "MsgTimeStamp is missing"),
    code(90_007, Dead, "MsgBody is no array"),
    code(90_008, Dead, "From_Account is missing"),
    code(90_009, Configuration, "an administrator account is required"),
    code(90_010, Dead, "an element has another shape"),
    code(90_992, Retry, "internal error; for every call: the callback URL answers badly"),
    code(90_994, Retry, "internal error"),
    code(90_995, Retry, "internal error"),
    code(91_000, Retry, "internal error"),
    code(93_000, Dead, "the packet is too long"),
    // Topics.
    code(110_013, Refused, "invalid topic id"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order() {
        assert!(CODES.is_sorted_by(|a, b| a.code < b.code));
    }

    #[test]
    fn the_codes_of_a_recall_lead_where_they_should() {
        let table = [
            (0, Done),
            (10_002, Retry),
            (10_004, Dead),
            (10_007, NotPermitted),
            (10_010, GroupGone),
            (10_015, GroupGone),
            (10_030, Gone),
            (10_031, Refused),
            (10_032, Refused),
            (10_033, Refused),
            (10_041, Configuration),
            (60_007, NOW),
            (20_004, Retry),
        ];
        for (code, class) in table {
            assert_eq!((Class::of_call(code), Class::of_item(code)), (class, class), "{code}");
        }
    }

    #[test]
    fn a_message_alone_does_not_stop_every_call() {
        for code in [10_003, 60_006, 70_001, 70_009, 60_025] {
            assert_ne!(Class::of_call(code), Unknown, "{code}");
            assert_eq!(Class::of_item(code), Unknown, "{code}");
        }
    }

    #[test]
    fn waiting_is_known_where_the_code_tells() {
        assert_eq!(Class::of_call(70_050).retry_after(), Some(Duration::from_mins(1)));
        assert_eq!(Class::of_call(60_028).retry_after(), Some(Duration::from_hours(1)));
        assert_eq!(Class::of_call(10_002).retry_after(), None);
        assert!(Class::of_call(-1).is_retryable() && !Configuration.is_retryable());
        assert_eq!(meaning(10_030), "the message does not exist");
    }
}
