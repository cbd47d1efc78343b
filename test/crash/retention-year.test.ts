/**
 * A year of real calls (seven months in `npm test`), with a policy applied each month: nothing that is asked or proven changes, whatever tier entries
 * are in, and the room comes back. At the end somebody is erased, and none of their words is left in any byte.
 */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { AuditLedger, RetentionApplied, RetentionPlan } from '../../src/index.ts'
import { archivedBytes, readLines } from '../../src/ledger/packed-source.ts'
import { openArchive } from '../../src/index.ts'
import { openStore } from '../../src/open-store.ts'
import { seededRandom } from '../../src/testing/seeded-random.ts'
import { parseTime } from '../../src/verify/time.ts'
import { clusterMissing, useCluster } from '../helpers/postgres.ts'
import { sql } from '../helpers/postgres-cluster.ts'
import { DAY_US } from '../helpers/retained.ts'
import { scale, soaking } from '../helpers/scale.ts'
import { bytesOfFiles, filesUnder, MARKED, notDone, Year } from '../helpers/year.ts'

const CALLS = scale(350, 100_000)
/** Of which the last ones see all that the first ones left: the work grows with its square. */
const MONTHS = scale(7, 12)
const timeout = scale(240_000, 7_200_000)
const MONTH_DAYS = 30
const MARKERS = 10
/** A file of a few dozen calls has little to find repeated: the goal is for those of a real month. */
const RATIO_MAX = scale(0.3, 0.25)
const TIERS = ['hot', 'warm', 'cold'] as const

interface Subject {
  readonly place: () => Promise<string>
  /** Bytes of all that the store keeps, as the system tells them; null where it is memory. */
  readonly footprint: (location: string) => Promise<number | null>
  /** The files that hold it. */
  readonly files: (year: Year) => Promise<string[]>
}

/** Where each entry is to be, by its age alone. */
function expectedTiers(year: Year): Record<(typeof TIERS)[number], number> {
  const tiers = { hot: 0, warm: 0, cold: 0 }
  for (const { recorded_at } of year.facts) {
    const age = (year.clock.now() - parseTime(recorded_at)!) / DAY_US
    tiers[age >= 30 ? 'cold' : age >= 7 ? 'warm' : 'hot']++
  }
  return tiers
}

/** What was announced is what was done, and what is there. */
async function expectAsPlanned(year: Year, before: RetentionPlan, applied: RetentionApplied, after: RetentionPlan): Promise<void> {
  expect(notDone(applied.left)).toEqual([])
  expect(before.kept).toEqual({ held: 0, floor: 0, live_segment: 0, lost: 0 })
  for (const tier of ['warm', 'cold'] as const) {
    const steps = before.steps.filter(({ move }) => move === tier)
    const sum = (of: 'records' | 'bytes'): number => steps.reduce((all, step) => all + step[of], 0)
    expect(applied[tier].records, tier).toBe(sum('records'))
    expect(Math.abs(applied[tier].bytes - sum('bytes')), tier).toBeLessThanOrEqual(steps.length)
  }
  expect(after.steps).toEqual([])
  const tiers = expectedTiers(year)
  for (const tier of TIERS) expect(after.tiers[tier].records, tier).toBe(tiers[tier])
  const bytesBefore = TIERS.reduce((sum, tier) => sum + before.tiers[tier].bytes, 0)
  expect(TIERS.reduce((sum, tier) => sum + after.tiers[tier].bytes, 0)).toBe(bytesBefore)
  const { hot, warm, cold } = await year.sizes()
  expect(hot).toEqual({ records: tiers.hot, bytes: after.tiers.hot.bytes })
  expect([warm, cold]).toEqual([after.tiers.warm.stored_bytes, after.tiers.cold.stored_bytes])
}

function ratioOf({ tiers: { warm, cold } }: RetentionPlan): number {
  return (warm.stored_bytes + cold.stored_bytes) / (warm.bytes + cold.bytes)
}

async function withLedger<Result>(year: Year, work: (ledger: AuditLedger) => Promise<Result>, readThrough = false): Promise<Result> {
  const ledger = await year.open({ readThrough })
  try {
    return await work(ledger)
  } finally {
    await ledger.close()
  }
}

async function month(year: Year, subject: Subject, calls: number, markers: readonly string[]): Promise<RetentionPlan> {
  const random = seededRandom(year.facts.length)
  const before = await withLedger(year, async (ledger) => {
    await year.record(ledger, calls, MONTH_DAYS, markers)
    await year.keep(ledger, random.pick(year.facts.slice(-calls)))
    return ledger.retention.plan()
  })
  const full = await subject.footprint(year.location)
  const applied = await withLedger(year, (ledger) => ledger.applyRetention())
  const rest = await subject.footprint(year.location)
  expect(rest ?? 0, 'bytes that the store takes').toBeLessThan(full ?? 1)
  const after = await withLedger(year, async (ledger) => {
    await year.expectAnswers(ledger)
    return ledger.retention.plan()
  })
  await expectAsPlanned(year, before, applied, after)
  await year.expectProven()
  return after
}

/** Where each marker is found: in any byte of the files, and in what is compressed. */
async function foundIn(year: Year, files: readonly string[], markers: readonly string[]): Promise<string[]> {
  const found: string[] = []
  const look = (where: string, bytes: Buffer): void => {
    for (const marker of markers) if (bytes.includes(marker)) found.push(`${marker} in ${where}`)
  }
  for (const path of files) look(path, readFileSync(path))
  const store = await openStore(year.location, { readOnly: true })
  for (const archive of [store.upkeep!.archive, await openArchive(year.archive)]) {
    for await (const { name } of archive.list('entries-'))
      for await (const lines of readLines(await archivedBytes(archive, name), { name }))
        for (const line of lines) look(name, Buffer.from(line.buffer, line.byteOffset, line.length))
  }
  await store.close()
  return found
}

async function expectErased(year: Year, subject: Subject, markers: readonly string[]): Promise<void> {
  const marked = year.facts.filter(({ correlation_id }) => correlation_id === MARKED)
  await withLedger(
    year,
    async (ledger) => {
      await year.keep(ledger, marked[0]!)
      await ledger.retention.restore({ where: { run_id: marked[1]!.run_id } })
    },
    true,
  )
  if (year.location !== 'memory:') {
    const before = await foundIn(year, await subject.files(year), markers)
    expect(new Set(before.map((found) => found.slice(0, markers[0]!.length)))).toEqual(new Set(markers))
  }
  await withLedger(year, async (ledger) => {
    const { records, left } = await ledger.retention.erase({ correlation_id: MARKED }, { reason: 'a test', right: 'gdpr-17' })
    expect(records).toBe(markers.length)
    expect(notDone(left)).toEqual([])
    for (const { seq } of marked) year.erased.add(seq)
    await year.expectAnswers(ledger)
  })
  if (year.location !== 'memory:') expect(await foundIn(year, await subject.files(year), markers)).toEqual([])
  await year.expectProven()
  expect((await year.verify()).withheld).toMatchObject({ erased: markers.length, unnamed: 0, pending: 0 })
  await year.expectEntries()
}

async function wholeYear(subject: Subject): Promise<void> {
  const year = await Year.begin(await subject.place())
  // Lower case, as every index would have them.
  const markers = Array.from({ length: MARKERS }, () => `m${randomBytes(12).toString('hex')}`)
  let last: RetentionPlan | null = null
  for (let i = 0; i < MONTHS; i++) {
    const calls = Math.floor(((i + 1) * CALLS) / MONTHS) - Math.floor((i * CALLS) / MONTHS)
    last = await month(year, subject, calls, markers.slice((i * MARKERS) / MONTHS, ((i + 1) * MARKERS) / MONTHS))
    expect(ratioOf(last), 'compressed bytes of a byte').toBeLessThanOrEqual(RATIO_MAX)
  }
  console.log(`${year.location.split(/[/:]/)[0]} ${CALLS} calls: warm and cold take ${ratioOf(last!).toFixed(3)} of their entries' bytes`)
  for (const [seq, places] of await year.places()) expect(places, `position ${seq}`).toHaveLength(1)
  await year.expectEntries()
  await expectErased(year, subject, markers)
}

test.runIf(soaking)('memory', { timeout }, () =>
  wholeYear({ place: async () => 'memory:', footprint: async () => null, files: async () => [] }),
)

test.each([
  ['JSONL', 'ledger'],
  ['SQLite', 'ledger.db'],
])('%s', { timeout }, (_, place) =>
  wholeYear({
    place: async () => place,
    footprint: async (location) => bytesOfFiles(filesUnder(join(location, '..')).filter((path) => path.startsWith(location))),
    files: async (year) => filesUnder(year.folder),
  }),
)

/** Without indexes: those of a new month's partition take more than the few calls of a small run gave back. */
const TABLES = `SELECT sum(pg_table_size(c.oid))::float8 AS bytes FROM pg_class AS c
  JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = 'cortex_ledger' AND c.relkind = 'r'`

describe.skipIf(clusterMissing !== null)('a server of its own', () => {
  const cluster = useCluster()

  test('PostgreSQL', { timeout }, () =>
    wholeYear({
      place: () => cluster().createDatabase(),
      footprint: async (location) => (await sql<{ bytes: number }>(location, TABLES))[0]!.bytes,
      files: async (year) => {
        // What is in its memory only is written to the files.
        await cluster().sql('CHECKPOINT')
        const isLog = (path: string): boolean => path.startsWith(join(cluster().data, 'pg_wal'))
        return [...filesUnder(cluster().data).filter((path) => !isLog(path)), ...filesUnder(year.folder)]
      },
    }),
  )
})
