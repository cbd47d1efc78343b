/** Verifying on one thread, beside the two SHA-256 calls for each record that no verifier can do without. */
import { hash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { AuditLedger, verifyLedger } from '../src/index.ts'
import { nodeHashing } from '../src/ledger/hashing.ts'
import { LedgerVerifier } from '../src/verify/chain.ts'
import { splitLine } from '../src/verify/record.ts'
import { inRounds, shown } from './figures.ts'
import type { Fixtures } from './fixtures.ts'
import { atLeast } from './rows.ts'
import type { Result, Row, Target } from './rows.ts'
import { LEDGER_OPTIONS, STORES, timed } from './session.ts'
import type { Session, StoreKind } from './session.ts'
import { sampleCalls, sampleEvents, WORKLOADS } from './workloads.ts'
import type { Workload } from './workloads.ts'

function* lineEnds(bytes: Buffer): Generator<[start: number, end: number]> {
  for (let start = 0, end = bytes.indexOf(0x0a); end !== -1; start = end + 1, end = bytes.indexOf(0x0a, start)) yield [start, end]
}

/** What is hashed, two slices a record: where they lie is found beforehand. */
function hashedSlices(bytes: Buffer): Buffer[] {
  const slices: Buffer[] = []
  for (const [start, end] of lineEnds(bytes)) {
    const at = splitLine(bytes, start, end)
    if (at === null) throw new Error('the bench made a line that is none')
    slices.push(
      Buffer.concat([Buffer.of(0), bytes.subarray(at.header_start, at.header_end)]),
      bytes.subarray(at.commitment_start, at.entry_end),
    )
  }
  return slices
}

function verifyLines(bytes: Buffer, canonicalEntries: boolean): void {
  const verifier = new LedgerVerifier({ ...nodeHashing, canonical_entries: canonicalEntries })
  verifier.file('bench.jsonl', null)
  for (const [start, end] of lineEnds(bytes)) verifier.line(bytes, start, end, start)
  const report = verifier.finish()
  if (!report.ok) throw new Error(`the bench made a ledger that does not verify: ${JSON.stringify(report.problems[0])}`)
}

export async function verifyAt(location: string, threads = 1): Promise<void> {
  const { ok } = await verifyLedger(location, { threads, remembered: false })
  if (!ok) throw new Error(`the bench made a ledger that does not verify: ${location}`)
}

/** A ledger of the sample in SQLite, and its lines. */
async function sampleLedger(folder: string, workload: Workload, count: number): Promise<{ database: string; bytes: Buffer }> {
  const database = join(folder, 'ledger.db')
  return { database, bytes: await fillSample(database, workload, count) }
}

/** Makes a ledger of the sample there; resolves to its lines. */
export async function fillSample(location: string, workload: Workload, count: number): Promise<Buffer> {
  const ledger = await AuditLedger.open(location, LEDGER_OPTIONS)
  try {
    if (workload === 'calls')
      for (const calls of chunks(sampleCalls(count), 1000)) await Promise.all(calls.map((call) => ledger.record(call)))
    else for (const event of chunks(sampleEvents(count), 1000)) await ledger.append('run', event)
    const lines: string[] = []
    for await (const { line } of ledger.read()) lines.push(`${line}\n`)
    return Buffer.from(lines.join(''))
  } finally {
    await ledger.close()
  }
}

function chunks<Item>(items: readonly Item[], size: number): Item[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) => items.slice(i * size, (i + 1) * size))
}

/** Two threads beside one, over a large ledger: starting the second one and warming it up takes a second or so. */
async function threadRow(session: Session, fixtures: Fixtures, store: StoreKind): Promise<Row> {
  const { location, records } = await fixtures.get(store, session.options.records)
  const { ours, floor } = await inRounds(session.count(3, 1), async () => ({
    ours: records / (await timed(() => verifyAt(location, 2))),
    floor: records / (await timed(() => verifyAt(location, 1))),
  }))
  session.say(`verify, two threads, ${store}`)
  const note = `${shown(records)} records; beside it: one thread`
  return { topic: 'verify', what: `events, ${store}, two threads`, unit: 'records/s', ours, floor, target: atLeast(1.5), note }
}

export async function verifyRows(session: Session, fixtures: Fixtures): Promise<Result[]> {
  const rows: Row[] = []
  for (const workload of WORKLOADS) {
    await session.inFolder(async (folder) => {
      const { database, bytes } = await sampleLedger(folder, workload, session.count(50_000, 500))
      const file = join(folder, 'bench.jsonl')
      writeFileSync(file, bytes)
      const slices = hashedSlices(bytes)
      const records = slices.length / 2
      const add = async (what: string, verify: () => unknown, target: Target | null): Promise<void> => {
        // A ledger worth measuring is longer than what the engine takes to compile the verifier.
        await verify()
        const { ours, floor } = await inRounds(session.rounds, async () => ({
          ours: records / (await timed(verify)),
          floor: records / (await timed(() => slices.forEach((slice) => hash('sha256', slice, 'hex')))),
        }))
        const note = `${(bytes.length / records).toFixed(0)} bytes a record`
        rows.push({ topic: 'verify', what: `${workload}, ${what}`, unit: 'records/s', ours, floor, target, note })
      }
      await add('lines in memory', () => verifyLines(bytes, false), atLeast(0.5))
      await add('lines in memory, entries canonical too', () => verifyLines(bytes, true), null)
      await add('a file', () => verifyAt(file), atLeast(0.5))
      await add('SQLite', () => verifyAt(database), atLeast(0.5))
    })
    session.say(`verify, ${workload}`)
  }
  for (const store of STORES) rows.push(await threadRow(session, fixtures, store))
  return rows
}
