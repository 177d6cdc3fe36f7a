use std::{collections::BTreeMap, sync::Arc};

use weir_facts::{CatchUp, Caught, Cursor, Event, EventKind, EventNumber, FactKey, Pattern, State};

use super::{
    ledger::brief,
    world::{World, watched},
};

/// Somebody who follows a pattern, at one node after another, and remembers what it was told and a cursor.
#[derive(Debug)]
pub struct Subscriber {
    pattern: Pattern,
    place: Place,
    /// `None`: it begins with the existing keys.
    cursor: Option<Cursor>,
    /// What shows, as it was told.
    pub shown: BTreeMap<FactKey, Arc<State>>,
    watched: Option<FactKey>,
    /// How often it was told to.
    waited: u32,
}

#[derive(Debug)]
enum Place {
    Away,
    Catching(usize, CatchUp),
    Live(usize, EventNumber),
}

impl Subscriber {
    pub fn new(pattern: &str) -> Subscriber {
        let pattern = Pattern::new(pattern).unwrap();
        Subscriber { pattern, place: Place::Away, cursor: None, shown: BTreeMap::new(), watched: watched(), waited: 0 }
    }

    pub fn matches(&self, key: &FactKey) -> bool {
        self.pattern.matches(key)
    }

    fn node(&self) -> Option<usize> {
        match self.place {
            Place::Away => None,
            Place::Catching(at, _) | Place::Live(at, _) => Some(at),
        }
    }

    fn hear(&mut self, event: &Event) {
        if self.watched.as_ref() == Some(&event.key) {
            let state = event.state.as_deref().map(brief).unwrap_or_default();
            println!("    {} at {:?} hears {:?} {state}", self.pattern, self.node(), event.kind);
        }
        match (&event.kind, &event.state) {
            (EventKind::Conflict { .. }, _) => {}
            (EventKind::Update, Some(state)) => drop(self.shown.insert(event.key.clone(), Arc::clone(state))),
            _ => drop(self.shown.remove(&event.key)),
        }
        match &mut self.cursor {
            Some(cursor) => cursor.advance(&event.cursor),
            None if *event.cursor != Cursor::default() => self.cursor = Some(event.cursor.as_ref().clone()),
            None => {}
        }
    }

    pub fn live_event(&mut self, node: usize, event: &Event) {
        if let Place::Live(at, since) = self.place
            && at == node
            && event.number > since
            && self.pattern.matches(&event.key)
        {
            self.hear(event);
        }
    }
}

impl World {
    pub fn went_down(&mut self, node: usize) {
        for subscriber in self.subscribers.iter_mut().filter(|subscriber| subscriber.node() == Some(node)) {
            subscriber.place = Place::Away;
        }
        self.versions.retain(|(at, _), _| *at != node);
    }

    /// A subscriber leaves, comes, or goes on catching up.
    pub fn subscriber(&mut self, number: usize) {
        let leaves = self.random.per_mille(if self.is_calm { 0 } else { 150 });
        let node = self.random.index(self.nodes.len());
        let subscriber = &mut self.subscribers[number];
        if leaves {
            subscriber.place = Place::Away;
        }
        match &subscriber.place {
            Place::Away if self.nodes[node].core.is_some() => {
                let pattern = subscriber.pattern.clone();
                let catching = match &subscriber.cursor {
                    Some(cursor) => CatchUp::since(pattern, cursor.clone()),
                    None => {
                        subscriber.shown.clear();
                        CatchUp::existing(pattern)
                    }
                };
                subscriber.place = Place::Catching(node, catching);
            }
            Place::Catching(node, _) => {
                let node = *node;
                self.catch_up(number, node);
            }
            Place::Away | Place::Live(..) => {}
        }
    }

    fn catch_up(&mut self, number: usize, at: usize) {
        let limit = self.random.between(1, 12) as usize;
        let clock = self.nodes[at].clock(self.now);
        // It persists by itself, past the persist that is under way.
        self.nodes[at].persisting = None;
        let Place::Catching(_, catching) = &mut self.subscribers[number].place else { return };
        let Some(core) = &mut self.nodes[at].core else { return };
        let caught = core.catch_up(clock, catching, limit);
        // What was released by that comes before.
        self.flush(at);
        let subscriber = &mut self.subscribers[number];
        match caught {
            Ok(Caught::Some(events)) => events.iter().for_each(|event| subscriber.hear(event)),
            Ok(Caught::All { events, after, cursor }) => {
                events.iter().for_each(|event| subscriber.hear(event));
                subscriber.cursor = Some(cursor);
                subscriber.place = Place::Live(at, after);
                subscriber.waited = 0;
                self.seen.caught_up += 1;
            }
            Ok(Caught::Wait) if subscriber.waited < 30 => {
                subscriber.waited += 1;
                self.seen.waits += 1;
            }
            Ok(Caught::Wait | Caught::Reset) => {
                subscriber.waited = 0;
                subscriber.cursor = None;
                subscriber.place = Place::Away;
                self.seen.resets += 1;
            }
            Err(_) => subscriber.place = Place::Away,
        }
    }

    pub fn are_subscribers_live(&self) -> bool {
        self.subscribers.iter().all(|subscriber| matches!(subscriber.place, Place::Live(..)))
    }
}
