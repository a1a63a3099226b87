//! Reads file, environment and flags into a [`Config`], remembering where each value came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::Config;

/// Where the configuration file is looked for when none is named.
const DEFAULT_PATHS: [&str; 2] = ["quell.toml", "/etc/quell/quell.toml"];
const ENV_PREFIX: &str = "QUELL__";
/// Keys that hold a secret: each may also be given as `<key>_file`, whose content is the value.
const SECRET_KEYS: [&str; 6] = [
    "admin.token",
    "admin.read_token",
    "chat.secret_key",
    "chat.callback_token",
    "notify.url",
    "notify.secret",
];

/// Stands beside mistakes for a secret that cannot be read, lest it be missed elsewhere, too.
const UNREAD: &str = "(a secret that could not be read)";

/// What the caller adds to the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Variables of the environment; those without the prefix are passed over.
    pub env: Vec<(String, String)>,
    /// `section.key=value` from the command line.
    pub flags: Vec<String>,
}

impl Overrides {
    /// The process's environment and these flags.
    #[must_use]
    pub fn from_process(flags: Vec<String>) -> Self {
        // A variable that is no text can be none of ours.
        let env = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Self { env: env.collect(), flags }
    }
}

/// A configuration and where its values came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    /// The file that was read; `None` where there was none and the defaults hold.
    pub path: Option<PathBuf>,
    /// `section.key` to the file's line, the variable or the flag that set it.
    pub sources: BTreeMap<String, String>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// `section.key`, or empty where the mistake is about no key.
    pub key: String,
    pub problem: String,
    /// `file:line:column`, a variable or a flag; empty where nothing was written.
    pub place: String,
}

impl Mistake {
    pub(super) fn of(key: &str, problem: impl Into<String>) -> Self {
        Self { key: key.into(), problem: problem.into(), place: String::new() }
    }

    /// The key that it is about, also where that was to be read from a file.
    #[must_use]
    pub fn about(&self) -> &str {
        self.key.strip_suffix("_file").unwrap_or(&self.key)
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.place, &self.key].into_iter().filter(|part| !part.is_empty()) {
            write!(f, "{part}: ")?;
        }
        f.write_str(&self.problem)
    }
}

/// The configuration cannot be used. Displays every mistake, one a line.
#[derive(Debug, thiserror::Error)]
#[error("{}", .mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Error {
    pub mistakes: Vec<Mistake>,
    /// What holds beside the mistakes, only to be examined so that all that is wrong can be told at once;
    /// `None` where the file could not be read.
    pub rest: Option<Box<Loaded>>,
}

/// Reads the configuration. A named file must be there; without a name `quell.toml` in the working
/// folder is tried, then `/etc/quell/quell.toml`, then the defaults stand alone.
///
/// Unknown keys and values of a wrong type are errors; whether the values make sense together is
/// told by [`Config::mistakes`], since not every command needs all of them.
pub fn load(path: Option<&Path>, overrides: &Overrides) -> Result<Loaded, Error> {
    let path = path
        .map(Path::to_path_buf)
        .or_else(|| DEFAULT_PATHS.iter().map(PathBuf::from).find(|candidate| candidate.exists()));
    let mut settings = Settings::default();
    if let Some(path) = &path {
        settings.add_file(path);
    }
    settings.add_env(&overrides.env);
    settings.add_flags(&overrides.flags);
    settings.finish(path)
}

/// Reads a configuration's text as a file of that name would be read: for what makes one up, and for
/// tests that throw anything at the reader.
pub fn load_str(name: &str, text: &str, overrides: &Overrides) -> Result<Loaded, Error> {
    let mut settings = Settings::default();
    settings.add_document(name, text);
    settings.add_env(&overrides.env);
    settings.add_flags(&overrides.flags);
    settings.finish(None)
}

/// One value on its way into the configuration.
struct Setting {
    section: String,
    key: String,
    value: Value,
    /// The value is the path of the file that holds the secret.
    in_file: bool,
    place: String,
}

struct Settings {
    known: Table,
    found: Vec<Setting>,
    mistakes: Vec<Mistake>,
    /// The file could not be read, so that what it says is not known.
    unread: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let known = Table::try_from(Config::default()).expect("the defaults are plain values");
        Self { known, found: Vec::new(), mistakes: Vec::new(), unread: false }
    }
}

impl Settings {
    fn add_file(&mut self, path: &Path) {
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => self.add_document(&name, &text),
            Err(error) => {
                self.unread = true;
                self.mistake(&name, "", format!("cannot be read: {error}"));
            }
        }
    }

    fn add_document(&mut self, name: &str, text: &str) {
        let document = match toml::de::DeTable::parse(text) {
            Ok(document) => document.into_inner(),
            Err(error) => {
                let place = place_of(name, text, error.span().map_or(0, |span| span.start));
                self.unread = true;
                return self.mistake(&place, "", error.message());
            }
        };
        let mut values: Table = toml::from_str(text).unwrap_or_default();
        let mut sections: Vec<_> = document.iter().collect();
        sections.sort_by_key(|(section, _)| section.span().start);
        for (section, content) in sections {
            let place = place_of(name, text, section.span().start);
            let section = section.get_ref().as_ref();
            let Some(keys) = content.get_ref().as_table() else {
                self.mistake(&place, "", format!("{section:?} must be a section: [{section}]"));
                continue;
            };
            if !self.known.contains_key(section) {
                let hint = nearest(section, self.known.keys());
                self.mistake(&place, "", format!("unknown section [{section}]{hint}"));
                continue;
            }
            let mut inner = match values.remove(section) {
                Some(Value::Table(inner)) => inner,
                _ => Table::new(),
            };
            let mut keys: Vec<_> = keys.keys().collect();
            keys.sort_by_key(|key| key.span().start);
            for key in keys {
                let place = place_of(name, text, key.span().start);
                if let Some(value) = inner.remove(key.get_ref().as_ref()) {
                    self.add(section, key.get_ref(), value, place);
                }
            }
        }
    }

    fn add_env(&mut self, env: &[(String, String)]) {
        for (name, value) in env {
            let Some(rest) = name.strip_prefix(ENV_PREFIX) else { continue };
            match rest.to_ascii_lowercase().split_once("__") {
                Some((section, key)) => self.add_text(section, key, value, name.clone()),
                None => {
                    self.mistake(name, "", "must have the form QUELL__SECTION__KEY");
                }
            }
        }
    }

    fn add_flags(&mut self, flags: &[String]) {
        for flag in flags {
            let parts =
                flag.split_once('=').and_then(|(path, value)| Some((path.split_once('.')?, value)));
            match parts {
                Some(((section, key), value)) => {
                    self.add_text(section.trim(), key.trim(), value, "--set".into());
                }
                None => self.mistake("--set", "", format!("{flag:?} is not section.key=value")),
            }
        }
    }

    /// A value that was written as plain text: takes the type of the default. A list is written as in the
    /// file; taken as one string, a list of tokens would be a token that nobody meant.
    fn add_text(&mut self, section: &str, key: &str, text: &str, place: String) {
        let default = self.known.get(section).and_then(|keys| keys.get(key));
        let value = match default {
            Some(Value::Array(_)) if text.trim_start().starts_with('[') => {
                let Some(list) = list_of(text) else {
                    // It may be a secret, so nothing of it is told.
                    let problem = "begins like a list, and is none as it would stand in the file";
                    return self.mistake(&place, &format!("{section}.{key}"), problem);
                };
                Some(list)
            }
            Some(Value::Integer(_)) => text.trim().parse().map(Value::Integer).ok(),
            Some(Value::Float(_)) => text.trim().parse().map(Value::Float).ok(),
            Some(Value::Boolean(_)) => text.trim().parse().map(Value::Boolean).ok(),
            _ => None,
        };
        self.add(section, key, value.unwrap_or_else(|| Value::String(text.into())), place);
    }

    fn add(&mut self, section: &str, key: &str, value: Value, place: String) {
        let value = match with_inner_secrets(section, key, value) {
            Ok(value) => value,
            Err(problem) => return self.mistake(&place, &format!("{section}.{key}"), problem),
        };
        if let Some(secret) = key.strip_suffix("_file").filter(|key| is_secret(section, key)) {
            let (section, key) = (section.to_owned(), secret.to_owned());
            self.push(Setting { section, key, value, in_file: true, place });
        } else {
            self.check_and_push(section, key, value, place);
        }
    }

    fn check_and_push(&mut self, section: &str, key: &str, value: Value, place: String) {
        let path = format!("{section}.{key}");
        let Some(keys) = self.known.get(section).and_then(Value::as_table) else {
            let hint = nearest(section, self.known.keys());
            return self.mistake(&place, &path, format!("unknown section [{section}]{hint}"));
        };
        if !keys.contains_key(key) {
            let hint = nearest(key, keys.keys());
            return self.mistake(&place, &path, format!("unknown key{hint}"));
        }
        let alone = Table::from_iter([(key.to_owned(), value.clone())]);
        let alone = Table::from_iter([(section.to_owned(), Value::Table(alone))]);
        if let Err(error) = alone.try_into::<Config>() {
            // The value itself may be a secret, so only its type is told.
            let problem = match error.message() {
                _ if is_secret(section, key) => {
                    "must be a string (callback_token: or a list of strings)"
                }
                message if holds_secrets(section, key) && message.starts_with("invalid") => {
                    "must be tables with strings: [[notify.also]] url = \"...\""
                }
                message => message,
            };
            let problem = problem.to_owned();
            return self.mistake(&place, &path, problem);
        }
        let (section, key) = (section.to_owned(), key.to_owned());
        self.push(Setting { section, key, value, in_file: false, place });
    }

    /// Adds a value, unless the same source says two things: a secret and the file that holds it.
    fn push(&mut self, setting: Setting) {
        let rank = source_rank(&setting.place);
        let twin = self.found.iter().find(|other| {
            (&other.section, &other.key) == (&setting.section, &setting.key)
                && other.in_file != setting.in_file
                && source_rank(&other.place) == rank
        });
        if let Some(twin) = twin {
            let problem = format!("is given twice, here and by {}", twin.place);
            let path = format!("{}.{}", setting.section, setting.key);
            return self.mistake(&setting.place, &path, problem);
        }
        self.found.push(setting);
    }

    fn mistake(&mut self, place: &str, key: &str, problem: impl Into<String>) {
        self.mistakes.push(Mistake {
            key: key.into(),
            problem: problem.into(),
            place: place.into(),
        });
    }

    fn finish(mut self, path: Option<PathBuf>) -> Result<Loaded, Error> {
        let mut merged = Table::new();
        let mut sources = BTreeMap::new();
        // The last word on each key counts; files that are not asked for any more are not read.
        let mut last = BTreeMap::new();
        for setting in std::mem::take(&mut self.found) {
            last.insert((setting.section.clone(), setting.key.clone()), setting);
        }
        for Setting { section, key, value, in_file, place } in last.into_values() {
            let several = (section.as_str(), key.as_str()) == ("chat", "callback_token");
            let value = match in_file.then(|| read_secret(&value)) {
                None => value,
                Some(Ok(Value::Array(_))) if !several => {
                    let problem = "has more than one line, which only callback tokens may have";
                    self.mistake(&place, &format!("{section}.{key}_file"), problem);
                    continue;
                }
                Some(Ok(value)) => value,
                Some(Err(problem)) => {
                    self.mistake(&place, &format!("{section}.{key}_file"), problem);
                    continue;
                }
            };
            sources.insert(format!("{section}.{key}"), place);
            let keys = merged.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if let Some(keys) = keys.as_table_mut() {
                keys.insert(key, value);
            }
        }
        let mut mistakes = self.mistakes;
        for mistake in &mistakes {
            if let Some((section, key)) = mistaken_secret(mistake) {
                let keys = merged.entry(section).or_insert_with(|| Value::Table(Table::new()));
                if let Some(keys) = keys.as_table_mut() {
                    keys.entry(key).or_insert_with(|| UNREAD.into());
                }
            }
        }
        let loaded = match merged.try_into() {
            Ok(config) => Loaded { config, path, sources },
            Err(error) => {
                mistakes.push(Mistake::of("", error.message()));
                return Err(Error { mistakes, rest: None });
            }
        };
        if mistakes.is_empty() {
            return Ok(loaded);
        }
        Err(Error { mistakes, rest: (!self.unread).then(|| Box::new(loaded)) })
    }
}

/// A list as it would stand in the file.
fn list_of(text: &str) -> Option<Value> {
    text.trim().parse().ok().filter(Value::is_array)
}

/// File, environment or flags.
fn source_rank(place: &str) -> u8 {
    match place {
        "--set" => 2,
        place if place.starts_with(ENV_PREFIX) => 1,
        _ => 0,
    }
}

/// The keys of secrets whose values stand among `--set` flags themselves.
pub fn secrets_among(flags: &[String]) -> impl Iterator<Item = &str> {
    let keys = flags.iter().filter_map(|flag| flag.split_once('=')).map(|(key, _)| key.trim());
    keys.filter(|key| SECRET_KEYS.contains(key))
}

/// Section and key of a secret that is given, but not so that it can be read.
fn mistaken_secret(mistake: &Mistake) -> Option<(&str, &str)> {
    let key = mistake.about();
    SECRET_KEYS.contains(&key).then(|| key.split_once('.'))?
}

fn is_secret(section: &str, key: &str) -> bool {
    SECRET_KEYS.contains(&format!("{section}.{key}").as_str())
}

/// Whether a key holds tables that hold secrets.
fn holds_secrets(section: &str, key: &str) -> bool {
    (section, key) == ("notify", "also")
}

/// Tables that hold secrets, with what stands in their files in place of `url_file` and `secret_file`.
fn with_inner_secrets(section: &str, key: &str, mut value: Value) -> Result<Value, String> {
    let tables = value.as_array_mut().filter(|_| holds_secrets(section, key));
    for table in tables.into_iter().flatten().filter_map(Value::as_table_mut) {
        for secret in ["url", "secret"] {
            let Some(path) = table.remove(&format!("{secret}_file")) else { continue };
            if table.insert(secret.to_owned(), read_secret(&path)?).is_some() {
                return Err(format!("{secret} and {secret}_file are both given"));
            }
        }
    }
    Ok(value)
}

/// The content of a secret's file: one value a line, so that tokens can be rotated.
fn read_secret(path: &Value) -> Result<Value, String> {
    let path = path.as_str().ok_or("must be the path of a file")?;
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("{path} cannot be read: {error}"))?;
    let mut lines: Vec<_> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(Value::from).collect();
    match lines.len() {
        0 => Err(format!("{path} is empty")),
        1 => Ok(lines.remove(0)),
        _ => Ok(Value::Array(lines)),
    }
}

/// `name:line:column`, counted from 1, of a byte offset.
fn place_of(name: &str, text: &str, offset: usize) -> String {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    format!("{name}:{line}:{column}")
}

/// `; did you mean X?`, or what is known.
fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a String>) -> String {
    let known: Vec<_> = known.map(String::as_str).collect();
    let near = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4);
    match near {
        Some((_, candidate)) => format!("; did you mean {candidate}?"),
        None => format!("; known are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::config::Synchronous;

    fn load_text(text: &str, env: &[(&str, &str)], flags: &[&str]) -> Result<Loaded, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("quell.toml");
        std::fs::write(&path, text).unwrap();
        let overrides = Overrides {
            env: env.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            flags: flags.iter().map(|flag| (*flag).into()).collect(),
        };
        let folder = format!("{}/", folder.path().display());
        load(Some(&path), &overrides).map_err(|error| error.to_string().replace(&folder, ""))
    }

    #[test]
    fn the_documented_file_equals_the_defaults() {
        let text = include_str!("../../config/default.toml");
        let loaded = load_text(text, &[], &[]).unwrap();
        assert_eq!(loaded.config, Config::default());
        let known = Table::try_from(Config::default()).unwrap();
        for (section, keys) in &known {
            for key in keys.as_table().unwrap().keys() {
                let path = format!("{section}.{key}");
                assert!(loaded.sources.contains_key(&path), "{path} is not documented");
            }
        }
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let text = "[recall]\nbatch_size = 1\ncalls_per_second = 1\n[store]\nurl = \"sqlite:a\"\n";
        let env = [
            ("QUELL__RECALL__BATCH_SIZE", "2"),
            ("QUELL__RECALL__CALLS_PER_SECOND", "2"),
            ("QUELL__STORE__SYNCHRONOUS", "normal"),
            ("HOME", "/nowhere"),
        ];
        let loaded = load_text(text, &env, &["recall.batch_size=3"]).unwrap();
        assert_eq!(loaded.config.recall.batch_size, 3);
        assert_eq!(loaded.config.recall.calls_per_second, 2);
        assert_eq!(loaded.config.store.url, "sqlite:a");
        assert_eq!(loaded.config.store.synchronous, Synchronous::Normal);
        assert_eq!(loaded.sources["recall.batch_size"], "--set");
        assert!(loaded.sources["store.url"].ends_with("quell.toml:5:1"));
    }

    #[test]
    fn every_mistake_is_reported_with_its_place() {
        let text = "[recall]\nbatchsize = 1\ncalls_per_second = \"fast\"\n\n[chta]\nregion = 1\n";
        let env = [("QUELL__STORE__READERS", "many"), ("QUELL__CHAT", "x")];
        let said = load_text(text, &env, &["chat.regoin=x", "nonsense"]).unwrap_err();
        insta::assert_snapshot!(said, @r#"
        quell.toml:2:1: recall.batchsize: unknown key; did you mean batch_size?
        quell.toml:3:1: recall.calls_per_second: invalid type: string "fast", expected u32
        quell.toml:5:2: unknown section [chta]; did you mean chat?
        QUELL__STORE__READERS: store.readers: invalid type: string "many", expected u32
        QUELL__CHAT: must have the form QUELL__SECTION__KEY
        --set: chat.regoin: unknown key; did you mean region?
        --set: "nonsense" is not section.key=value
        "#);
    }

    #[test]
    fn a_secret_file_may_hold_several_tokens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        std::fs::write(&path, "new-token\nold-token\n").unwrap();
        let text = format!("[chat]\ncallback_token_file = {:?}\n", path.display().to_string());
        let loaded = load_text(&text, &[("QUELL__CHAT__SECRET_KEY", "12345")], &[]).unwrap();
        assert_eq!(loaded.config.chat.callback_token.iter().count(), 2);
        assert!(loaded.config.chat.secret_key.is_set());
        let shown = format!("{:?}", loaded.config);
        assert!(!shown.contains("token\"") && !shown.contains("12345"), "{shown}");
        let text = "[chat]\nsecret_key_file = \"/no/such/file\"\n";
        assert!(load_text(text, &[], &[]).unwrap_err().contains("/no/such/file cannot be read"));
        // What the environment overrides is not read.
        let env = [("QUELL__CHAT__SECRET_KEY", "k")];
        assert!(load_text(text, &env, &[]).unwrap().config.chat.secret_key.is_set());
        let twins = [env[0], ("QUELL__CHAT__SECRET_KEY_FILE", "/x")];
        assert!(load_text("", &twins, &[]).unwrap_err().contains("is given twice"));
    }

    #[test]
    fn a_list_of_tokens_is_one_wherever_it_stands() {
        const TOKEN: &str = "QUELL__CHAT__CALLBACK_TOKEN";
        let tokens = |loaded: Loaded| -> Vec<String> {
            let tokens = loaded.config.chat.callback_token;
            tokens.iter().map(|token| token.expose_secret().to_owned()).collect()
        };
        let list = r#"["new", "old"]"#;
        let ways = [
            load_text(&format!("[chat]\ncallback_token = {list}\n"), &[], &[]),
            load_text("", &[(TOKEN, list)], &[]),
            load_text("", &[], &[&format!("chat.callback_token= {list} ")]),
        ];
        for way in ways {
            assert_eq!(tokens(way.unwrap()), ["new", "old"]);
        }
        for nothing in ["[]", r#"["", ""]"#, ""] {
            assert!(
                tokens(load_text("", &[(TOKEN, nothing)], &[]).unwrap()).is_empty(),
                "{nothing}"
            );
        }
        assert_eq!(tokens(load_text("", &[(TOKEN, "new,old")], &[]).unwrap()), ["new,old"]);
        for broken in ["[canary", "[canary]", "[\"canary\"]\nx = 1", "[1]"] {
            let said = load_text("", &[(TOKEN, broken)], &[]).unwrap_err();
            assert!(said.starts_with(TOKEN) && !said.contains("canary"), "{said}");
        }
        let public = ["server.listen=0.0.0.0:80", "chat.callback_token=[]"];
        let config = load_text("", &[], &public).unwrap().config;
        assert!(config.mistakes().iter().any(|mistake| mistake.key == "server.listen"));
    }

    #[test]
    fn public_listeners_want_a_token() {
        let mut config = Config::default();
        config.server.listen = ([0, 0, 0, 0], 8080).into();
        config.admin.listen = ([0, 0, 0, 0], 8081).into();
        let keys = |config: &Config| -> Vec<String> {
            config.mistakes().into_iter().map(|mistake| mistake.key).collect()
        };
        let expected = ["server.listen", "admin.listen", "chat.sdk_app_id", "chat.secret_key"];
        assert_eq!(keys(&config), expected);
        config.server.insecure = true;
        config.admin.token = "x".into();
        assert_eq!(keys(&config), ["chat.sdk_app_id", "chat.secret_key"]);
    }

    #[test]
    fn further_receivers_have_secrets_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("url");
        std::fs::write(&path, "https://hooks.example/canary\n").unwrap();
        let file = format!("url_file = {:?}\nform = \"slack\"\n", path.display().to_string());
        let text = format!("[[notify.also]]\n{file}[[notify.also]]\nurl = \"https://b.example\"\n");
        let config = load_text(&text, &[], &[]).unwrap().config;
        assert_eq!(config.notify.receivers().count(), 2);
        assert!(!format!("{config:?}").contains("canary"));
        assert!(!Table::try_from(&config).unwrap().to_string().contains("canary"));
        let twice = format!("[[notify.also]]\n{file}url = \"https://c.example\"\n");
        assert!(load_text(&twice, &[], &[]).unwrap_err().contains("are both given"));
        for wrong in ["also = [\"canary\"]", "also = \"canary\"", "also = [{ url = [\"canary\"] }]"]
        {
            let said = load_text(&format!("[notify]\n{wrong}\n"), &[], &[]).unwrap_err();
            assert!(said.contains("notify.also: must be") && !said.contains("canary"), "{said}");
        }
        let said = load_text("[[notify.also]]\nfrom = 1\n", &[], &[]).unwrap_err();
        assert!(said.contains("unknown field `from`"), "{said}");
    }
}
