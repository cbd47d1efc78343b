/** Several processes that append to one ledger at once, and what they come to together. */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { AuditLedger } from '../../src/index.ts'
import type { Turns, WriterFigures, WriterTask } from '../programs/postgres-writer.ts'
import { LEDGER_OPTIONS } from '../session.ts'
import type { Session } from '../session.ts'
import type { Server } from './server.ts'

const PROGRAM = join(import.meta.dirname, '../programs/postgres-writer.ts')
// Older runtimes strip types only when asked to.
const STRIPPING = process.features.typescript ? [] : ['--experimental-strip-types']

export interface Writing {
  readonly processes: number
  /** Of each process. */
  readonly callers: number
  readonly payloads: string
  readonly warmUp_ms: number
  readonly measured_ms: number
  readonly turns: Turns
}

export interface Written {
  /** Records a second, of all. */
  readonly rate: number
  /** Records of a batch, on average. */
  readonly size: number
  /** Batches that were sealed for a head that had moved, for each one that went through. */
  readonly races: number
}

async function answerOf(child: ChildProcess): Promise<unknown> {
  const [answer] = (await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(([code]) => Promise.reject(new Error(`a writer ended with ${code}`))),
  ])) as unknown[]
  return answer
}

async function allAtOnce(children: readonly ChildProcess[], warmUp_ms: number): Promise<WriterFigures[]> {
  await Promise.all(children.map(answerOf))
  await new Promise((resolve) => setTimeout(resolve, warmUp_ms))
  const answers = children.map(answerOf)
  for (const child of children) child.send('count')
  return (await Promise.all(answers)) as WriterFigures[]
}

/** Each acknowledged record is in the ledger, and no other but its first. */
async function requireAll(url: string, figures: readonly WriterFigures[]): Promise<void> {
  const failure = figures.find(({ failed }) => failed > 0)?.failure
  if (failure !== undefined) throw new Error(`an append of several processes failed: ${failure}`)
  const ledger = await AuditLedger.open(url, { readOnly: true })
  try {
    const { size } = await ledger.head()
    const acknowledged = figures.reduce((sum, figure) => sum + figure.acknowledged, 0)
    if (size !== acknowledged + 1) throw new Error(`${acknowledged} records were acknowledged, and ${size - 1} are there`)
  } finally {
    await ledger.close()
  }
}

/** Processes are forked, warmed up together, and counted together. */
export async function writeAtOnce(session: Session, server: Server, writing: Writing): Promise<Written> {
  const built = await session.built()
  const { processes, callers, payloads, measured_ms, warmUp_ms, turns } = writing
  return server.inPlace(async ({ url }) => {
    // So that nobody's first record is the ledger's.
    await (await AuditLedger.open(url, LEDGER_OPTIONS)).close()
    const task: WriterTask = { built, url, payloads, callers, measured_ms, turns }
    const children = Array.from({ length: processes }, () =>
      fork(PROGRAM, [JSON.stringify(task)], { execArgv: [...STRIPPING, '--disable-warning=ExperimentalWarning'] }),
    )
    try {
      const figures = await allAtOnce(children, warmUp_ms)
      await requireAll(url, figures)
      const sum = (value: (figure: WriterFigures) => number): number => figures.reduce((total, figure) => total + value(figure), 0)
      const batches = sum((figure) => figure.batches)
      return {
        rate: sum(({ counted, seconds }) => counted / seconds),
        size: sum(({ counted }) => counted) / batches,
        races: sum((figure) => figure.races) / batches,
      }
    } finally {
      for (const child of children) if (child.exitCode === null) child.kill('SIGKILL')
    }
  })
}
