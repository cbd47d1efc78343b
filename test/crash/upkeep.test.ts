/** Entries are taken away while others write, and while somebody is killed: what is left undone the same call finishes. */
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { AuditLedger } from '../../src/index.ts'
import { openSqliteStore } from '../../src/stores/sqlite/index.ts'
import { openPostgresStore } from '../../src/stores/postgres/index.ts'
import type { Store } from '../../src/ledger/store.ts'
import { seededRandom } from '../../src/testing/seeded-random.ts'
import { acknowledgedIn } from '../helpers/acknowledged.ts'
import { startChild } from '../helpers/child.ts'
import { clusterMissing, useCluster, useLedgerUrls } from '../helpers/postgres.ts'
import { scale } from '../helpers/scale.ts'
import { tempDir } from '../helpers/temp.ts'
import type { UpkeepPlan } from '../helpers/upkeep-process.ts'

const OPEN = {
  signer: null,
  origin: 'example.com/crash',
  actor: 'tester',
  checkpoints: false,
  tree: 'on-demand',
  fullText: 'off',
  onWarning: () => {},
} as const
const WITHHELD = ',"entry":null}'
const SIZE = scale(4100, 40_000)

async function makeLedger(location: string, entries: number): Promise<string[]> {
  const ledger = await AuditLedger.open(location, OPEN)
  for (let i = 0; i < entries; i += 500) {
    const batch = Array.from({ length: Math.min(500, entries - i) }, (_, n) => ({
      type: 'Said',
      data: { text: Buffer.from(seededRandom(i + n).bytes(300)).toString('hex') },
    }))
    await ledger.append('s', batch)
  }
  const lines: string[] = []
  for await (const { line } of ledger.read()) lines.push(line)
  await ledger.close()
  return lines
}

function openStore(location: string): Promise<Store> {
  return location.startsWith('postgres:') ? openPostgresStore(location) : openSqliteStore(location)
}

async function withholdAll(store: Store, last: number): Promise<number> {
  let count = 0
  for await (const { records } of store.upkeep!.withhold([{ first: 1, last }], { erase: true })) count += records
  return count
}

const gone = (line: string): string => line.replace(/,"salt":"[\w-]{22}","entry":.*$/s, WITHHELD)

async function linesOf(store: Store): Promise<string[]> {
  const lines: string[] = []
  for await (const chunk of store.read({ filter: {}, from: 0, before: Infinity, reverse: false, limit: Infinity }))
    lines.push(...chunk.map((line) => Buffer.from(line).toString()))
  return lines
}

/** A server goes on with the step of a process that was killed: what is read while it ends may be of before and after. */
async function settledLines(store: Store): Promise<string[]> {
  for (let lines = await linesOf(store); ;) {
    const again = await linesOf(store)
    if (again.join('\n') === lines.join('\n')) return again
    lines = again
  }
}

/** Whole ones behind withheld ones, and each what it was. Gives how many are withheld. */
function assertHonest(found: readonly string[], before: readonly string[]): number {
  const count = found.filter((line) => line.endsWith(WITHHELD)).length
  expect(found).toEqual(before.map((line, seq) => (seq >= 1 && seq <= count ? gone(line) : line)))
  return count
}

const KINDS = [['SQLite', () => join(tempDir(), 'ledger.db')] as const, ...useLedgerUrls().map((url) => ['PostgreSQL', url] as const)]

describe.each(KINDS)('%s', (_, place) => {
  test('processes append meanwhile, and each gets its turn', { timeout: 60_000 }, async () => {
    const location = place()
    const before = await makeLedger(location, SIZE)
    const plan = { location, callers: 4, appends: 10, open: { tree: 'on-demand', fullText: 'off' }, waitForStart: true }
    const writers = [1, 2].map((seed) => startChild('writer-process', { ...plan, name: `p${seed}`, seed }))
    for (const child of writers) await child.waitFor(/^waiting/)
    for (const child of writers) child.tell('go')
    const store = await openStore(location)
    expect(await withholdAll(store, SIZE)).toBe(SIZE)
    for (const child of writers) await child.waitFor(/^done/)
    await store.upkeep!.reclaim()
    const lines = await linesOf(store)
    expect(lines.slice(0, before.length)).toEqual(before.map((line, seq) => (seq === 0 ? line : gone(line))))
    const acknowledged = writers.flatMap((child) => acknowledgedIn(child.lines))
    expect(lines.length).toBe(before.length + acknowledged.length)
    for (const { seq, hash } of acknowledged) expect(lines[seq]!.slice(9, 73)).toBe(hash)
    await store.close()
  })

  test('kill -9 of who withholds and reclaims', { timeout: 120_000 }, async () => {
    const location = place()
    const before = await makeLedger(location, SIZE)
    const plan: UpkeepPlan = { location, ranges: [{ first: 1, last: SIZE }], erase: true, reclaim: true }
    for (let kill = 0; kill < scale(2, 30); kill++) {
      const child = startChild('upkeep-process', plan)
      // In the middle of the steps; then, when all are through, at some moment of reclaiming.
      await child.waitFor(kill === 0 ? /^withheld/ : /^all withheld/)
      await new Promise((resolve) => setTimeout(resolve, kill === 0 ? 0 : (kill * 37) % 120))
      await child.kill()
      const store = await openStore(location)
      const count = assertHonest(await settledLines(store), before)
      expect(count).toBeGreaterThan(0)
      if (kill > 0) expect(count).toBe(SIZE)
      await store.close()
    }
    const store = await openStore(location)
    await withholdAll(store, SIZE)
    await store.upkeep!.reclaim()
    expect(assertHonest(await linesOf(store), before)).toBe(SIZE)
    await store.close()
    const ledger = await AuditLedger.open(location, OPEN)
    const { problems, checks } = await ledger.verifyIntegrity()
    expect([problems.map(({ code }) => code), checks.columns.verdict]).toEqual([['withheld_unnamed'], 'pass'])
    await ledger.close()
  })
})

describe.skipIf(clusterMissing !== null)('a server of its own', () => {
  const cluster = useCluster()

  test(
    'the server is killed in the middle of withholding: the call goes on when it is back, nothing is lost',
    { timeout: 60_000 },
    async () => {
      const location = await cluster().createDatabase()
      const before = await makeLedger(location, SIZE)
      const store = await openPostgresStore(location)
      let count = 0
      for await (const { records } of store.upkeep!.withhold([{ first: 1, last: SIZE }])) {
        if (count === 0) {
          // While the next step is under way.
          void cluster()
            .kill()
            .then(() => cluster().start())
        }
        count += records
      }
      expect(assertHonest(await linesOf(store), before)).toBe(SIZE)
      // A step whose answer was lost is not told.
      expect(count).toBeLessThanOrEqual(SIZE)
      expect(await withholdAll(store, SIZE)).toBe(0)
      await store.close()
    },
  )
})
