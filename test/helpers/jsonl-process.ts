import { spawn } from 'node:child_process'
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { createInterface } from 'node:readline'
import { onTestFinished } from 'vitest'
import { built } from './built.ts'

export interface Child {
  readonly process: ChildProcessWithoutNullStreams
  /** What it has said so far. */
  readonly said: string[]
  /** The next line that it says; rejects when it has ended. */
  next(): Promise<string>
  /** Resolves to how it ended. */
  readonly ended: Promise<{ code: number | null; signal: string | null }>
}

/** Starts a job of jsonl-child.ts; it is killed when the test ends. */
export function startChild(job: string, dir: string, ...more: string[]): Child {
  const child = spawn(process.execPath, [built('programs/jsonl-child'), job, dir, ...more], { stdio: ['pipe', 'pipe', 'pipe'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  const said: string[] = []
  const waiting: { resolve: (line: string) => void; reject: (error: Error) => void }[] = []
  let heard = 0
  let errors = ''
  child.stderr.on('data', (data: Buffer) => (errors += data.toString()))
  // It may be gone before it is told anything.
  child.stdin.on('error', () => {})
  createInterface({ input: child.stdout }).on('line', (line) => {
    said.push(line)
    const next = waiting.shift()
    if (next === undefined) return
    heard++
    next.resolve(line)
  })
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.on('close', (code, signal) => {
      for (const { reject } of waiting) reject(new Error(`the child ended (${code ?? signal}): ${errors}`))
      if (code !== 0 && code !== null) said.push(`stderr: ${errors}`)
      resolve({ code, signal })
    })
  })
  return {
    process: child,
    said,
    next: () => {
      const line = said[heard]
      if (line === undefined) return new Promise((resolve, reject) => waiting.push({ resolve, reject }))
      heard++
      return Promise.resolve(line)
    },
    ended,
  }
}
