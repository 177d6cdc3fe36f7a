use std::path::PathBuf;

/// How a store is kept. Sizes are in bytes; the defaults hold 100,000 facts of 200 bytes in about 50 MB of memory.
#[derive(Debug, Clone)]
pub struct Settings {
    pub folder: PathBuf,
    /// With it the store is encrypted. It is made when there is neither file nor store.
    pub key_file: Option<PathBuf>,
    /// Decoded states kept for readers.
    pub state_cache_bytes: u64,
    /// Parts of tables kept as they are on disk.
    pub block_cache_bytes: u64,
    /// Newest records before they go to a table; there are up to three such buffers for a while. A larger one takes
    /// more in a rush, before tables have to be merged.
    pub write_buffer_bytes: u64,
    /// Facts that are no longer live and take no more than this are left where they are; beyond it what is live before them is
    /// moved, to give their place back. More saves the moving, and takes a part of the start to read.
    pub slack_bytes: u64,
    /// Lost values kept for each key.
    pub lost_max: usize,
    /// Left free on the disk: a commit is refused before it would be taken. Tables are merged in it. With 0 a commit is
    /// refused when the disk is full to the brim, which takes a reopening of the files each time.
    pub room_kept: u64,
    /// Opens what is left of a store that has lost records or commits, as [`FactStore::loss`](crate::FactStore::loss)
    /// then tells; without it such a store is not opened. Of a key that lost its newest state, an older one may be there
    /// again, also if it had been forgotten.
    pub accept_loss: bool,
}

impl Settings {
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Settings {
        Settings {
            folder: folder.into(),
            key_file: None,
            state_cache_bytes: 4 << 20,
            block_cache_bytes: 2 << 20,
            write_buffer_bytes: 8 << 20,
            slack_bytes: 32 << 20,
            lost_max: 16,
            room_kept: 64 << 20,
            accept_loss: false,
        }
    }
}
