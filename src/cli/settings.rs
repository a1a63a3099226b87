//! `--config` and `--set`, for every command that needs the configuration.

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::{self, Config, Loaded, Mistake, Overrides};

use super::{BAD_CONFIG, output};

/// Which configuration to use.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// Configuration file [default: quell.toml, then /etc/quell/quell.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Set one key, over file and environment: --set recall.mode=shadow
    #[arg(long, value_name = "SECTION.KEY=VALUE", value_parser = assignment)]
    pub set: Vec<String>,
}

impl Settings {
    /// Reads the configuration; mistakes are told and become the exit code.
    pub fn load(&self) -> Result<Loaded, ExitCode> {
        self.read().map_err(|error| tell(&error.mistakes))
    }

    /// Reads the configuration and refuses one that a daemon could not start with.
    pub fn load_complete(&self) -> Result<Config, ExitCode> {
        let (loaded, mistakes) = self.examine()?;
        if mistakes.is_empty() { Ok(loaded.config) } else { Err(tell(&mistakes)) }
    }

    /// What holds, with every mistake that a daemon could not start with; a file that is no TOML is told
    /// and becomes the exit code.
    pub fn examine(&self) -> Result<(Loaded, Vec<Mistake>), ExitCode> {
        let (loaded, mut mistakes) = match self.read() {
            Ok(loaded) => (loaded, Vec::new()),
            Err(config::Error { mistakes, rest: Some(rest) }) => (*rest, mistakes),
            Err(error) => return Err(tell(&error.mistakes)),
        };
        let unread: HashSet<_> =
            mistakes.iter().map(|mistake| mistake.about().to_owned()).collect();
        for mut mistake in crate::app::mistakes(&loaded.config) {
            // Of a key that could not be read only that is known.
            if !unread.contains(&mistake.key) {
                mistake.place = loaded.sources.get(&mistake.key).cloned().unwrap_or_default();
                mistakes.push(mistake);
            }
        }
        Ok((loaded, mistakes))
    }

    fn read(&self) -> Result<Loaded, config::Error> {
        for key in config::secrets_among(&self.set) {
            output::note(format_args!(
                "warning: {key} is given by --set, so that everybody on this machine can read it in \
                 the list of processes: use {key}_file or the environment"
            ));
        }
        config::load(self.config.as_deref(), &Overrides::from_process(self.set.clone()))
    }
}

/// One `--set`, as far as its form goes: what it names is looked up with everything else.
fn assignment(text: &str) -> Result<String, String> {
    let names_a_key = text.split_once('=').is_some_and(|(path, _)| path.contains('.'));
    names_a_key.then(|| text.to_owned()).ok_or_else(|| "not section.key=value".to_owned())
}

/// Tells mistakes; answers the exit code that they mean.
pub fn tell(mistakes: &[Mistake]) -> ExitCode {
    for mistake in mistakes {
        output::note(format_args!("error: {mistake}"));
    }
    ExitCode::from(BAD_CONFIG)
}
