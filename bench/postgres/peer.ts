/** The ledger beside Emmett's PostgreSQL store on the same server, each in a process of its own and a database of its own. */
import { join } from 'node:path'
import { installEmmettPostgresql } from '../peer-install.ts'
import type { Installed } from '../peer-install.ts'
import { OURSELVES, perform, writePayloads } from '../peers.ts'
import type { Outcome, Work } from '../peers.ts'
import { atLeast } from '../rows.ts'
import type { Result, Target } from '../rows.ts'
import type { Session } from '../session.ts'
import { WORKLOADS } from '../workloads.ts'
import type { Server } from './server.ts'

const NAME = 'Emmett (PostgreSQL)'
/** More where there is a target. */
const ROUNDS = 2

interface Manner {
  readonly who: string
  readonly callers: Work['callers']
  /** Ours need as many as take some tenths of a second. */
  readonly usual: { readonly ours: number; readonly theirs: number }
  readonly quick: number
  readonly target: Target | null
}

const MANNERS: readonly Manner[] = [
  { who: '1 caller', callers: 1, usual: { ours: 300, theirs: 300 }, quick: 20, target: atLeast(1) },
  { who: '64 callers', callers: 64, usual: { ours: 6400, theirs: 2000 }, quick: 128, target: atLeast(5) },
  { who: 'batches of 1,000', callers: 'batches', usual: { ours: 10_000, theirs: 10_000 }, quick: 1000, target: atLeast(1) },
  { who: 'reading a stream of 1,000', callers: 'reading', usual: { ours: 20_000, theirs: 20_000 }, quick: 1000, target: atLeast(1) },
]

interface Comparison {
  readonly session: Session
  readonly server: Server
  readonly installed: Installed
  readonly payloads: string
  readonly what: string
}

async function rowOf({ session, server, installed, payloads, what }: Comparison, manner: Manner): Promise<Result> {
  const main = join(await session.built(), 'index.js')
  const { callers, usual, quick, target } = manner
  const answerOf = async (program: string, variant: string, by: Installed, count: number): Promise<Outcome> =>
    perform(session, program, variant, by, { payloads, count, callers, url: await server.newDatabase() })
  const ours: number[] = []
  const floor: number[] = []
  let note = ''
  const rounds = session.count(target === null ? ROUNDS : ROUNDS + 1, 1)
  for (let round = 0; round < rounds; round++) {
    const [theirs, mine] = [session.count(usual.theirs, quick), session.count(usual.ours, quick)]
    const answer = await answerOf('emmett-postgresql.mjs', '', installed, theirs)
    if ('crashed' in answer) return { topic: 'postgres', what: `${NAME}, ${what}`, absent: answer.crashed, isFailure: false }
    const own = await answerOf('ours.mjs', `PostgreSQL ${main}`, OURSELVES, mine)
    if ('crashed' in own) throw new Error(`ours: ${own.crashed}`)
    note = answer.settings
    floor.push(theirs / answer.seconds)
    ours.push(mine / own.seconds)
  }
  return { topic: 'postgres', what: `${NAME}, ${what}`, unit: 'records/s', ours, floor, target, note }
}

export async function peerRows(session: Session, server: Server): Promise<Result[]> {
  const installed = await installEmmettPostgresql(session)
  if ('missing' in installed) return [{ topic: 'postgres', what: NAME, absent: installed.missing, isFailure: false }]
  const payloads = writePayloads(session)
  const rows: Result[] = []
  for (const workload of session.some(WORKLOADS)) {
    for (const manner of MANNERS) {
      if (manner.callers === 'reading' && workload !== 'events') continue
      const what = `${workload}, ${manner.who}`
      rows.push(await rowOf({ session, server, installed, payloads: payloads[workload], what }, manner))
    }
    session.say(`postgres, Emmett, ${workload}`)
  }
  return rows
}
