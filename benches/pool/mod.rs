//! Texts, phrases and patterns to measure with: made up here from everyday words, the same in every
//! run; or read from a folder with `texts.txt`, `kw_N.txt` and `re_N.txt`, one a line.
//!
//! Texts are half Chinese and half English, 5 to 300 characters, and hold no quote, backslash or
//! control character, so that one can stand inside a JSON string as it is. One in a hundred holds
//! one of the first ten phrases; that a text holds another is next to impossible.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

const ENGLISH: &str = "the you and that for have with this are not but what just like get know good \
    can now see going want time really one need think people right back make today team still game \
    play some from they well yes okay sure maybe never more about work come look great help when \
    where who there here please thanks sorry wait later tomorrow night morning week server update \
    download screen video music photo friend guys haha nice cool awesome match level quest guild \
    ticket price order pay refund account login reset error patch version release meeting join leave \
    message reply watch live start stop open close money cheap buy sell gift code card bonus win lose \
    best first last new old fast slow big small happy tired coffee lunch dinner movie weather rain";
const CHINESE: &str = "我们 你们 今天 明天 昨天 晚上 早上 现在 以后 什么 怎么 为什么 这个 那个 大家 朋友 老师 同学 公司 \
    工作 项目 开会 下班 吃饭 睡觉 游戏 比赛 队伍 装备 任务 等级 活动 奖励 直播 视频 音乐 电影 手机 电脑 网络 更新 下载 \
    问题 解决 谢谢 没关系 可以 不行 应该 可能 一定 真的 非常 特别 有点 就 都 也 还 再 吧 吗 呢 啊 哈哈 好的 收到 知道 \
    觉得 喜欢 希望 需要 看看 听说 告诉 帮忙 一起 回来 开始 结束 继续 天气 下雨 周末 假期 旅游 机票 酒店 价格 便宜 订单 \
    快递 退款 群里 消息 生日 快乐 加油 厉害 不错 无聊 开心 孩子 医院 学校 考试 作业 代码 测试 文件 照片 地址 电话 北京";
const HAN: &str = "的一是了我不人在他有这个上们来到时大地为子中你说生国年着就那和要她出也得里后自以会家可下而过天去能对小多然于心学么之都好看";
const SYLLABLES: [&str; 20] = [
    "ba", "ce", "di", "fo", "gu", "hai", "jer", "kon", "lin", "ma", "ne", "pi", "ro", "su", "tai",
    "ver", "won", "zin", "cha", "she",
];
/// What spammers write; one in a hundred texts holds one of these.
const BAIT: [&str; 10] = [
    "刷单兼职",
    "代开发票",
    "加微信领红包",
    "境外博彩平台",
    "高仿手表批发",
    "usdt signals",
    "casino bonus",
    "free robux generator",
    "work from home daily pay",
    "色情直播",
];
const SEED: u64 = 20_261_122;

/// Where texts come from.
pub(crate) struct Pool {
    folder: Option<PathBuf>,
}

impl Pool {
    pub(crate) fn open(folder: Option<&Path>) -> Self {
        Self { folder: folder.map(Path::to_path_buf) }
    }

    fn lines(&self, name: &str) -> Option<Vec<String>> {
        let path = self.folder.as_ref()?.join(name);
        let text = std::fs::read_to_string(&path);
        let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Some(text.lines().map(str::to_owned).collect())
    }

    /// Chat messages.
    pub(crate) fn texts(&self, count: usize) -> Vec<String> {
        self.lines("texts.txt").map_or_else(
            || {
                let mut rng = StdRng::seed_from_u64(SEED);
                (0..count).map(|_| text(&mut rng)).collect()
            },
            |lines| lines.into_iter().take(count).collect(),
        )
    }

    /// Phrases; a longer list begins with the shorter one.
    pub(crate) fn keywords(&self, count: usize) -> Vec<String> {
        self.lines(&format!("kw_{count}.txt")).unwrap_or_else(|| {
            let mut rng = StdRng::seed_from_u64(SEED + 1);
            let mut phrases: Vec<String> = BAIT.iter().map(|&phrase| phrase.to_owned()).collect();
            let mut seen: std::collections::HashSet<String> = phrases.iter().cloned().collect();
            while phrases.len() < count {
                let phrase = phrase(&mut rng);
                if seen.insert(phrase.clone()) {
                    phrases.push(phrase);
                }
            }
            phrases.truncate(count);
            phrases
        })
    }

    /// Patterns of the shapes that moderators write.
    pub(crate) fn patterns(&self, count: usize) -> Vec<String> {
        if count == 0 {
            return Vec::new();
        }
        self.lines(&format!("re_{count}.txt")).unwrap_or_else(|| {
            let mut rng = StdRng::seed_from_u64(SEED + 2);
            (0..count).map(|_| pattern(&mut rng)).collect()
        })
    }

    /// A rules file: one rule for all the phrases, one for each pattern.
    pub(crate) fn rules(&self, fold: &str, keywords: usize, patterns: usize) -> String {
        let mut yaml = format!(
            "version: 1\nrules:\n  - id: words\n    fold: {fold}\n    when:\n      keyword:\n        words:\n"
        );
        for phrase in self.keywords(keywords) {
            writeln!(yaml, "          - {}", serde_json::json!(phrase)).expect("a string");
        }
        for (at, pattern) in self.patterns(patterns).iter().enumerate() {
            let pattern = pattern.replace('\'', "''");
            let rule = format!(
                "  - id: pattern-{at}\n    fold: {fold}\n    when: {{ pattern: '{pattern}' }}\n"
            );
            yaml.push_str(&rule);
        }
        yaml
    }
}

/// Lengths are spread as in chats: many short ones, some long ones, 55 characters in the middle.
fn text(rng: &mut StdRng) -> String {
    let (english, chinese): (Vec<_>, Vec<_>) =
        (ENGLISH.split_whitespace().collect(), CHINESE.split_whitespace().collect());
    let spread: f64 = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
    let length = (4.0 + 0.75 * spread).exp().clamp(5.0, 280.0) as usize;
    let mut in_chinese: bool = rng.random();
    let mut text = String::new();
    let mut chars = 0;
    while chars < length {
        if rng.random_bool(0.12) {
            in_chinese = !in_chinese;
        }
        let word = (if in_chinese { &chinese } else { &english }).choose(rng).expect("words");
        text.push_str(word);
        let behind = match (in_chinese, rng.random_range(0..16)) {
            (true, 0) => "，",
            (true, 1) => "。",
            (true, 2) => "！",
            (true, _) => "",
            (false, 0) => ", ",
            (false, 1) => ". ",
            (false, 2) => "! ",
            (false, _) => " ",
        };
        text.push_str(behind);
        if rng.random_bool(0.01) {
            text.push_str(["😂", "👍", "666 ", "2026 ", "@user7 "].choose(rng).expect("some"));
        }
        chars += word.chars().count() + behind.chars().count();
    }
    if rng.random_bool(0.01) {
        text.push(' ');
        text.push_str(BAIT.choose(rng).expect("some"));
    }
    text.trim().to_owned()
}

fn phrase(rng: &mut StdRng) -> String {
    let han: Vec<char> = HAN.chars().collect();
    let syllables = |rng: &mut StdRng, count| -> String {
        (0..count).map(|_| *SYLLABLES.choose(rng).expect("some")).collect()
    };
    if rng.random_bool(0.6) {
        let count = rng.random_range(4..=7);
        (0..count).map(|_| *han.choose(rng).expect("some")).collect()
    } else {
        let count = rng.random_range(3..=5);
        syllables(rng, count)
    }
}

fn pattern(rng: &mut StdRng) -> String {
    let latin = |rng: &mut StdRng| -> String {
        (0..3).map(|_| *SYLLABLES.choose(rng).expect("some")).collect()
    };
    let han: Vec<char> = HAN.chars().collect();
    let chinese =
        |rng: &mut StdRng| -> String { (0..3).map(|_| *han.choose(rng).expect("some")).collect() };
    match rng.random_range(0..6) {
        0 => format!(r"(?i)\b{}\W{{0,3}}{}\b", latin(rng), latin(rng)),
        1 => format!(r"{}.{{0,6}}{}", chinese(rng), chinese(rng)),
        2 => format!(r"(?i)\b{}s?\s+(?:now|today|free)\b", latin(rng)),
        3 => format!(r"{}[\s\W]*{}[:：]?\s*\d{{5,11}}", chinese(rng), chinese(rng)),
        4 => format!(r"(?i)https?://[a-z0-9.-]*{}[a-z0-9-]*\.(?:xyz|top|vip|cc)\b", latin(rng)),
        _ => format!(r"(?i)t\.me/{}[a-z0-9_]*", latin(rng)),
    }
}
