import { existsSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { AuditLedger, fileSource, importChat, timeline } from '../../src/index.ts'
import type { LedgerRecord, Timeline, TimelineNode } from '../../src/index.ts'
import { fixedClock } from '../../src/testing/index.ts'
import { scale } from '../helpers/scale.ts'
import { tempDir } from '../helpers/temp.ts'

const DATA = join(import.meta.dirname, '../../../shared/data/tau-airline-gpt-4o.json.gz')

const open = (clock = fixedClock()): Promise<AuditLedger> =>
  AuditLedger.open('memory:', { origin: 'example.com/t', signer: null, clock, actor: 'tester' })
const tree = ({ nodes }: Timeline): string[] => nodes.map(({ depth, run_id }) => `${'  '.repeat(depth)}${run_id}`)

/** Appends one event a line, `id` or `id < cause`, and gives their timeline. */
async function timelineOf(...lines: readonly string[]): Promise<Timeline> {
  await using ledger = await open()
  for (const line of lines) {
    const [run_id, causation_id] = line.split(' < ') as [string, string | undefined]
    await ledger.append('s', {
      type: 'StepTaken',
      data: {},
      run_id,
      correlation_id: 'task',
      ...(causation_id !== undefined && { causation_id }),
    })
  }
  return timeline(ledger, 'task')
}

/** Each node stands behind its parent, one deeper, and in its parent's subtree; none stands twice. */
function expectTree({ nodes }: Timeline): void {
  const path: TimelineNode[] = []
  for (const node of nodes) {
    path.length = node.depth
    expect(node.parent).toBe(path.at(-1)?.seq ?? null)
    path[node.depth] = node
  }
  expect(new Set(nodes.map(({ seq }) => seq)).size).toBe(nodes.length)
}

test('each record under what led to it, whichever was recorded first', async () => {
  expect(tree(await timelineOf('a', 'inner < outer', 'b < a', 'c', 'outer', 'c1 < c', 'b1 < b'))).toEqual([
    'a',
    '  b',
    '    b1',
    'outer',
    '  inner',
    'c',
    '  c1',
  ])
})

test('a cause that is not there, one that is the record itself, and causes in a circle', async () => {
  const found = await timelineOf('x < gone', 'me < me', 'a < c', 'b < a', 'c < b', 'd < c')
  expectTree(found)
  expect(tree(found)).toEqual(['x', 'me', 'a', '  b', '    c', '      d'])
  expect(found.nodes.map(({ missing_cause, in_cycle }) => [missing_cause, in_cycle])).toEqual([
    ['gone', false],
    [null, true],
    [null, true],
    [null, false],
    [null, false],
    [null, false],
  ])
})

test('whatever the causes: every record once, behind what led to it', async () => {
  const causes = fc.array(fc.option(fc.nat(14), { nil: null }), { minLength: 1, maxLength: 14 })
  await fc.assert(
    fc.asyncProperty(causes, async (links) => {
      const found = await timelineOf(...links.map((cause, i) => (cause === null ? `r${i}` : `r${i} < r${cause}`)))
      expectTree(found)
      expect(found.nodes).toHaveLength(links.length)
      for (const { run_id, depth, missing_cause, in_cycle } of found.nodes) {
        const cause = links[Number(run_id.slice(1))]
        const isRoot = cause === null || missing_cause !== null || in_cycle
        expect(depth === 0).toBe(isRoot)
        expect(missing_cause).toBe(cause !== null && cause! >= links.length ? `r${cause}` : null)
      }
    }),
    { numRuns: scale(60, 2000) },
  )
})

test('a chain as long as a ledger, and its stack', async () => {
  await using ledger = await open()
  const count = scale(5000, 100_000)
  for (let n = 0; n < count; n++) {
    await ledger.ready()
    void ledger.append('s', {
      type: 'StepTaken',
      data: {},
      run_id: `r${n}`,
      correlation_id: 'task',
      ...(n > 0 && { causation_id: `r${n - 1}` }),
    })
  }
  await ledger.flush()
  const found = await timeline(ledger, 'task')
  expect(found.nodes.at(-1)).toMatchObject({ depth: count - 1, run_id: `r${count - 1}` })
})

test('calls that were timed: a call under the call that made it, its start and its end one node, an unended one told', async () => {
  const clock = fixedClock()
  await using ledger = await open(clock)
  const about = { agent_name: 'planner', method_name: 'plan', correlation_id: 'task' }
  await ledger.call(
    about,
    async () => {
      clock.advance(3000)
      await ledger.append('s', { type: 'PlanMade', data: {}, action: 'make_plan', run_id: 'made' })
      await ledger.call(
        { agent_name: 'worker', method_name: 'work', run_id: 'work', usage: { prompt_tokens: 3, completion_tokens: 4 } },
        () => clock.advance(2000),
        { durable: true },
      )
      await expect(
        ledger.call({ agent_name: 'planner', method_name: 'plan', run_id: 'again' }, () => Promise.reject(new Error('no')), {
          durable: true,
        }),
      ).rejects.toThrow('no')
    },
    { capture: 'start-and-end', durable: true },
  )
  // As a crash in mid-call leaves it: its start alone.
  await ledger.append('s', { type: 'AgentCallStarted', action: 'crash', correlation_id: 'task', data: { latency_ms: 0 } })
  const found = await timeline(ledger, 'task')
  expectTree(found)
  expect(found.nodes.map(({ depth, kind, action, outcome }) => [depth, kind, action, outcome])).toEqual([
    [0, 'call', 'plan', 'success'],
    [1, 'event', 'make_plan', 'success'],
    [1, 'call', 'work', 'success'],
    [1, 'call', 'plan', 'failure'],
    [0, 'unended call', 'crash', 'success'],
  ])
  expect(found.nodes[2]).toMatchObject({ tokens: 7, missing_cause: null, run_id: 'work' })
  expect(found.nodes.map(({ duration_ms }) => duration_ms)).toEqual([5, null, 2, 0, null])
  expect(found).toMatchObject({ calls: 4, tools: 0, events: 1, errors: 1, denials: 0 })
})

describe.skipIf(!existsSync(DATA))('the real runs', () => {
  test('each shows its calls and tools in causal order', async () => {
    await using ledger = await AuditLedger.open(join(tempDir(), 'runs.db'), { origin: 'example.com/t', signer: null })
    const report = await importChat(ledger, fileSource(DATA))
    const records: LedgerRecord[] = []
    for await (const record of ledger.read()) records.push(record)
    const runs = await ledger.tally('stream')
    let seen = { calls: 0, tools: 0 }
    for (const correlation_id of runs.keys()) {
      if (correlation_id === 'ledger') continue
      const found = await timeline(ledger, correlation_id)
      expectTree(found)
      const calls = new Set<string>()
      const before = new Set<string>()
      for (const node of found.nodes) {
        const { entry, header } = records[node.seq]!
        // All that a call used stands before it, and a tool's answer directly under the call that asked for it.
        const used = (entry!['context_refs'] ?? []) as readonly string[]
        expect(used.filter((run_id) => !before.has(run_id))).toEqual([])
        if (node.kind === 'tool') {
          expect(calls.has(header.causation_id!)).toBe(true)
          const parent = found.nodes.find(({ seq }) => seq === node.parent)!
          expect(parent.tools).toContain(node.action)
        } else calls.add(node.run_id)
        before.add(node.run_id)
        expect([node.began, node.duration_ms, node.missing_cause]).toEqual([null, null, null])
      }
      seen = { calls: seen.calls + found.calls, tools: seen.tools + found.tools }
    }
    expect([runs.size - 1, seen.calls, seen.tools]).toEqual([200, report.calls, report.tool_results])
  })
})

if (!existsSync(DATA)) console.log('skipped: the timelines of real runs, whose data are not here')
