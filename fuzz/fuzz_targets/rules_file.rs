//! Any rules file loads or is refused with its mistakes; what loads judges.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use quell::model::Text;
use quell::rules;

fuzz_target!(|file: &str| {
    match rules::load_str("fuzz", file, Path::new("/nowhere")) {
        Ok(loaded) => {
            let _ =
                loaded.rules.explain(&Text::bare("加微信 free gift card https://a.com 12345678"));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
