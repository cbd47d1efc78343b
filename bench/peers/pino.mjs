/** pino with a destination that syncs: each line for itself, or a batch with one sync. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { answer, measure, payload, task } from './task.mjs'

const pino = createRequire(join(process.cwd(), 'package.json'))('pino')
const dest = join(task.folder, 'pino.log')
const isBatched = task.callers === 'batches'
// A batch goes out in writes of 64 KiB, and `flushSync` syncs once at its end. With a buffer for the whole of it each line
// would cost a look at all the lines before.
const destination = pino.destination(
  isBatched ? { dest, sync: true, minLength: 2 ** 16 - 1, maxWrite: 2 ** 16 } : { dest, sync: true, fsync: true },
)
const log = pino(destination)

const write = (i) => log.info(payload(i).call ?? payload(i).event)
const seconds = await measure({
  single: (i) => {
    write(i)
    if (isBatched) destination.flushSync()
  },
  batch: (first, end) => {
    for (let i = first; i < end; i++) write(i)
    destination.flushSync()
  },
})
const kept = readFileSync(dest, 'utf8').split('\n').length - 1
answer({ seconds, kept, settings: isBatched ? 'sync, flushSync a batch' : 'sync, fsync' })
