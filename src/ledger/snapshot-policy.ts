/** When `load` takes a snapshot by itself. Source: the mission, "Snapshot Frequency". */

/** Any of the conditions is enough. Events are those that a projection has handlers for. */
export interface SnapshotPolicy {
  /** So many events were replayed since the last snapshot. */
  readonly everyEvents?: number | undefined
  /** The last snapshot is older than this, ms, and an event has come since. */
  readonly everyMs?: number | undefined
  /** Replaying what has come since the last one took so long, ms. */
  readonly replayMs?: number | undefined
  /** A state of at least `bytes` is kept more often: every `everyEvents`. */
  readonly large?: { readonly bytes: number; readonly everyEvents: number } | undefined
  /** How many are kept of a projection and scope; older ones are removed. 3 unless said. */
  readonly keep?: number | undefined
}

/** For who does not want to weigh storage against the time of a replay. */
export const SNAPSHOT_POLICIES = {
  /** Many events a day. */
  highVolume: { everyEvents: 1000 },
  /** Few events a day. */
  lowVolume: { everyMs: 86_400_000 },
  /** A state that is dear to compute anew: more often. */
  largeState: { everyEvents: 1000, large: { bytes: 1_000_000, everyEvents: 250 } },
  /** A state that is computed in no time: less often. */
  smallState: { everyEvents: 10_000 },
} as const satisfies { readonly [name: string]: SnapshotPolicy }

export const SNAPSHOTS_KEPT = 3

/** @throws TypeError | RangeError */
export function requirePolicy(policy: SnapshotPolicy): void {
  if (typeof policy !== 'object' || policy === null) throw new TypeError('snapshots is a policy: { everyEvents, everyMs, … }')
  const known = ['everyEvents', 'everyMs', 'replayMs', 'large', 'keep']
  for (const key of Object.keys(policy)) {
    if (!known.includes(key)) throw new TypeError(`unknown key ${JSON.stringify(key)} in a snapshot policy; known are ${known.join(', ')}`)
  }
  const { everyEvents, everyMs, replayMs, large, keep } = policy
  const counts = { everyEvents, keep, 'large.bytes': large?.bytes, 'large.everyEvents': large?.everyEvents }
  for (const [key, value] of Object.entries(counts)) {
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= 1))
      throw new RangeError(`${key} of a snapshot policy must be an integer from 1, not ${value}`)
  }
  for (const [key, value] of Object.entries({ everyMs, replayMs })) {
    if (value !== undefined && !(value > 0)) throw new RangeError(`${key} of a snapshot policy must be above 0, not ${value}`)
  }
}

/** What has come since the last snapshot. */
export interface SinceSnapshot {
  readonly events: number
  /** Since the last one was taken, ms; null where there is none. */
  readonly age_ms: number | null
  readonly replay_ms: number
  /** Asked only where it counts: spelling a large state takes time. */
  readonly stateBytes: () => number
}

export function isSnapshotDue({ everyEvents, everyMs, replayMs, large }: SnapshotPolicy, since: SinceSnapshot): boolean {
  if (since.events === 0) return false
  if (everyEvents !== undefined && since.events >= everyEvents) return true
  if (everyMs !== undefined && (since.age_ms === null || since.age_ms >= everyMs)) return true
  if (replayMs !== undefined && since.replay_ms >= replayMs) return true
  return large !== undefined && since.events >= large.everyEvents && since.stateBytes() >= large.bytes
}
