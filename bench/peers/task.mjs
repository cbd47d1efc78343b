/** What every program of this folder is told, and how it answers: one line of JSON, the last one that it prints. */
import { readFileSync } from 'node:fs'

/**
 * @typedef {object} Task
 * @property {string} folder an empty folder for its files
 * @property {string} payloads a JSON array of `{ stream, call }` or `{ stream, event }`
 * @property {number | 'batches' | 'reading'} callers so many that each wait for their own append, or batches of 1,000, or reading a
 *   stream of 1,000 again and again
 * @property {number} count payloads that are measured; as many others come first, so that tables are made and code is compiled
 * @property {string} [url] of an empty database, where it is a server's
 * @property {string} variant which of its ways the program is to go
 */

/** @type {Task} */
export const task = JSON.parse(process.argv[2] ?? '')
export const BATCH = 1000

/** @type {readonly { stream: string, call?: object, event?: object }[]} */
const payloads = JSON.parse(readFileSync(task.payloads, 'utf8'))
export const payload = (i) => payloads[i % payloads.length]

/**
 * Appends the task's payloads and returns the seconds. Whoever has no batches hands `single` alone.
 * @param {{ single: (i: number) => unknown, batch: (from: number, to: number) => unknown, read?: () => Promise<number> }} ways
 *   `read`: all events of the stream `run-0`, with what they say; resolves with how many they are
 */
export async function measure(ways) {
  if (task.callers === 'reading') return read(ways)
  await append(ways, 0, task.count)
  const start = performance.now()
  await append(ways, task.count, 2 * task.count)
  return (performance.now() - start) / 1000
}

async function read(ways) {
  await ways.batch(0, BATCH)
  const reading = async () => {
    for (let i = 0; i < task.count; i += BATCH) {
      const found = await ways.read()
      if (found !== BATCH) throw new Error(`error: ${found} of ${BATCH} events were read`)
    }
  }
  await reading()
  const start = performance.now()
  await reading()
  return (performance.now() - start) / 1000
}

async function append({ single, batch }, from, end) {
  if (task.callers === 'batches') {
    for (let i = from; i < end; i += BATCH) await batch(i, Math.min(i + BATCH, end))
    return
  }
  // Tables are made by whoever comes first.
  let next = from
  await single(next++)
  const caller = async () => {
    while (next < end) await single(next++)
  }
  await Promise.all(Array.from({ length: task.callers }, caller))
}

/** @param {{ seconds: number, kept: number, settings: string }} answer `kept`: records that are there afterwards, warm-up included */
export function answer(answer) {
  console.log(JSON.stringify(answer))
}
