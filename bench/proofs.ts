/** What proofs cost: appending with the tree and signed checkpoints beside without, and a proof in a large ledger beside a small one. */
import { join } from 'node:path'
import { AuditLedger, signerFromSeed } from '../src/index.ts'
import type { OpenOptions } from '../src/index.ts'
import { inRounds, shown } from './figures.ts'
import type { Fixtures } from './fixtures.ts'
import { smallRecords } from './options.ts'
import { atLeast, atMost } from './rows.ts'
import type { Result, Row } from './rows.ts'
import { LEDGER_OPTIONS, locationIn, STORES, timed } from './session.ts'
import type { Session, StoreKind } from './session.ts'
import { sampleCalls } from './workloads.ts'

const CALLERS = 64
export const PROOFS = 200
/** An inclusion proof, µs. */
const PROOF_MAX = 2000

const signer = signerFromSeed(LEDGER_OPTIONS.origin, new Uint8Array(32).fill(7))

/** With checkpoints ten times as often as by default, so that some fall into each round. */
const WITH: OpenOptions = { ...LEDGER_OPTIONS, signer, tree: 'background', checkpoints: { everyRecords: 5000 } }
const WITHOUT: OpenOptions = { ...LEDGER_OPTIONS, tree: 'on-demand', checkpoints: false }

async function appendRow(session: Session, store: StoreKind): Promise<Row> {
  const count = session.count(20_000, 320)
  const calls = sampleCalls(count)
  const rate = (options: OpenOptions): Promise<number> =>
    session.inFolder(async (folder) => {
      const location = locationIn(folder, store)
      const ledger = await AuditLedger.open(location, { ...options, stateFolder: join(folder, 'state') })
      let next = 0
      const caller = async (): Promise<void> => {
        while (next < count) await ledger.record(calls[next++]!)
      }
      try {
        await ledger.record(calls[0]!)
        await ledger.flush()
        return count / (await timed(() => Promise.all(Array.from({ length: CALLERS }, caller))))
      } finally {
        await ledger.close()
      }
    })
  const { ours, floor } = await inRounds(session.rounds, async () => ({ ours: await rate(WITH), floor: await rate(WITHOUT) }))
  session.say(`proofs, append, ${store}`)
  const note = 'the tree, and a checkpoint every 5,000; beside it: neither'
  return { topic: 'proofs', what: `append, calls, ${store}, 64 callers`, unit: 'records/s', ours, floor, target: atLeast(0.85), note }
}

/** µs for one inclusion proof, over proofs of records all through the ledger. */
export async function proofTime(location: string, count: number): Promise<number> {
  const ledger = await AuditLedger.open(location, { readOnly: true })
  try {
    const { size } = await ledger.head()
    await ledger.tree.inclusion(0, size)
    const seconds = await timed(async () => {
      for (let i = 0; i < count; i++) await ledger.tree.inclusion(Math.floor(((i + 0.5) * size) / count), size)
    })
    return (seconds * 1e6) / count
  } finally {
    await ledger.close()
  }
}

async function proofRows(session: Session, fixtures: Fixtures, store: StoreKind): Promise<Row[]> {
  const { options } = session
  const large = await fixtures.get(store, options.records)
  const small = await fixtures.get(store, smallRecords(options))
  const count = session.count(PROOFS, 5)
  const { ours, floor } = await inRounds(session.rounds, async () => ({
    ours: await proofTime(large.location, count),
    floor: await proofTime(small.location, count),
  }))
  session.say(`proofs, inclusion, ${store}`)
  const row = { topic: 'proofs', unit: 'µs', ours, floor } as const
  const note = `${shown(large.records)} records beside ${shown(small.records)}`
  return [
    { ...row, what: `an inclusion proof, ${store}`, target: atMost(2), note },
    { ...row, what: `an inclusion proof, ${store}, the slowest round`, target: { of: 'highest', atMost: PROOF_MAX }, note },
  ]
}

export async function proofsRows(session: Session, fixtures: Fixtures): Promise<Result[]> {
  const rows: Row[] = []
  for (const store of STORES) rows.push(await appendRow(session, store))
  for (const store of STORES) rows.push(...(await proofRows(session, fixtures, store)))
  return rows
}
