//! What judging costs a message.
//!
//! ```text
//! QUELL_BENCH_POOL=DIR cargo bench --bench rules
//! ```
//!
//! `DIR` holds `texts.txt`, `kw_N.txt` and `re_N.txt`, one text, phrase or pattern a line. Without it
//! the texts, phrases and patterns are those that the end-to-end benchmark makes up. Every sample
//! judges [`BATCH`] texts, so the time for one message is the time shown divided by that, or the
//! reciprocal of the items a second.

use std::path::Path;

use divan::Bencher;
use divan::counter::ItemsCount;
use quell::model::Text;
use quell::rules::{self, CompiledRules};

#[path = "pool/mod.rs"]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "lengths of texts")]
mod pool;

use self::pool::Pool;

const BATCH: usize = 2000;

fn main() {
    divan::main();
}

fn pool() -> Pool {
    Pool::open(std::env::var_os("QUELL_BENCH_POOL").as_deref().map(Path::new))
}

fn rules(fold: &str, keywords: usize, patterns: usize) -> CompiledRules {
    let yaml = pool().rules(fold, keywords, patterns);
    rules::load_str("bench", &yaml, Path::new("")).expect("rules that load").rules
}

fn judge(bencher: Bencher<'_, '_>, fold: &str, keywords: usize, patterns: usize) {
    let rules = rules(fold, keywords, patterns);
    let texts: Vec<Text> = pool().texts(BATCH).iter().map(|text| Text::bare(text)).collect();
    bencher.counter(ItemsCount::new(texts.len())).bench(|| {
        texts.iter().map(|text| rules.judge_text(divan::black_box(text)).hits.len()).sum::<usize>()
    });
}

#[divan::bench]
fn standard_1000_keywords_100_patterns(bencher: Bencher<'_, '_>) {
    judge(bencher, "standard", 1000, 100);
}

#[divan::bench]
fn aggressive_1000_keywords_100_patterns(bencher: Bencher<'_, '_>) {
    judge(bencher, "aggressive", 1000, 100);
}

#[divan::bench]
fn standard_1000_keywords(bencher: Bencher<'_, '_>) {
    judge(bencher, "standard", 1000, 0);
}

#[divan::bench]
fn standard_100000_keywords(bencher: Bencher<'_, '_>) {
    judge(bencher, "standard", 100_000, 0);
}

#[divan::bench]
fn aggressive_1000_keywords(bencher: Bencher<'_, '_>) {
    judge(bencher, "aggressive", 1000, 0);
}

#[divan::bench]
fn aggressive_100000_keywords(bencher: Bencher<'_, '_>) {
    judge(bencher, "aggressive", 100_000, 0);
}

#[divan::bench]
fn standard_100000_keywords_100_patterns(bencher: Bencher<'_, '_>) {
    judge(bencher, "standard", 100_000, 100);
}

#[divan::bench]
fn aggressive_100000_keywords_100_patterns(bencher: Bencher<'_, '_>) {
    judge(bencher, "aggressive", 100_000, 100);
}

#[divan::bench(sample_count = 5)]
fn load_100000_keywords() -> CompiledRules {
    rules("standard", 100_000, 0)
}
