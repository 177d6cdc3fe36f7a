//! Answers that were just given to applications, with all that they were made on: who asks again, and no fact has changed,
//! is answered without running the rules.

use std::{hash::Hash, sync::Arc};

use hashbrown::Equivalent;
use quick_cache::{Weighter, sync::Cache};
use serde_json::Value;

use crate::{
    evaluation::{Evaluated, Evaluation},
    facts::{Asked, Readings},
};

/// Bytes of all that is remembered, about.
const BYTES_MAX: u64 = 4 << 20;
/// What takes more is decided anew each time.
const ANSWER_BYTES_MAX: usize = 8 << 10;

/// An answer and all that it depends on besides the question.
#[derive(Debug)]
pub(crate) struct Remembered {
    pub asked: Arc<[Asked]>,
    pub readings: Readings,
    pub evaluated: Evaluated,
}

/// See the module. Of one policy: with another it begins empty.
#[derive(Debug)]
pub(crate) struct RememberedAnswers(Cache<Question, Arc<Remembered>, Weight>);

/// Day of the week and hour, where rules ask for them.
pub(crate) type HourOfWeek = Option<(u32, u32)>;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Question {
    path: String,
    app: String,
    action: String,
    resource: Value,
    request: Value,
    hour: HourOfWeek,
    /// Of the values, about.
    bytes: usize,
}

/// The same, borrowed.
#[derive(Debug, Clone, Copy, Hash)]
struct QuestionRef<'a> {
    path: &'a str,
    app: &'a str,
    action: &'a str,
    resource: &'a Value,
    request: &'a Value,
    hour: HourOfWeek,
    bytes: usize,
}

impl Equivalent<Question> for QuestionRef<'_> {
    fn equivalent(&self, key: &Question) -> bool {
        self.path == key.path
            && self.app == key.app
            && self.action == key.action
            && self.hour == key.hour
            && self.bytes == key.bytes
            && *self.request == key.request
            && *self.resource == key.resource
    }
}

#[derive(Debug, Clone)]
struct Weight;

impl Weighter<Question, Arc<Remembered>> for Weight {
    fn weight(&self, question: &Question, remembered: &Arc<Remembered>) -> u64 {
        (question.bytes + remembered.readings.bytes() + remembered.evaluated.reason.len() + 512) as u64
    }
}

impl RememberedAnswers {
    pub fn new() -> RememberedAnswers {
        RememberedAnswers(Cache::with_weighter(1_024, BYTES_MAX, Weight))
    }

    pub fn get(&self, evaluation: &Evaluation<'_>, hour: HourOfWeek) -> Option<Arc<Remembered>> {
        self.0.get(&question(evaluation, hour)?)
    }

    pub fn keep(&self, evaluation: &Evaluation<'_>, hour: HourOfWeek, remembered: Remembered) {
        let Some(question) = question(evaluation, hour) else { return };
        if question.bytes + remembered.readings.bytes() > ANSWER_BYTES_MAX {
            return;
        }
        let QuestionRef { path, app, action, resource, request, hour, bytes } = question;
        let question = Question {
            path: path.to_owned(),
            app: app.to_owned(),
            action: action.to_owned(),
            resource: resource.clone(),
            request: request.clone(),
            hour,
            bytes,
        };
        self.0.insert(question, Arc::new(remembered));
    }
}

/// `None`: it is too large.
fn question<'a>(evaluation: &Evaluation<'a>, hour: HourOfWeek) -> Option<QuestionRef<'a>> {
    let Evaluation { path, app, action, resource, request, .. } = *evaluation;
    let texts = path.len() + app.len() + action.len();
    let bytes = texts + bytes_of(resource, ANSWER_BYTES_MAX) + bytes_of(request, ANSWER_BYTES_MAX);
    (bytes <= ANSWER_BYTES_MAX).then_some(QuestionRef { path, app, action, resource, request, hour, bytes })
}

/// That a value takes, about; no less than `max` once it is that much.
fn bytes_of(value: &Value, max: usize) -> usize {
    const EACH: usize = 32;
    let mut sum = EACH;
    match value {
        Value::String(text) => sum += text.len(),
        Value::Array(items) => {
            for item in items {
                if sum >= max {
                    break;
                }
                sum += bytes_of(item, max - sum);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                if sum >= max {
                    break;
                }
                sum += EACH + name.len() + bytes_of(member, max - sum);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    sum
}
