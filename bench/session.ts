/** What all topics share: the options, folders that go when the run ends, and a ledger's fixed settings. */
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { OpenOptions } from '../src/index.ts'
import { writeModules } from '../tools/modules.mjs'
import type { Options } from './options.ts'

export const REPOSITORY = join(import.meta.dirname, '..')

/** No key: the bench measures unsigned ledgers, and leaves nothing in anybody's home. */
export const LEDGER_OPTIONS = { origin: 'example.com/bench', actor: 'bench', signer: null } as const satisfies OpenOptions

export type StoreKind = 'JSONL' | 'SQLite'
export const STORES: readonly StoreKind[] = ['JSONL', 'SQLite']

/** Where a ledger of this kind lies in a folder. */
export function locationIn(folder: string, store: StoreKind): string {
  return join(folder, store === 'JSONL' ? 'ledger' : 'ledger.db')
}

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** Seconds that `work` takes; what was garbage before is not collected meanwhile. */
export async function timed(work: () => unknown): Promise<number> {
  collect()
  const start = performance.now()
  await work()
  return (performance.now() - start) / 1000
}

export interface Ended {
  readonly code: number | null
  readonly signal: string | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly cwd?: string
  readonly env?: NodeJS.ProcessEnv
  /** Then it is killed. */
  readonly timeout_ms?: number
}

/** Runs a program to its end; rejects only where it can't be started. */
export function run(command: string, args: readonly string[], { cwd, env, timeout_ms }: RunOptions = {}): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd,
      env: { ...process.env, ...env },
      timeout: timeout_ms,
      killSignal: 'SIGKILL',
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (chunk) => (stdout += String(chunk)))
    child.stderr.on('data', (chunk) => (stderr += String(chunk)))
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }))
  })
}

/** Why a program did not do its work, in one line. */
export function whyItEnded({ code, signal, stderr }: Ended): string {
  const lines = stderr.split('\n').filter((line) => line.trim() !== '')
  const said = lines.find((line) => /error/i.test(line)) ?? lines.at(-1) ?? 'it said nothing'
  return `${signal === null ? `exit ${code}` : `killed by ${signal}`}: ${said.trim().slice(0, 200)}`
}

export class Session {
  readonly options: Options
  readonly #root: string
  #folders = 0
  #built: Promise<string> | null = null

  constructor(options: Options) {
    this.options = options
    this.#root = mkdtempSync(join(tmpdir(), 'cortex-ledger-bench-'))
    const remove = (): void => rmSync(this.#root, { recursive: true, force: true })
    process.once('exit', remove)
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130))
  }

  /** Rounds that are measured; a figure of few rounds says little. */
  get rounds(): number {
    return this.options.quick ? 1 : 5
  }

  /** The usual count, or the small one of `--quick`. */
  count(usual: number, quick: number): number {
    return this.options.quick ? quick : usual
  }

  /** All of them, or the last alone with `--quick`: where each one takes more time than its counts do. */
  some<Item>(items: readonly Item[]): readonly Item[] {
    return this.options.quick ? items.slice(-1) : items
  }

  /** Progress, on stderr. */
  say(text: string): void {
    console.error(`${(process.uptime() / 60).toFixed(1).padStart(5)} min  ${text}`)
  }

  /** A new folder, there until the run ends. */
  keptFolder(): string {
    const path = join(this.#root, String(this.#folders++))
    mkdirSync(path)
    return path
  }

  /** `work` in a new folder, which is removed behind it. */
  async inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
    const folder = this.keptFolder()
    try {
      return await work(folder)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }

  /** The folder of the compiled package: what users run. Stripping types at run time would be measured as memory. */
  built(): Promise<string> {
    this.#built ??= this.#build()
    return this.#built
  }

  async #build(): Promise<string> {
    const folder = this.keptFolder()
    const dist = join(folder, 'dist')
    // One program of the bench wraps the store of PostgreSQL, which is not exported.
    await writeModules(dist, { 'stores/postgres/index': join(REPOSITORY, 'src/stores/postgres/index.ts') })
    writeFileSync(join(folder, 'package.json'), readFileSync(join(REPOSITORY, 'package.json')))
    symlinkSync(join(REPOSITORY, 'node_modules'), join(folder, 'node_modules'))
    return dist
  }
}
