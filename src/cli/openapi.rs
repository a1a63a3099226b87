//! `quell openapi`: the description of the API.

use std::process::ExitCode;

use anyhow::Result;

use super::output;
use crate::http;

/// Print the description of the HTTP API (OpenAPI 3.1)
///
/// The same that a daemon serves at /openapi.json of its admin listener: for generating clients, or
/// for looking at in any viewer of OpenAPI.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  quell openapi > openapi.json
  quell openapi | jq '.paths | keys'")]
pub(super) struct Args {}

pub(super) fn run(_: &Args) -> Result<ExitCode> {
    output::line(http::openapi().to_pretty_json()?);
    Ok(ExitCode::SUCCESS)
}
