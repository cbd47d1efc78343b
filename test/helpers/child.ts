/** A process of its own for a test: started with this runtime, killed when the test ends, heard line by line. */
import { spawn, type ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { built } from './built.ts'

/** Flags with which a runtime reads TypeScript: older ones strip types only when asked to. */
export const STRIPPING = process.features.typescript ? [] : ['--experimental-strip-types']

/** Stripping the types anew is most of the time that a process takes to begin. */
export const COMPILE_CACHE = process.env['NODE_COMPILE_CACHE'] ?? join(tmpdir(), 'cortex-ledger-compile-cache')

export interface Child {
  readonly pid: number
  /** What it printed so far. */
  readonly lines: readonly string[]
  /** What it wrote to stderr so far. */
  readonly stderr: () => string
  /** Resolves with the first line, from now back to the start, that matches; rejects when the process ends without it. */
  waitFor(pattern: RegExp): Promise<string>
  /** Resolves when this many lines were printed, or the process has ended. */
  waitForCount(count: number): Promise<void>
  tell(line: string): void
  /** SIGKILL to this process alone. */
  kill(): Promise<void>
  readonly exited: Promise<{ readonly code: number | null; readonly signal: string | null }>
}

/** Runs a program of test/helpers with one JSON argument. */
export function startChild(program: string, argument: object, flags: readonly string[] = []): Child {
  const child: ChildProcess = spawn(
    process.execPath,
    [...flags, '--disable-warning=ExperimentalWarning', built(`programs/${program}`), JSON.stringify(argument)],
    {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, NODE_COMPILE_CACHE: COMPILE_CACHE },
    },
  )
  const lines: string[] = []
  let stderr = ''
  let ended = false
  const listeners = new Set<() => void>()
  const wake = (): void => [...listeners].forEach((listener) => listener())
  createInterface({ input: child.stdout! }).on('line', (line) => {
    lines.push(line)
    wake()
  })
  child.stderr!.on('data', (chunk) => (stderr += String(chunk)))
  // A child that was killed can't be told anything: no error of the test.
  child.stdin!.on('error', () => {})
  const exited = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.on('close', (code, signal) => {
      ended = true
      resolve({ code, signal })
      wake()
    })
  })

  function until(reached: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (!reached() && !ended) return
        listeners.delete(look)
        resolve()
      }
      listeners.add(look)
      look()
    })
  }

  async function kill(): Promise<void> {
    if (!ended) child.kill('SIGKILL')
    await exited
  }
  onTestFinished(kill)

  return {
    pid: child.pid!,
    lines,
    stderr: () => stderr,
    async waitFor(pattern) {
      await until(() => lines.some((line) => pattern.test(line)))
      const line = lines.find((text) => pattern.test(text))
      if (line === undefined)
        throw new Error(
          `the process ended without printing ${pattern}; it printed ${lines.length} lines, the last ${lines.at(-1)}, and to stderr: ${stderr}`,
        )
      return line
    },
    waitForCount: (count) => until(() => lines.length >= count),
    tell: (line) => void child.stdin!.write(`${line}\n`),
    kill,
    exited,
  }
}
