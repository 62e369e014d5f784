//! Changes to every text of a document, for redaction.

use std::borrow::Cow;

use serde_json::Value;

use super::{AnnotationKey, AnnotationValue, Document, Name, Place, Text, value};

impl Document {
    /// Calls `edit` with every text of the document and replaces the text by the result; `None`
    /// keeps it. Limits and character sets apply to the result, too.
    ///
    /// Ids, times, flags and the fixed keys of the format are not passed.
    ///
    /// ```
    /// # use tracestitch_wire::{document::Document, id::SegmentId, time::Timestamp};
    /// # let trace = "1-5759e988-bd862e3fe1be46a994272793".parse()?;
    /// # let now = Timestamp::from_micros(1_478_293_361_271_000);
    /// let mut call = Document::subsegment("call".into(), trace, SegmentId::new(), now);
    /// call.annotate("card".into(), "4242 4242".into());
    /// call.edit_texts(&mut |_place, text| text.contains("4242").then(|| "[card]".to_owned()));
    /// assert_eq!(call.annotations.get(&"card".into()), Some(&"[card]".into()));
    /// # Ok::<(), tracestitch_wire::Error>(())
    /// ```
    pub fn edit_texts(&mut self, edit: &mut dyn FnMut(Place<'_>, &str) -> Option<String>) {
        if let Some(name) = edit(Place::Name, self.name.as_str()) {
            self.name = Name::from(name);
        }
        if let Some(user) = &mut self.user {
            edit_text(user, Place::User, edit);
        }
        if let Some(arn) = &mut self.resource_arn {
            edit_text(arn, Place::Aws("resource_arn"), edit);
        }
        for (key, value) in self.annotations.iter_mut() {
            edit_annotation(key, value, edit);
        }
        for (namespace, entries) in self.metadata.iter_mut() {
            edit_text(namespace, Place::Key, edit);
            for (key, value) in entries.iter_mut() {
                edit_value(value, Place::Metadata(key.as_str()), edit);
                value::limit(value, usize::MAX);
                edit_text(key, Place::Key, edit);
            }
        }
        self.aws
            .edit(|name, value| edit_value(value, Place::Aws(name), edit));
        if let Some(request) = self.http.as_mut().and_then(|http| http.request.as_mut()) {
            edit_text(&mut request.method, Place::Method, edit);
            if let Some(edited) = edit(Place::Url, request.url.as_str()) {
                request.url = edited.into();
            }
        }
        if let Some(sql) = &mut self.sql {
            let (query, kind) = (&mut sql.sanitized_query, &mut sql.database_type);
            for (text, place) in [
                (&mut sql.url, Place::Url),
                (query, Place::Sql),
                (kind, Place::Sql),
                (&mut sql.user, Place::Sql),
            ] {
                if let Some(text) = text {
                    edit_text(text, place, edit);
                }
            }
        }
        for exception in self
            .cause
            .iter_mut()
            .flat_map(|cause| &mut cause.exceptions)
        {
            edit_text(&mut exception.message, Place::Cause, edit);
            edit_text(&mut exception.kind, Place::Cause, edit);
            for frame in &mut exception.stack {
                edit_text(&mut frame.path, Place::Cause, edit);
                edit_text(&mut frame.label, Place::Cause, edit);
            }
        }
    }
}

type Edit<'a> = dyn FnMut(Place<'_>, &str) -> Option<String> + 'a;

fn edit_text(text: &mut Text, place: Place<'_>, edit: &mut Edit<'_>) {
    if let Some(edited) = edit(place, text.as_str()) {
        *text = edited.into();
    }
}

fn edit_annotation(key: &mut AnnotationKey, value: &mut AnnotationValue, edit: &mut Edit<'_>) {
    let text: Cow<'_, str> = match value {
        AnnotationValue::Text(text) => text.as_str().into(),
        AnnotationValue::Integer(number) => number.to_string().into(),
        AnnotationValue::Unsigned(number) => number.to_string().into(),
        AnnotationValue::Number(number) => number.to_string().into(),
        AnnotationValue::Boolean(_) => return,
    };
    if let Some(edited) = edit(Place::Annotation(key.as_str()), &text) {
        *value = edited.into();
    }
    if let Some(edited) = edit(Place::Key, key.as_str()) {
        *key = edited.into();
    }
}

fn edit_value(value: &mut Value, place: Place<'_>, edit: &mut Edit<'_>) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Number(number) => {
            if let Some(edited) = edit(place, &number.to_string()) {
                *value = edited.into();
            }
        }
        Value::String(text) => {
            if let Some(edited) = edit(place, text) {
                *text = edited;
            }
        }
        Value::Array(values) => {
            for value in values {
                edit_value(value, place, edit);
            }
        }
        Value::Object(entries) => {
            *entries = std::mem::take(entries)
                .into_iter()
                .map(|(key, mut value)| {
                    edit_value(&mut value, place, edit);
                    (edit(Place::Key, &key).unwrap_or(key), value)
                })
                .collect();
        }
    }
}

#[cfg(test)]
mod tests;
