//! `--config` and `--set`, for every command that needs the configuration.

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
        for key in config::secrets_among(&self.set) {
            output::note(format_args!(
                "warning: {key} is given by --set, so that everybody on this machine can read it in \
                 the list of processes: use {key}_file or the environment"
            ));
        }
        config::load(self.config.as_deref(), &Overrides::from_process(self.set.clone()))
            .map_err(|config::Error(mistakes)| tell(&mistakes))
    }

    /// Reads the configuration and refuses one that a daemon could not start with.
    pub fn load_complete(&self) -> Result<Config, ExitCode> {
        let loaded = self.load()?;
        complete(&loaded).map(|()| loaded.config)
    }
}

/// Tells what a daemon could not start with; the exit code where there is any of it.
pub fn complete(loaded: &Loaded) -> Result<(), ExitCode> {
    let mut mistakes = crate::app::mistakes(&loaded.config);
    if mistakes.is_empty() {
        return Ok(());
    }
    for mistake in &mut mistakes {
        mistake.place = loaded.sources.get(&mistake.key).cloned().unwrap_or_default();
    }
    Err(tell(&mistakes))
}

/// One `--set`, as far as its form goes: what it names is looked up with everything else.
fn assignment(text: &str) -> Result<String, String> {
    let names_a_key = text.split_once('=').is_some_and(|(path, _)| path.contains('.'));
    names_a_key.then(|| text.to_owned()).ok_or_else(|| "not section.key=value".to_owned())
}

/// Tells mistakes; answers the exit code that they mean.
fn tell(mistakes: &[Mistake]) -> ExitCode {
    for mistake in mistakes {
        output::note(format_args!("error: {mistake}"));
    }
    ExitCode::from(BAD_CONFIG)
}
