//! The words of the pages in every language, from `words.toml`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

/// A language that pages are shown in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Language {
    #[default]
    En,
    Zh,
}

/// What is said under a key in each language.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    en: String,
    zh: String,
}

static WORDS: LazyLock<BTreeMap<String, Said>> = LazyLock::new(|| {
    toml::from_str(include_str!("words.toml")).expect("words.toml is tested to be readable")
});

impl Language {
    /// The value of `lang` in HTML.
    pub(super) fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Zh => "zh-CN",
        }
    }

    /// What is said under a key; the key itself where nothing is.
    pub(super) fn say(self, key: &str) -> &str {
        let Some(said) = WORDS.get(key) else { return key };
        match self {
            Self::En => &said.en,
            Self::Zh => &said.zh,
        }
    }

    /// The same with values in place of `{}`, in their order.
    pub(super) fn fill(self, key: &str, values: &[&str]) -> String {
        let mut parts = self.say(key).split("{}");
        let mut filled = parts.next().unwrap_or_default().to_owned();
        for (at, part) in parts.enumerate() {
            filled.push_str(values.get(at).copied().unwrap_or("{}"));
            filled.push_str(part);
        }
        filled
    }

    /// What a word of tables and pages is called, such as a job's state. A word that nobody
    /// translated stays as it is.
    pub(super) fn word(self, kind: &str, word: &str) -> String {
        let key = format!("{kind}.{word}");
        let said = self.say(&key);
        if said == key { word.to_owned() } else { said.to_owned() }
    }

    /// A reason that quell gave, with the numbers and names in it. One that nobody translated stays as it
    /// is.
    pub(super) fn reason(self, why: &str) -> String {
        for by in ["held by", "cancelled by"] {
            if let Some(who) = why.strip_prefix(by) {
                return format!("{}{who}", self.word("why", by));
            }
        }
        let (mut pattern, mut numbers) = (String::new(), Vec::<String>::new());
        let mut before = ' ';
        for c in why.chars() {
            match numbers.last_mut().filter(|_| before.is_ascii_digit()) {
                Some(number) if c.is_ascii_digit() => number.push(c),
                _ if c.is_ascii_digit() => {
                    pattern.push_str("{}");
                    numbers.push(c.to_string());
                }
                _ => pattern.push(c),
            }
            before = c;
        }
        if self.word("why", &pattern) == pattern {
            return why.to_owned();
        }
        let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
        self.fill(&format!("why.{pattern}"), &numbers)
    }

    /// From a cookie or a form.
    pub(super) fn from_word(word: &str) -> Option<Self> {
        match word {
            "en" => Some(Self::En),
            "zh" => Some(Self::Zh),
            _ => None,
        }
    }

    /// The first known language of an `Accept-Language` header, by its weights.
    pub(super) fn accepted(header: &str) -> Option<Self> {
        let mut best: Option<(f32, Self)> = None;
        for part in header.split(',') {
            let (tag, weight) = part.split_once(';').unwrap_or((part, "q=1"));
            let weight = weight.trim().strip_prefix("q=").and_then(|q| q.parse().ok());
            let weight: f32 = weight.unwrap_or(0.0);
            let tag = tag.trim().to_ascii_lowercase();
            let Some(language) = Self::from_word(tag.split('-').next().unwrap_or_default()) else {
                continue;
            };
            if weight > best.map_or(0.0, |(most, _)| most) {
                best = Some((weight, language));
            }
        }
        best.map(|(_, language)| language)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Everything between `opening` and a quotation mark, in all templates and sources here.
    fn keys(opening: &str) -> BTreeSet<String> {
        let mut keys = BTreeSet::new();
        for folder in ["src/http/dashboard", "src/http/dashboard/pages"] {
            for entry in fs::read_dir(Path::new(folder)).unwrap() {
                let path = entry.unwrap().path();
                if !path.extension().is_some_and(|ending| ending == "rs" || ending == "html") {
                    continue;
                }
                let text = fs::read_to_string(path).unwrap();
                let text = text.split("#[cfg(test)]").next().unwrap_or_default();
                for rest in text.split(opening).skip(1) {
                    keys.insert(rest.split('"').next().unwrap().to_owned());
                }
            }
        }
        keys
    }

    #[test]
    fn every_key_of_a_page_is_said_in_both_languages() {
        let mut asked = keys(".say(\"");
        asked.extend(keys(".fill(\""));
        assert!(asked.len() > 20, "the pages were not found");
        for key in &asked {
            let said = WORDS.get(key).unwrap_or_else(|| panic!("words.toml has no {key:?}"));
            assert_eq!(said.en.matches("{}").count(), said.zh.matches("{}").count(), "{key}");
            assert!(!said.en.is_empty() && !said.zh.is_empty(), "{key}");
        }
    }

    #[test]
    fn nothing_is_said_for_nobody() {
        let (mut asked, mut kinds) = (keys(".say(\""), keys(".word(\""));
        asked.extend(keys(".fill(\""));
        kinds.extend(keys("kind: \""));
        for key in WORDS.keys() {
            let kind = key.split('.').next().unwrap();
            assert!(asked.contains(key) || kinds.contains(kind), "nobody asks for {key}");
        }
    }

    #[test]
    fn the_browser_says_what_it_prefers() {
        for (header, language) in [
            ("zh-CN,zh;q=0.9,en;q=0.8", Some(Language::Zh)),
            ("de, en-GB;q=0.7, zh;q=0.9", Some(Language::Zh)),
            ("en", Some(Language::En)),
            ("de", None),
            ("", None),
            ("zh;q=0", None),
            ("zh;q=x, en;q=0.1", Some(Language::En)),
        ] {
            assert_eq!(Language::accepted(header), language, "{header}");
        }
    }

    #[test]
    fn values_stand_where_they_belong() {
        assert_eq!(Language::En.fill("no {} such {}", &["a"]), "no a such {}");
        assert_eq!(Language::Zh.word("state", "unheard-of"), "unheard-of");
        for (why, zh) in [
            ("rule over its cap of 120 recalls a minute", "规则超过每分钟 120 条撤回的上限"),
            ("held by ada", "扣留者： ada"),
            ("group destroyed", "群已解散"),
            ("code 10030: 7 of 12", "code 10030: 7 of 12"),
        ] {
            assert_eq!(Language::Zh.reason(why), zh);
        }
        let why = "rule over its cap of 2 recalls a minute";
        assert_eq!(Language::En.reason(why), why);
    }
}
