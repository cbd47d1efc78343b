/** Verifying kept snapshots: each against the record that names it, and against a replay where the projection is at hand. */
import type { SnapshotCheck } from '../verify/report.ts'
import { bothFilters } from './projection.ts'
import type { Projection } from './projection.ts'
import { replayed } from './projections.ts'
import { formatSnapshotName, formatState, headOf, judgeSnapshot, newestFirst, readSnapshotRecord } from './snapshots.ts'
import type { SnapshotContent, TrueSnapshot } from './snapshots.ts'
import type { Store } from './store.ts'

/** A snapshot that the ledger's records name. */
export interface SnapshotListing {
  readonly id: string
  readonly projection: string
  readonly version: number
  readonly position: number
  /** Hash of the record there. */
  readonly hash: string
  readonly taken_at: string
  /** Its state is still kept beside the ledger; whether it is the one that was taken, `load` and `verify` look. */
  readonly kept: boolean
}

/** Oldest first. */
export async function listSnapshots(store: Store): Promise<SnapshotListing[]> {
  const kept = new Set((await newestFirst(store, '')).map(({ id }) => id))
  const listed: SnapshotListing[] = []
  for await (const batch of replayed(store, { type: ['SnapshotTaken'], stream: ['ledger'] }, 0, Infinity)) {
    for (const record of batch) {
      const named = readSnapshotRecord(record)
      if (named === null) continue
      const { id, projection, version, position, hash, taken_at } = named
      listed.push({ id, projection, version, position, hash, taken_at, kept: kept.has(id) })
    }
  }
  return listed
}

type Told = Pick<SnapshotCheck, 'id' | 'projection' | 'version' | 'position'>

function passed(told: Told): SnapshotCheck {
  return { ...told, verdict: 'pass', reason: null }
}

/** By which of the projections it is to be replayed, or why by none. */
function projectionOf(content: SnapshotContent, projections: readonly Projection[]): Projection | string {
  const named = projections.filter(({ name }) => name === content.projection)
  if (named.length === 0)
    return `the projection ${content.projection} was not given: its record and digest are right, its state was not compared`
  const found = named.find(({ version, types }) => version === content.version && JSON.stringify(types) === JSON.stringify(content.types))
  return found ?? `no projection ${content.projection} of version ${content.version} with the same events was given`
}

/** Snapshots that one replay compares, by position. */
interface Replay {
  readonly projection: Projection
  readonly snapshots: TrueSnapshot[]
}

/**
 * Looks at every snapshot that is kept. Never throws on what is kept; a projection's own errors become findings.
 * @throws LedgerError `io_error` where the ledger can't be read
 */
export async function checkSnapshots(store: Store, projections: readonly Projection[]): Promise<SnapshotCheck[]> {
  const head = await headOf(store)
  const checks: SnapshotCheck[] = []
  const replays = new Map<string, Replay>()
  for (const name of (await newestFirst(store, '')).toReversed()) {
    const told = { id: name.id, projection: null, version: null, position: name.position }
    const judged = await judgeSnapshot(store, name, head).catch((error: unknown) => `it can't be read (${String(error)})`)
    if (judged === null) continue
    if (typeof judged === 'string') {
      checks.push({ ...told, verdict: 'fail', reason: judged })
      continue
    }
    const { content } = judged
    const projection = projectionOf(content, projections)
    if (typeof projection === 'string') {
      checks.push({ ...told, projection: content.projection, version: content.version, verdict: 'not checked', reason: projection })
      continue
    }
    const key = `${formatSnapshotName({ ...name, position: 0, id: '' })}/${content.version}/${content.types.join()}`
    const replay = replays.get(key) ?? { projection, snapshots: [] }
    replay.snapshots.push(judged)
    replays.set(key, replay)
  }
  for (const replay of replays.values()) checks.push(...(await compared(store, replay)))
  return checks.toSorted((a, b) => a.position - b.position)
}

/** One pass over the events, which stops at each snapshot's position. */
async function compared(store: Store, { projection, snapshots }: Replay): Promise<SnapshotCheck[]> {
  const checks: SnapshotCheck[] = []
  let state = projection.start()
  let from = 0
  for (const { id, content } of snapshots) {
    const { position, version } = content
    const told = { id, projection: projection.name, version, position }
    try {
      const handled = bothFilters(content.filter, { type: content.types })
      for await (const batch of replayed(store, handled, from, position + 1)) {
        for (const record of batch) state = projection.apply(state, record)
      }
      from = position + 1
      const isSame = formatState(projection.name, state) === formatState(projection.name, content.state)
      checks.push(isSame ? passed(told) : { ...told, verdict: 'fail', reason: 'a replay of the events gives another state' })
    } catch (error) {
      checks.push({ ...told, verdict: 'fail', reason: `the events can't be replayed (${String(error)})` })
      return checks
    }
  }
  return checks
}
