/**
 * A process of its own that works on a JSONL ledger, for tests of locks, crashes and exits:
 *
 *     node jsonl-child.ts <job> <ledger> [argument]
 *
 * It says what it does on stdout, one line each, and goes on until stdin ends, or it is killed.
 */
import { closeSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { LedgerError } from '../../src/ledger/errors.ts'
import type { SealedRecord, Store } from '../../src/ledger/store.ts'
import type { KeptEntry } from '../../src/ledger/upkeep.ts'
import { openJsonlStore } from '../../src/stores/jsonl/index.ts'
import { LEDGER_CREATED, SampleChain } from '../../src/testing/sample-chain.ts'
import { readLine } from '../../src/verify/record.ts'

function say(text: string): void {
  writeSync(1, `${text}\n`)
}

const untilStdinEnds = (): Promise<void> =>
  new Promise((resolve) => {
    process.stdin.on('end', resolve).resume()
  })

/** A chain that goes on where the store ends. */
export async function chainOf(store: Store): Promise<SampleChain> {
  const chain = new SampleChain(process.pid)
  for await (const lines of store.read({ filter: {}, from: 0, before: Infinity, reverse: false, limit: Infinity })) {
    chain.accept(lines.map((line) => ({ ...readLine(line), provider: null, model: null }) as SealedRecord))
  }
  return chain
}

/** Opens and waits. */
async function hold(dir: string): Promise<void> {
  try {
    const store = await openJsonlStore(dir)
    say('open')
    await untilStdinEnds()
    await store.close()
  } catch (error) {
    if (!(error instanceof LedgerError)) throw error
    say(`${error.code}: ${error.message}`)
  }
}

/** Does what must never be done: opens and closes the lock's file by itself. */
async function trap(dir: string): Promise<void> {
  const store = await openJsonlStore(dir)
  say('open')
  await new Promise((resolve) => process.stdin.once('data', resolve))
  closeSync(openSync(join(dir, 'writer.lock'), 'r'))
  say('trapped')
  await untilStdinEnds()
  await store.close()
}

/** Appends batch after batch, some of them in new segments, and says how many records are acknowledged. */
async function write(dir: string): Promise<void> {
  const store = await openJsonlStore(dir, { segmentBytes: 60_000 })
  const chain = await chainOf(store)
  if (chain.head.size === 0) await chain.append(store, [LEDGER_CREATED])
  say(`open ${chain.head.size}`)
  for (let batch = 0; ; batch++) {
    const samples = Array.from({ length: 1 + (batch % 40) }, (_, i) => ({
      run_id: `${process.pid}-${chain.head.size + i}`,
      entry: { text: 'x'.repeat((batch * 37) % 3000) },
    }))
    await chain.append(store, samples, { whole: batch % 3 === 0, newSegment: store.segmentFull })
    say(String(chain.head.size))
    if (process.argv[4] === 'slowly') await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** Exits in the middle of an append, and lets the exit handler finish it and append one more. */
async function exit(dir: string): Promise<void> {
  const store = await openJsonlStore(dir)
  const chain = await chainOf(store)
  if (chain.head.size === 0) await chain.append(store, [LEDGER_CREATED])
  const first = chain.seal(Array.from({ length: 500 }, (_, i) => ({ run_id: `exit-${process.pid}-${i}`, stream: `s${i % 7}` })))
  void store.append(first, chain.head, { newSegment: process.argv[4] === 'new-segment' })
  process.on('exit', () => {
    const { atExit } = store
    if (atExit === undefined) throw new TypeError('no atExit')
    atExit.settle()
    const { head, runs, streams } = atExit.state({ streams: ['s3', 'nobody'], run_ids: [`exit-${process.pid}-499`, 'nobody', 'run-0'] })
    say(`settled ${head.size} ${[...runs.keys()].join()} ${[...streams].join()}`)
    if (head.size === chain.head.size + first.length) chain.accept(first)
    atExit.append(chain.seal([{ run_id: `last-${process.pid}` }]), chain.head)
    say('appended')
  })
  // Somewhere on the way: nothing was awaited yet, or the write is with its thread.
  if (process.argv[4] !== 'at-once') await new Promise((resolve) => setImmediate(resolve))
  process.exit(0)
}

/** Follows a ledger that somebody else writes. */
async function follow(dir: string): Promise<void> {
  const store = await openJsonlStore(dir, { readOnly: true })
  say('open')
  let stopping = false
  void untilStdinEnds().then(() => (stopping = true))
  for (let from = 0; ;) {
    const last = stopping
    for await (const lines of store.read({ filter: {}, from, before: Infinity, reverse: false, limit: Infinity })) {
      for (const line of lines) {
        const { header } = readLine(line)
        if (header.seq !== from) throw new Error(`position ${header.seq} came, not ${from}`)
        from++
      }
    }
    if (last) {
      say(`followed ${from}`)
      return store.close()
    }
    await new Promise((resolve) => setTimeout(resolve, 3))
  }
}

/** A ledger with entries to take away, and beside them what they are: `entries/all.json`. */
async function founded(store: Store, chain: SampleChain): Promise<void> {
  await chain.append(store, [LEDGER_CREATED])
  for (let batch = 0; batch < 12; batch++) {
    const samples = Array.from({ length: 30 }, (_, i) => ({
      run_id: `founded-${batch}-${i}`,
      entry: { i, provider_name: `provider-${i % 3}`, text: 'é'.repeat((i * 97) % 1500) },
    }))
    await chain.append(store, samples, { newSegment: store.segmentFull })
  }
  const kept = chain.records.map(({ header, salt, entry_text }) => ({ seq: header.seq, salt, entry_text }))
  await chain.append(store, [{}], { newSegment: true })
  await store.upkeep?.archive.write('all.json', Buffer.from(JSON.stringify(kept)))
}

/** Takes entries away and puts them back, appends now and then, and says what is done. */
async function upkeep(dir: string): Promise<void> {
  const store = await openJsonlStore(dir, { segmentBytes: 60_000 })
  const chain = await chainOf(store)
  if (chain.head.size === 0) await founded(store, chain)
  const { upkeep: doing } = store
  if (doing === undefined) throw new TypeError('no upkeep')
  const bytes: Uint8Array[] = []
  for await (const block of doing.archive.read('all.json')) bytes.push(block)
  const kept = JSON.parse(Buffer.concat(bytes).toString()) as KeptEntry[]
  say('open')
  const { random } = chain
  for (let round = 0; ; round++) {
    const first = 1 + random.below(kept.length - 1)
    const last = Math.min(kept.length - 1, first + random.below(200))
    for await (const { records } of doing.withhold([{ first, last }])) say(`gone ${first} ${last} ${records}`)
    await chain.append(store, [{ run_id: `${process.pid}-${round}` }], { newSegment: random.chance(0.1) })
    async function* back(): AsyncGenerator<readonly KeptEntry[]> {
      for (let at = first; at <= last; at += 50) yield kept.slice(at, Math.min(at + 50, last + 1))
    }
    if (random.chance(0.7)) for await (const { records } of doing.restore(back())) say(`back ${first} ${last} ${records}`)
  }
}

const JOBS: Readonly<Record<string, (dir: string) => Promise<void>>> = { hold, trap, write, exit, follow, upkeep }

const [, , job = '', folder = ''] = process.argv
await JOBS[job]!(folder)
