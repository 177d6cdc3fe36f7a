use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
    thread::{Builder, JoinHandle},
    time::Instant,
};

use parking_lot::{Mutex, RwLock};

use super::{
    NodeConfig, Seen, Shared,
    alarms::AlarmCounters,
    disk,
    freshness::InStep,
    mailbox::Mailbox,
    measures::About,
    now,
    turns::{self, Turns},
    waiting::WaitingRoom,
    writer::Writer,
};
use crate::{
    replica::{OpenError, Replica, Rules, record},
    storage::{Commit, Storage},
    store::{FactStore, StoreError},
};

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeOpenError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Replica(#[from] OpenError<StoreError>),
    #[error("the system gave no random number: {0}")]
    Random(getrandom::Error),
    #[error("a thread of the node could not be started: {0}")]
    Thread(#[source] std::io::Error),
}

pub(super) fn open(config: NodeConfig) -> Result<(Arc<Shared>, Vec<JoinHandle<()>>), NodeOpenError> {
    let (folder, namespaces) = (config.store.folder.clone(), config.namespaces.clone());
    let mut store = FactStore::open(config.store)?;
    if store.loss().is_some() {
        // Numbers that were lost may have been told: it must not go on under the name it stopped with.
        store.commit(&Commit { metadata: vec![(record::CLEAN.to_owned(), None)], ..Commit::default() })?;
    }
    let (reader, syncer) = (store.reader(), store.syncer());
    let rules: Arc<dyn Rules> = Arc::new(config.namespaces);
    let incarnation = getrandom::u64().map_err(NodeOpenError::Random)?;
    let replica = Replica::open(store, config.replica, Arc::clone(&rules), config.members, incarnation, now())?;
    let shared = Arc::new(Shared {
        rules,
        reader,
        turns: Turns::default(),
        waiting: WaitingRoom::default(),
        mailbox: Mailbox::new(config.queue_requests.max(1), config.queue_bytes, config.delivered_bytes),
        clock: AtomicU64::new(0),
        is_serving: AtomicBool::new(replica.is_serving()),
        seen: RwLock::new(Arc::new(Seen::new(replica.cursor()))),
        in_step: Mutex::new(if replica.members().is_empty() { InStep::Alone } else { InStep::Never }),
        alarms: AlarmCounters::default(),
        plane: RwLock::new(None),
        failure: Mutex::new(None),
        about: About { origin: replica.origin().clone(), namespaces, folder, started: Instant::now() },
        counts: Mutex::default(),
        request_timeout: config.request_timeout,
        subscriber_events: config.subscriber_events,
        subscriber_bytes: config.subscriber_bytes,
        subscriptions: AtomicU64::new(0),
    });
    let next_persist = Arc::new(disk::NextPersist::default());
    let (next, syncing) = (Arc::clone(&next_persist), Arc::clone(&shared));
    let disk = Builder::new()
        .name("facts-disk".to_owned())
        .spawn(move || disk::make_durable(&next, &syncer, &syncing))
        .map_err(NodeOpenError::Thread)?;
    shared.turns.begin_with(Writer::new(
        replica,
        Arc::clone(&shared),
        Arc::clone(&next_persist),
        config.tick,
        config.group_max.max(1),
        config.queue_requests.max(1),
    ));
    let of_writer = Arc::clone(&shared);
    let writer = Builder::new()
        .name("facts-writer".to_owned())
        .spawn(move || turns::run(of_writer, next_persist))
        .map_err(NodeOpenError::Thread)?;
    Ok((shared, vec![writer, disk]))
}
