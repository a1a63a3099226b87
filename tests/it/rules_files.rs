//! The files that are shipped are as good as the code: they load, their examples hold, and the
//! schema is the one that the types make.

use std::path::{Path, PathBuf};

use quell::rules;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn shipped() -> Vec<PathBuf> {
    let packs = std::fs::read_dir(root().join("config/rules")).unwrap();
    let mut files: Vec<_> = packs.map(|entry| entry.unwrap().path()).collect();
    files.push(root().join("rules.example.yaml"));
    files.sort();
    files
}

#[test]
fn shipped_rules_load_without_a_warning_and_their_examples_hold() {
    for file in shipped() {
        let loaded = rules::load(&file).unwrap_or_else(|error| panic!("{error}"));
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        let failed = loaded.rules.check_examples();
        let shown: Vec<_> = failed.iter().map(ToString::to_string).collect();
        assert!(failed.is_empty(), "{}", shown.join("\n"));
    }
}

#[test]
fn shipped_rules_name_the_schema_in_their_first_line() {
    for file in shipped() {
        let text = std::fs::read_to_string(&file).unwrap();
        let first = text.lines().next().unwrap();
        let path = first.strip_prefix("# yaml-language-server: $schema=").unwrap();
        assert!(file.parent().unwrap().join(path).is_file(), "{}: {path}", file.display());
    }
}

#[test]
fn the_committed_schema_is_the_one_the_types_make() {
    let path = root().join("config/rules.schema.json");
    let made = serde_json::to_string_pretty(&rules::schema()).unwrap() + "\n";
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(made == committed, "run `quell rules schema > config/rules.schema.json`");
}
