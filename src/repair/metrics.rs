//! What repairing counts.

use metrics::{counter, describe_counter};

use crate::store::{Finding, NotedGaps};

const FINDINGS: [Finding; 6] = [
    Finding::Message,
    Finding::System,
    Finding::Recalled,
    Finding::Expired,
    Finding::Absent,
    Finding::Unreadable,
];

/// Says what each metric means, and starts those with known labels at 0.
pub(super) fn describe() {
    describe_counter!("quell_missing_sequences_total", "Sequences that no callback brought");
    describe_counter!(
        "quell_explained_sequences_total",
        "Missing sequences whose history was pulled, by what they turned out to hold"
    );
    describe_counter!(
        "quell_unrepairable_sequences_total",
        "Missing sequences that no history can tell of"
    );
    describe_counter!("quell_history_calls_total", "History calls, by Chat's answer");
    describe_counter!("quell_edited_messages_total", "Messages changed after they were judged");
    for finding in FINDINGS {
        explained(finding, 0);
    }
    counter!("quell_missing_sequences_total").absolute(0);
    counter!("quell_unrepairable_sequences_total").absolute(0);
    counter!("quell_edited_messages_total").absolute(0);
}

pub(super) fn noted(noted: &NotedGaps) {
    for gap in &noted.gaps {
        let sequences = gap.to_seq - gap.from_seq + 1;
        counter!("quell_missing_sequences_total").increment(sequences);
        if !gap.repairable {
            unrepairable(sequences);
        }
    }
}

pub(super) fn explained(finding: Finding, sequences: u64) {
    let found = match finding {
        Finding::Message => "message",
        Finding::System => "system",
        Finding::Recalled => "recalled",
        Finding::Expired => "expired",
        Finding::Absent => "absent",
        Finding::Unreadable => "unreadable",
    };
    counter!("quell_explained_sequences_total", "found" => found).increment(sequences);
    if finding == Finding::Unreadable {
        unrepairable(sequences);
    }
}

pub(super) fn unrepairable(sequences: u64) {
    counter!("quell_unrepairable_sequences_total").increment(sequences);
}

pub(super) fn called(code: &str) {
    counter!("quell_history_calls_total", "code" => code.to_owned()).increment(1);
}

pub(super) fn edited() {
    counter!("quell_edited_messages_total").increment(1);
}
