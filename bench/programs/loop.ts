/**
 * A process that has 1,000 calls a second to record, whether or not the ledger keeps up, and looks how late its event
 * loop is meanwhile. Argument: JSON of `LoopTask`. Prints JSON of `LoopFigures`.
 */
import { readFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { LedgerEntryInput } from '../../src/index.ts'

export interface LoopTask {
  /** The compiled package's main module. */
  readonly package: string
  /** Null: the process does all the same, and records nothing. */
  readonly location: string | null
  /** JSON array of calls. */
  readonly calls: string
  readonly perSecond: number
  readonly warmUp_ms: number
  readonly measured_ms: number
}

/** Milliseconds. */
export interface LoopFigures {
  /** As `perf_hooks.monitorEventLoopDelay` sees it with a resolution of 1 ms, which is in the figures. */
  readonly monitor: { readonly p50: number; readonly p99: number; readonly max: number }
  /** How much later than asked for a timer of 1 ms came. */
  readonly timer: { readonly p50: number; readonly p99: number; readonly max: number }
  /** From the call of `record` to its receipt. */
  readonly acknowledged: { readonly p50: number; readonly p99: number; readonly max: number } | null
  readonly recorded: number
  readonly failed: number
  /** What the first of them said. */
  readonly failure: string | null
}

const task = JSON.parse(process.argv[2] ?? '') as LoopTask
const calls = JSON.parse(readFileSync(task.calls, 'utf8')) as LedgerEntryInput[]
const { AuditLedger } = (await import(task.package)) as typeof import('../../src/index.ts')
const ledger = task.location === null ? null : await AuditLedger.open(task.location, { origin: 'example.com/bench', signer: null })

const summary = (values: readonly number[]): { p50: number; p99: number; max: number } => {
  const sorted = Float64Array.from(values).sort()
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
  return { p50: at(0.5), p99: at(0.99), max: sorted.at(-1) ?? Number.NaN }
}

const late: number[] = []
const acknowledged: number[] = []
let isMeasured = false
let isOver = false
let failure: string | null = null
let failed = 0

function recordCall(call: LedgerEntryInput): void {
  if (ledger === null) return
  const given = performance.now()
  ledger.record(call).then(
    () => {
      if (isMeasured) acknowledged.push(performance.now() - given)
    },
    (error: unknown) => {
      failed++
      failure ??= String(error)
    },
  )
}

const monitor = monitorEventLoopDelay({ resolution: 1 })
const begin = performance.now()
const end = begin + task.warmUp_ms + task.measured_ms
let given = 0

/** What is due by the clock is given at once: a loop that was late does not spare the ledger anything. */
function giveDue(): void {
  const now = performance.now()
  if (isOver) return
  const due = Math.floor(((now - begin) * task.perSecond) / 1000)
  while (given < due) recordCall({ ...(calls[given++ % calls.length] as LedgerEntryInput) })
  setTimeout(giveDue, 1)
}

function lookHowLate(): void {
  const asked = performance.now()
  setTimeout(() => {
    const now = performance.now()
    if (isMeasured) late.push(now - asked - 1)
    if (now < end) lookHowLate()
  }, 1)
}

giveDue()
lookHowLate()
setTimeout(() => {
  isMeasured = true
  monitor.enable()
}, task.warmUp_ms)
await new Promise((resolve) => setTimeout(resolve, end - performance.now()))
isMeasured = false
isOver = true
monitor.disable()
await ledger?.close()
const ms = (ns: number): number => ns / 1e6
const figures: LoopFigures = {
  monitor: { p50: ms(monitor.percentile(50)), p99: ms(monitor.percentile(99)), max: ms(monitor.max) },
  timer: summary(late),
  acknowledged: ledger === null ? null : summary(acknowledged),
  recorded: acknowledged.length,
  failed,
  failure,
}
console.log(JSON.stringify(figures))
