//! Makes a large database as a long-lived daemon would have, and times what people ask of it.
//!
//! ```sh
//! cargo run --release --example populate -- large.db --messages 10000000
//! cargo run --release --example populate -- large.db --time
//! cargo run --release --example populate -- large.db --pages
//! ```
//!
//! `--time` asks every list by every filter and every two of them, and the figures of the dashboard; it
//! exits with 1 where an answer takes longer than 100 ms. `--pages` starts a daemon on the file, which calls
//! nobody, and asks for every page of the dashboard and every list of the API over HTTP; there 200 ms count.
//! What is late is told at once. Both bring an older file up to date. Keep what was made in a copy.

mod fill;
mod pages;
mod table;
mod timing;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const USAGE: &str = "usage: populate FILE [--messages N] [--time] [--pages]";

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let (mut file, mut messages, mut time, mut pages) = (None, None, false, false);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--messages" => {
                let number = args.next().context(USAGE)?.replace('_', "");
                messages = Some(number.parse::<u64>().context("--messages takes a number")?);
            }
            "--time" => time = true,
            "--pages" => pages = true,
            _ if file.is_none() && !arg.starts_with('-') => file = Some(PathBuf::from(arg)),
            _ => bail!(USAGE),
        }
    }
    let file = file.context(USAGE)?;
    if let Some(messages) = messages {
        fill::fill(&file, messages).await?;
    }
    let mut in_time = true;
    if time {
        in_time &= timing::time(&file).await?;
    }
    if pages {
        in_time &= pages::time(&file).await?;
    }
    Ok(if in_time { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
