/** The most memory that the commands over a whole large ledger take, beside a command that does nothing. */
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { VerificationReport } from '../src/index.ts'
import { shown } from './figures.ts'
import type { Fixtures } from './fixtures.ts'
import type { Result, Target } from './rows.ts'
import { run, STORES, whyItEnded } from './session.ts'
import type { Session } from './session.ts'

const PRELOAD = join(import.meta.dirname, 'programs/report-memory.mjs')
export const MEMORY_TARGET: Target = { of: 'highest', atMost: 200 }

interface Measured {
  readonly megabytes: number
  readonly seconds: number
  readonly stdout: string
}

/** Runs the compiled command, as users have it. */
export async function command(session: Session, args: readonly string[]): Promise<Measured> {
  return session.inFolder(async (folder) => {
    const peak = join(folder, 'peak')
    const bin = join(await session.built(), 'cli/bin.js')
    const start = performance.now()
    const ended = await run(process.execPath, ['--import', PRELOAD, bin, ...args], { env: { BENCH_MEMORY: peak } })
    if (ended.code !== 0) throw new Error(`cortex-ledger ${args[0]}: ${whyItEnded(ended)}`)
    const seconds = (performance.now() - start) / 1000
    return { megabytes: Number(readFileSync(peak, 'utf8')) / 1e6, seconds, stdout: ended.stdout }
  })
}

/** Which of the checks that need memory were made at all. */
export function checksOf(stdout: string): string {
  const { checks } = JSON.parse(stdout) as VerificationReport
  return `run_ids unique: ${checks.run_ids_unique.verdict}, stream versions: ${checks.stream_versions.verdict}`
}

export async function memoryRows(session: Session, fixtures: Fixtures): Promise<Result[]> {
  const { records } = session.options
  const rows: Result[] = []
  const exports = session.keptFolder()
  const add = async (what: string, args: readonly string[]): Promise<void> => {
    const ours: number[] = []
    const floor: number[] = []
    let note = ''
    for (let i = 0; i < session.count(2, 1); i++) {
      const measured = await command(session, args)
      ours.push(measured.megabytes)
      floor.push((await command(session, ['--version'])).megabytes)
      note = `${shown(measured.seconds)} s${args.includes('--json') ? `; ${checksOf(measured.stdout)}` : ''}`
    }
    rows.push({ topic: 'memory', what, unit: 'MB', ours, floor, target: MEMORY_TARGET, note })
    session.say(`memory, ${what}, ${shown(records)} events`)
  }
  for (const store of STORES) {
    const { location } = await fixtures.get(store, records)
    const file = join(exports, `${store}.jsonl`)
    await add(`${store}, verify`, ['verify', location, '--json'])
    await add(`${store}, export`, ['export', location, '-o', file])
    if (store === 'JSONL') await add('the exported file, verify', ['verify', file, '--json'])
    rmSync(file, { force: true })
  }
  return rows
}
