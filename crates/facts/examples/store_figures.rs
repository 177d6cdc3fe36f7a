//! Figures of the store on this machine: `store_figures <folder> <facts> [plain|sealed] [rounds]`. It fills the folder if it is
//! empty, so that a second run shows what opening it costs. With `rounds`, that run only puts over all of them so often.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a program to be watched")]

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use weir_facts::{
    Change, Commit, Dot, FactKey, FactStore, Hlc, Millis, NodeId, Origin, Reader, Settings, Stamp, State, Storage,
    Strategy,
};

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: u64 = 1_000;

fn key(number: u64) -> FactKey {
    FactKey::new(&format!("approvals.deploy-{number}")).unwrap()
}

/// A fact whose record has about 200 bytes.
fn fact(origin: &Origin, seq: u64, before: Option<&State>) -> Arc<State> {
    let dot = Dot { origin: origin.clone(), seq };
    let now = Millis(1_800_000_000_000 + seq / 10);
    let stamp = Stamp { dot, hlc: Hlc::at(now), now, expires_at: None };
    let json = format!("{{\"approvers\":[\"alice\",\"bob\"],\"required\":2,\"note\":\"{:0>100}\"}}", seq);
    Arc::new(Strategy::Lww.put(&before.cloned().unwrap_or_default(), json.into(), &stamp).unwrap())
}

fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// Time that this thread has had on a processor: what counts when others want the machine too.
fn on_processor() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

/// The same of all threads.
fn all_on_processor() -> Duration {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let of = |thread: std::io::Result<std::fs::DirEntry>| {
        // One that has ended meanwhile is left out.
        let text = std::fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap_or_default();
        text.split_whitespace().next().map_or(0, |nanos| nanos.parse().unwrap())
    };
    Duration::from_nanos(threads.map(of).sum())
}

/// What went by on the clock and on the processor, of the caller and of all threads.
#[derive(Default)]
struct Spent {
    clock: Duration,
    processor: Duration,
    all: Duration,
}

impl Spent {
    fn on<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (began, before, all_before) = (Instant::now(), on_processor(), all_on_processor());
        let done = work();
        self.clock += began.elapsed();
        self.processor += on_processor() - before;
        self.all += all_on_processor().saturating_sub(all_before);
        done
    }

    fn per(&self, count: u64) -> String {
        let each = |time: Duration| time.as_nanos() as f64 / 1_000.0 / count as f64;
        let rate = count as f64 / self.clock.as_secs_f64();
        format!("{rate:.0}/s, {:.2} us of processor each, {:.2} with workers", each(self.processor), each(self.all))
    }
}

fn say(what: &str, figure: impl std::fmt::Display) {
    println!("{what:<44} {figure}");
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_nanos() as f64 / 1_000.0;
    format!("p50 {:.2} us, p99 {:.2} us, p99.9 {:.2} us", at(0.5), at(0.99), at(0.999))
}

/// Pseudo-random, so that runs are alike.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Numbers of which some come much oftener than others, as keys do: Zipf's law with an exponent of 0.99, made as YCSB makes
/// it (Gray et al., "Quickly generating billion-record synthetic databases", 1994), and scattered over all.
struct Zipf {
    dice: Dice,
    bound: u64,
    zeta: f64,
    eta: f64,
}

impl Zipf {
    const THETA: f64 = 0.99;

    fn below(bound: u64) -> Zipf {
        let zeta = |count: u64| (1..=count).map(|rank| (rank as f64).powf(-Zipf::THETA)).sum::<f64>();
        let all = zeta(bound);
        let eta = (1.0 - (2.0 / bound as f64).powf(1.0 - Zipf::THETA)) / (1.0 - zeta(2) / all);
        Zipf { dice: Dice(5), bound, zeta: all, eta }
    }

    fn next(&mut self) -> u64 {
        let part = self.dice.below(1 << 31) as f64 / (1_u64 << 31) as f64;
        let scaled = part * self.zeta;
        let rank = if scaled < 1.0 {
            0
        } else if scaled < 1.0 + 0.5_f64.powf(Zipf::THETA) {
            1
        } else {
            (self.bound as f64 * (self.eta * part - self.eta + 1.0).powf(1.0 / (1.0 - Zipf::THETA))) as u64
        };
        rank.min(self.bound - 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) % self.bound
    }
}

fn fill(store: &mut FactStore, origin: &Origin, facts: u64) {
    let mut spent = Spent::default();
    for from in (0..facts).step_by(BATCH as usize) {
        let numbers = from..(from + BATCH).min(facts);
        let change = |n| Change::new(key(n), None, Some(fact(origin, n + 1, None)));
        let commit = Commit { changes: numbers.map(change).collect(), ..Commit::default() };
        spent.on(|| {
            store.commit(&commit).unwrap();
            store.persist().unwrap();
        });
    }
    say("new facts, 1,000 to a durable commit", spent.per(facts));
    say("resident after filling", format!("{:.1} MB", resident_mb()));
}

fn overwrite(store: &mut FactStore, origin: &Origin, facts: u64) {
    let (mut dice, mut seq) = (Dice(7), facts + 1);
    let mut change = |store: &FactStore| {
        seq += 1;
        // No key twice in what is made before it is committed.
        let key = key((dice.below(facts / 1_000) * 1_000 + seq % 1_000) % facts);
        let before = store.state(&key).unwrap();
        let after = Some(fact(origin, seq, before.as_deref()));
        Change::new(key, before.map(Into::into), after)
    };
    let (mut spent, mut making, count) = (Spent::default(), Spent::default(), 50_000);
    for _ in 0..count / 50 {
        let changes: Vec<_> = making.on(|| (0..50).map(|_| change(store)).collect());
        spent.on(|| {
            for change in changes {
                store.commit(&Commit { changes: vec![change], ..Commit::default() }).unwrap();
            }
        });
    }
    say("puts one by one, not durable", spent.per(count));
    say("  reading and making their states", making.per(count));
    let mut times = Vec::new();
    for _ in 0..100 {
        let changes = vec![change(store)];
        store.commit(&Commit { changes, ..Commit::default() }).unwrap();
        let persist_began = Instant::now();
        store.persist().unwrap();
        times.push(persist_began.elapsed());
    }
    say("one persist", percentiles(times));
    for size in [64, 1_000] {
        let (mut spent, rounds) = (Spent::default(), 100);
        for _ in 0..rounds {
            let changes = (0..size).map(|_| change(store)).collect();
            spent.on(|| {
                store.commit(&Commit { changes, ..Commit::default() }).unwrap();
                store.persist().unwrap();
            });
        }
        say(&format!("puts over old facts, {size} to a durable commit"), spent.per(rounds * size));
    }
    say("resident after writing", format!("{:.1} MB", resident_mb()));
}

/// Facts over old ones, 1,000 to a commit, while another thread makes them durable.
fn pipelined(store: &mut FactStore, origin: &Origin, facts: u64, rounds: u64, is_random: bool) {
    let (syncer, mut dice) = (store.syncer(), Dice(5));
    let is_done = AtomicBool::new(false);
    let mut spent = Spent::default();
    let mut waited = Duration::ZERO;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                let durable = syncer.durable();
                if syncer.sync().unwrap() == durable {
                    std::thread::sleep(Duration::from_micros(100));
                }
            }
        });
        for round in 0..rounds {
            let mut change = |place: u64| {
                // No key twice in a commit.
                let thousand = if is_random { dice.below(facts / 1_000) } else { round };
                let key = key((thousand * 1_000 + place) % facts);
                // As a node does it: the value that is there is not read.
                let before = store.before(&key).unwrap();
                Change::new(key, before, Some(fact(origin, 1_000_000 + round * 1_000 + place, None)))
            };
            let changes = (0..1_000).map(&mut change).collect();
            spent.on(|| store.commit(&Commit { changes, ..Commit::default() }).unwrap());
        }
        let began = Instant::now();
        syncer.sync().unwrap();
        waited = began.elapsed();
        is_done.store(true, Ordering::Relaxed);
    });
    spent.clock += waited;
    let how = if is_random { "at random" } else { "in their order" };
    say(&format!("1,000 to a commit {how}, made durable beside"), spent.per(rounds * 1_000));
}

/// Clients that each wait until their put is durable before the next.
fn clients(store: &mut FactStore, origin: &Origin, facts: u64, clients: u64) {
    type Put = (u64, mpsc::Sender<()>);
    let (puts, waiting) = mpsc::channel::<Put>();
    let (written, unsynced) = mpsc::channel::<(u64, Vec<mpsc::Sender<()>>)>();
    let (syncer, each) = (store.syncer(), 100);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for client in 0..clients {
            let puts = puts.clone();
            scope.spawn(move || {
                let (done, is_done) = mpsc::channel();
                for round in 0..each {
                    puts.send(((round * clients + client) % facts, done.clone())).unwrap();
                    is_done.recv().unwrap();
                }
            });
        }
        drop(puts);
        scope.spawn(move || {
            while let Ok(first) = unsynced.recv() {
                let all: Vec<_> = std::iter::once(first).chain(unsynced.try_iter()).collect();
                let durable = syncer.sync().unwrap();
                for (commits, dones) in all {
                    assert!(durable >= commits);
                    dones.into_iter().for_each(|done| done.send(()).unwrap());
                }
            }
        });
        let mut seq = 10_000_000;
        while let Ok(first) = waiting.recv() {
            let (mut changes, mut dones) = (Vec::new(), Vec::new());
            for (number, done) in std::iter::once(first).chain(waiting.try_iter()) {
                seq += 1;
                let key = key(number);
                let before = store.state(&key).unwrap();
                let after = Some(fact(origin, seq, before.as_deref()));
                changes.push(Change::new(key, before.map(Into::into), after));
                dones.push(done);
            }
            store.commit(&Commit { changes, ..Commit::default() }).unwrap();
            written.send((store.commits(), dones)).unwrap();
        }
        drop(written);
    });
    let rate = (clients * each) as f64 / began.elapsed().as_secs_f64();
    say(&format!("durable puts of {clients} clients, one at a time"), format!("{rate:.0}/s"));
}

fn read(reader: &Reader, facts: u64) {
    let timed = |count: usize, next: &mut dyn FnMut() -> u64| {
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let key = key(next());
            let began = Instant::now();
            assert!(reader.state(&key).unwrap().is_some());
            times.push(began.elapsed());
        }
        percentiles(times)
    };
    let (mut dice, mut zipf) = (Dice(3), Zipf::below(facts));
    let hot = 1_000.min(facts);
    timed(20_000, &mut || dice.below(hot));
    say("get, of 1,000 hot facts", timed(50_000, &mut || dice.below(hot)));
    say("get, of all facts alike", timed(50_000, &mut || dice.below(facts)));
    timed(50_000, &mut || zipf.next());
    say("get, of all facts by Zipf's law", timed(50_000, &mut || zipf.next()));
    say("get, of one tenth of them", timed(50_000, &mut || dice.below((facts / 10).max(1))));
    say("resident after reading", format!("{:.1} MB", resident_mb()));
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().unwrap());
    let facts: u64 = arguments.next().unwrap().parse().unwrap();
    let is_sealed = arguments.next().is_some_and(|kind| kind == "sealed");
    let rounds: Option<u64> = arguments.next().map(|rounds| rounds.parse().unwrap());
    let key_file = is_sealed.then(|| folder.with_extension("key"));
    let origin = Origin { node: NodeId::new("k8s-node-1").unwrap(), incarnation: 0x0123_4567_89ab_cdef };
    say("resident at the start", format!("{:.1} MB", resident_mb()));
    let began = Instant::now();
    let mut settings = Settings { key_file, ..Settings::new(folder) };
    if let Ok(megabytes) = std::env::var("WRITE_BUFFER_MB") {
        settings.write_buffer_bytes = megabytes.parse::<u64>().unwrap() << 20;
    }
    let mut store = FactStore::open(settings).unwrap();
    let count = store.reader().count() as u64;
    say(&format!("opened with {count} facts"), format!("{:.0} ms", began.elapsed().as_secs_f64() * 1_000.0));
    say("resident after opening", format!("{:.1} MB", resident_mb()));
    if count == 0 {
        fill(&mut store, &origin, facts);
    } else if let Some(rounds) = rounds {
        pipelined(&mut store, &origin, facts, rounds * facts.div_ceil(1_000), false);
        pipelined(&mut store, &origin, facts, rounds * facts.div_ceil(1_000), true);
        say("resident after writing", format!("{:.1} MB", resident_mb()));
    } else {
        read(&store.reader(), facts);
        overwrite(&mut store, &origin, facts);
        pipelined(&mut store, &origin, facts, 300, false);
        pipelined(&mut store, &origin, facts, 300, true);
        clients(&mut store, &origin, facts, 64);
        clients(&mut store, &origin, facts, 512);
    }
}
