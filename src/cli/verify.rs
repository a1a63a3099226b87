//! `quell audit verify`: whether what was recorded is still what was recorded.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;

use super::output::LiveLine;
use super::settings::Settings;
use super::{FINDINGS, on_runtime, output};
use crate::app;
use crate::store::{Chain, Verified, sqlite};

/// Tell whether anybody changed afterwards what was recorded and done
///
/// Every verdict, call to Chat and operator's act is covered by a chain of digests. Rows that were changed,
/// taken away or put in are found, and so is a chain with a link missing. Text that was erased or pruned by
/// retention leaves the chain whole: it holds salted digests, and the salts go with the text.
///
/// What it cannot show by itself: somebody who can write to the database can cut off its end, or make the
/// whole chain anew. So keep the head that it prints elsewhere (the daily summary of `[notify]` holds it as
/// well), and give it back by `--head`. Nor does it cover rows of the last seconds, which are not in the
/// chain yet: it says how many. Exits with 1 where something does not agree.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quell audit verify                     compare everything
  quell audit verify --head 9f2c51d07ab84e6633c1f0e85d2b97a40c6e18f7b3925da4e07f61c8d9ab3e52
                                         and whether the chain still holds a head that was kept")]
pub struct Args {
    #[command(flatten)]
    settings: Settings,
    /// A head that was printed before, 64 digits: it has to be a link of this chain
    #[arg(long, value_name = "HASH", value_parser = head)]
    head: Option<String>,
    /// One object on stdout
    #[arg(long)]
    json: bool,
}

/// What is no head at all would look like a chain that was made anew.
fn head(text: &str) -> Result<String, String> {
    let text = text.trim();
    let is_digest = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digest.then(|| text.to_ascii_lowercase()).ok_or_else(|| {
        "a head is 64 hexadecimal digits, as `quell audit verify` prints it".to_owned()
    })
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let loaded = match args.settings.load() {
        Ok(loaded) => loaded,
        Err(code) => return Ok(code),
    };
    on_runtime(async {
        let store = sqlite::open_to_read(&app::store_options(&loaded.config)).await?;
        let mut line = LiveLine::on_terminal();
        let mut shown = 0;
        let mut progress = |rows: u64| {
            if rows >= shown + 100_000 {
                shown = rows;
                line.show(format_args!("{rows} rows"));
            }
        };
        let verified = store.verify(args.head.as_deref(), &mut progress).await;
        line.end();
        store.close().await;
        let verified = verified?;
        if args.json {
            output::line(object(&verified));
        } else {
            tell(&verified);
        }
        let agrees = verified.findings.is_empty();
        Ok(if agrees { ExitCode::SUCCESS } else { ExitCode::from(FINDINGS) })
    })
}

fn object(verified: &Verified) -> serde_json::Value {
    let findings = verified.findings.iter();
    let findings: Vec<_> =
        findings.map(|found| json!({ "link": found.link, "what": found.what })).collect();
    json!({
        "agrees": verified.findings.is_empty(), "links": verified.links, "rows": verified.rows,
        "erased": verified.erased, "pruned": verified.pruned, "behind": verified.behind,
        "head": verified.head, "findings": findings,
    })
}

fn tell(verified: &Verified) {
    for found in &verified.findings {
        output::line(format_args!("link {}: {}", found.link, found.what));
    }
    let Verified { links, rows, erased, pruned, behind, head, .. } = verified;
    output::line(format_args!(
        "{rows} rows in {links} links, {erased} of them with their content erased; {pruned} pruned; \
         {behind} not in the chain yet"
    ));
    let head = if head.is_empty() { "none yet" } else { head };
    output::line(format_args!("head {head}"));
    if verified.findings.is_empty() {
        output::line("everything agrees");
    }
}
