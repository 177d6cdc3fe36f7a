//! What of a statement's records is the same each time a session runs it.
//!
//! A prepared statement that runs again and again would fill the journal with one text. The first of its records says
//! all and gives it a number (`"form":3`); those that follow in the same session and the same log file say `"as":3`.
//! They are no weaker evidence: both are links of one chain, so the first cannot change without the others. A session
//! has [`FORMS`] numbers and gives the oldest to the next form, so a reader keeps little.
//!
//! INVARIANT: the record that states a form lies before those that refer to it, in the file they were made for or the one
//! before: a record that is on its way when a file ends lands in the next.

use std::sync::atomic::{AtomicU64, Ordering};

use ahash::AHashMap;

use crate::{
    AuditError,
    record::{IntentBody, IntentFields, json},
};

/// How many forms a session's records can refer to at one time.
pub(crate) const FORMS: usize = 16;
/// What a record says before the number of its form.
pub(crate) const STATES_FORM: &[u8] = b",\"form\":";
/// Longer ones are said in full each time: readers keep what can be referred to.
const LASTING_BYTES_MAX: usize = 4 * 1024;

/// What of a statement's intent is the same each time a session runs it, as JSON.
#[derive(Debug)]
pub struct IntentForm {
    /// Distinct in the process; none where records do not refer to it.
    id: Option<u64>,
    /// Fields without the braces around them.
    fields: Box<[u8]>,
}

impl IntentForm {
    pub(crate) fn new(client: &str, fields: &IntentFields<'_>) -> Result<IntentForm, AuditError> {
        let mut object = Vec::new();
        json(&mut object, &IntentBody::new(client, fields))?;
        let inner = object.get(1..object.len().saturating_sub(1)).unwrap_or_default();
        Ok(IntentForm { id: None, fields: inner.into() })
    }

    /// Of a statement that will be run again.
    pub(crate) fn lasting(self) -> IntentForm {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = (self.fields.len() <= LASTING_BYTES_MAX).then(|| NEXT.fetch_add(1, Ordering::Relaxed));
        IntentForm { id, ..self }
    }
}

/// The forms that a session has stated in one log file, by number.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct StatedForms {
    file: u64,
    ids: [Option<u64>; FORMS],
    next: usize,
}

impl StatedForms {
    /// Appends the form to a record that lies in the log file beginning with record `file`: whole, or by its number.
    pub fn write(&mut self, form: &IntentForm, file: u64, buffer: &mut Vec<u8>) {
        if self.file != file {
            *self = StatedForms { file, ..StatedForms::default() };
        }
        if let Some(id) = form.id {
            if let Some(number) = self.ids.iter().position(|stated| *stated == Some(id)) {
                buffer.extend_from_slice(b",\"as\":");
                return put_number(buffer, number as u64);
            }
            if let Some(place) = self.ids.get_mut(self.next) {
                *place = Some(id);
                buffer.extend_from_slice(STATES_FORM);
                put_number(buffer, self.next as u64);
                self.next = (self.next + 1) % FORMS;
            }
        }
        buffer.push(b',');
        buffer.extend_from_slice(&form.fields);
    }
}

/// What a reader keeps of the forms that the sessions have stated, by session and number.
#[derive(Debug)]
pub(crate) struct Forms<T>(AHashMap<String, [Option<T>; FORMS]>);

impl<T> Default for Forms<T> {
    fn default() -> Forms<T> {
        Forms(AHashMap::new())
    }
}

impl<T> Forms<T> {
    pub fn put(&mut self, session: &str, number: usize, form: T) {
        let forms = self.0.entry(session.to_owned()).or_default();
        if let Some(place) = forms.get_mut(number) {
            *place = Some(form);
        }
    }

    pub fn get(&self, session: &str, number: usize) -> Option<&T> {
        self.0.get(session)?.get(number)?.as_ref()
    }

    pub fn take(&mut self, session: &str, number: usize) -> Option<T> {
        self.0.get_mut(session)?.get_mut(number)?.take()
    }

    pub fn forget(&mut self, session: &str) {
        self.0.remove(session);
    }
}

pub(crate) fn put_number(buffer: &mut Vec<u8>, number: u64) {
    buffer.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(name: &str) -> IntentForm {
        IntentForm { id: None, fields: name.as_bytes().into() }
    }

    #[test]
    fn a_form_is_stated_once_in_a_file_and_while_it_has_a_number() {
        let mut stated = StatedForms::default();
        let mut write = |form: &IntentForm, file: u64| {
            let mut buffer = Vec::new();
            stated.write(form, file, &mut buffer);
            String::from_utf8(buffer).unwrap()
        };
        let (first, passing) = (form("x").lasting(), form("p"));
        assert_eq!([write(&first, 0), write(&first, 0)], [",\"form\":0,x", ",\"as\":0"]);
        assert_eq!([write(&passing, 0), write(&passing, 0)], [",p", ",p"]);
        assert_eq!([write(&first, 70), write(&first, 70)], [",\"form\":0,x", ",\"as\":0"]);
        for number in 1..FORMS {
            assert_eq!(write(&form("y").lasting(), 70), format!(",\"form\":{number},y"));
            assert_eq!(write(&first, 70), ",\"as\":0");
        }
        assert_eq!(write(&form("z").lasting(), 70), ",\"form\":0,z");
        assert_eq!(write(&first, 70), ",\"form\":1,x");
        let long = form(&"l".repeat(LASTING_BYTES_MAX + 1)).lasting();
        assert_eq!(write(&long, 70), write(&long, 70));
    }
}
