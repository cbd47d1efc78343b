/** Runs the real command: in this process, which takes a tenth of the time, or in one of its own. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { PassThrough } from 'node:stream'
import { main } from '../../src/cli/main.ts'
import { built } from '../helpers/built.ts'
import { COMPILE_CACHE } from '../helpers/child.ts'
import { whatIsOpen, untilClosed } from '../helpers/left-open.ts'

export const BIN = built('cli/bin')

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly input?: string | Uint8Array
  readonly env?: { readonly [name: string]: string }
  readonly cwd?: string
}

/** The environment of a script: nothing that decides on colour or on the ledger. */
export function environment(more: RunOptions['env'] = {}): NodeJS.ProcessEnv {
  const rest = { ...process.env }
  for (const name of ['NO_COLOR', 'FORCE_COLOR', 'COLUMNS', 'CORTEX_LEDGER', 'CORTEX_LEDGER_KEY', 'CORTEX_LEDGER_MASTER_KEY'])
    delete rest[name]
  return { ...rest, NODE_COMPILE_CACHE: COMPILE_CACHE, ...more }
}

export function start(args: readonly string[], options: RunOptions = {}): ChildProcess {
  return spawn(process.execPath, [BIN, ...args], { env: environment(options.env), cwd: options.cwd, stdio: 'pipe' })
}

export async function ended(child: ChildProcess): Promise<Ended> {
  const out: Buffer[] = []
  const err: Buffer[] = []
  child.stdout?.on('data', (chunk: Buffer) => out.push(chunk))
  child.stderr?.on('data', (chunk: Buffer) => err.push(chunk))
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', resolve)
  })
  return { code, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() }
}

/** The command in a process of its own: for what only a process has, such as rivals, signals, and how it ends. */
export async function runProcess(args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  const child = start(args, options)
  child.stdin?.on('error', () => {})
  child.stdin?.end(options.input ?? '')
  return ended(child)
}

/** The real environment, which `os.tmpdir()` and others look into past `process.env`. */
function setEnvironment(wanted: NodeJS.ProcessEnv): void {
  for (const name of Object.keys(process.env)) if (wanted[name] === undefined) delete process.env[name]
  Object.assign(process.env, wanted)
}

/** Gives this process another environment and folder while the work is done. */
async function within<T>({ env, cwd }: RunOptions, work: () => Promise<T>): Promise<T> {
  const before = { env: { ...process.env }, cwd: process.cwd() }
  setEnvironment(environment(env))
  if (cwd !== undefined) process.chdir(cwd)
  try {
    return await work()
  } finally {
    setEnvironment(before.env)
    process.chdir(before.cwd)
  }
}

function collect(): { readonly stream: PassThrough; readonly text: () => string } {
  const stream = new PassThrough()
  const chunks: Buffer[] = []
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  return { stream, text: () => Buffer.concat(chunks).toString() }
}

async function runHere(args: readonly string[], options: RunOptions): Promise<Ended> {
  const before = whatIsOpen()
  const [out, err] = [collect(), collect()]
  const stdin = new PassThrough()
  stdin.end(options.input ?? '')
  const code = await within(options, () => main(args, { stdin, stdout: out.stream, stderr: err.stream }))
  // In a process of its own it would not end, or leave a lock behind.
  await untilClosed(before, `cortex-ledger ${args.join(' ')}`)
  return { code, stdout: out.text(), stderr: err.text() }
}

let last: Promise<unknown> = Promise.resolve()

/** The command in this process, one after another: there is one environment and one folder. Fails where it leaves anything open. */
export async function run(args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  const turn = last.then(() => runHere(args, options))
  last = turn.catch(() => {})
  return turn
}

/** Fails with what the command said, where it did not end with 0. */
export async function ok(args: readonly string[], options: RunOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await run(args, options)
  if (code !== 0) throw new Error(`cortex-ledger ${args.join(' ')} ended with ${code}:\n${stderr}${stdout}`)
  return stdout
}

/** A line of bash, with `cortex-ledger` as a function; `pipefail` is on. */
export async function shell(script: string, options: RunOptions = {}): Promise<Ended> {
  const prelude = `set -o pipefail; cortex-ledger() { ${JSON.stringify(process.execPath)} ${JSON.stringify(BIN)} "$@"; }\n`
  return ended(
    spawn('bash', ['-c', prelude + script], { env: environment(options.env), cwd: options.cwd, stdio: ['ignore', 'pipe', 'pipe'] }),
  )
}

export function jsonLines(text: string): unknown[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as unknown)
}

export function entryLines(entries: readonly object[]): string {
  return entries.map((entry) => `${JSON.stringify(entry)}\n`).join('')
}

/** The hash that a record line's header has, computed from its bytes alone. */
export function headerHashOf(line: string): string {
  const header = line.slice(84, line.search(/\},"(?:salt|entry|signatures)":/) + 1)
  return createHash('sha256').update('\0').update(header).digest('hex')
}
