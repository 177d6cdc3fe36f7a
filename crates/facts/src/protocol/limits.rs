/// Longest request line and headers, in bytes.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Most headers of a request.
pub const HEADERS_MAX: usize = 64;

/// Longest frame, or body of a POST, in bytes.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024;

/// Longest value, in bytes of JSON text without spaces.
pub const VALUE_BYTES_MAX: usize = 256 * 1024;

/// Most entries, keys, operations or evaluations of one request.
pub const BATCH_MAX: usize = 10_000;

/// Most requests in one JSON array.
pub const REQUESTS_MAX: usize = 1_000;

/// How deep arrays and objects of a message may lie in one another, its own included.
pub const DEPTH_MAX: usize = 64;

/// Longest id of a request, in bytes.
pub const ID_BYTES_MAX: usize = 256;

/// Longest path of a policy, cursor and other name that is no key, in bytes.
pub const NAME_BYTES_MAX: usize = 1024;

/// Longest time to live, in seconds: a hundred years.
pub const TTL_SECONDS_MAX: u64 = 36_525 * 24 * 3_600;

/// Most entries that a query answers at once.
pub const QUERY_LIMIT_MAX: usize = 1_000;

/// Entries that a query answers when it does not say.
pub const QUERY_LIMIT_DEFAULT: usize = 100;
