//! What judging costs a message.
//!
//! ```text
//! QUELL_BENCH_POOL=DIR cargo bench --bench rules
//! ```
//!
//! `DIR` holds `texts.txt`, `kw_N.txt` and `re_N.txt`, one text, phrase or pattern a line. Without it
//! a small pool is made up here. Every sample judges [`BATCH`] texts, so the time for one message is
//! the time shown divided by that, or the reciprocal of the items a second.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use divan::Bencher;
use divan::counter::ItemsCount;
use quell::model::Text;
use quell::rules::{self, CompiledRules};

const BATCH: usize = 2000;

fn main() {
    divan::main();
}

struct Pool {
    dir: Option<PathBuf>,
}

impl Pool {
    fn open() -> Self {
        Self { dir: std::env::var_os("QUELL_BENCH_POOL").map(PathBuf::from) }
    }

    fn lines(&self, name: &str) -> Option<Vec<String>> {
        let text =
            std::fs::read_to_string(self.dir.as_ref()?.join(name)).expect("a file of the pool");
        Some(text.lines().map(str::to_owned).collect())
    }

    fn texts(&self) -> Vec<Text> {
        let lines = self.lines("texts.txt").unwrap_or_else(|| {
            let said = [
                "今天晚上一起打游戏吗",
                "see you tomorrow at the office, ok?",
                "哈哈哈 好的",
                "nice match 加油",
            ];
            (0..BATCH).map(|i| format!("{} {} {i}", said[i % 4], said[i / 4 % 4])).collect()
        });
        lines.iter().take(BATCH).map(|line| Text::bare(line)).collect()
    }

    fn keywords(&self, count: usize) -> Vec<String> {
        self.lines(&format!("kw_{count}.txt")).unwrap_or_else(|| {
            let han: Vec<char> = "招聘兼职充值返利博彩平台代练上分私聊领取".chars().collect();
            let pick = |i: usize| han[i % han.len()];
            (0..count).map(|i| format!("{}{}{i}{}", pick(i), pick(i / 7), pick(i / 50))).collect()
        })
    }

    fn patterns(&self, count: usize) -> Vec<String> {
        self.lines(&format!("re_{count}.txt")).unwrap_or_else(|| {
            (0..count).map(|i| format!(r"(?i)\bword{i}\W{{0,3}}more\b")).collect()
        })
    }

    fn rules(&self, fold: &str, keywords: usize, patterns: usize) -> CompiledRules {
        let mut yaml = format!(
            "version: 1\nrules:\n  - id: words\n    fold: {fold}\n    when:\n      keyword:\n        words:\n"
        );
        for word in self.keywords(keywords) {
            writeln!(yaml, "          - {}", serde_json::json!(word)).expect("a string");
        }
        for (i, pattern) in self.patterns(patterns.max(10)).iter().take(patterns).enumerate() {
            let pattern = pattern.replace('\'', "''");
            write!(
                yaml,
                "  - id: pattern-{i}\n    fold: {fold}\n    when: {{ pattern: '{pattern}' }}\n"
            )
            .expect("a string");
        }
        rules::load_str("bench", &yaml, Path::new("")).expect("rules that load").rules
    }
}

fn judge(bencher: Bencher<'_, '_>, fold: &str, keywords: usize, patterns: usize) {
    let pool = Pool::open();
    let (rules, texts) = (pool.rules(fold, keywords, patterns), pool.texts());
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
    Pool::open().rules("standard", 100_000, 0)
}
