//! The part of JSON Schema 2020-12 that `openapi.json` is written in. A word that is not known here is an error: nothing goes unchecked.

use serde_json::Value;

/// Schemas that may name others as `#/components/...`.
#[derive(Clone, Copy)]
pub struct Schema<'a> {
    pub components: &'a Value,
}

impl Schema<'_> {
    /// What is wrong with `value`, which stands at `place`.
    pub fn check(self, schema: &Value, value: &Value, place: &str, errors: &mut Vec<String>) {
        let words = schema.as_object().unwrap_or_else(|| panic!("{place}: {schema} is no schema"));
        let mut wrong = |what: String| errors.push(format!("{place}: {what}: {value:.100}"));
        for (word, given) in words {
            match word.as_str() {
                "$ref" => {
                    let path = given.as_str().and_then(|path| path.strip_prefix("#/components")).expect("a name of a component");
                    let named = self.components.pointer(path).unwrap_or_else(|| panic!("{place}: there is no {given}"));
                    self.check(named, value, place, errors);
                    return;
                }
                "type" => {
                    let is = match given.as_str() {
                        Some("object") => value.is_object(),
                        Some("array") => value.is_array(),
                        Some("string") => value.is_string(),
                        Some("boolean") => value.is_boolean(),
                        Some("number") => value.is_number(),
                        Some("integer") => value.is_u64() || value.is_i64(),
                        Some("null") => value.is_null(),
                        _ => panic!("{place}: the type {given} is not known"),
                    };
                    if !is {
                        wrong(format!("is no {given}"));
                    }
                }
                "enum" if !given.as_array().expect("a list").contains(value) => wrong(format!("is none of {given}")),
                "minimum" if value.as_f64() < given.as_f64() => wrong(format!("is less than {given}")),
                "maximum" if value.as_f64() > given.as_f64() => wrong(format!("is more than {given}")),
                "minItems" if (value.as_array().map_or(0, Vec::len) as u64) < given.as_u64().unwrap_or(0) => {
                    wrong("has too few".to_owned());
                }
                "maxItems" if value.as_array().map_or(0, Vec::len) as u64 > given.as_u64().unwrap_or(0) => wrong("has too many".to_owned()),
                "maxLength" if value.as_str().map_or(0, |text| text.chars().count()) as u64 > given.as_u64().unwrap_or(0) => {
                    wrong("is too long".to_owned());
                }
                "required" => {
                    for name in given.as_array().expect("names") {
                        if value.get(name.as_str().unwrap_or_default()).is_none() {
                            wrong(format!("has no {name}"));
                        }
                    }
                }
                "properties" => {
                    for name in value.as_object().into_iter().flatten().map(|(name, _)| name) {
                        if given.get(name).is_none() && words.get("additionalProperties") == Some(&Value::Bool(false)) {
                            wrong(format!("has {name}, which is not described"));
                        }
                    }
                }
                // A bound that holds, a word for readers, or one that is looked at below.
                "enum"
                | "minimum"
                | "maximum"
                | "minItems"
                | "maxItems"
                | "maxLength"
                | "additionalProperties"
                | "description"
                | "format"
                | "items"
                | "anyOf" => {}
                _ => panic!("{place}: the word {word} is not known"),
            }
        }
        if let (Some(properties), Some(object)) = (words.get("properties").and_then(Value::as_object), value.as_object()) {
            for (name, schema) in properties {
                if let Some(value) = object.get(name) {
                    self.check(schema, value, &format!("{place}.{name}"), errors);
                }
            }
        }
        if let (Some(items), Some(values)) = (words.get("items"), value.as_array()) {
            for (i, value) in values.iter().enumerate() {
                self.check(items, value, &format!("{place}[{i}]"), errors);
            }
        }
        if let Some(choices) = words.get("anyOf").and_then(Value::as_array) {
            let fits = |schema| {
                let mut errors = Vec::new();
                self.check(schema, value, place, &mut errors);
                errors.is_empty()
            };
            if !choices.iter().any(fits) {
                errors.push(format!("{place}: is none of what is allowed: {value:.200}"));
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_found() {
    let components = serde_json::json!({ "schemas": { "Word": { "type": "string", "enum": ["a", "b"] } } });
    let schema = serde_json::json!({
        "type": "object",
        "properties": { "words": { "type": "array", "items": { "$ref": "#/components/schemas/Word" } }, "n": { "anyOf": [{ "type": "null" }, { "type": "integer", "minimum": 1 }] } },
        "required": ["words"],
        "additionalProperties": false,
    });
    for (value, errors) in [
        (serde_json::json!({ "words": ["a", "b"], "n": null }), 0),
        (serde_json::json!({ "words": ["a", "c", 1], "n": 0 }), 4),
        (serde_json::json!({ "m": 1 }), 2),
        (serde_json::json!([]), 2),
    ] {
        let mut found = Vec::new();
        Schema { components: &components }.check(&schema, &value, "$", &mut found);
        assert_eq!(found.len(), errors, "{found:?}");
    }
}
