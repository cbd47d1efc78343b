/** A limit on everything. Bytes are of UTF-8. Source: docs/format.md. */
export const LIMITS = {
  entry_bytes_max: 16 * 1024 * 1024,
  entry_depth_max: 64,
  /** Records of one atomic append. */
  append_records_max: 10_000,
  /** Records and bytes that one batch (one transaction, one sync) carries. */
  batch_records_max: 4096,
  batch_bytes_max: 16 * 1024 * 1024,
  /** What waits to be written before `record` refuses with `queue_full`. */
  queue_records_max: 100_000,
  queue_bytes_max: 256 * 1024 * 1024,
  /** A wall clock that is back by no more than this is held at the last value. µs. */
  clock_hold_us: 5_000_000,
  /** State of a projection, as a snapshot keeps it. */
  snapshot_bytes_max: 64 * 1024 * 1024,
  query_limit_default: 100,
  query_limit_max: 10_000,
  /** UTF-16 units of a query's words, and how many words. */
  text_query_characters_max: 4096,
  text_query_words_max: 64,
} as const
