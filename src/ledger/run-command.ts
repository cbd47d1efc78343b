/** Runs another program that works with a key which it does not hand over: one that signs, or wraps keys. */
import { spawn } from 'node:child_process'
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { LedgerError } from './errors.ts'

const TIMEOUT_MS = 30_000
const TIMEOUT_MS_MAX = 3_600_000
/** Of what the command complains about, so much is passed on. */
const COMPLAINT_BYTES_MAX = 2000

export interface CommandRun {
  /** What it is, for messages: `signing command`. */
  readonly name: string
  /** Whatever is longer is not what was asked for. */
  readonly outputBytesMax: number
  /** What was asked for, for messages: `signature`. */
  readonly wanted: string
  /** Milliseconds after which it is killed; 30,000 unless said. */
  readonly timeoutMs?: number | undefined
}

export interface CommandEnded {
  readonly output: Buffer
  /** What it said on stderr, behind a colon; empty where it said nothing. */
  readonly complaint: string
}

/** @throws TypeError | RangeError */
export function requireCommand(command: unknown, timeoutMs: number = TIMEOUT_MS): void {
  const isCommand = Array.isArray(command) && command.length > 0 && command[0] !== ''
  if (!isCommand || !command.every((part) => typeof part === 'string' && !part.includes('\0')))
    throw new TypeError('command must be an array of texts: a program and its arguments')
  if (!Number.isSafeInteger(timeoutMs) || timeoutMs < 1 || timeoutMs > TIMEOUT_MS_MAX)
    throw new RangeError(`timeoutMs must be a number of milliseconds from 1 to ${TIMEOUT_MS_MAX}`)
}

/** Runs the command to its end, with these bytes on its stdin. @throws LedgerError `key_error` */
export function runCommand(command: readonly string[], input: Uint8Array, about: CommandRun): Promise<CommandEnded> {
  const { name, outputBytesMax, wanted, timeoutMs = TIMEOUT_MS } = about
  const [program = '', ...args] = command
  // The passphrase is no business of another program.
  const { CORTEX_LEDGER_PASSPHRASE: _, ...env } = process.env
  return new Promise((resolve, reject) => {
    const fail = (what: string, cause?: unknown): void =>
      reject(new LedgerError('key_error', `the ${name} ${JSON.stringify(program)} ${what}`, { command: program, cause }))
    let child: ChildProcessWithoutNullStreams
    try {
      child = spawn(program, args, { stdio: 'pipe', shell: false, windowsHide: true, env })
    } catch (error) {
      fail(`can't be run: ${String(error)}`, error)
      return
    }
    const output: Buffer[] = []
    let outputBytes = 0
    let complaint = ''
    const complained = (): string => (complaint.trim() === '' ? '' : `: ${complaint.trim()}`)
    const giveUp = (what: string): void => {
      clearTimeout(timer)
      child.kill('SIGKILL')
      // What it started itself may hold these open for ever.
      for (const stream of [child.stdin, child.stdout, child.stderr]) stream.destroy()
      fail(what)
    }
    const timer = setTimeout(() => giveUp(`did not answer within ${timeoutMs} ms and was killed${complained()}`), timeoutMs)
    child.stdout.on('data', (chunk: Buffer) => {
      outputBytes += chunk.length
      if (outputBytes <= outputBytesMax) output.push(chunk)
      else giveUp(`wrote more than ${outputBytesMax} bytes, which is no ${wanted}`)
    })
    child.stderr.on('data', (chunk: Buffer) => {
      if (complaint.length < COMPLAINT_BYTES_MAX) complaint += chunk.toString('utf8').slice(0, COMPLAINT_BYTES_MAX - complaint.length)
    })
    // One that does not read its input says what it has to say by its exit code and its output.
    for (const stream of [child.stdin, child.stdout, child.stderr]) stream.on('error', () => {})
    child.on('error', (error) => {
      clearTimeout(timer)
      fail(`can't be run: ${error.message}. Check the program's path and mode`, error)
    })
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      if (code === 0) resolve({ output: Buffer.concat(output), complaint: complained() })
      else fail(`${code === null ? `was killed by ${signal}` : `ended with ${code}`}${complained()}`)
    })
    child.stdin.end(input)
  })
}
