//! What subscribers are told, as frames.

use std::sync::Arc;

use super::cursor;
use crate::{
    clock::{Hlc, Millis},
    key::FactKey,
    node::{News, Node, Told},
    protocol::{ChangeKind, ChangeNotice, Cursor, Encoding, Json, Notification},
    replica::{self, EventKind, Fact},
    state::{Body, Cell, State},
    strategy::Found,
};

/// Writes frames for one subscription.
pub(super) struct Notices {
    pub(super) node: Node,
    pub(super) subscription: Arc<str>,
    pub(super) encoding: Encoding,
}

impl Notices {
    /// Frames in pieces of about `piece` bytes, each made when it is asked for.
    pub(super) fn frames<'a>(&'a self, news: News, piece: usize) -> impl Iterator<Item = Vec<u8>> + Send + 'a {
        let mut notices = self.notices(news);
        std::iter::from_fn(move || {
            let mut out = Vec::new();
            while out.len() < piece {
                let Some(notice) = notices.next() else { break };
                // A value that is not JSON is left out, as no reader gets it either.
                let _ = Notification::Change(notice).write_frame(&mut out, self.encoding);
            }
            (!out.is_empty()).then_some(out)
        })
    }

    fn notices<'a>(&'a self, news: News) -> Box<dyn Iterator<Item = ChangeNotice> + Send + 'a> {
        match news {
            News::Reset => Box::new(std::iter::once(ChangeNotice {
                timestamp: self.node.time(),
                ..self.notice(ChangeKind::Reset, None, None)
            })),
            News::Facts(facts) => {
                Box::new(facts.into_iter().map(move |(fact, cursor)| self.fact(fact, cursor.as_ref())))
            }
            News::Events(events) => {
                Box::new(events.into_iter().map(move |(told, cursor)| self.event(&told, cursor.as_ref())))
            }
        }
    }

    fn notice(&self, kind: ChangeKind, key: Option<FactKey>, version: Option<Hlc>) -> ChangeNotice {
        ChangeNotice {
            kind,
            key,
            value: None,
            version,
            timestamp: version.map_or_else(|| self.node.time(), Hlc::millis),
            cursor: None,
            source_instance: None,
            expires_at: None,
            subscription: Some(Arc::clone(&self.subscription)),
        }
    }

    fn fact(&self, fact: Fact, after: Option<&replica::Cursor>) -> ChangeNotice {
        let notice = self.notice(ChangeKind::Update, Some(fact.key), Some(fact.found.version));
        let cursor = after.and_then(cursor::encode);
        with_value(ChangeNotice { cursor, ..notice }, Some(fact.found))
    }

    fn event(&self, told: &Told, own: Option<&replica::Cursor>) -> ChangeNotice {
        let event = &told.event;
        let cursor: Option<Cursor> = match own {
            Some(own) => cursor::encode(own),
            None => told.wire_cursor(cursor::encode),
        };
        let state = event.state.as_deref();
        let (kind, version) = match &event.kind {
            EventKind::Update => (ChangeKind::Update, state.map(State::hlc)),
            EventKind::Delete => (ChangeKind::Delete, state.map(State::hlc)),
            EventKind::Expire => (ChangeKind::Expire, state.map(State::hlc)),
            EventKind::Conflict { lost } => (ChangeKind::Conflict, Some(lost.hlc)),
        };
        let notice = self.notice(kind, Some(event.key.clone()), version);
        let latest = state.and_then(|state| state.cells().iter().max_by_key(|cell| cell.hlc));
        let by = |cell: &Cell| -> Arc<str> { cell.dot.origin.node.as_str().into() };
        match &event.kind {
            EventKind::Conflict { lost } => {
                let value =
                    if let Body::Value(json) = &lost.body { Json::of_text(json.to_string()).ok() } else { None };
                ChangeNotice { cursor, value, source_instance: Some(by(lost)), ..notice }
            }
            EventKind::Update => {
                let found = state.and_then(|state| self.node.view_of(&event.key, state));
                with_value(ChangeNotice { cursor, source_instance: latest.map(by), ..notice }, found)
            }
            EventKind::Delete | EventKind::Expire => ChangeNotice { cursor, source_instance: latest.map(by), ..notice },
        }
    }
}

fn with_value(notice: ChangeNotice, found: Option<Found>) -> ChangeNotice {
    let Some(Found { value, expires_at, .. }) = found else { return notice };
    let expires_at: Option<Millis> = expires_at;
    ChangeNotice { value: Json::of_text(value.text().into_owned()).ok(), expires_at, ..notice }
}
