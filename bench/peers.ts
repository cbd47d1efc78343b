/** The ledger beside what people would use instead: each in a process of its own, with the same payloads, in turn. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { installEmmett, installEventsourcing, installPino } from './peer-install.ts'
import type { Installed } from './peer-install.ts'
import { atLeast } from './rows.ts'
import type { Result, Target } from './rows.ts'
import { run, STORES, whyItEnded } from './session.ts'
import type { Session, StoreKind } from './session.ts'
import { sampleCalls, sampleEvents, WORKLOADS } from './workloads.ts'
import type { Workload } from './workloads.ts'

const PROGRAMS = join(import.meta.dirname, 'peers')

interface Manner {
  readonly who: string
  readonly callers: number | 'batches' | 'reading'
  readonly usual: number
  readonly quick: number
  readonly target: Target | null
}

interface Peer {
  readonly name: string
  readonly program: string
  readonly variant: string
  readonly install: (session: Session) => Promise<Installed>
  /** Which of our stores stand beside it. */
  readonly stores: readonly StoreKind[]
  readonly manners: readonly Manner[]
}

const ALONE: Manner = { who: '1 caller', callers: 1, usual: 300, quick: 20, target: null }
const BATCHES: Manner = { who: 'batches of 1,000', callers: 'batches', usual: 10_000, quick: 1000, target: null }
const MANY: Manner = { who: '64 callers', callers: 64, usual: 2000, quick: 128, target: null }
/** Of events alone: a stream of calls is what nobody reads at once. */
const READING: Manner = { who: 'reading a stream of 1,000', callers: 'reading', usual: 50_000, quick: 1000, target: atLeast(1) }

const PEERS: readonly Peer[] = [
  {
    name: 'Emmett (SQLite)',
    program: 'emmett.mjs',
    variant: 'as documented',
    install: installEmmett,
    stores: STORES,
    manners: [{ ...ALONE, target: atLeast(10) }, { ...BATCHES, target: atLeast(2) }, MANY, READING],
  },
  {
    name: 'Emmett (SQLite), one connection kept',
    program: 'emmett.mjs',
    variant: 'kept connection',
    install: installEmmett,
    stores: ['SQLite'],
    manners: [ALONE, BATCHES],
  },
  { name: 'pino, synced', program: 'pino.mjs', variant: '', install: installPino, stores: ['JSONL'], manners: [ALONE, BATCHES] },
  {
    name: 'eventsourcing (Python, SQLite)',
    program: 'eventsourcing_recorder.py',
    variant: '',
    install: installEventsourcing,
    stores: ['SQLite'],
    manners: [ALONE, BATCHES],
  },
]

export interface Answer {
  readonly seconds: number
  readonly kept: number
  readonly settings: string
}

export type Outcome = Answer | { readonly crashed: string }

export interface Work {
  readonly payloads: string
  readonly count: number
  readonly callers: Manner['callers']
  /** Where there is a server. */
  readonly url?: string
}

export async function perform(session: Session, program: string, variant: string, by: Installed, work: Work): Promise<Outcome> {
  if ('missing' in by) return { crashed: by.missing }
  return session.inFolder(async (folder) => {
    const task = JSON.stringify({ ...work, folder, variant })
    const ended = await run(by.command, [join(PROGRAMS, program), task], { cwd: by.cwd, env: by.env, timeout_ms: 120_000 })
    const last = ended.stdout.trim().split('\n').at(-1) ?? ''
    if (ended.code !== 0 || !last.startsWith('{"seconds"')) return { crashed: `crashed: ${whyItEnded(ended)}` }
    const answer = JSON.parse(last) as Answer
    // The same number of others came before the clock ran.
    const expected = work.callers === 'reading' ? 1000 : 2 * work.count
    return answer.kept === expected ? answer : { crashed: `kept ${answer.kept} of ${expected} records` }
  })
}

/** Our own program, in a process of its own as the peers have one. */
export const OURSELVES: Installed = { command: process.execPath, cwd: PROGRAMS, env: {}, version: process.version }

interface Comparison {
  readonly peer: Peer
  readonly installed: Installed
  /** Workload and manner. */
  readonly what: string
  readonly work: Work
  readonly target: Target | null
}

/** Rounds of the peer and of our stores in turn; a row for each of our stores. Where the peer crashes, the round is tried again. */
async function besides(session: Session, { peer, installed, what, work, target }: Comparison): Promise<Result[]> {
  const main = join(await session.built(), 'index.js')
  const rounds = session.count(3, 1)
  const theirs: Answer[] = []
  const ours = new Map<StoreKind, number[]>(peer.stores.map((store) => [store, []]))
  let tries = 0
  let crash = ''
  for (; theirs.length < rounds && tries < 2 * rounds; tries++) {
    const outcome = await perform(session, peer.program, peer.variant, installed, work)
    if ('crashed' in outcome) {
      crash = outcome.crashed
      continue
    }
    theirs.push(outcome)
    for (const [store, rates] of ours) {
      const mine = await perform(session, 'ours.mjs', `${store} ${main}`, OURSELVES, work)
      if ('crashed' in mine) throw new Error(`ours: ${mine.crashed}`)
      rates.push(work.count / mine.seconds)
    }
  }
  const [first] = theirs
  if (first === undefined) return [{ topic: 'peers', what: `${peer.name}, ${what}`, absent: `${crash} (${tries} tries)`, isFailure: false }]
  const version = 'version' in installed ? installed.version : ''
  const crashes = crash === '' ? '' : `${tries - theirs.length} of ${tries} tries: ${crash}`
  const note = [version, first.settings, crashes].filter((part) => part !== '').join(', ')
  const floor = theirs.map(({ seconds }) => work.count / seconds)
  return [...ours].map(([store, rates]) => ({
    topic: 'peers',
    what: `${peer.name}, beside our ${store}, ${what}`,
    unit: 'records/s',
    ours: rates,
    floor,
    target,
    note,
  }))
}

export function writePayloads(session: Session): Record<Workload, string> {
  const folder = session.keptFolder()
  const write = (name: Workload, payloads: readonly object[]): string => {
    const path = join(folder, `${name}.json`)
    writeFileSync(path, JSON.stringify(payloads))
    return path
  }
  return {
    calls: write(
      'calls',
      sampleCalls(2454).map((call) => ({ stream: call.correlation_id, call })),
    ),
    events: write(
      'events',
      sampleEvents(10_000).map((event) => ({ stream: event.correlation_id, event })),
    ),
  }
}

export async function peerRows(session: Session): Promise<Result[]> {
  const payloads = writePayloads(session)
  const results: Result[] = []
  const installs = new Map<Peer['install'], Installed>()
  for (const peer of PEERS) {
    const installed = installs.get(peer.install) ?? (await peer.install(session))
    installs.set(peer.install, installed)
    if ('missing' in installed) {
      results.push({ topic: 'peers', what: peer.name, absent: installed.missing, isFailure: false })
      continue
    }
    for (const workload of WORKLOADS) {
      for (const { who, callers, usual, quick, target } of peer.manners) {
        if (callers === 'reading' && workload !== 'events') continue
        const work: Work = { payloads: payloads[workload], count: session.count(usual, quick), callers }
        results.push(...(await besides(session, { peer, installed, what: `${workload}, ${who}`, work, target })))
      }
    }
    session.say(`peers, ${peer.name}`)
  }
  return results
}
