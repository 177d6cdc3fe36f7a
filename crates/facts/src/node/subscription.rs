//! A subscriber's side: what exists, then what was missed, then what comes.

use std::{
    sync::{Arc, OnceLock, atomic::Ordering},
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};

use super::{
    Node, NodeError,
    hub::{Ear, Listening, Told},
    job::{Begin, CatchingUp, CaughtUp, Command},
};
use crate::{
    key::{FactKey, Pattern},
    replica::{CatchUp, Caught, Cursor, Event, Fact},
};

/// Events and facts given at once, about.
const PAGE: usize = 128;

/// Bytes of values after which a page of facts ends.
const PAGE_BYTES: usize = 256 << 10;

/// Between looks whether this node has come to what the subscriber saw elsewhere, and how often it looks.
const RETRY: Duration = Duration::from_millis(100);
const RETRIES: u32 = 50;

/// Where a subscriber begins.
#[derive(Debug, Clone)]
pub enum From {
    /// With what changes from now on.
    Now,
    /// With all facts that match.
    Existing,
    /// Where it was.
    Cursor(Cursor),
}

/// What a subscriber is told next.
#[derive(Debug)]
pub enum News {
    /// Facts that exist. With the last of them comes the cursor from which to go on.
    Facts(Vec<(Fact, Option<Cursor>)>),
    /// Changes, each with the cursor of a subscriber that has seen it.
    Events(Vec<(Arc<Told>, Option<Cursor>)>),
    /// Changes were left out. What follows are the newest states of all that changed, or everything again.
    Reset,
}

/// Gives news in order and misses nothing. It holds back neither the writer nor other subscribers: one that falls behind
/// is reset, and gets the newest states of what it missed.
pub struct Subscription {
    node: Node,
    pattern: Pattern,
    phase: Phase,
    cursor: Cursor,
}

enum Phase {
    /// Everything is to be given.
    Begin,
    /// Up to this key it was; the last fact is held back to carry the cursor.
    Existing {
        after: Option<FactKey>,
        held: Option<Fact>,
    },
    CatchingUp {
        catching: CatchUp,
        retries: u32,
    },
    Live(Live),
}

/// Where live events come, until it is dropped.
struct Live {
    node: Node,
    ear: Ear,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.node.0.shared.mailbox.forget(self.ear.id.clone());
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").field("pattern", &self.pattern).finish_non_exhaustive()
    }
}

impl Node {
    /// # Errors
    /// [`NodeError`].
    pub async fn subscribe(&self, pattern: Pattern, from: From) -> Result<Subscription, NodeError> {
        self.0.shared.check_complete()?;
        let mut subscription =
            Subscription { node: self.clone(), pattern, phase: Phase::Begin, cursor: Cursor::default() };
        match from {
            From::Existing => {}
            From::Cursor(cursor) => {
                let catching = CatchUp::since(subscription.pattern.clone(), cursor.clone());
                subscription.phase = Phase::CatchingUp { catching, retries: 0 };
                subscription.cursor = cursor;
            }
            From::Now => {
                let begin = Begin::Now(subscription.pattern.clone());
                subscription.ask(begin, 0).await?;
            }
        }
        Ok(subscription)
    }
}

impl Subscription {
    #[must_use]
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// From where to go on after all that was given. `None` before all that exists was.
    #[must_use]
    pub fn cursor(&self) -> Option<&Cursor> {
        match self.phase {
            Phase::Begin | Phase::Existing { .. } => None,
            Phase::CatchingUp { .. } | Phase::Live(_) => Some(&self.cursor),
        }
    }

    /// The next news, once there are. Not to be given up midway.
    ///
    /// # Errors
    /// [`NodeError`]; after [`NodeError::Overloaded`] and [`NodeError::TimedOut`] it may be asked again.
    pub async fn next(&mut self) -> Result<News, NodeError> {
        loop {
            let news = match &mut self.phase {
                Phase::Begin => {
                    // What changes from now on is given after the facts.
                    self.cursor = self.node.barrier().await?;
                    self.phase = Phase::Existing { after: None, held: None };
                    None
                }
                Phase::Existing { .. } => self.existing().await?,
                Phase::CatchingUp { catching, retries } => {
                    let (begin, retries) = (Begin::Since(catching.clone()), *retries);
                    self.ask(begin, retries).await?
                }
                Phase::Live(live) => {
                    let mut told = Vec::new();
                    live.ear.hear(&mut told, PAGE).await;
                    if told.is_empty() {
                        self.node.0.shared.check_complete().map_err(|_| NodeError::Stopped)?;
                        let catching = CatchUp::since(self.pattern.clone(), self.cursor.clone());
                        self.phase = Phase::CatchingUp { catching, retries: 0 };
                        Some(News::Reset)
                    } else {
                        Some(self.events(told))
                    }
                }
            };
            if let Some(news) = news {
                return Ok(news);
            }
        }
    }

    async fn existing(&mut self) -> Result<Option<News>, NodeError> {
        let Phase::Existing { after, held } = &mut self.phase else { return Ok(None) };
        let page = self.node.list(&self.pattern, after.as_ref(), PAGE, PAGE_BYTES)?;
        // Readers see what is not durable yet; subscribers are told of nothing that a crash takes back.
        self.node.barrier().await?;
        let mut facts: Vec<(Fact, Option<Cursor>)> =
            held.take().into_iter().chain(page.facts).map(|fact| (fact, None)).collect();
        match page.next {
            Some(next) => {
                *held = facts.pop().map(|(fact, _)| fact);
                *after = Some(next);
            }
            None => {
                if let Some((_, cursor)) = facts.last_mut() {
                    *cursor = Some(self.cursor.clone());
                }
                let catching = CatchUp::since(self.pattern.clone(), self.cursor.clone());
                self.phase = Phase::CatchingUp { catching, retries: 0 };
            }
        }
        Ok((!facts.is_empty()).then_some(News::Facts(facts)))
    }

    /// Asks the writer for what was missed.
    async fn ask(&mut self, begin: Begin, retries: u32) -> Result<Option<News>, NodeError> {
        let shared = &self.node.0.shared;
        let number = shared.subscriptions.fetch_add(1, Ordering::Relaxed);
        let (listening, ear) = Listening::new(&self.pattern, number, shared.subscriber_events, shared.subscriber_bytes);
        let live = Live { node: self.node.clone(), ear };
        let (told, answer) = oneshot::channel();
        self.node.0.shared.mailbox.push(
            Command::CatchUp(Box::new(CatchingUp { begin, listening, reply: told })),
            0,
            true,
        );
        let CaughtUp { caught, catching } = answer.await.unwrap_or(Err(NodeError::Stopped))?;
        Ok(match caught {
            Caught::Some(events) => {
                self.phase = Phase::CatchingUp { catching, retries: 0 };
                self.caught(events)
            }
            Caught::All { events, cursor, .. } => {
                self.phase = Phase::Live(live);
                let news = self.caught(events);
                self.cursor.advance(&cursor);
                news
            }
            Caught::Wait if retries < RETRIES => {
                self.phase = Phase::CatchingUp { catching, retries: retries + 1 };
                tokio::time::sleep_until(Instant::now() + RETRY).await;
                None
            }
            // What it saw was lost with a disk, or what it missed is no longer remembered.
            Caught::Wait | Caught::Reset => {
                self.phase = Phase::Begin;
                self.cursor = Cursor::default();
                Some(News::Reset)
            }
        })
    }

    fn caught(&mut self, events: Vec<Event>) -> Option<News> {
        let told: Vec<Arc<Told>> = events.into_iter().map(|event| Arc::new(Told::new(event))).collect();
        (!told.is_empty()).then(|| self.events(told))
    }

    fn events(&mut self, told: Vec<Arc<Told>>) -> News {
        let with_cursor = |told: Arc<Told>| {
            self.cursor.advance(&told.event.cursor);
            // As a rule it is that of the event, which need not be copied.
            let own = (self.cursor != *told.event.cursor).then(|| self.cursor.clone());
            (told, own)
        };
        News::Events(told.into_iter().map(with_cursor).collect())
    }
}

impl Told {
    /// The cursor on the wire, which all subscribers share.
    pub(crate) fn wire_cursor(
        &self,
        encode: impl FnOnce(&Cursor) -> Option<crate::protocol::Cursor>,
    ) -> Option<crate::protocol::Cursor> {
        let place: &OnceLock<_> = &self.cursor;
        place.get_or_init(|| encode(&self.event.cursor)).clone()
    }
}
