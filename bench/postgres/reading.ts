/** What is read back: queries and proofs in a large ledger beside a small one, verification beside JSONL, its memory. */
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { AuditLedger } from '../../src/index.ts'
import { fill } from '../fixtures.ts'
import type { Fixture } from '../fixtures.ts'
import { inRounds, shown } from '../figures.ts'
import { checksOf, command, MEMORY_TARGET } from '../memory.ts'
import { smallRecords } from '../options.ts'
import { PROOFS, proofTime } from '../proofs.ts'
import { openFixture, page, QUESTIONS, questionRow } from '../query.ts'
import type { Question } from '../query.ts'
import { atLeast, atMost } from '../rows.ts'
import type { Row } from '../rows.ts'
import { LEDGER_OPTIONS, timed } from '../session.ts'
import type { Session } from '../session.ts'
import { fillSample, verifyAt } from '../verify.ts'
import { RARE_OUTCOME, WORKLOADS } from '../workloads.ts'
import type { Server } from './server.ts'

const PAGE = 100
const VERIFY_ROUNDS = 3
const VERIFIED = 50_000

/** Besides those that the other stores are asked. */
const MORE_QUESTIONS: readonly Question[] = [
  { what: 'a rare outcome', times: 20, target: null, ask: (ledger) => page(ledger, { outcome: RARE_OUTCOME }), finds: `a page of ${PAGE}` },
  { what: 'the first page', times: 20, target: null, ask: (ledger) => page(ledger, {}), finds: `a page of ${PAGE}` },
  {
    what: 'the last record of all',
    times: 200,
    target: null,
    ask: async (ledger) => (await ledger.query({ order: 'newest', limit: 1 })).records.length,
    finds: '1 record',
  },
  {
    what: `a tail of ${PAGE}`,
    times: 20,
    target: null,
    ask: async (ledger) => {
      let found = 0
      const { size } = await ledger.head()
      for await (const _ of ledger.read({ from: size - PAGE })) found++
      return found
    },
    finds: `${PAGE} records, after asking for the size`,
  },
]

async function fixture(session: Session, server: Server, records: number): Promise<Fixture> {
  const place = server.newPlace()
  const ledger = await AuditLedger.open(place.url, LEDGER_OPTIONS)
  let run_ids: readonly string[] = []
  try {
    const seconds = await timed(async () => (run_ids = await fill(ledger, records)))
    session.say(`a PostgreSQL ledger of ${shown(records)} events: ${shown(records / seconds)} a second`)
  } finally {
    await ledger.close()
  }
  await server.settle(place)
  return { location: place.url, records, run_ids }
}

async function queryRows(session: Session, largeAt: Fixture, smallAt: Fixture): Promise<Row[]> {
  const large = await openFixture(largeAt)
  const small = await openFixture(smallAt)
  const rows: Row[] = []
  for (const question of [...QUESTIONS, ...MORE_QUESTIONS]) {
    const row = await questionRow(session, question, [large, small])
    rows.push({ topic: 'postgres', ...row, what: `query, ${row.what}`, note: `${row.note}; beside it: in ${shown(smallAt.records)}` })
  }
  await large.ledger.close()
  await small.ledger.close()
  session.say(`postgres, query, ${shown(largeAt.records)} beside ${shown(smallAt.records)}`)
  return rows
}

async function proofRow(session: Session, large: Fixture, small: Fixture): Promise<Row> {
  const count = session.count(PROOFS, 5)
  const { ours, floor } = await inRounds(session.rounds, async () => ({
    ours: await proofTime(large.location, count),
    floor: await proofTime(small.location, count),
  }))
  session.say('postgres, inclusion')
  const note = `${shown(large.records)} records beside ${shown(small.records)}`
  return { topic: 'postgres', what: 'an inclusion proof', unit: 'µs', ours, floor, target: atMost(2), note }
}

async function memoryRow(session: Session, { location, records }: Fixture): Promise<Row> {
  const { megabytes, seconds, stdout } = await command(session, ['verify', location, '--json'])
  const idle = await command(session, ['--version'])
  session.say(`postgres, memory, ${shown(records)} events`)
  const note = `${shown(records)} events in ${shown(seconds)} s; ${checksOf(stdout)}; beside it: --version`
  const row = { topic: 'postgres', what: 'memory, verify', unit: 'MB', target: MEMORY_TARGET, note } as const
  return { ...row, ours: [megabytes], floor: [idle.megabytes] }
}

/** The same records in the database and in a file, one thread each. */
async function verifyRows(session: Session, server: Server): Promise<Row[]> {
  const rows: Row[] = []
  const records = session.count(VERIFIED, 500)
  const file = join(session.keptFolder(), 'same.jsonl')
  for (const workload of session.some(WORKLOADS)) {
    await server.inPlace(async (place) => {
      writeFileSync(file, await fillSample(place.url, workload, records))
      await server.settle(place)
      const { ours, floor } = await inRounds(session.count(VERIFY_ROUNDS, 1), async () => ({
        ours: records / (await timed(() => verifyAt(place.url))),
        floor: records / (await timed(() => verifyAt(file))),
      }))
      const note = 'beside it: JSONL of the same records'
      rows.push({ topic: 'postgres', what: `verify, ${workload}`, unit: 'records/s', ours, floor, target: atLeast(0.4), note })
    })
    session.say(`postgres, verify, ${workload}`)
  }
  rmSync(file)
  return rows
}

export async function readingRows(session: Session, server: Server): Promise<Row[]> {
  const rows = await verifyRows(session, server)
  const large = await fixture(session, server, session.options.records)
  const small = await fixture(session, server, smallRecords(session.options))
  rows.push(...(await queryRows(session, large, small)))
  rows.push(await proofRow(session, large, small))
  rows.push(await memoryRow(session, large))
  return rows
}
