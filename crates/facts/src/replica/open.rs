use std::{collections::BTreeMap, sync::Arc};

use crate::{
    causality::{NodeId, Origin, VersionVector},
    clock::{Clock, Millis},
    replica::{
        Config, Counts, Replica, Rules, Start,
        collect::Sweep,
        digest::Digest,
        effect::Outbox,
        members::Members,
        progress::Progress,
        prune::Pruning,
        quarantine::Quarantine,
        record::{self, LoadError},
        sync::Standing,
    },
    storage::{Commit, Storage},
};

#[derive(Debug, thiserror::Error)]
pub enum OpenError<E> {
    #[error("the storage failed: {0}")]
    Storage(#[source] E),
    #[error("the record `{name}` is damaged: {error}")]
    Damaged { name: String, error: serde_json::Error },
    #[error("the storage is that of node `{0}`")]
    OtherNode(NodeId),
    #[error("incarnation {0} was used before; it has to be random")]
    IncarnationReused(u64),
}

impl<E> From<LoadError<E>> for OpenError<E> {
    fn from(error: LoadError<E>) -> Self {
        match error {
            LoadError::Storage(error) => OpenError::Storage(error),
            LoadError::Damaged { name, error } => OpenError::Damaged { name, error },
        }
    }
}

impl<S: Storage> Replica<S> {
    /// Takes up what the storage has. Looks at all of it once, for the digest.
    ///
    /// `incarnation`: random; under it the replica writes unless it was stopped cleanly. `members`: used when none are
    /// recorded; this node need not be among them.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(
        mut storage: S,
        config: Config,
        rules: Arc<dyn Rules>,
        members: impl IntoIterator<Item = NodeId>,
        incarnation: u64,
        now: Millis,
    ) -> Result<Replica<S>, OpenError<S::Error>> {
        let own: Option<record::Own> = record::load(&storage, record::OWN)?;
        let stopped: Option<Origin> = record::load(&storage, record::CLEAN)?;
        let reached: Option<record::Progress> = record::load(&storage, record::PROGRESS)?;
        let collected: VersionVector = record::load(&storage, record::COLLECTED)?.unwrap_or_default();
        let recorded: Option<Vec<NodeId>> = record::load(&storage, record::MEMBERS)?;
        let fetching: Option<()> = record::load(&storage, record::FETCHING)?;
        if let Some(other) = own.as_ref().filter(|own| own.origin.node != config.node) {
            return Err(OpenError::OtherNode(other.origin.node.clone()));
        }
        let (origin, seq) = identity(&config, own.as_ref(), stopped, incarnation)?;
        let (mut seen, mut last) = reached.map(|reached| (reached.seen, reached.hlc)).unwrap_or_default();
        if let Some(own) = &own {
            // All its own writes that are kept are applied, whatever the record of progress says.
            seen.advance(&own.origin, own.seq);
            last = last.max(own.hlc);
        }
        let quarantine = Quarantine::load(&storage)?;
        let progress = Progress::new(seen, quarantine.caps());
        let is_new = own.is_none() && recorded.is_none();
        let joins = fetching.is_some() || (is_new && config.start == Start::Joining);
        let members = Members::new(recorded.unwrap_or_else(|| members.into_iter().collect()), &config.node);
        let reached = record::Progress { seen: progress.seen().clone(), hlc: last };
        prepare(&mut storage, &members, &origin, seq, &reached, joins).map_err(OpenError::Storage)?;
        let (epoch, mut progress) = (config.epoch_of(now.max(last.millis())), progress);
        let digest = Digest::of(&storage, &*rules, epoch, |before| progress.hear(before.seen()));
        let digest = digest.map_err(OpenError::Storage)?;
        Ok(Replica {
            clock: Clock::new(last, config.ahead_max_ms),
            durable: progress.applied().clone(),
            progress,
            progress_moved: false,
            recorded_hlc: last,
            standing: if joins { Standing::joining() } else { Standing::Serving },
            sweep: Sweep::new(now.max(last.millis())),
            pruning: Pruning::default(),
            storage,
            config,
            rules,
            origin,
            seq,
            collected,
            members,
            digest,
            quarantine,
            pulls: BTreeMap::new(),
            outbox: Outbox::default(),
            is_heard: true,
            told: Arc::default(),
            changed_at: now,
            counts: Counts::default(),
        })
    }
}

/// Under what origin to go on, and after which number.
fn identity<E>(
    config: &Config,
    own: Option<&record::Own>,
    stopped: Option<Origin>,
    incarnation: u64,
) -> Result<(Origin, u64), OpenError<E>> {
    if let (Some(own), Some(stopped)) = (own, &stopped)
        && own.origin == *stopped
    {
        return Ok((own.origin.clone(), own.seq));
    }
    if own.is_some_and(|own| own.origin.incarnation == incarnation) {
        return Err(OpenError::IncarnationReused(incarnation));
    }
    Ok((Origin { node: config.node.clone(), incarnation }, 0))
}

/// What has to be durable before the first write: that the mark of the clean stop is gone, and the new name.
fn prepare<S: Storage>(
    storage: &mut S,
    members: &Members,
    origin: &Origin,
    seq: u64,
    reached: &record::Progress,
    joins: bool,
) -> Result<(), S::Error> {
    let own = record::Own { origin: origin.clone(), seq, hlc: reached.hlc };
    let metadata = vec![
        // Of the name before, nobody else knows how far its writes are kept here.
        (record::PROGRESS.to_owned(), Some(record::encode(reached))),
        (record::CLEAN.to_owned(), None),
        (record::OWN.to_owned(), Some(record::encode(&own))),
        (record::MEMBERS.to_owned(), Some(record::encode(&members.names()))),
        (record::FETCHING.to_owned(), joins.then(|| record::encode(&()))),
    ];
    storage.commit(&Commit { metadata, ..Commit::default() })?;
    storage.persist()
}
