/** What it costs to keep entries for years: making them warm, reading one, a plan, an erasure. */
import { execFileSync } from 'node:child_process'
import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { constants, zstdCompressSync } from 'node:zlib'
import { AuditLedger } from '../src/index.ts'
import { seededRandom } from '../src/testing/seeded-random.ts'
import { parsedAll } from './deriving.ts'
import { inRounds, median, percentile, shown } from './figures.ts'
import type { Series } from './figures.ts'
import type { Fixtures } from './fixtures.ts'
import type { Topic } from './options.ts'
import type { Result, Row, Target } from './rows.ts'
import { LEDGER_OPTIONS, locationIn, STORES, timed } from './session.ts'
import type { Session, StoreKind } from './session.ts'
import { fillSample } from './verify.ts'

/** All that is there is due. */
const ALL_WARM = { hotDays: 0, warmDays: null } as const
const WHY = { reason: 'bench' } as const
/** zstd's level, as the ledger has it (src/ledger/packed-lines.ts). */
const LEVEL = 3
/** One warm entry, µs. */
const WARM_READ: Target = { of: 'highest', atMost: 5000 }

/** A round's figures: of the ledger, and of what stands beside it. MB/s, µs, ms. */
type Figure =
  | 'warm'
  | 'zstd'
  | 'tool'
  | 'share'
  | 'hotMedian'
  | 'hotTail'
  | 'warmMedian'
  | 'warmTail'
  | 'erasure'
  | 'writing'
  | 'warmErasure'
  | 'packing'

function compressed(lines: Uint8Array): Buffer {
  return zstdCompressSync(lines, { params: { [constants.ZSTD_c_compressionLevel]: LEVEL, [constants.ZSTD_c_checksumFlag]: 1 } })
}

function writeSynced(path: string, bytes: Uint8Array): void {
  const file = openSync(path, 'w')
  try {
    for (let done = 0; done < bytes.length;) done += writeSync(file, bytes, done)
    fdatasyncSync(file)
  } finally {
    closeSync(file)
  }
}

/** Seconds of the command, from file to file, on one thread; infinite where it is not here. */
async function toolSeconds(path: string): Promise<number> {
  try {
    return await timed(() =>
      execFileSync('zstd', [`-${LEVEL}`, '--single-thread', '-q', '-f', path, '-o', `${path}.zst`], { stdio: 'ignore' }),
    )
  } catch {
    return Infinity
  }
}

/** µs of each of so many single reads, in no order. */
async function readTimes(ledger: AuditLedger, run_ids: readonly string[], count: number): Promise<number[]> {
  const random = seededRandom(count)
  const times: number[] = []
  for (let i = 0; i < count; i++) {
    const run_id = random.pick(run_ids)
    const start = performance.now()
    const record = await ledger.get(run_id)
    if (record?.entry?.['agent_name'] === undefined) throw new Error(`the entry of ${run_id} can't be read`)
    times.push((performance.now() - start) * 1000)
  }
  return times
}

async function erase(ledger: AuditLedger, run_id: string): Promise<number> {
  const seconds = await timed(async () => {
    // What is left is what a server keeps in its log.
    const { records } = await ledger.retention.erase({ run_id }, WHY)
    if (records !== 1) throw new Error(`${records} records were erased`)
  })
  return seconds * 1000
}

/** Nothing around it: the same lines written, or compressed and written, and synced. */
async function besides(folder: string, lines: Buffer): Promise<Pick<Record<Figure, number>, 'zstd' | 'tool' | 'writing' | 'packing'>> {
  const file = join(folder, 'beside.jsonl')
  const writing = await timed(() => writeSynced(file, lines))
  const tool = await toolSeconds(file)
  const zstd = await timed(() => compressed(lines))
  const packing = await timed(() => writeSynced(file, compressed(lines)))
  rmSync(file)
  rmSync(`${file}.zst`, { force: true })
  const megabytes = lines.length / 1e6
  return { zstd: megabytes / zstd, tool: megabytes / tool, writing: writing * 1000, packing: packing * 1000 }
}

/** A new ledger of so many calls goes through all of it. */
async function round(session: Session, location: string, folder: string, count: number): Promise<Record<Figure, number>> {
  const lines = await fillSample(location, 'calls', count)
  const floors = await besides(folder, lines)
  const ledger = await AuditLedger.open(location, LEDGER_OPTIONS)
  try {
    const run_ids: string[] = []
    for await (const { run_id, header } of ledger.read()) if (header.type === 'AgentCallCompleted') run_ids.push(run_id)
    const [first = '', second = '', ...others] = run_ids
    const reads = session.count(500, 5)
    const hot = await readTimes(ledger, others, reads)
    const erasure = await erase(ledger, first)
    let share = 0
    const warming = await timed(async () => {
      const { warm } = await ledger.retention.apply(ALL_WARM)
      if (warm.records !== count - 1) throw new Error(`${warm.records} of ${count - 1} entries became warm`)
      share = warm.stored_bytes / warm.bytes
    })
    const warm = await readTimes(ledger, others, reads)
    const warmErasure = await erase(ledger, second)
    return {
      ...floors,
      warm: lines.length / 1e6 / warming,
      share,
      hotMedian: median(hot),
      hotTail: percentile(hot, 0.99),
      warmMedian: median(warm),
      warmTail: percentile(warm, 0.99),
      erasure,
      warmErasure,
    }
  } finally {
    await ledger.close()
  }
}

export interface Kept {
  readonly topic: Topic
  /** Of the store, for the rows. */
  readonly name: string
  /** `work` at a place for a new ledger, which goes behind it. */
  readonly inPlace: <T>(work: (location: string) => Promise<T>) => Promise<T>
}

/** Of one store, whichever. */
export async function keptRows(session: Session, { topic, name, inPlace }: Kept): Promise<Row[]> {
  const count = session.count(20_000, 60)
  const series = await inRounds(session.count(3, 1), () =>
    inPlace((location) => session.inFolder((folder) => round(session, location, folder, count))),
  )
  const tool = Number.isFinite(median(series.tool)) && median(series.tool) > 0 ? `zstd -${LEVEL}: ${shown(median(series.tool))} MB/s; ` : ''
  const row = (what: string, unit: Row['unit'], ours: Series, floor: Series, note: string, target: Target | null = null): Row => ({
    topic,
    what: `${what}, ${name}`,
    unit,
    ours,
    floor,
    target,
    note,
  })
  const stored = `${shown(count)} calls, ${shown(median(series.share))} of their entries’ bytes`
  return [
    row('made warm', 'MB/s', series.warm, series.zstd, `${tool}${stored}`),
    row('one warm entry, median', 'µs', series.warmMedian, series.hotMedian, 'beside it: hot', WARM_READ),
    row('one warm entry, 99 %', 'µs', series.warmTail, series.hotTail, 'beside it: hot', WARM_READ),
    row('one hot record erased', 'ms', series.erasure, series.writing, `of ${shown(count)} calls`),
    row('one warm record erased', 'ms', series.warmErasure, series.packing, `of ${shown(count)} calls`),
  ]
}

/** What a policy would do with a large ledger of which nothing has been moved. */
async function planRow(session: Session, fixtures: Fixtures, store: StoreKind): Promise<Row> {
  const { location, records } = await fixtures.get(store, session.options.records)
  const ledger = await AuditLedger.open(location, { readOnly: true })
  try {
    const { ours, floor } = await inRounds(session.count(3, 1), async () => {
      const seconds = await timed(async () => {
        const { tiers } = await ledger.retention.plan(ALL_WARM)
        if (tiers.hot.records < records) throw new Error(`${tiers.hot.records} of ${records} records were looked at`)
      })
      return { ours: records / seconds, floor: records / (await timed(() => parsedAll(location, store))) }
    })
    const note = `${shown(records)} events; beside it: reading and parsing them`
    return { topic: 'retention', what: `a plan, ${store}`, unit: 'records/s', ours, floor, target: null, note }
  } finally {
    await ledger.close()
  }
}

export async function retentionRows(session: Session, fixtures: Fixtures): Promise<Result[]> {
  const rows: Row[] = []
  for (const store of STORES) {
    const inPlace: Kept['inPlace'] = (work) => session.inFolder((folder) => work(locationIn(folder, store)))
    rows.push(...(await keptRows(session, { topic: 'retention', name: store, inPlace })), await planRow(session, fixtures, store))
    session.say(`retention, ${store}`)
  }
  return rows
}
