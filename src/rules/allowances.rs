//! What operators let through beside the rules file: senders that rules leave alone, phrases that
//! cancel the characters they cover. Part of the rule set, and of its version.

use sha2::{Digest, Sha256};

use super::file::Fold;
use super::findings::{Findings, LeafId};
use super::kinds::keyword;
use super::load::hex;
use crate::model::{Allowance, AllowanceKind, RuleId, RulesVersion};
use crate::text::Reading;

const FOLDS: [Fold; 3] = [Fold::None, Fold::Standard, Fold::Aggressive];

/// Allowances, ready to be asked.
#[derive(Default)]
pub(super) struct Allowed {
    /// Senders with the rule that leaves them alone, or all.
    senders: Vec<(String, Option<RuleId>)>,
    /// Phrases in order of the leaves that they have in the index: one for each folding.
    phrases: Vec<(Fold, Option<RuleId>)>,
    index: Option<keyword::Index>,
}

impl Allowed {
    /// Phrases that no index takes are left out: they could not be found in a text either.
    pub(super) fn of(allowances: &[Allowance]) -> Self {
        let mut allowed = Self::default();
        let mut phrases = keyword::Builder::default();
        for allowance in allowances {
            let (value, rule) = (allowance.value.clone(), allowance.rule.clone());
            match allowance.kind {
                AllowanceKind::Sender => allowed.senders.push((value, rule)),
                AllowanceKind::Phrase => {
                    for fold in FOLDS {
                        let leaf = u32::try_from(allowed.phrases.len()).unwrap_or(u32::MAX);
                        phrases.add(&value, true, fold, LeafId(leaf));
                        allowed.phrases.push((fold, rule.clone()));
                    }
                }
            }
        }
        if !allowed.phrases.is_empty() {
            allowed.index = phrases.build().ok();
        }
        allowed
    }

    /// Whether a rule leaves a sender alone.
    pub(super) fn exempts(&self, sender: &str, rule: &RuleId) -> bool {
        self.senders.iter().any(|(exempt, of)| exempt == sender && is_of(of.as_ref(), rule))
    }

    /// Notes the places of a text that phrases cover.
    pub(super) fn find(&self, reading: &Reading<'_>, findings: &mut Findings) {
        let Some(index) = &self.index else { return };
        let mut found = Findings::default();
        index.find(reading, &mut found);
        for (leaf, span) in found.with_leaves() {
            let Some((fold, rule)) = self.phrases.get(leaf.0 as usize) else { continue };
            findings.spare(*fold, rule.clone(), span);
        }
    }
}

fn is_of(of: Option<&RuleId>, rule: &RuleId) -> bool {
    of.is_none_or(|of| of == rule)
}

/// The version of a file's rules with allowances.
pub(super) fn version(of_file: &RulesVersion, allowances: &[Allowance]) -> RulesVersion {
    if allowances.is_empty() {
        return of_file.clone();
    }
    let mut digest = Sha256::new();
    digest.update(of_file.as_str());
    for Allowance { kind, value, rule, .. } in allowances {
        // Who said so and why changes no verdict.
        let line = serde_json::json!([kind, value, rule]).to_string();
        digest.update((line.len() as u64).to_le_bytes());
        digest.update(line);
    }
    RulesVersion::from(hex(&digest.finalize()[..8]))
}
