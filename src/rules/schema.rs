//! The JSON Schema of the rules file, for editors.

use schemars::generate::SchemaSettings;

use super::file::RulesFile;

/// The JSON Schema (draft-07) of the rules file, made from the types that read it.
#[must_use]
pub fn schema() -> serde_json::Value {
    let schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<RulesFile>();
    schema.to_value()
}
