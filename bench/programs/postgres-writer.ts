/**
 * One of several processes that append to the same ledger. Argument: JSON of `WriterTask`. Sends `'ready'` when its callers
 * have begun; at `'count'` it begins to count, and sends `WriterFigures` when the time is over and all receipts are there.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { AuditLedger as Ledger, EventInput, LedgerEntryInput } from '../../src/index.ts'
import type { Store } from '../../src/ledger/store.ts'

/** When the head's lock is waited for before records are sealed: as the writer decides it, always, never. */
export type Turns = 'as it is' | 'always' | 'never'

export interface WriterTask {
  /** The compiled package's folder. */
  readonly built: string
  readonly url: string
  /** JSON array of `{ stream, call }` or `{ stream, event }`. */
  readonly payloads: string
  readonly callers: number
  readonly measured_ms: number
  readonly turns: Turns
}

export interface WriterFigures {
  /** Records acknowledged while it counted. */
  readonly counted: number
  readonly seconds: number
  /** Records acknowledged in all. */
  readonly acknowledged: number
  /** Appends that failed, which should be none; and what the first of them said. */
  readonly failed: number
  readonly failure: string | null
  /** While it counted: batches that went through, and those that were sealed for a head that had moved. */
  readonly batches: number
  readonly races: number
}

interface Payload {
  readonly stream: string
  readonly call?: LedgerEntryInput
  readonly event?: EventInput
}

const task = JSON.parse(process.argv[2] ?? '') as WriterTask
const { AuditLedger, LedgerError } = (await import(join(task.built, 'index.js'))) as typeof import('../../src/index.ts')
const { openPostgresStore } = (await import(
  join(task.built, 'stores/postgres/index.js')
)) as typeof import('../../src/stores/postgres/index.ts')
const payloads = JSON.parse(readFileSync(task.payloads, 'utf8')) as Payload[]

let isCounting = false
let batches = 0
let races = 0

function counted<T extends (...args: never[]) => Promise<unknown>>(append: T): T {
  return (async (...args) => {
    try {
      const result = await append(...args)
      // Null: nothing was appended, and it comes again in another way.
      if (isCounting && result !== null) batches++
      return result
    } catch (error) {
      if (isCounting && error instanceof LedgerError && error.code === 'head_moved') races++
      throw error
    }
  }) as T
}

/** The store itself, with what its appends come to counted, and the way that the writer takes forced on it. */
function steered(store: Store): Store {
  const takeTurn = async (...args: Parameters<NonNullable<Store['takeTurn']>>): ReturnType<NonNullable<Store['takeTurn']>> => {
    const turn = await store.takeTurn!(...args)
    return { ...turn, append: counted(turn.append) }
  }
  // A writer that has lost a race waits for its turn from then on; no lock and no round trip is spent on losing this one.
  const lose: Store['append'] = () => Promise.reject(new LedgerError('head_moved', 'this writer is to wait for its turn'))
  const append = task.turns === 'always' ? lose : counted(store.append.bind(store))
  const own: Partial<Record<PropertyKey, unknown>> = {
    append,
    takeTurn: task.turns === 'never' ? undefined : takeTurn,
    sealAndAppend: task.turns === 'as it is' ? counted(store.sealAndAppend!.bind(store)) : undefined,
  }
  return new Proxy(store, {
    get(target, name) {
      if (name in own) return own[name]
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

const ledger: Ledger = await AuditLedger.open('memory:', {
  origin: 'example.com/bench',
  actor: 'bench',
  signer: null,
  store: steered(await openPostgresStore(task.url)),
})

let acknowledged = 0
let counting = 0
let failed = 0
let failure: string | null = null
let isOver = false
// Other processes have the same payloads; each begins somewhere else.
let next = process.pid * 997

async function caller(): Promise<void> {
  while (!isOver) {
    const { stream, call, event } = payloads[next++ % payloads.length] as Payload
    try {
      await (call === undefined ? ledger.append(stream, event as EventInput) : ledger.record(call))
      acknowledged++
      if (isCounting) counting++
    } catch (error) {
      failed++
      failure ??= String(error)
    }
  }
}

async function count(): Promise<void> {
  isCounting = true
  const began = performance.now()
  await new Promise((resolve) => setTimeout(resolve, task.measured_ms))
  isCounting = false
  const seconds = (performance.now() - began) / 1000
  isOver = true
  await callers
  await ledger.close()
  const figures: WriterFigures = { counted: counting, seconds, acknowledged, failed, failure, batches, races }
  process.send?.(figures, () => process.disconnect())
}

const callers = Promise.all(Array.from({ length: task.callers }, caller))
process.on('message', () => void count())
process.send?.('ready')
