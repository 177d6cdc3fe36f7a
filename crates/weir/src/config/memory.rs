use std::{fs::read_to_string, path::Path};

/// Taken when the machine does not say.
const FALLBACK: u64 = 4 << 30;

/// Bytes of memory that this process may use: the machine's, or its control group's limit where that is lower.
pub(crate) fn available() -> u64 {
    let machine = read_to_string("/proc/meminfo").ok().and_then(|text| total(&text)).unwrap_or(FALLBACK);
    group_limit().map_or(machine, |limit| machine.min(limit))
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The lowest `memory.max` from this process's control group (version 2) up to the root, or version 1's limit.
fn group_limit() -> Option<u64> {
    let number = |path: &Path| read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let root = Path::new("/sys/fs/cgroup");
    let own = read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let second = root
        .join(own)
        .ancestors()
        .take_while(|folder| folder.starts_with(root))
        .filter_map(|folder| number(&folder.join("memory.max")))
        .min();
    second.or_else(|| number(&root.join("memory/memory.limit_in_bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_read_in_kibibytes() {
        assert_eq!(total("MemFree: 1 kB\nMemTotal:       24 kB\n"), None.or(Some(24 * 1024)));
        assert_eq!(total("nothing"), None);
        assert!(available() > 1 << 20);
    }
}
