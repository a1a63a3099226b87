//! `quell backup`: a consistent copy of the database.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};

use super::settings::Settings;
use super::{on_runtime, output};
use crate::app;
use crate::store::sqlite;

/// Copy the database, also while the daemon runs
///
/// The copy holds everything that was committed when it began, is checked when it is done, and can be used
/// in place of the original. It holds what people wrote: keep it as you keep the original.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  quell backup /var/backups/quell-2026-05-01.db")]
pub struct Args {
    #[command(flatten)]
    settings: Settings,
    /// Where to; must not exist yet
    file: PathBuf,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let loaded = match args.settings.load() {
        Ok(loaded) => loaded,
        Err(code) => return Ok(code),
    };
    let file = args.file.display();
    anyhow::ensure!(!args.file.exists(), "{file} is there already");
    // Written beside its place and put there when it is whole, so that a copy that was broken off is
    // never taken for one.
    let mut part = args.file.clone().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    on_runtime(async {
        let store = sqlite::open_to_read(&app::store_options(&loaded.config)).await?;
        let _ = std::fs::remove_file(&part);
        private(&part)?;
        let copied = store.copy_to(&part).await;
        store.close().await;
        copied.with_context(|| file.to_string())?;
        let options = sqlite::Options::at(&part);
        let copy = sqlite::open_to_read(&options).await?;
        let whole = copy.check().await;
        copy.close().await;
        whole.with_context(|| format!("{file}: the copy is not whole"))?;
        std::fs::File::open(&part)?.sync_all()?;
        std::fs::rename(&part, &args.file).with_context(|| file.to_string())?;
        let bytes = std::fs::metadata(&args.file)?.len();
        output::note(format_args!("{file}: {} MiB, checked", bytes.div_ceil(1 << 20)));
        Ok(ExitCode::SUCCESS)
    })
}

/// Makes an empty file that nobody else may read: what people wrote goes into it.
fn private(path: &std::path::Path) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop).with_context(|| path.display().to_string())
}
