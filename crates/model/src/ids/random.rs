use std::{
    cell::RefCell,
    time::{SystemTime, UNIX_EPOCH},
};

use uuid::{Builder, Uuid};

/// Random bits of one id: what version 7 leaves beside its time.
const ID_BYTES: usize = 10;
/// Ids whose randomness is drawn from the operating system at once: a system call for each would cost more than
/// everything else an id needs.
const IDS_AT_ONCE: usize = 64;

thread_local! {
    static DRAWN: RefCell<Vec<[u8; ID_BYTES]>> = const { RefCell::new(Vec::new()) };
}

/// A UUID version 7. Ids of one millisecond have no order among themselves.
pub(super) fn fresh_v7() -> Uuid {
    let Some(bytes) = DRAWN.with_borrow_mut(|drawn| drawn.pop().or_else(|| draw(drawn))) else {
        // The operating system gave no randomness; the library asks it in its own way.
        return Uuid::now_v7();
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Builder::from_unix_timestamp_millis(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), &bytes).into_uuid()
}

fn draw(drawn: &mut Vec<[u8; ID_BYTES]>) -> Option<[u8; ID_BYTES]> {
    let mut bytes = [0; ID_BYTES * IDS_AT_ONCE];
    getrandom::fill(&mut bytes).ok()?;
    let (ids, _) = bytes.as_chunks::<ID_BYTES>();
    drawn.extend_from_slice(ids);
    drawn.pop()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_differ_on_every_thread_and_say_when_they_were_made() {
        let made = || (0..1_000).map(|_| fresh_v7()).collect::<Vec<_>>();
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let other = std::thread::spawn(made);
        let ids: HashSet<Uuid> = made().into_iter().chain(other.join().unwrap()).collect();
        assert_eq!(ids.len(), 2_000);
        for id in ids {
            assert_eq!(id.get_version_num(), 7);
            let (seconds, _) = id.get_timestamp().unwrap().to_unix();
            assert!((before..before + 60).contains(&seconds));
        }
    }
}
