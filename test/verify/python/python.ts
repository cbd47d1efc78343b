/** Real Python beside the tests: one process, many questions. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import type { PythonLimits } from '../../../src/verify/python/value.ts'

export interface PythonAnswer {
  /** `ok`, `previous_hash`, `hash`, `True`, `False` or the name of an exception. */
  readonly verdict?: string
  /** The exception's first argument. */
  readonly argument?: string | null
  readonly hash?: string
  readonly respelled?: boolean
  readonly undecodable?: number | null
  readonly file?: string
  readonly texts?: readonly string[]
}

export interface Question {
  /** See driver.py. */
  readonly kind: 'R' | 'L' | 'F' | 'A' | 'D'
  readonly payload: Uint8Array
}

export interface PythonReply {
  readonly version: readonly [number, number, number]
  /** What this Python can, measured. */
  readonly limits: PythonLimits
  readonly answers: readonly PythonAnswer[]
}

const found = spawnSync('python3', ['--version'], { encoding: 'utf8' })
/** Why there is no Python to ask, or null. */
export const pythonMissing = found.status === 0 ? null : `python3 can't be run: ${found.error?.message ?? found.stderr}`
if (pythonMissing !== null) console.warn(`skipped, not compared with Python: ${pythonMissing}`)

/** Puts all questions to one process. */
export function askPython(questions: readonly Question[]): PythonReply {
  const frames = questions.flatMap(({ kind, payload }) => {
    const head = Buffer.alloc(5, kind)
    head.writeUInt32BE(payload.length, 1)
    return [head, payload]
  })
  const run = spawnSync('python3', [join(import.meta.dirname, 'driver.py')], {
    input: Buffer.concat(frames),
    maxBuffer: 2 ** 30,
    // In UTF-8 mode `open` reads UTF-8 whatever the locale says.
    env: { ...process.env, PYTHONUTF8: '1', PYTHONDONTWRITEBYTECODE: '1' },
  })
  if (run.status !== 0) throw new Error(`driver.py failed: ${run.error?.message ?? run.stderr.toString()}`)
  const [first, ...answers] = run.stdout
    .toString('ascii')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown)
  const { version, loads, dumps, digits } = first as { version: PythonReply['version']; loads: number; dumps: number; digits: number }
  if (answers.length !== questions.length) throw new Error(`${answers.length} answers to ${questions.length} questions`)
  const limits = { loads_depth_max: loads, dumps_depth_max: dumps, int_digits_max: digits === 0 ? Infinity : digits }
  return { version, limits, answers: answers as PythonAnswer[] }
}
