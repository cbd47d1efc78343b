/** What follows from the records: replaying them, a state from a snapshot, and how soon a subscriber sees a record. */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createReadStream, readdirSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { join } from 'node:path'
import { AuditLedger, defineProjection } from '../src/index.ts'
import type { Projection } from '../src/index.ts'
import { inRounds, median, shown } from './figures.ts'
import { fill } from './fixtures.ts'
import { smallRecords } from './options.ts'
import { atLeast, atMost } from './rows.ts'
import type { Result, Row } from './rows.ts'
import { LEDGER_OPTIONS, locationIn, STORES, timed } from './session.ts'
import type { Session, StoreKind } from './session.ts'
import { sampleEvents } from './workloads.ts'

const SUBSCRIBER = join(import.meta.dirname, 'programs/subscriber.ts')
// Older runtimes strip types only when asked to.
const STRIPPING = process.features.typescript ? [] : ['--experimental-strip-types']
/** Events since the snapshot. */
const SINCE = 1000
/** Between two records that a subscriber waits for, ms. */
const PAUSE_MS = 5

interface Steps {
  readonly steps: number
  readonly output_tokens: number
}

/** A handler that looks at what an event says, and keeps little. */
const steps: Projection<Steps> = defineProjection({
  name: 'steps',
  version: 1,
  initial: { steps: 0, output_tokens: 0 } as Steps,
  on: {
    StepCompleted: ({ steps: count, output_tokens }, { tokens }) => ({
      steps: count + 1,
      output_tokens: output_tokens + (tokens as { readonly output: number }).output,
    }),
  },
})

/** Every line of the segments, parsed. @returns how many */
async function parsedLines(location: string): Promise<number> {
  let count = 0
  const segments = join(location, 'segments')
  for (const name of readdirSync(segments).filter((file) => file.endsWith('.jsonl'))) {
    let rest = ''
    for await (const chunk of createReadStream(join(segments, name), { encoding: 'utf8', highWaterMark: 1 << 20 })) {
      const lines = (rest + String(chunk)).split('\n')
      rest = lines.pop() as string
      for (const line of lines) {
        JSON.parse(line)
        count++
      }
    }
  }
  return count
}

/** Header and entry of every row, parsed. @returns how many */
function parsedRows(location: string): number {
  const database = new DatabaseSync(location, { readOnly: true })
  let count = 0
  for (const { header, entry } of database.prepare('SELECT header, entry FROM records ORDER BY seq').iterate()) {
    JSON.parse(header as string)
    JSON.parse(entry as string)
    count++
  }
  database.close()
  return count
}

/** All records of a ledger, read past it and parsed. @returns how many */
export async function parsedAll(location: string, store: StoreKind): Promise<number> {
  return store === 'JSONL' ? parsedLines(location) : parsedRows(location)
}

async function replayRow(session: Session, store: StoreKind, folder: string, records: number): Promise<Row> {
  const location = locationIn(folder, store)
  const ledger = await AuditLedger.open(location, { readOnly: true })
  const { size } = await ledger.head()
  const { ours, floor } = await inRounds(session.rounds, async () => {
    const seconds = await timed(async () => {
      const { state } = await ledger.load(steps, { snapshots: 'off' })
      if (state.steps !== records) throw new Error(`${state.steps} of ${records} events were replayed`)
    })
    const below = await timed(async () => {
      const count = await parsedAll(location, store)
      if (count !== size) throw new Error(`${count} of ${size} records were parsed`)
    })
    return { ours: records / seconds, floor: records / below }
  })
  await ledger.close()
  session.say(`deriving, replay, ${store}`)
  const note = `${shown(records)} events`
  return { topic: 'deriving', what: `replay, ${store}`, unit: 'records/s', ours, floor, target: atLeast(0.5), note }
}

/** A ledger with a snapshot and as many events behind it as every other such ledger has. */
async function makeLedger(session: Session, store: StoreKind, records: number): Promise<string> {
  const folder = session.keptFolder()
  const ledger = await AuditLedger.open(locationIn(folder, store), LEDGER_OPTIONS)
  await fill(ledger, records - SINCE)
  await ledger.createSnapshot(steps)
  await ledger.append('since', sampleEvents(SINCE, records - SINCE))
  await ledger.flush()
  await ledger.close()
  return folder
}

async function loadRow(session: Session, store: StoreKind, [large, small]: readonly [string, string], records: number): Promise<Row> {
  const micros = async (folder: string): Promise<number> => {
    const ledger = await AuditLedger.open(locationIn(folder, store), { readOnly: true })
    try {
      const { size } = await ledger.head()
      const count = session.count(10, 2)
      let replayed = 0
      const seconds = await timed(async () => {
        for (let i = 0; i < count; i++) replayed = (await ledger.load(steps)).replayed
      })
      if (replayed > SINCE + 1) throw new Error(`${replayed} events were replayed in a ledger of ${size}: the snapshot was not used`)
      return (seconds * 1e6) / count
    } finally {
      await ledger.close()
    }
  }
  const { ours, floor } = await inRounds(session.rounds, async () => ({ ours: await micros(large), floor: await micros(small) }))
  session.say(`deriving, load, ${store}`)
  const note = `${shown(SINCE)} events since the snapshot; ${shown(records)} records beside ${shown(smallRecords(session.options))}`
  return { topic: 'deriving', what: `load from a snapshot, ${store}`, unit: 'µs', ours, floor, target: atMost(2), note }
}

const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, PAUSE_MS))

/** ms, of each record. */
interface Delays {
  /** From the receipt to the subscriber; less than nothing where it was faster. */
  readonly seen: readonly number[]
  /** Until the receipt. */
  readonly appended: readonly number[]
}

/** Appends one by one, with pauses. `now` in ms. @returns when each was acknowledged, by its position, and how long each took */
async function appendSlowly(ledger: AuditLedger, count: number, now: () => number): Promise<[Map<number, number>, number[]]> {
  const acknowledged = new Map<number, number>()
  const took: number[] = []
  for (let i = 0; i < count; i++) {
    const start = now()
    const [receipt] = await ledger.append('live', sampleEvents(1, i))
    acknowledged.set(receipt!.seq, now())
    took.push(now() - start)
    await pause()
  }
  return [acknowledged, took]
}

/** To a subscriber of this process. */
async function delaysHere(ledger: AuditLedger, count: number): Promise<Delays> {
  const seen = new Map<number, number>()
  const end = new AbortController()
  const { size } = await ledger.head()
  const following = (async () => {
    for await (const { seq } of ledger.subscribe({ from: size, signal: end.signal })) seen.set(seq, performance.now())
  })()
  const [acknowledged, appended] = await appendSlowly(ledger, count, () => performance.now())
  while (seen.size < count) await pause()
  end.abort()
  await following
  return { seen: [...acknowledged].map(([seq, at]) => (seen.get(seq) as number) - at), appended }
}

/** To one of another process, by the clock that both have. */
async function delaysThere(ledger: AuditLedger, location: string, count: number): Promise<Delays> {
  const child: ChildProcess = fork(SUBSCRIBER, [location], { execArgv: [...STRIPPING, '--disable-warning=ExperimentalWarning'] })
  try {
    await once(child, 'message')
    const seen = new Map<number, number>()
    child.on('message', ([seq, at]: [number, number]) => seen.set(seq, at))
    const [acknowledged, appended] = await appendSlowly(ledger, count, () => performance.timeOrigin + performance.now())
    while (![...acknowledged.keys()].every((seq) => seen.has(seq))) await pause()
    return { seen: [...acknowledged].map(([seq, at]) => (seen.get(seq) as number) - at), appended }
  } finally {
    child.kill('SIGKILL')
  }
}

/** @param name of the store @param location of a ledger that can be written to */
export async function liveRows(session: Session, topic: Row['topic'], name: string, location: string): Promise<Row[]> {
  const ledger = await AuditLedger.open(location, LEDGER_OPTIONS)
  const count = session.count(100, 5)
  try {
    await ledger.append('warm-up', sampleEvents(10))
    const series = await inRounds(session.rounds, async () => {
      const [here, there] = [await delaysHere(ledger, count), await delaysThere(ledger, location, count)]
      return {
        here: median(here.seen),
        'appended here': median(here.appended),
        there: median(there.seen),
        'appended there': median(there.appended),
      }
    })
    session.say(`live subscribers, ${name}`)
    const row = {
      topic,
      unit: 'ms',
      note: `medians of ${count} records a round, from the receipt on; beside it: until the receipt`,
    } as const
    const of = (who: 'here' | 'there', what: string, atMost_ms: number): Row => ({
      ...row,
      what: `live subscriber, ${name}, ${what}`,
      ours: series[who],
      floor: series[`appended ${who}`],
      target: { of: 'highest', atMost: atMost_ms },
    })
    return [of('here', 'in process', 5), of('there', 'in another process', 50)]
  } finally {
    await ledger.close()
  }
}

export async function derivingRows(session: Session): Promise<Result[]> {
  const { records } = session.options
  const rows: Row[] = []
  for (const store of STORES) {
    rows.push(...(await session.inFolder((folder) => liveRows(session, 'deriving', store, locationIn(folder, store)))))
    const folders = [await makeLedger(session, store, records), await makeLedger(session, store, smallRecords(session.options))] as const
    rows.push(await loadRow(session, store, folders, records))
    rows.push(await replayRow(session, store, folders[0], records))
  }
  return rows
}
