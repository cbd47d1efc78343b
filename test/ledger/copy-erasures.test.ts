/** An erasure of the source is carried out in its copies, in every store. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { AuditLedger, copyLedger, promoteLedger, verifyLedger } from '../../src/index.ts'
import { useLedgerUrls } from '../helpers/postgres.ts'
import { soaking } from '../helpers/scale.ts'
import { tempDir } from '../helpers/temp.ts'

const PLACES: readonly [kind: string, place: () => string][] = [
  ['jsonl', () => join(tempDir(), 'audit')],
  ['sqlite', () => join(tempDir(), 'audit.db')],
  ...useLedgerUrls().map((url): [string, () => string] => ['postgres', url]),
]

function open(location: string): Promise<AuditLedger> {
  return AuditLedger.open(location, { origin: 'example.com/erased-copies', signer: null, stateFolder: tempDir() })
}

function filesWith(location: string, text: string): string[] {
  const folder = dirname(location)
  const all = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  return all.map(({ parentPath, name }) => join(parentPath, name)).filter((path) => readFileSync(path).includes(text))
}

async function filled(location: string): Promise<void> {
  await using ledger = await open(location)
  for (let i = 0; i < 30; i++) await ledger.record({ run_id: `run-${i}`, agent_name: 'a', method_name: 'm', prompt: `zanzibar ${i}` })
}

const PAIRS = PLACES.flatMap((from) => PLACES.map((to) => [`${from[0]} → ${to[0]}`, from, to] as const)).filter(
  // One that begins with segments and one that does not, to each; the rest is for the soak.
  ([, [from], [to]]) => soaking || from === 'jsonl' || (from === 'sqlite' && to === 'jsonl'),
)

describe.each(PAIRS)('%s', (_, [fromKind, fromPlace], [toKind, toPlace]) => {
  test('what the source erases goes from the copy with the next one', async () => {
    const [from, to] = [fromPlace(), toPlace()]
    await filled(from)
    expect(await copyLedger(from, to)).toMatchObject({ erased: 0, left: [] })
    {
      await using reading = await AuditLedger.open(to, { readOnly: true, fullText: 'on-demand' })
      expect(await reading.count({ text: 'zanzibar' })).toBe(30)
    }
    {
      await using ledger = await open(from)
      await ledger.retention.erase({ run_id: ['run-3', 'run-7'] }, { reason: 'a test' })
      await ledger.record({ run_id: 'later', agent_name: 'a', method_name: 'm', prompt: 'later' })
    }
    const report = await copyLedger(from, to)
    const isLive = toKind === 'jsonl' && fromKind !== 'jsonl'
    expect(report.erased).toBe(isLive ? 0 : 2)
    if (isLive) {
      expect(report.left).toEqual([expect.stringMatching(/live segment/)])
      await promoteLedger(to)
      await using ledger = await open(to)
      expect((await ledger.applyRetention()).left).toEqual([])
    } else if (toKind !== 'postgres') expect(report.left).toEqual([])
    expect(await verifyLedger(to)).toMatchObject({ ok: true, withheld: { erased: 2, unnamed: 0, pending: 0 } })
    if (toKind !== 'postgres') for (const word of ['zanzibar 3"', 'zanzibar 7"']) expect(filesWith(to, word)).toEqual([])
    await using reading = await AuditLedger.open(to, { readOnly: true, fullText: 'on-demand' })
    expect((await reading.get('run-3'))?.withheld).toMatchObject({ state: 'erased' })
    expect(await reading.count({ text: 'zanzibar' })).toBe(28)
    if (!isLive) expect(await copyLedger(from, to)).toMatchObject({ erased: 0 })
  })
})
