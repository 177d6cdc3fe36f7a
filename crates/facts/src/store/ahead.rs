//! Writes zeros to the engine's log ahead of what comes, on a thread of its own.
//!
//! The engine makes a file of its log as long as it becomes, but without a page in it. A commit that lies in pages which
//! the disk gives out only now is durable when the file system's own journal tells of them as well; one in pages that are
//! there already, as soon as it is written. The former takes a thread of the kernel more, which waits for a processor.
//!
//! Zeros are written over zeros only, and while nobody else writes to the file: it says the same before and after,
//! whatever becomes of it. Files that the engine found when it was opened are left alone, as it writes behind their ends.

use std::{
    fmt,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{Builder, JoinHandle},
};

use parking_lot::{Mutex, MutexGuard};

use crate::store::engine_log;

/// So much is made ready, when there is only half of it.
const AHEAD_BYTES: u64 = 1 << 20;
/// Commits of so many bytes are a reason to look.
const LOOK_BYTES: u64 = 128 << 10;
/// Larger commits wait for their own bytes, and would have to be written twice.
const LARGE_BYTES: u64 = 64 << 10;
/// Written at once, while commits wait.
const PIECE_BYTES: usize = 64 << 10;
const PAGE_BYTES: usize = 4 << 10;

static ZEROS: [u8; PAGE_BYTES] = [0; PAGE_BYTES];

pub(super) struct Ahead {
    log: Arc<Mutex<Log>>,
    /// Bytes since the last look.
    committed: u64,
    /// Gone with the thread.
    look: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Ahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ahead").finish_non_exhaustive()
    }
}

/// The newest file of the log. Who has it alone may write to the log.
pub(super) struct Log {
    engine_folder: PathBuf,
    /// Files from this number on are the engine's of today.
    first: u64,
    newest: Option<Newest>,
}

struct Newest {
    number: u64,
    file: Arc<File>,
    /// Before it, the engine has written.
    used: u64,
    /// Before it, there are pages.
    ready: u64,
}

impl Ahead {
    /// `first`: the number that the engine's first new file has.
    pub(super) fn new(engine_folder: &Path, first: u64) -> Ahead {
        let log = Log { engine_folder: engine_folder.to_owned(), first, newest: None };
        let log = Arc::new(Mutex::new(log));
        let (look, looks) = sync_channel(1);
        let of_thread = Arc::clone(&log);
        // Without a thread the log is as it is.
        let thread = Builder::new().name("facts-log".to_owned()).spawn(move || run(&looks, &of_thread)).ok();
        Ahead { log, committed: LOOK_BYTES, look: Some(look), thread }
    }

    /// Nobody else writes to the log as long as the caller holds this.
    pub(super) fn hold(&self) -> MutexGuard<'_, Log> {
        self.log.lock()
    }

    pub(super) fn committed(&mut self, bytes: u64) {
        if bytes > LARGE_BYTES {
            return;
        }
        self.committed = self.committed.saturating_add(bytes);
        if self.committed >= LOOK_BYTES
            && let Some(look) = &self.look
        {
            self.committed = 0;
            // It looks already, or there is nobody.
            let _ = look.try_send(());
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.look = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(looks: &Receiver<()>, log: &Mutex<Log>) {
    let mut buffer = vec![0; PIECE_BYTES];
    while looks.recv().is_ok() {
        let mut until = None;
        loop {
            // Commits go on between pieces.
            let made = log.lock().make_ready(&mut until, &mut buffer);
            match made {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => {
                    // As when the disk is full: the file stays as it is.
                    log.lock().leave();
                    break;
                }
            }
        }
        let file = log.lock().newest.as_ref().map(|newest| Arc::clone(&newest.file));
        if let Some(file) = file.filter(|_| until.is_some()) {
            // Whatever it is that fails, who makes commits durable is told of it too.
            let _ = file.sync_data();
        }
    }
}

impl Log {
    /// The engine is opened anew, and will make files from that number on.
    pub(super) fn begin(&mut self, first: u64) {
        (self.first, self.newest) = (first, None);
    }

    fn leave(&mut self) {
        if let Some(Newest { number, .. }) = self.newest.take() {
            self.first = number.saturating_add(1);
        }
    }

    /// Makes the next piece ready. Whether something may be left to do. `until`: where this has to end, once that is known.
    fn make_ready(&mut self, until: &mut Option<(u64, u64)>, buffer: &mut [u8]) -> io::Result<bool> {
        self.find_newest()?;
        let Some(newest) = &mut self.newest else { return Ok(false) };
        let end = match *until {
            Some((number, end)) if number == newest.number => end,
            // Another file came, which is looked at the next time.
            Some(_) => return Ok(false),
            None => {
                if !newest.find_used(buffer)? {
                    return Ok(true);
                }
                if newest.ready >= newest.used + AHEAD_BYTES / 2 {
                    return Ok(false);
                }
                let end = newest.used + AHEAD_BYTES;
                *until = Some((newest.number, end));
                end
            }
        };
        if newest.ready >= end { Ok(false) } else { newest.make_piece(buffer) }
    }

    fn find_newest(&mut self) -> io::Result<()> {
        loop {
            let next = match &self.newest {
                Some(newest) => newest.number.checked_add(1),
                None => engine_log::all(&self.engine_folder)?.into_iter().max().filter(|number| *number >= self.first),
            };
            let Some(number) = next else { return Ok(()) };
            match File::options().read(true).write(true).open(engine_log::path(&self.engine_folder, number)) {
                Ok(file) => self.newest = Some(Newest { number, file: Arc::new(file), used: 0, ready: 0 }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

impl Newest {
    /// Looks at the next piece. The engine writes one record after the other: what it has not reached yet begins with a page
    /// of zeros. Whether it was found.
    fn find_used(&mut self, piece: &mut [u8]) -> io::Result<bool> {
        let count = self.read(piece, self.used)?;
        let pages = piece.get(..count).unwrap_or_default().chunks(PAGE_BYTES);
        let used = pages.take_while(|page| !is_zeros(page)).count() * PAGE_BYTES;
        self.used += used as u64;
        self.ready = self.ready.max(self.used);
        Ok(used < count || count == 0)
    }

    fn make_piece(&mut self, piece: &mut [u8]) -> io::Result<bool> {
        let count = self.read(piece, self.ready)?;
        if count == 0 {
            return Ok(false);
        }
        let piece = piece.get(..count).unwrap_or_default();
        if piece.chunks(PAGE_BYTES).all(is_zeros) {
            self.file.write_all_at(piece, self.ready)?;
        } else {
            // The engine has come further than was thought.
            for (page, at) in
                piece.chunks(PAGE_BYTES).zip((self.ready..).step_by(PAGE_BYTES)).filter(|(page, _)| is_zeros(page))
            {
                self.file.write_all_at(page, at)?;
            }
        }
        self.ready += count as u64;
        Ok(true)
    }

    /// Up to the end of the file.
    fn read(&self, piece: &mut [u8], at: u64) -> io::Result<usize> {
        let mut count = 0;
        while let Some(rest) = piece.get_mut(count..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, at + count as u64) {
                Ok(0) => break,
                Ok(more) => count += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }
}

fn is_zeros(page: &[u8]) -> bool {
    ZEROS.get(..page.len()) == Some(page)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::{
        os::unix::fs::MetadataExt,
        time::{Duration, Instant},
    };

    use super::*;

    const LOG_BYTES: u64 = 8 << 20;

    fn log(folder: &Path, number: u64) -> File {
        let file = File::create_new(engine_log::path(folder, number)).unwrap();
        file.set_len(LOG_BYTES).unwrap();
        file
    }

    fn pages(file: &File) -> u64 {
        file.metadata().unwrap().blocks() * 512
    }

    fn wait_for_pages(file: &File, bytes: u64) {
        let until = Instant::now() + Duration::from_secs(20);
        while pages(file) < bytes {
            assert!(Instant::now() < until, "{} bytes", pages(file));
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn there_are_pages_ahead_and_the_log_says_what_it_said() {
        let folder = tempfile::tempdir().unwrap();
        let mut ahead = Ahead::new(folder.path(), 3);
        let (mut expected, mut file) = (Vec::new(), log(folder.path(), 3));
        for number in 0..20_000_u32 {
            let record: Vec<u8> = (0..number % 300).map(|place| (place % 5 + number % 3) as u8).collect();
            {
                let _alone = ahead.hold();
                file.write_all_at(&record, expected.len() as u64).unwrap();
            }
            ahead.committed(record.len() as u64);
            expected.extend(record);
        }
        wait_for_pages(&file, expected.len() as u64 + AHEAD_BYTES / 2);
        let mut found = vec![1; LOG_BYTES as usize];
        file.read_exact_at(&mut found, 0).unwrap();
        let (written, rest) = found.split_at(expected.len());
        assert!(written == expected && rest.iter().all(|byte| *byte == 0));
        assert_eq!(file.metadata().unwrap().len(), LOG_BYTES);

        file = log(folder.path(), 4);
        ahead.committed(LOOK_BYTES / 2);
        ahead.committed(LOOK_BYTES / 2);
        drop(ahead);
        assert!(pages(&file) >= AHEAD_BYTES, "the next file is seen");
    }

    #[test]
    fn what_was_there_before_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let old = log(folder.path(), 3);
        let mut ahead = Ahead::new(folder.path(), engine_log::first_new(folder.path()).unwrap());
        ahead.committed(1);
        drop(ahead);
        assert_eq!(pages(&old), 0);

        let new = log(folder.path(), 4);
        let mut ahead = Ahead::new(folder.path(), 4);
        ahead.hold().begin(5);
        ahead.committed(1);
        drop(ahead);
        assert_eq!(pages(&new), 0, "the engine was opened anew");
    }

    #[test]
    fn what_cannot_be_made_ready_is_left() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(engine_log::path(folder.path(), 1)).unwrap();
        let mut ahead = Ahead::new(folder.path(), 1);
        for _ in 0..10 {
            ahead.committed(LOOK_BYTES / 2);
            drop(ahead.hold());
        }
    }

    #[test]
    fn a_log_without_a_record_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        log(folder.path(), 1);
        engine_log::remove_empty(folder.path()).unwrap();
        assert_eq!(engine_log::newest(folder.path()).unwrap(), None);
        log(folder.path(), 1).write_all_at(b"x", LOG_BYTES - 1).unwrap();
        engine_log::remove_empty(folder.path()).unwrap();
        assert_eq!(
            (engine_log::newest(folder.path()).unwrap(), engine_log::first_new(folder.path()).unwrap()),
            (Some(1), 2)
        );
    }
}
