//! House rules that no lint knows: which module may know which, who may name which crate, and what
//! must not stand in the tree.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Layers of the modules: each imports from lower ones only, never from a sibling or from above.
const LAYERS: &[(&str, u8)] = &[
    ("model", 0),
    ("text", 1),
    ("config", 1),
    ("rules", 2),
    ("store", 2),
    ("chat", 2),
    ("intake", 3),
    ("worker", 3),
    ("backtest", 3),
    ("notify", 3),
    ("retention", 3),
    ("sweep", 3),
    ("repair", 4),
    ("http", 4),
    ("sim", 4),
    ("app", 5),
    ("cli", 6),
];

/// Crates that few modules may name, so that they can be replaced in one place.
const OWNED_CRATES: &[(&str, &[&str])] = &[
    ("sqlx", &["store"]),
    ("rusqlite", &["store"]),
    ("governor", &["worker"]),
    ("axum", &["http", "sim"]),
    ("utoipa", &["http", "rules", "sweep", "backtest"]),
    ("reqwest", &["chat", "cli", "notify"]),
    ("tokio_rustls", &["http"]),
    ("fail", &["model"]),
    ("serde_saphyr", &["rules"]),
    ("clap", &["cli"]),
    ("anyhow", &["app", "cli"]),
];

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(folder).expect("a folder of the tree") {
            let path = entry.expect("an entry of the tree").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).expect("a source file");
                found.push((path, text));
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new("src"), &mut found);
    found.sort();
    assert!(found.len() > 50, "the sources were not found");
    found
}

/// The module that a file belongs to: its first folder, or its own name.
fn module(path: &Path) -> String {
    let inside = path.strip_prefix("src").expect("a path below src");
    let first = inside.components().next().expect("a name").as_os_str();
    first.to_string_lossy().trim_end_matches(".rs").to_owned()
}

/// Code without comments and without unit tests, line by line.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .take_while(|line| line.trim() != "#[cfg(test)]")
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(at, line)| (at + 1, line))
}

/// Modules named by `crate::x` on a line, in groups as well: `use crate::{a, b::c};`.
fn named_modules(line: &str) -> Vec<String> {
    let word = |text: &str| {
        text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>()
    };
    let mut named = Vec::new();
    for rest in line.split("crate::").skip(1) {
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut part = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 0 => named.push(word(&std::mem::take(&mut part))),
                    _ if depth == 0 => part.push(c),
                    _ => {}
                }
            }
            named.push(word(&part));
        } else {
            named.push(word(rest));
        }
    }
    named
}

#[test]
fn modules_import_from_lower_layers_only() {
    let layers: BTreeMap<&str, u8> = LAYERS.iter().copied().collect();
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let here = module(&path);
        if here == "lib" || here == "main" {
            continue;
        }
        let layer = layers.get(here.as_str());
        let layer = layer.unwrap_or_else(|| panic!("{here} has no layer: add it to LAYERS"));
        for (at, line) in code(&text) {
            for other in named_modules(line) {
                let Some(theirs) = layers.get(other.as_str()) else { continue };
                if other != here && theirs >= layer {
                    wrong.push(format!("{}:{at}: {here} imports {other}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_module_of_the_library_has_a_layer() {
    let lib = fs::read_to_string("src/lib.rs").expect("src/lib.rs");
    let modules: Vec<_> = lib
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    for (module, _) in LAYERS {
        assert!(modules.contains(module), "{module} is no module any more");
    }
    assert_eq!(modules.len(), LAYERS.len());
}

#[test]
fn crates_with_an_owner_are_named_by_it_alone() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let here = module(&path);
        for (name, owners) in OWNED_CRATES {
            if owners.contains(&here.as_str()) {
                continue;
            }
            let named = |line: &str| {
                line.contains(&format!("{name}::")) && !line.contains(&format!("_{name}::"))
            };
            wrong.extend(
                code(&text)
                    .filter(|(_, line)| named(line))
                    .map(|(at, line)| format!("{}:{at}: {}", path.display(), line.trim())),
            );
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn nothing_unfinished_stands_in_the_sources() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        for (at, line) in text.lines().enumerate() {
            let marks = ["todo!(", "unimplemented!(", "#[ignore", "allow(dead_code", "dbg!("];
            if marks.iter().any(|mark| line.contains(mark)) {
                wrong.push(format!("{}:{}: {}", path.display(), at + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn files_begin_with_what_they_are_for() {
    let bare: Vec<_> = sources()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert!(bare.is_empty(), "no //! at the top of {bare:?}");
}

#[test]
fn imports_are_found_in_all_their_forms() {
    assert_eq!(named_modules("use crate::model::{A, B};"), ["model"]);
    assert_eq!(
        named_modules("use crate::{model::A, store::{B, C}, text};"),
        ["model", "store", "text"]
    );
    assert_eq!(named_modules("fn f(a: crate::http::X) -> crate::app::Y"), ["http", "app"]);
}

/// Names of metrics in a text: `quell_` and what follows, without what Prometheus adds to
/// histograms.
fn metric_names(text: &str) -> std::collections::BTreeSet<String> {
    let mut names = std::collections::BTreeSet::new();
    for (at, _) in text.match_indices("quell_") {
        let name: String =
            text[at..].chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
        let bare = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        names.insert(bare.unwrap_or(&name).to_owned());
    }
    names
}

#[test]
fn dashboards_and_alerts_name_metrics_that_exist() {
    let exist: std::collections::BTreeSet<String> = sources()
        .iter()
        .flat_map(|(_, text)| {
            text.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()
        })
        .filter(|literal| literal.starts_with("quell_"))
        .collect();
    for path in ["config/grafana/quell.json", "config/prometheus/alerts.yaml"] {
        let text = fs::read_to_string(path).expect("a shipped file");
        let named = metric_names(&text);
        assert!(named.len() > 5, "{path} names no metrics");
        for name in named {
            assert!(exist.contains(&name), "{path}: {name} is no metric of quell");
        }
    }
}

/// Names in the first argument of these macros, with the file.
fn named_in(macros: &[&str]) -> std::collections::BTreeSet<String> {
    let mut names = std::collections::BTreeSet::new();
    for (_, text) in sources() {
        for call in macros {
            for (at, _) in text.match_indices(call) {
                if text[..at].ends_with("describe_") {
                    continue;
                }
                let rest = text[at + call.len()..].trim_start();
                let name = rest.strip_prefix('"').and_then(|rest| rest.split('"').next());
                names.extend(name.filter(|name| name.starts_with("quell_")).map(str::to_owned));
            }
        }
    }
    names
}

#[test]
fn every_metric_is_described() {
    let used = named_in(&["counter!(", "gauge!(", "histogram!("]);
    let described = named_in(&["describe_counter!(", "describe_gauge!(", "describe_histogram!("]);
    assert!(used.len() > 25, "{used:?}");
    let bare: Vec<_> = used.difference(&described).collect();
    assert!(bare.is_empty(), "not described: {bare:?}");
    let unused: Vec<_> = described.difference(&used).collect();
    assert!(unused.is_empty(), "described and not used: {unused:?}");
}
