//! The JSON Schema of the rules file, for editors.

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::file::RulesFile;

/// The JSON Schema (draft-07) of the rules file, made from the types that read it.
#[must_use]
pub fn schema() -> Value {
    let schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<RulesFile>();
    let mut schema = schema.to_value();
    without_null(&mut schema);
    schema["title"] = json!("Rules of quell");
    schema
}

/// A field that may be left out is left out, not given as nothing.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::Array(types)) = fields.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [one] = types.as_slice() {
                    let one = one.clone();
                    fields.insert("type".into(), one);
                }
            }
            if let Some(Value::Array(any)) = fields.get_mut("anyOf") {
                any.retain(|part| part["type"] != "null");
            }
            fields.values_mut().for_each(without_null);
        }
        Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}
