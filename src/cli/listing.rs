//! Lists, as a table for people or as JSON or CSV for programs.

use anyhow::Result;
use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

use super::output;
use super::since::iso_to_the_millisecond;
use crate::model::Timestamp;
use crate::store::Column;

/// How a list is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[default]
    Table,
    /// An array of objects
    Json,
    /// Safe to open in a spreadsheet: cells that would be formulas begin with '
    Csv,
}

/// The columns of a list.
pub struct Columns<'a> {
    table: &'a [&'a str],
    all: Vec<&'a str>,
}

impl<'a> Columns<'a> {
    /// All of them, in whatever format.
    #[must_use]
    pub fn of(all: &'a [&'a str]) -> Self {
        Self { table: all, all: all.to_vec() }
    }

    /// The same of a list that is no view.
    #[must_use]
    pub fn named(table: &'a [&'a str], all: &'a [&'a str]) -> Self {
        Self { table, all: all.to_vec() }
    }

    /// A table shows some, which people look for; CSV holds all, in the order of the view.
    #[must_use]
    pub fn some(table: &'a [&'a str], all: &[Column]) -> Self {
        Self { table, all: all.iter().map(|column| column.name).collect() }
    }
}

/// Gives rows with a moment `at` its twin that people can read, as views have it.
#[must_use]
pub fn with_iso(mut rows: Vec<Value>) -> Vec<Value> {
    for row in &mut rows {
        if let Some(at) = row["at"].as_i64() {
            row["at_iso"] = iso_to_the_millisecond(Timestamp(at)).into();
        }
    }
    rows
}

/// Prints rows, which are objects. A list without rows has its columns all the same.
pub fn print(rows: &[Value], format: Format, columns: &Columns<'_>) -> Result<()> {
    match format {
        Format::Json => output::line(serde_json::to_string_pretty(rows)?),
        Format::Table => output::line(table(rows, columns.table)),
        Format::Csv => output::text(&csv(rows, &columns.all)?),
    }
    Ok(())
}

pub(super) fn table(rows: &[Value], columns: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns);
    for row in rows {
        table.add_row(columns.iter().map(|column| visible(&cell(&row[*column]))));
    }
    table
}

fn csv(rows: &[Value], columns: &[&str]) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(columns)?;
    write_csv(&mut writer, rows, columns)?;
    Ok(String::from_utf8(writer.into_inner()?)?)
}

/// Writes rows as CSV that is safe to open in a spreadsheet.
pub(super) fn write_csv<W: std::io::Write>(
    writer: &mut csv::Writer<W>,
    rows: &[Value],
    columns: &[&str],
) -> Result<()> {
    for row in rows {
        writer.write_record(columns.iter().map(|column| harmless(cell(&row[*column]))))?;
    }
    Ok(())
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The longest cell of a table, in characters.
const LONGEST: usize = 120;

/// A cell as a terminal may show it. What people write could move its cursor, change its title or
/// turn the line around, so such characters are shown as escapes.
pub(super) fn visible(cell: &str) -> String {
    let mut shown = String::with_capacity(cell.len());
    for (at, c) in cell.chars().enumerate() {
        if at == LONGEST {
            shown.push('…');
            break;
        }
        match c {
            '\n' => shown.push_str("\\n"),
            '\t' => shown.push_str("\\t"),
            c if c.is_control() || is_directional(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

/// Controls that change the direction in which text is shown.
fn is_directional(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A cell that a spreadsheet would take for a formula becomes text.
fn harmless(cell: String) -> String {
    let is_number = cell.parse::<f64>().is_ok();
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_number {
        format!("'{cell}")
    } else {
        cell
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn formulas_are_disarmed_in_csv() {
        let rows = [
            json!({"a": "=1+1", "b": -5, "c": "say \"hi\", all"}),
            json!({"a": "@x", "b": null, "c": "-x"}),
        ];
        let columns = ["b", "a", "c"];
        assert_eq!(
            csv(&rows, &columns).unwrap(),
            "b,a,c\n-5,'=1+1,\"say \"\"hi\"\", all\"\n,'@x,'-x\n"
        );
        assert_eq!(csv(&[], &columns).unwrap(), "b,a,c\n");
    }

    #[test]
    fn a_moment_has_a_twin_that_people_can_read() {
        let rows = with_iso(vec![json!({"at": 1_012, "rule": "r"}), json!({"rule": "r"})]);
        assert_eq!(rows[0]["at_iso"], "1970-01-01T00:00:01.012Z");
        assert_eq!(rows[1], json!({"rule": "r"}));
    }

    #[test]
    fn what_people_write_cannot_steer_the_terminal() {
        let hostile = "a\u{1b}]0;owned\u{7}\nb\u{202e}c";
        assert_eq!(visible(hostile), r"a\u{1b}]0;owned\u{7}\nb\u{202e}c");
        assert_eq!(visible(&"长".repeat(200)).chars().count(), LONGEST + 1);
    }

    #[test]
    fn wide_characters_line_up() {
        let rows = [json!({"text": "红包", "n": 1}), json!({"text": "ab", "n": 22})];
        insta::assert_snapshot!(table(&rows, &["text", "n"]).trim_fmt(), @r"
         text  n
         红包  1
         ab    22
        ");
    }
}
