/** Typed events: what is checked at append, what a reader gets, and names that read as facts. */
import { describe, expect, expectTypeOf, test } from 'vitest'
import { AuditLedger, LedgerError, defineEvent, type EventQuery, type StandardSchema } from '../../src/index.ts'
import { readsAsFact } from '../../src/ledger/event-name.ts'

interface Task {
  readonly title: string
  readonly minutes: number
}

/** A schema by hand, as a library would make it: checks, and fills in a default. */
function taskSchema(isSlow = false): StandardSchema<{ title: string; minutes?: number }, Task> {
  const judge = (value: unknown): { value: Task } | { issues: { message: string; path: PropertyKey[] }[] } => {
    const { title, minutes = 0 } = value as Partial<Task>
    if (typeof title !== 'string') return { issues: [{ message: 'must be a string', path: ['title'] }] }
    if (minutes < 0)
      return {
        issues: [
          { message: 'must not be negative', path: ['minutes'] },
          { message: 'second', path: [] },
        ],
      }
    return { value: { title, minutes } }
  }
  return { '~standard': { version: 1, vendor: 'test', validate: (value) => (isSlow ? Promise.resolve(judge(value)) : judge(value)) } }
}

async function inMemory(): Promise<AuditLedger> {
  return AuditLedger.open('memory:', { actor: 'tester' })
}

describe('defineEvent', () => {
  test.each([false, true])(
    'data are checked at append, typed at read, and recorded as the schema returns them (slow: %s)',
    async (isSlow) => {
      const TaskPlanned = defineEvent('TaskPlanned', taskSchema(isSlow))
      const ledger = await inMemory()
      await ledger.append('task-1', TaskPlanned({ title: 'report' }, { tags: ['q2'], correlation_id: 'c' }))
      const record = (await ledger.events({ types: TaskPlanned })).events[0]!
      expect(record.header).toMatchObject({ type: 'TaskPlanned', schema: 1, tags: ['q2'], correlation_id: 'c' })
      expect(record.entry).toEqual({ title: 'report', minutes: 0 })
      expectTypeOf(TaskPlanned.read(record)).toEqualTypeOf<Task>()
      expect(TaskPlanned.read(record)).toEqual({ title: 'report', minutes: 0 })
      await ledger.close()
    },
  )

  test.each([
    [{ title: 'x', minutes: -1 }, '/minutes', /\/minutes: must not be negative \(and 1 more\)/],
    [{ title: 3 }, '/title', /\/title: must be a string/],
  ])('data that do not fit are refused with the path: %j', async (data, path, message) => {
    const TaskPlanned = defineEvent('TaskPlanned', taskSchema())
    const ledger = await inMemory()
    const append = ledger.append('task-1', [TaskPlanned({ title: 'good' }), TaskPlanned(data as never)])
    await expect(append).rejects.toMatchObject({ code: 'invalid_entry', details: { path }, message: expect.stringMatching(message) })
    expect((await ledger.head()).size).toBe(1)
    await ledger.close()
  })

  test('appends that are not awaited keep their order', async () => {
    const TaskPlanned = defineEvent('TaskPlanned', taskSchema())
    const ledger = await inMemory()
    const receipts = await Promise.all(Array.from({ length: 20 }, (_, i) => ledger.append('s', TaskPlanned({ title: `${i}` }))))
    expect(receipts.map(([receipt]) => receipt?.stream_version)).toEqual(Array.from({ length: 20 }, (_, i) => i))
    await ledger.close()
  })

  test('older data are brought up version by version; newer ones are refused; what is recorded stays as it was', async () => {
    const V1 = defineEvent<'TaskPlanned', { name: string }>('TaskPlanned')
    const V3 = defineEvent<'TaskPlanned', { title: string; minutes: number }>('TaskPlanned', null, {
      version: 3,
      upcast: { 1: ({ name }) => ({ title: name }), 2: (data) => ({ ...data, minutes: 15 }) },
    })
    const ledger = await inMemory()
    await ledger.append('s', V1({ name: 'report' }))
    await ledger.append('s', V3({ title: 'other', minutes: 3 }))
    const [first, second] = (await ledger.events({ types: 'TaskPlanned' })).events
    expect(V3.read(first!)).toEqual({ title: 'report', minutes: 15 })
    expect(V3.read(second!)).toEqual({ title: 'other', minutes: 3 })
    expect(first!.entry).toEqual({ name: 'report' })
    expect(V3.upcast({ title: 'x' }, 2)).toEqual({ title: 'x', minutes: 15 })
    expect(() => V1.read(second!)).toThrow(expect.objectContaining({ code: 'newer_format' }))
    await ledger.close()
  })

  test('a record of another type is misuse, unknown types stay readable', async () => {
    const TaskPlanned = defineEvent('TaskPlanned')
    const ledger = await inMemory()
    await ledger.append('s', { type: 'SomethingElseHappened', data: { a: 1 } })
    const [record] = (await ledger.events({ stream: 's' })).events
    expect(TaskPlanned.is(record!)).toBe(false)
    expect(() => TaskPlanned.read(record!)).toThrow(TypeError)
    expect(record!.entry).toEqual({ a: 1 })
    await ledger.close()
  })

  test.each(['RunAgent', 'CompleteTask', 'ReadDocument', 'SetLimit', 'task.plan', 'FeedCat', 'NeedInput'])(
    '%s reads as a command',
    (name) => {
      expect(() => defineEvent(name)).toThrow(/reads as a command.*past/s)
      expect(defineEvent(name, null, { anyName: true }).type).toBe(name)
    },
  )

  test.each([
    'AgentCompletedTask',
    'TaskStarted',
    'LimitSet',
    'order.placed',
    'order_sent',
    'PolicyDecided',
    'AgentRunFailed',
    'HTTPRequestReceived',
    'AgentBeganTask',
    'SeatTaken',
    'EntryErased',
    'ToolCallCompleted',
    'ApprovalGranted',
  ])('%s reads as a fact', (name) => expect(readsAsFact(name)).toBe(true))

  test.each([
    [{ version: 0 }, RangeError],
    [{ version: 1.5 }, RangeError],
    [{ version: 3, upcast: { 1: (data: object) => data } }, TypeError],
    [{ version: 2, upcast: { 1: (data: object) => data, 2: (data: object) => data } }, RangeError],
  ])('versions without a way to them are misuse: %o', (options, error) => {
    expect(() => defineEvent('TaskPlanned', null, options as never)).toThrow(error)
  })
})

describe('context', () => {
  test('fills in what a caller leaves open, across what is awaited, and nothing that was said', async () => {
    const ledger = await inMemory()
    await ledger.withContext({ correlation_id: 'task', actor: 'planner' }, async () => {
      await ledger.append('s', { type: 'StepTaken', data: {} })
      await new Promise((resolve) => setTimeout(resolve, 1))
      await ledger.withContext({ causation_id: 'cause' }, () => ledger.append('s', { type: 'StepTaken', data: {}, actor: 'other' }))
      await ledger.record({ agent_name: 'a', method_name: 'm' })
      await ledger.record({ agent_name: 'a', method_name: 'm', correlation_id: 'own' }, { causation_id: 'led' })
    })
    await ledger.append('s', { type: 'StepTaken', data: {} })
    const all = await ledger.query({ order: 'oldest' })
    expect(
      all.records.slice(1).map(({ header: { actor, correlation_id, causation_id } }) => [actor, correlation_id, causation_id]),
    ).toEqual([
      ['planner', 'task', undefined],
      ['other', 'task', 'cause'],
      ['a', 'task', undefined],
      ['a', 'own', 'led'],
      ['tester', undefined, undefined],
    ])
    await ledger.close()
  })

  test('what is recorded inside a call is led to by it', async () => {
    const ledger = await inMemory()
    await ledger.call({ agent_name: 'outer', method_name: 'plan', correlation_id: 'task' }, async (call) => {
      await ledger.append('tools', { type: 'ToolCallCompleted', data: { tool: 'search' } })
      await ledger.call({ agent_name: 'inner', method_name: 'answer' }, async () => 'done', { durable: true })
      expect(
        (await ledger.query({ causation_id: call.run_id, order: 'newest' })).records.map(({ header }) => [
          header.type,
          header.actor,
          header.correlation_id,
        ]),
      ).toEqual([
        ['AgentCallCompleted', 'inner', 'task'],
        ['ToolCallCompleted', 'outer', 'task'],
      ])
    })
    await ledger.flush()
    const outer = (await ledger.query({ actor: 'outer', type: 'AgentCallCompleted' })).records[0]!
    expect(outer.header.causation_id).toBeUndefined()
    await ledger.close()
  })

  test('two tasks at once do not get into each other', async () => {
    const ledger = await inMemory()
    const task = (name: string): Promise<void> =>
      ledger.withContext({ correlation_id: name }, async () => {
        for (let i = 0; i < 10; i++) {
          await ledger.append(name, { type: 'StepTaken', data: {} })
          await new Promise(setImmediate)
        }
      })
    await Promise.all(['a', 'b', 'c'].map(task))
    for (const name of ['a', 'b', 'c']) {
      const { events } = await ledger.events({ stream: name } satisfies EventQuery)
      expect(events.map(({ header }) => header.correlation_id)).toEqual(Array.from({ length: 10 }, () => name))
    }
    await ledger.close()
  })
})

test('a decision that is overtaken is refused on every try until it is made anew', async () => {
  const ledger = await inMemory()
  const SeatReserved = defineEvent<'SeatReserved', { seat: number }>('SeatReserved')
  const reserve = async (seat: number): Promise<boolean> => {
    for (let tries = 0; tries < 50; tries++) {
      const query: EventQuery = { types: SeatReserved, tags: `seat:${seat}` }
      const { events, head } = await ledger.events(query)
      if (events.length > 0) return false
      try {
        await ledger.append(`seat-${seat}`, SeatReserved({ seat }, { tags: [`seat:${seat}`] }), { failIfEventsMatch: query, after: head })
        return true
      } catch (error) {
        if (!(error instanceof LedgerError) || error.code !== 'condition_failed') throw error
      }
    }
    throw new Error('never decided')
  }
  const got = await Promise.all(Array.from({ length: 40 }, (_, i) => reserve(i % 8)))
  expect(got.filter(Boolean)).toHaveLength(8)
  expect((await ledger.events({ types: SeatReserved })).events).toHaveLength(8)
  await ledger.close()
})
