//! Makes a large database as a long-lived daemon would have, and times what people ask of it.
//!
//! ```sh
//! cargo run --release --example populate -- large.db --messages 10000000
//! cargo run --release --example populate -- large.db --time
//! ```
//!
//! `--time` asks every list by every filter and every two of them, several times, and the figures of the
//! dashboard. It exits with 1 where one takes longer than 100 ms.

mod fill;
mod timing;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const USAGE: &str = "usage: populate FILE [--messages N] [--time]";

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let (mut file, mut messages, mut time) = (None, None, false);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--messages" => {
                let number = args.next().context(USAGE)?.replace('_', "");
                messages = Some(number.parse::<u64>().context("--messages takes a number")?);
            }
            "--time" => time = true,
            _ if file.is_none() && !arg.starts_with('-') => file = Some(PathBuf::from(arg)),
            _ => bail!(USAGE),
        }
    }
    let file = file.context(USAGE)?;
    if let Some(messages) = messages {
        fill::fill(&file, messages).await?;
    }
    if !time {
        return Ok(ExitCode::SUCCESS);
    }
    Ok(if timing::time(&file).await? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
