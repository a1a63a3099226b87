//! `quell export`: rows for other programs.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::ValueEnum;

use super::audit::{What, Which};
use super::settings::Settings;
use super::{listing, on_runtime, output};
use crate::app;
use crate::store::{Audit, Filter, sqlite};

/// Rows read at once.
const PAGE: usize = 1_000;

/// Write out what was recorded and done
///
/// All rows of a list, newest first, with every column, as JSON Lines or as CSV that is safe to open in a
/// spreadsheet. Reads only, also while the daemon runs, and as much as there is in little memory.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quell export recalls --since 7d --output recalls.csv --format csv
  quell export messages --group @TGS#2J4SZEAEL | jq -r .text")]
pub struct Args {
    /// Which list
    #[arg(value_enum)]
    what: What,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    which: Which,
    /// How to write it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Where to [default: stdout]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// JSON Lines: an object a line
    #[default]
    Jsonl,
    /// Cells that would be formulas begin with '
    Csv,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    args.which.check(args.what)?;
    let loaded = match args.settings.load() {
        Ok(loaded) => loaded,
        Err(code) => return Ok(code),
    };
    on_runtime(async {
        let store = sqlite::open_to_read(&app::store_options(&loaded.config)).await?;
        let written = match &args.output {
            Some(path) => {
                let file = File::create_new(path).with_context(|| path.display().to_string())?;
                rows(&store, args, BufWriter::new(file)).await
            }
            None => rows(&store, args, io::stdout().lock()).await,
        };
        store.close().await;
        let rows = match written {
            // Whoever reads has seen enough.
            Err(error) if is_closed_pipe(&error) => return Ok(ExitCode::SUCCESS),
            written => written?,
        };
        output::note(format_args!("{rows} rows"));
        Ok(ExitCode::SUCCESS)
    })
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let cause = error.root_cause().downcast_ref::<io::Error>();
    cause.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Writes all rows. Answers how many.
async fn rows(store: &impl Audit, args: &Args, mut out: impl Write) -> Result<u64> {
    let view = args.what.view();
    let columns: Vec<_> = view.columns().iter().map(|column| column.name).collect();
    let mut filter = Filter { limit: PAGE, ..args.which.filter() };
    let mut written = 0;
    if args.format == Format::Csv {
        csv::Writer::from_writer(&mut out).write_record(&columns)?;
    }
    loop {
        let page = store.page(view, &filter).await?;
        let rows = page.objects();
        match args.format {
            Format::Csv => {
                listing::write_csv(&mut csv::Writer::from_writer(&mut out), &rows, &columns)?;
            }
            Format::Jsonl => {
                for row in &rows {
                    serde_json::to_writer(&mut out, row)?;
                    out.write_all(b"\n")?;
                }
            }
        }
        written += rows.len() as u64;
        filter.cursor = page.next;
        if page.next.is_none() {
            out.flush()?;
            return Ok(written);
        }
    }
}
