/** How late the event loop of a process is that records 1,000 calls a second, beside the same process without. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { median, shown } from './figures.ts'
import type { LoopFigures, LoopTask } from './programs/loop.ts'
import type { Result, Target } from './rows.ts'
import { locationIn, run, STORES, whyItEnded } from './session.ts'
import type { Session, StoreKind } from './session.ts'
import { sampleCalls } from './workloads.ts'

const PROGRAM = join(import.meta.dirname, 'programs/loop.ts')
const PER_SECOND = 1000
// Older runtimes strip types only when asked to.
const STRIPPING = process.features.typescript ? [] : ['--experimental-strip-types']
const TARGET: Target = { of: 'difference', atMost: 2 }

async function figuresOf(session: Session, store: StoreKind | null, calls: string): Promise<LoopFigures> {
  return session.inFolder(async (folder) => {
    const task: LoopTask = {
      package: join(await session.built(), 'index.js'),
      location: store === null ? null : locationIn(folder, store),
      calls,
      perSecond: PER_SECOND,
      warmUp_ms: session.count(3000, 200),
      measured_ms: session.count(10_000, 300),
    }
    const ended = await run(process.execPath, [...STRIPPING, '--disable-warning=ExperimentalWarning', PROGRAM, JSON.stringify(task)])
    if (ended.code !== 0) throw new Error(`recording ${PER_SECOND} calls a second: ${whyItEnded(ended)}`)
    return JSON.parse(ended.stdout) as LoopFigures
  })
}

function rowsOf(store: StoreKind, ours: readonly LoopFigures[], without: readonly LoopFigures[]): Result[] {
  const failed = ours.reduce((sum, figures) => sum + figures.failed, 0)
  const failure = ours.find((figures) => figures.failure !== null)?.failure ?? ''
  const acknowledged = (part: 'p50' | 'p99' | 'max'): string => shown(median(ours.map((figures) => figures.acknowledged?.[part] ?? 0)))
  const notes = {
    p50: `receipts after ${acknowledged('p50')} ms`,
    p99: `receipts after ${acknowledged('p99')} ms${failed === 0 ? '' : `; ${failed} calls were not recorded: ${failure.slice(0, 100)}`}`,
    max: `receipts after ${acknowledged('max')} ms`,
  }
  return (['monitor', 'timer'] as const).flatMap((by) =>
    (['p50', 'p99', 'max'] as const).map((part) => ({
      topic: 'loop' as const,
      what: `${store}, ${part}${by === 'monitor' ? '' : ', by a timer of our own'}`,
      unit: 'ms' as const,
      ours: ours.map((figures) => figures[by][part]),
      floor: without.map((figures) => figures[by][part]),
      target: part === 'p99' ? TARGET : null,
      note: by === 'monitor' ? notes[part] : '',
    })),
  )
}

export async function loopRows(session: Session): Promise<Result[]> {
  const calls = join(session.keptFolder(), 'calls.json')
  writeFileSync(calls, JSON.stringify(sampleCalls(2454)))
  const without: LoopFigures[] = []
  const ours = new Map<StoreKind, LoopFigures[]>(STORES.map((store) => [store, []]))
  const rounds = session.count(3, 1)
  for (let round = 0; round < rounds; round++) {
    without.push(await figuresOf(session, null, calls))
    for (const [store, figures] of ours) figures.push(await figuresOf(session, store, calls))
    session.say(`loop, round ${round + 1} of ${rounds}`)
  }
  return [...ours].flatMap(([store, figures]) => rowsOf(store, figures, without))
}
