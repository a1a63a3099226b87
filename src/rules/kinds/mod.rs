//! The kinds of matchers, one file each.
//!
//! A file holds what is written below the matcher (`Written`, by `written!` and `word!`, from which
//! reading, schema and near-miss names come) and either
//!
//! - `compile`, for a matcher of texts: it takes a leaf from the compiler and adds what is sought to
//!   an index that finds it for all rules in one pass (`contact` adds patterns: the shortest example);
//! - `holds`, for one that looks at a message (`length`, `element`, `platform`); or
//! - `measure` and `holds`, for one that counts (`flood`, `newcomer`): what it counts is kept by
//!   `windows`, and recorded with the verdict under the measure's name.
//!
//! To add one: its file here, a row of `matchers!` in `file.rs`, and an arm where the compiler turns
//! what is written into a condition (`compile.rs`); a matcher of messages needs a variant of
//! `Condition` as well. The compiler names every `match` that is left. Then show it in
//! `rules.example.yaml` and write the schema anew: `quell rules schema > config/rules.schema.json`.

pub(crate) mod contact;
pub(crate) mod element;
pub(crate) mod flood;
pub(crate) mod keyword;
pub(crate) mod length;
pub(crate) mod link;
pub(crate) mod mentions;
pub(crate) mod newcomer;
pub(crate) mod pattern;
pub(crate) mod platform;
pub(crate) mod repeat;
pub(crate) mod score;
