//! `link`: addresses of web sites, with or without `http://`.
//!
//! ```yaml
//! link: any
//! link: { not_in: own-sites }
//! link: { in: [bad.example, .top, t.me/badgroup] }
//! ```
//!
//! A host stands for its subdomains too, `.top` for everything below that suffix, and an entry with a
//! path for the addresses that begin so. Bare hosts count where the public suffix list knows their
//! ending; internationalised ones are compared in their ASCII form. An e-mail address is no link. A
//! missing space (`later.is it on`) is told from a link by the words around; `1.2.3.4` alone is taken
//! for a version.

use std::borrow::Cow;
use std::ops::Range;

use schemars::JsonSchema;

use crate::rules::compile::{Compiler, Findings, LeafId, Span, Via};
use crate::rules::decode::{At, FromNode, Notes, OneOrMany, word, written};
use crate::rules::yaml::{Node, Place, Value};
use crate::text::Reading;

/// What is written below `link`.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged)]
pub(crate) enum Written {
    /// The word `any`.
    Any(Any),
    Map(Map),
}

written! {
    /// Which links are meant; every link where nothing is given.
    struct Map: "a link matcher" {
        /// Hosts, or the name of a list of hosts: links to these.
        within = "in": Option<OneOrMany<At<String>>>,
        /// Hosts, or the name of a list of hosts: links to anywhere else.
        outside = "not_in": Option<OneOrMany<At<String>>>,
    }
}

word! {
    /// Every link.
    enum Any: "a link matcher (a mapping with `in` or `not_in`, or a word)" {
        Any = "any",
    }
}

impl FromNode for Written {
    fn from_node(node: &Node, notes: &mut Notes) -> Option<Self> {
        match &node.value {
            Value::Map(_) => Map::from_node(node, notes).map(Self::Map),
            _ => Any::from_node(node, notes).map(Self::Any),
        }
    }
}

impl Written {
    pub(crate) fn compile(&self, at: Place, c: &mut Compiler<'_>) -> LeafId {
        let leaf = c.new_leaf();
        let (mut within, mut outside) = (None, None);
        if let Self::Map(map) = self {
            within = map.within.as_ref().map(|names| sites(&names.0, c));
            outside = map.outside.as_ref().map(|names| sites(&names.0, c));
            if within.is_some() && outside.is_some() {
                c.notes.mistake_with(
                    at,
                    "`in` and `not_in` contradict each other",
                    "give one of them",
                );
            }
        }
        c.links.push(Matcher { leaf, within, outside });
        leaf
    }
}

/// A single name that is a list's is that list, everything else is a host.
fn sites(names: &[At<String>], c: &mut Compiler<'_>) -> Vec<Site> {
    let mut sites = Vec::new();
    for name in names {
        if name.value.contains('.') {
            sites.push(Site::of(&name.value));
        } else if let Some(list) = c.list(name) {
            sites.extend(list.items.iter().map(|item| Site::of(&item.text)));
        }
    }
    sites
}

/// A host with all below it, and a path that an address has to begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Site {
    host: String,
    path: String,
}

impl Site {
    fn of(written: &str) -> Self {
        let bare = written.trim().to_lowercase();
        let bare = bare.split_once("://").map_or(bare.as_str(), |(_, rest)| rest);
        let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
        let host = host.trim_start_matches("*.").trim_start_matches('.');
        Self { host: ascii_host(host), path: path.trim_end_matches('/').to_owned() }
    }

    fn holds(&self, link: &Link) -> bool {
        let host = link.host.strip_suffix(self.host.as_str());
        let below = host.is_some_and(|before| before.is_empty() || before.ends_with('.'));
        let path = link.path.strip_prefix(self.path.as_str());
        below
            && path.is_some_and(|rest| {
                self.path.is_empty() || rest.is_empty() || rest.starts_with(['/', '?', '#'])
            })
    }
}

/// The ASCII form of a host: percent-encoding undone, internationalised labels as punycode.
fn ascii_host(host: &str) -> String {
    let decoded = percent_encoding::percent_decode_str(host).decode_utf8_lossy();
    let host = decoded.trim_end_matches('.').replace('。', ".");
    idna::domain_to_ascii(&host).unwrap_or(host).to_lowercase()
}

/// A `link` matcher, compiled.
#[derive(Debug)]
pub(crate) struct Matcher {
    leaf: LeafId,
    within: Option<Vec<Site>>,
    outside: Option<Vec<Site>>,
}

/// Reports every link that a matcher means.
pub(crate) fn find(matchers: &[Matcher], reading: &Reading<'_>, found: &mut Findings) {
    if matchers.is_empty() {
        return;
    }
    let folded = reading.folded();
    let text = folded.as_str();
    if !text.contains(['.', '。', ':']) {
        return;
    }
    for link in links(text) {
        let (start, end) = reading.behind_folded(link.at.start, link.at.end);
        for matcher in matchers {
            let any = |sites: &Vec<Site>| sites.iter().any(|site| site.holds(&link));
            if matcher.within.as_ref().is_none_or(any) && !matcher.outside.as_ref().is_some_and(any)
            {
                found.add(matcher.leaf, Span { start, end, via: Via::Readable });
            }
        }
    }
}

/// An address in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) at: Range<usize>,
    host: String,
    /// What follows the first slash behind the host.
    path: String,
}

/// The longest host looked at, in characters, and the most labels of one.
const MAX_HOST: usize = 255;
const MAX_LABELS: usize = 16;
const SCHEMES: &[&str] = &["http", "https", "ftp", "ftps", "hxxp", "hxxps", "ws", "wss"];
/// Endings that are also words or the ends of file names: alone they are links only where the text
/// does not go on as a sentence, or not at all.
const WORDS: &[&str] = &[
    "is", "in", "it", "me", "my", "no", "so", "to", "am", "as", "at", "be", "by", "do", "us", "la",
    "et", "game", "games", "team", "world", "cool", "life", "love", "news", "group", "one", "best",
    "work", "now", "today", "how", "here", "day", "buy", "free", "gift", "gifts", "money", "chat",
    "good", "like", "try", "you", "moe", "run", "fit", "fish", "food", "party", "sale", "help",
    "bar",
];
const FILES: &[&str] = &["py", "rs", "sh", "md", "pl", "pm", "zip", "mov", "ps", "java", "cpp"];
/// Endings so common that what follows them hardly matters.
const COMMON: &[&str] = &["com", "net", "org", "cn", "ru", "info", "top", "vip", "xyz", "cc"];
/// Endings that names in scripts without word spaces are written before: `例え.jp`.
const BEHIND_FREE_TEXT: &[&str] = &["com", "cn", "jp", "kr", "tw", "hk", "top", "vip", "xyz", "cc"];
/// Endings in scripts without word spaces, which the text behind may be glued to.
const GLUED: &[&str] = &[
    "中国",
    "中國",
    "公司",
    "网络",
    "網絡",
    "在线",
    "商城",
    "网址",
    "集团",
    "我爱你",
    "みんな",
    "コム",
    "닷컴",
    "닷넷",
];

/// All addresses in a folded text, in order.
pub(crate) fn links(text: &str) -> Vec<Link> {
    let mut links: Vec<Link> = Vec::new();
    for (at, _) in text.match_indices("://") {
        if links.last().is_none_or(|last| last.at.end <= at)
            && let Some(link) = with_scheme(text, at)
        {
            links.push(link);
        }
    }
    let schemes = links.len();
    let mut next_scheme = 0;
    // Up to here everything has been looked at: a run of dots and letters is, as a whole.
    let mut done = 0;
    for (at, dot) in text.match_indices(['.', '。']) {
        while links[..schemes].get(next_scheme).is_some_and(|link| link.at.end <= at) {
            next_scheme += 1;
        }
        let taken = links[..schemes].get(next_scheme).is_some_and(|link| link.at.contains(&at));
        if at < done || taken {
            continue;
        }
        let (link, seen) = bare(text, at, dot.len());
        done = link.as_ref().map_or(seen, |link| link.at.end.max(seen));
        links.extend(link);
    }
    links.sort_by_key(|link| link.at.start);
    links
}

/// An address with its scheme; `at` is where `://` stands.
fn with_scheme(text: &str, at: usize) -> Option<Link> {
    let before = &text[..at];
    let letters = before.bytes().rev().take_while(u8::is_ascii_alphabetic).count();
    let start = at - letters;
    if !SCHEMES.contains(&&before[start..])
        || before[..start].ends_with(|c: char| c.is_ascii_digit() || c == '_')
    {
        return None;
    }
    let rest = &text[at + 3..];
    let authority = &rest[..rest.find(ends_authority).unwrap_or(rest.len())];
    let user = authority.rfind('@').map_or(0, |at| at + 1);
    let host = &authority[user..];
    let host = &host[..host.find(':').unwrap_or(host.len())];
    let host = host.trim_end_matches(['.', ',', '!', ';', '\'']);
    let decoded = percent_encoding::percent_decode_str(host).decode_utf8_lossy();
    if !is_host(&decoded) {
        return None;
    }
    let host_end = at + 3 + user + host.len();
    let end = address_end(text, host_end);
    Some(Link { at: start..end, host: ascii_host(host), path: path_of(&text[host_end..end]) })
}

fn ends_authority(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '/' | '?'
                | '#'
                | '<'
                | '>'
                | '"'
                | '('
                | ')'
                | '['
                | ']'
                | '{'
                | '}'
                | '|'
                | '。'
                | '、'
                | '&'
                | ','
                | ';'
                | '!'
                | '*'
                | '='
                | '^'
                | '`'
        )
}

/// Labels of letters, digits, hyphens and inner underscores, the last one no single letter.
fn is_host(host: &str) -> bool {
    let labels: Vec<&str> = host.split('.').collect();
    let good = |label: &&str| {
        let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_') || !c.is_ascii();
        let edge = label.starts_with(['-', '_']) || label.ends_with(['-', '_']);
        let punycode = label.starts_with("xn--");
        (1..=252).contains(&label.len())
            && label.chars().all(fits)
            && !edge
            && (label.is_ascii() || !punycode)
    };
    let last = labels.last().copied().unwrap_or_default();
    labels.iter().all(good)
        && (labels.len() == 1 || last.chars().count() > 1 || last.parse::<u8>().is_ok())
}

/// An address without a scheme, and up to where the text has been looked at; `at` is where a dot
/// stands.
fn bare(text: &str, at: usize, dot: usize) -> (Option<Link>, usize) {
    let (before, after) = (&text[..at], &text[at + dot..]);
    if !after.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return (internationalised(text, at, dot), at + dot);
    }
    let in_host = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '%');
    let left = before.chars().rev().take(MAX_HOST).take_while(in_host);
    let start = at - left.map(char::len_utf8).sum::<usize>();
    let right = after.chars().take(MAX_HOST).take_while(in_host);
    let end = at + dot + right.map(char::len_utf8).sum::<usize>();
    let relative = text[..start].strip_suffix("//").is_some_and(|rest| {
        rest.is_empty() || rest.ends_with(char::is_whitespace) || rest.ends_with(['(', '"', '\''])
    });
    let within = text[..start].ends_with(['@', '/', ':', '\\', '=', '&', '#', '$']) && !relative;
    if within || is_mailbox(&text[end..]) {
        return (internationalised(text, at, dot), at + dot);
    }
    let host = host_in_run(text, start, end).or_else(|| numbers_in_run(text, start, end));
    (host.or_else(|| internationalised(text, at, dot)), end)
}

/// Whether what comes behind a run shows it to be the first part of an e-mail address.
fn is_mailbox(behind: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '.' | '_' | '-');
    behind.trim_start_matches(part).starts_with('@') && behind.starts_with(['+', '@'])
}

/// Four numbers are an address where a port or a path follows; alone they may be a version.
fn numbers_in_run(text: &str, start: usize, end: usize) -> Option<Link> {
    let host = text.get(start..end)?;
    let number = |part: &str| part.len() < 4 && part.parse::<u8>().is_ok();
    let four = host.split('.').count() == 4 && host.split('.').all(number);
    let mut behind = text[end..].chars();
    let port = matches!((behind.next(), behind.next()), (Some(':'), Some('0'..='9')));
    if !four || !(port || text[end..].starts_with('/')) {
        return None;
    }
    let host = host.to_owned();
    let path_end = address_end(text, end);
    Some(Link { at: start..path_end, path: path_of(&text[end..path_end]), host })
}

/// The address that a run of host characters begins with, if it does.
fn host_in_run(text: &str, start: usize, end: usize) -> Option<Link> {
    let run: Cow<'_, str> = match text.get(start..end)? {
        run if run.contains('%') => percent_encoding::percent_decode_str(run).decode_utf8_lossy(),
        run => run.into(),
    };
    let run = run.replace('。', ".");
    let host = known_host(run.trim_matches(['.', '-']))?;
    let host_start = start + run.find(&host)?;
    let host_end = if run.len() == end - start { host_start + host.len() } else { end };
    let end = address_end(text, host_end);
    let has_path = text[host_end..end].starts_with(['/', '?', ':']);
    // The name of a thing in a program goes on: `std.io.read`, `app.run()`.
    let goes_on = run[run.find(&host)? + host.len()..].starts_with('.')
        && text[host_end..].starts_with('.')
        && text[host_end + 1..].starts_with(|c: char| c.is_ascii_alphabetic());
    if !has_path && !stands_alone(&host, &text[end..], goes_on) {
        return None;
    }
    Some(Link { at: host_start..end, path: path_of(&text[host_end..end]), host })
}

/// The longest start of a dotted run that is a host under a known suffix.
fn known_host(run: &str) -> Option<String> {
    let labels: Vec<&str> = run.split('.').take(MAX_LABELS).collect();
    (2..=labels.len()).rev().find_map(|count| {
        let last = labels[count - 1];
        let known = last.bytes().all(|b| b.is_ascii_alphabetic() || last.starts_with("xn--"))
            && last.len() > 1
            && psl::suffix(last.as_bytes()).is_some_and(|suffix| suffix.is_known());
        let host = known.then(|| labels[..count].join("."))?;
        is_host(&host).then_some(host)
    })
}

/// Whether a host without a path is meant as one.
fn stands_alone(host: &str, after: &str, goes_on: bool) -> bool {
    if host.starts_with("www.") {
        return true;
    }
    let (name, ending) = host.rsplit_once('.').unwrap_or(("", host));
    let in_program = goes_on || after.starts_with("()") || after.starts_with(" = ");
    if in_program && !COMMON.contains(&ending) {
        return false;
    }
    let number = name.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if FILES.contains(&ending)
        || (number && !matches!(ending, "com" | "cn" | "net" | "cc" | "vip" | "top"))
    {
        return false;
    }
    let mut next = after.chars();
    let goes_on = matches!((next.next(), next.next()), (Some(' '), Some(c)) if c.is_alphabetic());
    !(WORDS.contains(&ending) && goes_on)
}

/// A host in another script than Latin: its ending has to be one.
fn internationalised(text: &str, at: usize, dot: usize) -> Option<Link> {
    let (before, after) = (&text[..at], &text[at + dot..]);
    let letters: String =
        after.chars().take(MAX_HOST).take_while(|c| c.is_alphabetic() || *c == '-').collect();
    let free = before.chars().next_back().is_some_and(|c| c.is_alphabetic() && !c.is_ascii());
    let latin: &str = &letters[..letters.bytes().take_while(u8::is_ascii_alphabetic).count()];
    let ending = match GLUED.iter().find(|ending| letters.starts_with(**ending)) {
        Some(ending) => *ending,
        // A full stop in full width mostly is one.
        None if free && dot == 1 && BEHIND_FREE_TEXT.contains(&latin) => latin,
        None if !letters.is_ascii() => letters.as_str(),
        None => return None,
    };
    let name = before
        .chars()
        .rev()
        .take(MAX_HOST)
        .take_while(|c| c.is_alphanumeric() || matches!(c, '-' | '.'));
    let start = at - name.map(char::len_utf8).sum::<usize>();
    let host_end = at + dot + ending.len();
    let host = idna::domain_to_ascii(&text[start..host_end].replace('。', ".")).ok()?;
    let known =
        psl::suffix(host.rsplit('.').next()?.as_bytes()).is_some_and(|suffix| suffix.is_known());
    if start == at || !known || host.starts_with('.') || text[..start].ends_with('@') {
        return None;
    }
    let end = address_end(text, host_end);
    Some(Link { at: start..end, path: path_of(&text[host_end..end]), host })
}

/// Where the address goes on to behind its host: over port and path, without what closes a sentence.
fn address_end(text: &str, host_end: usize) -> usize {
    let rest = &text[host_end..];
    if !rest.starts_with(['/', '?', '#', ':']) {
        return host_end;
    }
    let stops = |c: char| {
        c.is_whitespace()
            || matches!(c, '<' | '>' | '"' | '`' | '|' | '，' | '。' | '、' | '」' | '】')
    };
    let long = &rest[..rest.find(stops).unwrap_or(rest.len())];
    host_end + long.trim_end_matches(['.', ',', '!', '?', ';', ':', '\'', ')', ']', '}']).len()
}

fn path_of(behind_host: &str) -> String {
    behind_host.split_once('/').map(|(_, path)| path.to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let found: Vec<_> = links(text).into_iter().map(|link| &text[link.at]).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn addresses_are_found_as_people_write_them() {
        check("see http://a.example.com/x?y=1.", &["http://a.example.com/x?y=1"]);
        check("加我vx.com快来", &["vx.com"]);
        check("bit.ly/abc 然后 t.me/xyz", &["bit.ly/abc", "t.me/xyz"]);
        check("президент.рф и 例子.中国很好", &["президент.рф", "例子.中国"]);
        check("http://%65xample.com", &["http://%65xample.com"]);
        check("例え.jp 한국.com", &["例え.jp", "한국.com"]);
        check("(//example.com/a)", &["example.com/a"]);
        check(
            "http://example.com&x, http://a.net,http://b.net",
            &["http://example.com", "http://a.net", "http://b.net"],
        );
        check("server 10.0.0.1:8080/x", &["10.0.0.1:8080/x"]);
        check("go to example.com.Then", &["example.com"]);
        check("www.a--b.com", &["www.a--b.com"]);
    }

    #[test]
    fn what_only_looks_like_an_address_is_none() {
        for text in [
            "1.2.3",
            "ok.然后",
            "mail me@example.com",
            "john.doe.gov@mail.com",
            "file.rs",
            "see you later.is it on",
            "3.14",
            "a.b",
            "example.invalid",
            "http://",
            "path/to/file.pl",
            "v1.2.3.4",
            "wait...what",
            "e.g. this",
            "#test.com",
            "$example.com",
            "user.name+tag@example.com",
            "std.io.Read",
            "app.run()",
            "self.name = 1",
            "10.0.0.1",
            "路径//file.py",
            "没有。com",
        ] {
            check(text, &[]);
        }
    }

    #[test]
    fn a_site_holds_its_subdomains_and_not_its_look_alikes() {
        let holds = |site: &str, text: &str| Site::of(site).holds(&links(text)[0]);
        assert!(holds("example.com", "https://a.example.com/x"));
        assert!(holds("例子.中国", "http://xn--fsqu00a.xn--fiqs8s/"));
        assert!(holds(".top", "cheap.top"));
        assert!(holds("t.me/good", "t.me/good?x=1"));
        assert!(!holds("example.com", "https://notexample.com"));
        assert!(!holds("example.com", "https://example.com.bad.net"));
        assert!(!holds("t.me/good", "t.me/goodbye"));
    }
}
