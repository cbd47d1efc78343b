/** Recording agent calls through the ledger: what is kept, what is refused, and that a retry is one record. */
import assert from 'node:assert/strict'
import type { LedgerEntryInput } from '../../ledger/entry.ts'
import { OUTCOMES, type Outcome } from '../../verify/header.ts'
import { assertMisuse, assertRefused } from '../checks.ts'
import { SAMPLE_ORIGIN } from '../sample-chain.ts'
import { persistent, type Scenario } from './bench.ts'
import { assertSound, newLedger, restarted, sizeOf, someCall } from './ledger-bench.ts'

const FULL: LedgerEntryInput = {
  run_id: 'run-full',
  correlation_id: 'task-42',
  timestamp_start: '2025-12-31T23:59:58+00:00',
  timestamp_end: '2026-01-01T01:00:00.25+01:00',
  latency_ms: 2250.125,
  agent_name: 'analyst',
  method_name: 'summarise',
  prompt: [{ role: 'user', content: 'line\u2028break 🦊 \u0000' }],
  context_refs: ['sha256:abc', 'run:7'],
  input_metadata: { temperature: 0.2, __proto__x: 1 },
  raw_output: '{"a": 1}',
  parsed_data: { a: 1, list: [1, null, 'x', { deep: true }] },
  parse_result: { ok: true },
  provider_name: 'example',
  model_name: 'model-1',
  usage: { input_tokens: 12, cost: '0.0012' },
  policy_decisions: [{ policy: 'rbac', decision: 'allow' }],
  training_labels: { good: true },
}

/** What canonical JSON can't carry, and where it stands. */
function unfit(): readonly (readonly [what: string, entry: LedgerEntryInput, path: string])[] {
  const cyclic: { [key: string]: unknown } = {}
  cyclic['self'] = cyclic
  const holed = [1, 2, 3]
  delete holed[1]
  let deep: unknown = 1
  for (let i = 0; i < 70; i++) deep = [deep]
  const data = (value: unknown): LedgerEntryInput => someCall({ parsed_data: { items: [value] } as never })
  return [
    ['NaN', data(NaN), '/parsed_data/items/0'],
    ['Infinity', data(-Infinity), '/parsed_data/items/0'],
    ['a BigInt', data(1n), '/parsed_data/items/0'],
    ['an integer beyond 2^53', data(2 ** 53), '/parsed_data/items/0'],
    ['a function', data(() => 1), '/parsed_data/items/0'],
    ['a symbol', data(Symbol('x')), '/parsed_data/items/0'],
    ['a Map', data(new Map()), '/parsed_data/items/0'],
    ['a Set', data(new Set()), '/parsed_data/items/0'],
    ['a RegExp', data(/x/), '/parsed_data/items/0'],
    ['an Error', data(new Error('x')), '/parsed_data/items/0'],
    ['a Buffer', data(Buffer.from('x')), '/parsed_data/items/0'],
    ['an invalid Date', data(new Date(NaN)), '/parsed_data/items/0'],
    ['undefined in an array', data(undefined), '/parsed_data/items/0'],
    ['a hole', someCall({ parsed_data: holed }), '/parsed_data/1'],
    ['a cycle', someCall({ parsed_data: cyclic as never }), '/parsed_data/self'],
    ['an unpaired surrogate', someCall({ raw_output: 'x\ud800y' }), '/raw_output'],
    ['an unpaired surrogate in a key', someCall({ usage: { 'x\udc00': 1 } }), '/usage'],
    ['too much depth', someCall({ parsed_data: [deep] as never }), '/parsed_data'],
  ]
}

export const recordCases: readonly Scenario[] = [
  {
    name: 'a new ledger begins with its creation, and verifies',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      const first = await ledger.at(0)
      assert.equal(ledger.origin, SAMPLE_ORIGIN)
      assert.deepEqual([first?.header.type, first?.header.actor, first?.header.stream], ['LedgerCreated', SAMPLE_ORIGIN, 'ledger'])
      await assertSound(ledger)
    },
  },
  {
    name: 'a receipt tells where the record stands',
    async run(bench) {
      const { ledger, clock } = await newLedger(bench)
      const now = clock.now()
      const receipt = await ledger.record(someCall())
      const record = await ledger.get(receipt.run_id)
      assert.equal(receipt.seq, 1)
      assert.match(receipt.run_id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
      assert.deepEqual(
        [record?.hash, record?.seq, record?.header.recorded_at, record?.header.stream, record?.header.stream_version],
        [receipt.hash, receipt.seq, receipt.recorded_at, receipt.stream, receipt.stream_version],
      )
      assert.equal(receipt.stream, receipt.run_id)
      assert.equal(receipt.stream_version, 0)
      assert.equal(Date.parse(receipt.recorded_at) * 1000, now)
      await assertSound(ledger)
    },
  },
  {
    name: 'an entry comes back with every member, times in UTC',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      await ledger.record(FULL)
      const entry = (await ledger.get('run-full'))?.entry
      assert.deepEqual(entry, { ...FULL, timestamp_start: '2025-12-31T23:59:58.000000Z', timestamp_end: '2026-01-01T00:00:00.250000Z' })
      await assertSound(ledger)
    },
  },
  {
    name: 'what is left out has its default',
    async run(bench) {
      const { ledger, clock } = await newLedger(bench)
      const { run_id } = await ledger.record(someCall())
      const now = new Date(clock.now() / 1000).toISOString().replace('Z', '000Z')
      assert.deepEqual((await ledger.get(run_id))?.entry, {
        run_id,
        correlation_id: null,
        timestamp_start: now,
        timestamp_end: now,
        latency_ms: 0,
        agent_name: 'analyst',
        method_name: 'summarise',
        prompt: '',
        context_refs: [],
        input_metadata: {},
        raw_output: '',
        parsed_data: null,
        parse_result: null,
        provider_name: '',
        model_name: '',
        usage: {},
        policy_decisions: [],
        training_labels: {},
      })
    },
  },
  {
    name: 'the header is of the entry and what stands beside it',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      await ledger.record(FULL, { causation_id: 'cause', tags: ['z', 'a', 'z', '\u{10000}', '\uffff'] })
      await ledger.record(someCall({ run_id: 'other', correlation_id: 'task-42' }), { stream: 'elsewhere' })
      const { header } = (await ledger.get('run-full'))!
      assert.deepEqual(
        [header.actor, header.action, header.type, header.schema, header.v],
        ['analyst', 'summarise', 'AgentCallCompleted', 1, 1],
      )
      assert.deepEqual([header.stream, header.correlation_id, header.causation_id], ['task-42', 'task-42', 'cause'])
      assert.deepEqual(header.tags, ['a', 'z', '\u{10000}', '\uffff'])
      assert.equal(header.timestamp, '2026-01-01T00:00:00.250000Z')
      assert.equal((await ledger.get('other'))?.header.stream, 'elsewhere')
      await assertSound(ledger)
    },
  },
  {
    name: 'the outcome is as given, else denied, else failure, else success',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      const deny = { policy_decisions: [{ decision: 'allow' }, { decision: 'deny' }] }
      const unparsed = { parse_result: { ok: false } }
      const cases: [Partial<LedgerEntryInput>, Outcome | undefined, Outcome][] = [
        [{}, undefined, 'success'],
        [deny, undefined, 'denied'],
        [unparsed, undefined, 'failure'],
        [{ ...deny, ...unparsed }, undefined, 'denied'],
        [{ parse_result: { ok: true } }, undefined, 'success'],
        ...OUTCOMES.map((outcome): [Partial<LedgerEntryInput>, Outcome, Outcome] => [{ ...deny, ...unparsed }, outcome, outcome]),
      ]
      for (const [entry, outcome, expected] of cases) {
        const { run_id } = await ledger.record(someCall(entry), outcome === undefined ? {} : { outcome })
        assert.equal((await ledger.get(run_id))?.header.outcome, expected)
      }
      await assertRefused(ledger.record(someCall(), { outcome: 'great' as Outcome }), 'invalid_entry')
    },
  },
  {
    name: 'unknown keys, missing names and wrong kinds are refused by name, and nothing is recorded',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      const wrong: [unknown, RegExp][] = [
        [{ ...someCall(), agentname: 'x' }, /agentname/],
        [{ ...someCall(), $enc: {} }, /\$enc/],
        [{ method_name: 'm' }, /agent_name/],
        [{ agent_name: 'a' }, /method_name/],
        [{ agent_name: '', method_name: 'm' }, /agent_name/],
        [someCall({ latency_ms: -1 }), /latency_ms/],
        [someCall({ timestamp_end: '2026-02-30T00:00:00Z' }), /timestamp_end/],
        [someCall({ timestamp_end: '2026-02-01T00:00:00' }), /timestamp_end/],
        [someCall({ context_refs: 'x' as never }), /context_refs/],
        [someCall({ agent_name: 'x'.repeat(513) }), /actor/],
        [someCall({ correlation_id: 'a\u0007b' }), /correlation_id|stream/],
      ]
      for (const [entry, name] of wrong)
        assert.match((await assertRefused(ledger.record(entry as LedgerEntryInput), 'invalid_entry')).message, name)
      await assertMisuse(() => ledger.record(someCall(), { outcom: 'success' } as never), TypeError)
      assert.equal(await sizeOf(ledger), 1)
    },
  },
  {
    name: 'what canonical JSON can not carry is refused, naming the place',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      for (const [what, entry, path] of unfit()) {
        const error = await assertRefused(ledger.record(entry), 'invalid_entry', what)
        assert.ok(error.details.path?.startsWith(path), `${what}: ${error.details.path} instead of ${path}`)
      }
      assert.equal(await sizeOf(ledger), 1)
      await assertSound(ledger)
    },
  },
  {
    name: 'undefined is left out, a Date is a time, -0 is 0, toJSON is not called',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      const parsed_data = { gone: undefined, when: new Date('2026-02-03T04:05:06.789Z'), zero: -0, own: { toJSON: undefined, kept: 1 } }
      const { run_id } = await ledger.record(someCall({ parsed_data: parsed_data as never }))
      const entry = (await ledger.get(run_id))?.entry as { parsed_data: object }
      assert.deepEqual(entry.parsed_data, { when: '2026-02-03T04:05:06.789000Z', zero: 0, own: { kept: 1 } })
      assert.equal(Object.is((entry.parsed_data as { zero: number }).zero, -0), false)
    },
  },
  {
    name: 'an entry over 16 MiB is refused, and its neighbours are not',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      const results = await Promise.allSettled([
        ledger.record(someCall({ run_id: 'before' })),
        ledger.record(someCall({ raw_output: 'x'.repeat(16 * 1024 * 1024) })),
        ledger.record(someCall({ run_id: 'after' })),
      ])
      assert.deepEqual(
        results.map(({ status }) => status),
        ['fulfilled', 'rejected', 'fulfilled'],
      )
      await assertRefused(Promise.reject((results[1] as PromiseRejectedResult).reason), 'too_large')
      assert.equal(await sizeOf(ledger), 3)
    },
  },
  {
    name: 'what was given is not changed, and may change afterwards',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      const entry = { ...structuredClone(FULL), usage: { tokens: 1 } }
      const copy = structuredClone(entry)
      const tags = ['b', 'a']
      const recording = ledger.record(entry, { tags })
      assert.deepEqual(entry, copy)
      entry.usage.tokens = 2
      tags.push('c')
      await recording
      const record = await ledger.get('run-full')
      assert.deepEqual([record?.entry?.['usage'], record?.header.tags], [{ tokens: 1 }, ['a', 'b']])
    },
  },
]

export const idempotencyCases: readonly Scenario[] = [
  {
    name: 'the same run_id with the same content is one record, and has one receipt',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      const first = await ledger.record(FULL, { tags: ['a', 'b'] })
      const turned = Object.fromEntries(Object.entries(FULL).toReversed()) as unknown as LedgerEntryInput
      assert.deepEqual(await ledger.record(turned, { tags: ['b', 'a'] }), first)
      assert.equal(await sizeOf(ledger), 2)
      await assertSound(ledger)
    },
  },
  {
    name: 'the same run_id with other content is a conflict',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      const first = await ledger.record(FULL, { tags: ['a'], causation_id: 'c' })
      const options = { tags: ['a'], causation_id: 'c' }
      const others: [LedgerEntryInput, object][] = [
        [{ ...FULL, raw_output: 'other' }, options],
        [{ ...FULL, agent_name: 'other' }, options],
        [{ ...FULL, timestamp_end: '2026-01-01T00:00:00.250001Z' }, options],
        [{ ...FULL, training_labels: {} }, options],
        [FULL, { ...options, outcome: 'failure' }],
        [FULL, { ...options, tags: ['a', 'b'] }],
        [FULL, { ...options, stream: 'other' }],
        [FULL, { ...options, causation_id: 'd' }],
      ]
      for (const [entry, beside] of others) {
        const error = await assertRefused(ledger.record(entry, beside), 'run_id_conflict')
        assert.match(error.message, /run-full/)
      }
      assert.deepEqual(await ledger.record(FULL, options), first)
      assert.equal(await sizeOf(ledger), 2)
    },
  },
  {
    name: 'the same run_id many times in one batch is one record',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      const receipts = await Promise.all(Array.from({ length: 20 }, () => ledger.record(FULL)))
      for (const receipt of receipts) assert.deepEqual(receipt, receipts[0])
      assert.equal(await sizeOf(ledger), 2)
      await assertSound(ledger)
    },
  },
  {
    name: 'of two contents under one run_id in one batch the first is recorded',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      const [first, second, third] = await Promise.allSettled([
        ledger.record(someCall({ run_id: 'r', raw_output: 'one' })),
        ledger.record(someCall({ run_id: 'r', raw_output: 'two' })),
        ledger.record(someCall({ run_id: 's' })),
      ])
      assert.deepEqual([first.status, second.status, third.status], ['fulfilled', 'rejected', 'fulfilled'])
      await assertRefused(Promise.reject((second as PromiseRejectedResult).reason), 'run_id_conflict')
      assert.equal((await ledger.get('r'))?.entry?.['raw_output'], 'one')
    },
  },
  {
    name: 'times that were filled in are no other content',
    async run(bench) {
      const { ledger, clock } = await newLedger(bench)
      const first = await ledger.record(someCall({ run_id: 'r' }))
      const started = await ledger.record(someCall({ run_id: 's', timestamp_start: '2025-12-31T00:00:00Z' }))
      clock.advance(3_600_000_000)
      assert.deepEqual(await ledger.record(someCall({ run_id: 'r' })), first)
      assert.deepEqual(await ledger.record(someCall({ run_id: 's', timestamp_start: '2025-12-31T00:00:00Z' })), started)
      await assertRefused(ledger.record(someCall({ run_id: 'r', latency_ms: 7 })), 'run_id_conflict')
      assert.equal(await sizeOf(ledger), 3)
    },
  },
  {
    name: 'a retry after a restart gets the first receipt, or the conflict',
    needs: persistent,
    async run(bench) {
      const before = await newLedger(bench)
      const full = await before.ledger.record(FULL)
      const brief = await before.ledger.record(someCall({ run_id: 'brief' }))
      before.clock.advance(1_000_000)
      const { ledger } = await restarted(bench, before)
      assert.deepEqual(await ledger.record(FULL), full)
      assert.deepEqual(await ledger.record(someCall({ run_id: 'brief' })), brief)
      await assertRefused(ledger.record(someCall({ run_id: 'brief', raw_output: 'x' })), 'run_id_conflict')
      assert.equal(await sizeOf(ledger), 3)
      await assertSound(ledger)
    },
  },
  {
    name: 'an append of several events is repeated whole, or it is a conflict',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      const events = ['a', 'b', 'c'].map((run_id) => ({ type: 'StepTaken', data: { run_id }, run_id, timestamp: '2026-01-01T00:00:00Z' }))
      const first = await ledger.append('s', events, { expectedVersion: 'no-stream' })
      assert.deepEqual(await ledger.append('s', events, { expectedVersion: 'no-stream' }), first)
      await assertRefused(ledger.append('s', [...events, { type: 'StepTaken', data: {}, run_id: 'd' }]), 'run_id_conflict')
      await assertRefused(ledger.append('s', [events[0]!, { ...events[1]!, data: {} }]), 'run_id_conflict')
      await assertRefused(ledger.append('t', events), 'run_id_conflict')
      await assertRefused(
        ledger.append('s', [
          { ...events[0]!, run_id: 'x' },
          { ...events[0]!, run_id: 'x' },
        ]),
        'run_id_conflict',
      )
      assert.equal(await sizeOf(ledger), 4)
      await assertSound(ledger)
    },
  },
]
