//! Who is told of which events.

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::mpsc;

use crate::{
    key::{FactKey, Pattern},
    protocol,
    replica::{Event, EventKind, EventNumber},
    state::{Body, Cell, State},
};

/// An event on its way to one subscriber or many.
#[derive(Debug)]
pub struct Told {
    pub event: Event,
    /// Its cursor as the wire has it, made by whoever needs it first.
    pub(crate) cursor: OnceLock<Option<protocol::Cursor>>,
    bytes: usize,
}

impl Told {
    pub(crate) fn new(event: Event) -> Told {
        let of = |state: &State| state.value_bytes() + 128 * state.cells().len();
        let lost = match &event.kind {
            EventKind::Conflict { lost: Cell { body: Body::Value(json), .. } } => json.len(),
            _ => 0,
        };
        let bytes = event.key.as_str().len() + event.state.as_deref().map_or(0, of) + lost + 256;
        Told { event, cursor: OnceLock::new(), bytes }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ListenerId(Arc<str>, u64);

/// What a subscriber gives to the hub.
pub(super) struct Listening {
    id: ListenerId,
    events: mpsc::Sender<Arc<Told>>,
    /// Bytes of events that it has not taken yet.
    pending: Arc<AtomicUsize>,
    bytes_max: usize,
}

/// What a subscriber keeps: the other end.
pub(super) struct Ear {
    pub(super) id: ListenerId,
    events: mpsc::Receiver<Arc<Told>>,
    pending: Arc<AtomicUsize>,
}

impl Listening {
    pub(super) fn new(pattern: &Pattern, number: u64, events_max: usize, bytes_max: usize) -> (Listening, Ear) {
        let (events, taken) = mpsc::channel(events_max.max(1));
        let id = ListenerId(place(pattern), number);
        let pending = Arc::new(AtomicUsize::new(0));
        let ear = Ear { id: id.clone(), events: taken, pending: Arc::clone(&pending) };
        (Listening { id, events, pending, bytes_max }, ear)
    }

    /// Whether it still listens: it does not when it is gone or further behind than is kept for it.
    fn tell(&self, told: &Arc<Told>) -> bool {
        if self.pending.load(Ordering::Relaxed) > self.bytes_max {
            return false;
        }
        self.pending.fetch_add(told.bytes, Ordering::Relaxed);
        self.events.try_send(Arc::clone(told)).is_ok()
    }
}

impl Ear {
    /// Some events, at least one; none when the subscriber was too far behind, and has taken what was left.
    pub(super) async fn hear(&mut self, events: &mut Vec<Arc<Told>>, max: usize) {
        self.events.recv_many(events, max).await;
        let bytes: usize = events.iter().map(|told| told.bytes).sum();
        self.pending.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Subscribers by what their patterns begin with, so that an event finds them without looking at all.
#[derive(Default)]
pub(super) struct Hub {
    listeners: HashMap<Arc<str>, Vec<(EventNumber, Listening)>, ahash::RandomState>,
}

/// Where listeners of a pattern are: at a key, at a key's beginning up to a dot, or at nothing.
fn place(pattern: &Pattern) -> Arc<str> {
    match pattern {
        Pattern::Every => "".into(),
        Pattern::Exact(key) => key.as_str().into(),
        Pattern::Below(prefix) => Arc::clone(prefix),
    }
}

impl Hub {
    pub(super) fn is_empty(&self) -> bool {
        self.listeners.is_empty()
    }

    /// From the event after this one on.
    pub(super) fn add(&mut self, after: EventNumber, listening: Listening) {
        self.listeners.entry(Arc::clone(&listening.id.0)).or_default().push((after, listening));
    }

    pub(super) fn remove(&mut self, id: &ListenerId) {
        if let Some(there) = self.listeners.get_mut(&id.0) {
            there.retain(|(_, listening)| listening.id != *id);
            if there.is_empty() {
                self.listeners.remove(&id.0);
            }
        }
    }

    pub(super) fn tell(&mut self, event: Event) {
        if self.listeners.is_empty() {
            return;
        }
        let key: FactKey = event.key.clone();
        let text = key.as_str();
        let number = event.number;
        let told = Arc::new(Told::new(event));
        let dots = text.match_indices('.').filter_map(|(at, _)| text.get(..=at));
        for place in [""].into_iter().chain(dots).chain([text]) {
            let Some(there) = self.listeners.get_mut(place) else { continue };
            there.retain(|(after, listening)| number <= *after || listening.tell(&told));
            if there.is_empty() {
                self.listeners.remove(place);
            }
        }
    }
}
