//! Any configuration is read or refused with its mistakes, each with its place; what was read can be
//! checked.

#![no_main]

use libfuzzer_sys::fuzz_target;
use quell::config::{self, Overrides};

fuzz_target!(|text: &str| {
    match config::load_str("fuzz.toml", text, &Overrides::default()) {
        Ok(loaded) => {
            let _ = loaded.config.mistakes();
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            let _ = error.rest.map(|rest| rest.config.mistakes());
        }
    }
});
