/** Subscribers in processes of their own beside processes that write: no position is skipped, and none told twice. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { AuditLedger, LedgerError, type LedgerRecord } from '../../src/index.ts'
import { startChild, type Child } from '../helpers/child.ts'
import { postgresMissing, useDatabases } from '../helpers/postgres.ts'
import { scale } from '../helpers/scale.ts'
import { tempDir } from '../helpers/temp.ts'

const OPEN = { signer: null, origin: 'example.com/crash' } as const
const LAST = 'EverythingDone'

/** `position hash` of each record, as a subscriber printed it. */
function told(lines: readonly string[]): string[] {
  return lines.filter((line) => line !== 'done').map((line) => line.split(' ').slice(0, 2).join(' '))
}

async function recorded(location: string): Promise<string[]> {
  const ledger = await AuditLedger.open(location, { readOnly: true })
  const all: string[] = []
  for await (const { seq, hash } of ledger.read()) all.push(`${seq} ${hash}`)
  await ledger.close()
  return all
}

/** So that it is there before anybody subscribes. */
async function founded(location: string): Promise<void> {
  await (await AuditLedger.open(location, OPEN)).close()
}

async function ended(location: string): Promise<void> {
  const ledger = await AuditLedger.open(location, OPEN)
  await ledger.append('end', { type: LAST, actor: 'tester', data: {} })
  await ledger.close()
}

function writersOf(location: string, count: number, callers: number, appends: number): Child[] {
  return Array.from({ length: count }, (_, i) =>
    startChild('writer-process', { location, name: `p${i}`, callers, appends, seed: i, textMax: 5000, open: { tree: 'on-demand' } }),
  )
}

interface Kind {
  readonly place: () => Promise<string>
  readonly writers: number
}

/** Subscribers that stay, and one that is killed again and again and goes on behind what it printed last. */
async function assertFollowed({ place, writers: count }: Kind): Promise<void> {
  const location = await place()
  await founded(location)
  const plan = { location, after: -1, untilType: LAST }
  const subscribers = Array.from({ length: 2 }, () => startChild('subscriber-process', plan))
  // One process may be all that can write at a time, and each makes 2.4 records of an append.
  const writers = writersOf(location, count, 8, scale(24, 4200) / (count * 8))
  const killed: string[] = []
  for (let life = 0; life < scale(2, 40); life++) {
    const [seq, hash] = killed.at(-1)?.split(' ') ?? []
    const after = seq === undefined ? -1 : { seq: Number(seq), hash }
    const child = startChild('subscriber-process', { ...plan, after })
    await child.waitForCount(1 + life * 3)
    await child.kill()
    killed.push(...told(child.lines))
    if (child.lines.includes('done') || writers.every(({ lines }) => lines.includes('done'))) break
  }
  for (const writer of writers) await writer.waitFor(/^done/)
  await ended(location)
  for (const subscriber of subscribers) await subscriber.waitFor(/^done/)
  const all = await recorded(location)
  for (const subscriber of subscribers) expect(told(subscriber.lines)).toEqual(all)
  expect(killed).toEqual(all.slice(0, killed.length))
  expect(killed.length).toBeGreaterThan(0)
}

const LONG = scale(60_000, 1_800_000)

describe('subscribers beside writing processes', () => {
  test('JSONL', () => assertFollowed({ place: async () => join(tempDir(), 'ledger'), writers: 1 }), LONG)
  test('SQLite', () => assertFollowed({ place: async () => join(tempDir(), 'ledger.db'), writers: 2 }), LONG)
})

describe.skipIf(postgresMissing !== null)('PostgreSQL', () => {
  const { newDatabase } = useDatabases()
  test('subscribers beside writing processes', () => assertFollowed({ place: newDatabase, writers: 2 }), LONG)

  test('a server that restarts ends no subscription, and its records are told once', async () => {
    const location = await newDatabase()
    const ledger = await AuditLedger.open(location, { ...OPEN, actor: 'tester' })
    const reader = await AuditLedger.open(location, { readOnly: true })
    const seen: number[] = []
    const following = (async () => {
      for await (const { seq, header } of reader.subscribe()) {
        seen.push(seq)
        if (header.type === LAST) return
      }
    })()
    for (let i = 0; i < 10; i++) await ledger.append('s', { type: 'StepTaken', data: { i } })
    await cutOthers(location)
    for (let i = 0; i < 10; i++) await ledger.append('s', { type: 'StepTaken', data: { i } })
    await ledger.append('s', { type: LAST, data: {} })
    await following
    expect(seen).toEqual(Array.from({ length: 22 }, (_, i) => i))
    await reader.close()
    await ledger.close()
  })
})

/** Ends every connection to the database, as a server does that restarts. */
async function cutOthers(location: string): Promise<void> {
  const { sql } = await import('../helpers/postgres-cluster.ts')
  await sql(
    location,
    'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()',
  )
}

test('what a writer lost that had not acknowledged it, and wrote otherwise, is told as a fork', async () => {
  const location = join(tempDir(), 'ledger')
  const event = (n: number): object => ({ type: 'StepTaken', data: { n } })
  let ledger = await AuditLedger.open(location, { ...OPEN, actor: 'tester' })
  await ledger.append('s', [event(1), event(2)] as never)
  const reader = await AuditLedger.open(location, { readOnly: true })
  const subscription = reader.subscribe()
  const seen: LedgerRecord[] = []
  for (let i = 0; i < 3; i++) seen.push((await subscription.next()).value as LedgerRecord)
  await ledger.close()
  // As a power loss does to bytes that were visible and not yet on the disk.
  const [name] = readdirSync(join(location, 'segments'))
  const path = join(location, 'segments', name!)
  writeFileSync(path, `${readFileSync(path, 'utf8').split('\n').slice(0, 1).join('\n')}\n`)
  const next = subscription.next().then(
    () => null,
    (error: unknown) => error,
  )
  ledger = await AuditLedger.open(location, { ...OPEN, actor: 'tester', onWarning: () => {} })
  for (let n = 3; n < 8; n++) await ledger.append('s', event(n) as never)
  const error = await next
  expect(error).toBeInstanceOf(LedgerError)
  expect((error as LedgerError).code).toBe('forked')
  await ledger.close()
  await reader.close()
})
