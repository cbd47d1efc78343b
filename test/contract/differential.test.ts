/** The same history on every store gives the same bytes: nothing of a store comes into the records. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { AuditLedger, LedgerError, type EventQuery, type ExpectedVersion, type LedgerRecord, type OpenOptions } from '../../src/index.ts'
import { fixedClock, seededRandom, type FixedClock, type SeededRandom } from '../../src/testing/index.ts'
import { OUTCOMES } from '../../src/verify/header.ts'
import { useLedgerUrls } from '../helpers/postgres.ts'
import { scale, soaking } from '../helpers/scale.ts'
import { tempDir } from '../helpers/temp.ts'

interface Kind {
  readonly name: string
  /** `memory:`, a name in a folder, or what gives a URL. */
  readonly place: string | (() => string)
  readonly options: OpenOptions
}

const KINDS: readonly Kind[] = [
  { name: 'memory', place: 'memory:', options: {} },
  { name: 'SQLite', place: 'ledger.db', options: {} },
  { name: 'SQLite by better-sqlite3', place: 'ledger.db', options: { driver: 'better-sqlite3' } },
  ...useLedgerUrls().map((url) => ({ name: 'PostgreSQL', place: url, options: {} })),
  { name: 'JSONL', place: 'ledger', options: {} },
  { name: 'JSONL without index', place: 'ledger', options: { index: 'off' } },
]

/** Lets a clock and a source of randomness outlive a ledger that is closed and opened again. */
interface World {
  readonly clock: FixedClock
  readonly random: SeededRandom
}

function open(location: string, { options }: Kind, { clock, random }: World): Promise<AuditLedger> {
  return AuditLedger.open(location, {
    origin: 'example.com/same',
    signer: null,
    actor: 'tester',
    clock,
    random,
    onWarning: () => {},
    ...options,
  })
}

/** What happened, for comparing: the receipt, or the code of the refusal. */
async function told(doing: Promise<unknown>): Promise<unknown> {
  try {
    return await doing
  } catch (error) {
    if (error instanceof LedgerError) return error.code
    throw error
  }
}

const TEXTS = ['', 'plain', 'é\u2028🦊', '\u0000\u001f', '{"a":1},"header":', 'x'.repeat(3000)]

/** One step of a history, drawn by chance: the same draws in the same order for every store. */
function step(ledger: AuditLedger, random: SeededRandom, number: number): Promise<unknown>[] {
  const stream = `stream-${random.below(4)}`
  const text = random.pick(TEXTS)
  const tags = Array.from({ length: random.below(4) }, () => `tag-${random.below(5)}`)
  const run_id = random.chance(0.4) ? `run-${random.below(number + 1)}` : undefined
  switch (random.below(7)) {
    case 0:
    case 1:
      return Array.from({ length: 1 + random.below(5) }, (_, i) => {
        const entry = { agent_name: `agent-${i}`, method_name: 'm', raw_output: text, ...(run_id === undefined ? {} : { run_id }) }
        return told(ledger.record(entry, { tags, outcome: random.pick(OUTCOMES), ...(random.chance(0.3) ? { stream } : {}) }))
      })
    case 2:
      return [told(ledger.append(stream, { type: 'StepTaken', data: { text }, tags, ...(run_id === undefined ? {} : { run_id }) }))]
    case 3: {
      const expectedVersion = random.pick<ExpectedVersion>(['any', 'no-stream', 'stream-exists', random.below(30)])
      const events = Array.from({ length: 1 + random.below(6) }, (_, n) => ({ type: 'StepTaken', data: { text, n }, tags }))
      return [told(ledger.append(stream, events, { expectedVersion }))]
    }
    case 4: {
      const failIfEventsMatch = random.pick<EventQuery | EventQuery[]>([
        { types: 'StepTaken', tags: random.pick(['tag-0', 'tag-1']) },
        { stream },
        [{ tags: 'tag-2' }, { types: 'StepUndone' }],
      ])
      const event = { type: random.pick(['StepTaken', 'StepUndone']), data: { text }, tags }
      return [told(ledger.append(stream, event, { failIfEventsMatch, after: random.below(4 * number + 2) - 1 }))]
    }
    case 5: {
      const parts = [stream, 'other'].map((name) => ({
        stream: name,
        events: Array.from({ length: random.below(3) }, (_, n) => ({ type: 'StepTaken', data: { text, n }, tags })),
        expectedVersion: random.pick<ExpectedVersion>(['any', 'stream-exists', random.below(20)]),
      }))
      return parts.every(({ events }) => events.length === 0) ? [] : [told(ledger.appendAll(parts))]
    }
    default:
      return [told(ledger.record({ agent_name: random.chance(0.2) ? '' : 'agent', method_name: 'm', raw_output: text }))]
  }
}

/** Reads beside the appends, and after each restart from where it was. */
class Follower {
  readonly lines: string[] = []
  #last: LedgerRecord | null = null

  /** Resolves when the ledger is closed. */
  async follow(ledger: AuditLedger): Promise<void> {
    for await (const record of ledger.subscribe({ after: this.#last ?? -1 })) {
      this.#last = record
      this.lines.push(record.line)
    }
  }
}

/** All that callers heard, and all lines. */
async function live(
  kind: Kind,
  seed: number,
  steps: number,
  { restarts, rotates }: Pick<History, 'restarts' | 'rotates'>,
): Promise<{ heard: unknown[]; lines: string[] }> {
  const { place } = kind
  const location = typeof place === 'function' ? place() : place === 'memory:' ? place : join(tempDir(), place)
  const world: World = { clock: fixedClock(), random: seededRandom(seed) }
  // Apart from the ledger's own draws, which depend on what is fresh.
  const random = seededRandom(seed + 1)
  let ledger = await open(location, kind, world)
  const follower = new Follower()
  let following = follower.follow(ledger)
  const heard: unknown[] = []
  for (let number = 0; number < steps; number++) {
    world.clock.advance(random.below(2_000_000))
    if (random.chance(0.05)) world.clock.set(world.clock.now() - random.pick([1, 3_000_000, 3_600_000_000]))
    heard.push(await Promise.all(step(ledger, random, number)))
    if (random.chance(0.05) && rotates) {
      const receipt = await ledger.rotate()
      heard.push(receipt?.seq)
    }
    if (random.chance(0.1) && restarts) {
      await ledger.close()
      await following
      ledger = await open(location, kind, world)
      following = follower.follow(ledger)
    }
  }
  const lines: string[] = []
  for await (const { line } of ledger.read()) lines.push(line)
  const report = await ledger.verifyIntegrity({ canonicalEntries: true })
  expect(report.problems).toEqual([])
  expect(report.size).toBe(lines.length)
  while (follower.lines.length < lines.length) await new Promise((resolve) => setTimeout(resolve, 1))
  await ledger.close()
  await following
  expect(follower.lines).toEqual(lines)
  return { heard, lines }
}

interface History {
  readonly what: string
  readonly restarts: boolean
  readonly rotates: boolean
  readonly kinds: readonly Kind[]
}

const PERSISTENT = KINDS.filter(({ place }) => place !== 'memory:')
const HISTORIES: readonly History[] = [
  { what: 'on every store', restarts: false, rotates: false, kinds: KINDS },
  { what: 'with restarts, on every store that keeps it', restarts: true, rotates: false, kinds: PERSISTENT },
  // A seal names its segment's file where there is one, so these are two histories.
  {
    what: 'with restarts and seals, on stores without segments',
    restarts: true,
    rotates: true,
    kinds: PERSISTENT.filter(({ place }) => place !== 'ledger'),
  },
  {
    what: 'with restarts and seals, on stores with segments',
    restarts: true,
    rotates: true,
    kinds: PERSISTENT.filter(({ place }) => place === 'ledger'),
  },
]

for (let seed = 1; seed <= scale(2, 40); seed++) {
  test.each(HISTORIES)(`history ${seed} is the same $what`, async ({ kinds, ...history }) => {
    // The server takes longer than all others together.
    const [first, ...others] = kinds.filter(({ place }) => typeof place === 'string' || seed === 1 || soaking)
    const model = await live(first!, seed, scale(50, 200), history)
    expect(model.lines.length).toBeGreaterThan(40)
    for (const kind of others) expect(await live(kind, seed, scale(50, 200), history), kind.name).toEqual(model)
  })
}
