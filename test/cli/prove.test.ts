import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { AuditLedger } from '../../src/index.ts'
import { formatForkEvidence } from '../../src/verify/fork-evidence.ts'
import type { BundleReport } from '../../src/verify/bundle-report.ts'
import { badBundles, goodBundles, LOG, WITNESS } from '../helpers/bad-bundles.ts'
import { ledgerLines, signedNote, treeOver, witnessSigner } from '../helpers/bundle-maker.ts'
import { tempDir } from '../helpers/temp.ts'
import { entryLines, ok, run, runProcess, shell } from './cli.ts'

const ENTRIES = ['a', 'b', 'c', 'd'].map((run_id, i) => ({
  run_id,
  agent_name: 'analyst',
  method_name: 'classify',
  correlation_id: i % 2 === 0 ? 'task-1' : 'task-2',
  prompt: `secret ${run_id}`,
}))

interface Made {
  readonly dir: string
  readonly ledger: string
  readonly key: string
}

async function makeLedger(name: string): Promise<Made> {
  const dir = tempDir()
  const ledger = join(dir, name)
  const origin = `example.com/${dir.split('-').at(-1)!}`
  const { verifier_key } = JSON.parse(await ok(['init', ledger, '--origin', origin, '--json'])) as { verifier_key: string }
  await ok(['record', ledger], { input: entryLines(ENTRIES) })
  return { dir, ledger, key: verifier_key }
}

async function checked(file: string, ...args: string[]): Promise<{ code: number | null; report: BundleReport }> {
  const { code, stdout } = await run(['check', file, '--json', ...args])
  return { code, report: JSON.parse(stdout) as BundleReport }
}

describe.each(['audit', 'audit.db'])('prove and check, %s', (name) => {
  test('a task with its entries, a record without: written, and checked by the key alone', async () => {
    const { dir, ledger, key } = await makeLedger(name)
    const file = join(dir, 'proof')
    const written = await run(['prove', ledger, '--correlation-id', 'task-1', '--disclose', '-o', file])
    expect([written.code, written.stdout, written.stderr]).toEqual([0, '', expect.stringMatching(/^2 records proven in .*proof, with/)])
    const { code, report } = await checked(file, '--key', key)
    expect([code, report.ok, report.verdicts.authenticity]).toEqual([0, true, 'pass'])
    expect(report.records.map(({ index, entry }) => [index, entry])).toEqual([
      [1, 'disclosed'],
      [3, 'disclosed'],
    ])
    const proof = await ok(['prove', ledger, '--seq', '2'])
    expect(proof).toMatch(/^c2sp\.org\/tlog-proof@v1\nextra \S+\nindex 2\n(?:\S{44}\n){3}\nexample\.com\S+\n5\n/)
    writeFileSync(file, proof)
    expect((await checked(file, '--key', key)).report).toMatchObject({ ok: true, records: [{ index: 2, entry: 'withheld' }] })
    expect(readdirSync(dir).toSorted()).toEqual(expect.arrayContaining([name, 'proof']))
    expect(readdirSync(dir).filter((left) => left.endsWith('.tmp'))).toEqual([])
  })

  test('beside a live writer; what no checkpoint covers is refused, and why', async () => {
    const { dir, ledger, key } = await makeLedger(name)
    const file = join(dir, 'proof')
    const writer = await AuditLedger.open(ledger, { checkpoints: false })
    try {
      await writer.record({ run_id: 'new', agent_name: 'a', method_name: 'm' })
      expect((await runProcess(['prove', ledger, '--run-id', 'a', '-o', file])).code, 'the checkpoint of before covers it').toBe(0)
      const refused = await runProcess(['prove', ledger, '--run-id', 'new', '-o', join(dir, 'none')])
      if (name === 'audit') {
        expect([refused.code, refused.stdout]).toEqual([4, ''])
        expect(refused.stderr).toMatch(/not_covered: record 5 .*covers the first 5 records.*can't be signed from here.*writ/s)
        expect(existsSync(join(dir, 'none'))).toBe(false)
      } else expect(refused.code, 'several may write, so one of them signs').toBe(0)
      await writer.checkpoint()
      expect((await runProcess(['prove', ledger, '--run-id', 'new', '-o', file])).code).toBe(0)
      expect((await checked(file, '--key', key)).report.records[0]!.header!.run_id).toBe('new')
    } finally {
      await writer.close()
    }
  })

  test('signed for where the key is here, refused where it is not', async () => {
    const { dir, ledger, key } = await makeLedger(name)
    await ok(['record', ledger], { input: entryLines([{ ...ENTRIES[0], run_id: 'unsigned' }]), env: { CORTEX_LEDGER_KEY: 'none' } })
    const file = join(dir, 'proof')
    const lost = await run(['prove', ledger, '--run-id', 'unsigned', '-o', file], { env: { CORTEX_LEDGER_KEY: join(dir, 'lost.key') } })
    expect([lost.code, lost.stderr]).toEqual([4, expect.stringMatching(/not_covered.*lost\.key/s)])
    expect(existsSync(file)).toBe(false)
    await ok(['prove', ledger, '--run-id', 'unsigned', '-o', file])
    expect((await checked(file, '--key', key)).code).toBe(0)
  })
})

test('what is wrong with a bundle ends with 1, and is named', async () => {
  const dir = tempDir()
  const file = join(dir, 'bundle')
  const { one } = await goodBundles()
  const bad = await badBundles()
  const altered = bad.find(({ name }) => name === 'an entry is altered')!
  writeFileSync(file, one.bytes)
  expect((await checked(file, '--key', LOG.verifierKey, '--key', WITNESS.verifierKey)).report).toMatchObject({
    ok: true,
    existed_by: '2026-01-01T00:06:40.000000Z',
  })
  const quietly = await shell(`cat ${file} | cortex-ledger check - --key '${LOG.verifierKey}' --quiet`)
  expect([quietly.code, quietly.stdout, quietly.stderr]).toEqual([0, '', ''])
  writeFileSync(file, altered.bytes)
  const text = await run(['check', file, '--key', LOG.verifierKey], { env: { COLUMNS: '100' } })
  expect(text.code).toBe(1)
  expect(text.stdout).toMatch(/^integrity +fail /m)
  expect(text.stdout).toMatch(/^authenticity +pass /m)
  expect(text.stdout).toMatch(/^completeness +not checked +would need: the ledger itself/m)
  expect(text.stdout).toContain('seq 17: entry_mismatch: the entry, or its salt, is not what the header commits to')
  expect(text.stdout).toContain('NOT WHAT WAS RECORDED: 1 problem')
})

test('what people read of a good bundle', async () => {
  const file = join(tempDir(), 'bundle')
  writeFileSync(file, (await goodBundles()).several.bytes)
  const text = await ok(['check', file, '--key', LOG.verifierKey, '--key', WITNESS.verifierKey], { env: { COLUMNS: '120' } })
  for (const line of [
    /^origin +example\.com\/agents\/bundles$/m,
    /^size +40 records$/m,
    /^cosigned +witness\.example\+[0-9a-f]{8} at 2026-01-01T00:06:40\.000000Z$/m,
    /^time +pass +witnesses had seen this checkpoint by.*2026-01-01T00:06:40/m,
    /^ +5 +in the tree +success +withheld +planner +classify/m,
    /^ +39 +in the tree +success +disclosed/m,
    /^no problem found; 1 of 4 claims not checked$/m,
  ])
    expect(text).toMatch(line)
  for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(120)
})

test('a policy says how many witnesses are enough', async () => {
  const dir = tempDir()
  const [file, policy] = [join(dir, 'bundle'), join(dir, 'policy')]
  writeFileSync(file, (await goodBundles()).one.bytes)
  const other = witnessSigner('other.example', 8, 1n)
  const lines = `log ${LOG.verifierKey}\nwitness a ${WITNESS.verifierKey}\nwitness b ${other.verifierKey}\n`
  writeFileSync(policy, `${lines}group any any a b\nquorum any\n`)
  const met = await checked(file, '--policy', policy)
  expect([met.code, met.report.verdicts]).toMatchObject([0, { authenticity: 'pass', time: 'pass' }])
  writeFileSync(policy, `${lines}group both all a b\nquorum both\n`)
  const unmet = await checked(file, '--policy', policy)
  expect([unmet.code, unmet.report.problems.map(({ code }) => code)]).toEqual([1, ['quorum_not_met']])
  writeFileSync(policy, lines)
  const none = await run(['check', file, '--policy', policy])
  expect([none.code, none.stderr]).toEqual([2, expect.stringContaining('quorum')])
})

test('evidence of a fork is told from a bundle', async () => {
  const file = join(tempDir(), 'evidence')
  const [one, two] = await Promise.all([treeOver(await ledgerLines(5, 1)), treeOver(await ledgerLines(5, 2))])
  const notes = [await signedNote(one.checkpoint, [LOG]), await signedNote(two.checkpoint, [LOG])] as const
  writeFileSync(file, formatForkEvidence({ contradiction: { kind: 'same-size' }, notes }))
  const proven = await run(['check', file, '--key', LOG.verifierKey])
  expect([proven.code, proven.stdout]).toEqual([
    0,
    expect.stringMatching(/FORKED: the holder of example\.com\/agents\/bundles\+[0-9a-f]{8}/),
  ])
  const json = await run(['check', file, '--key', LOG.verifierKey, '--json'])
  expect(JSON.parse(json.stdout)).toMatchObject({ ok: true, fork_evidence: { proven: true, checkpoints: [{ size: 5 }, { size: 5 }] } })
  writeFileSync(file, formatForkEvidence({ contradiction: { kind: 'same-size' }, notes: [notes[0], notes[0]] }))
  const honest = await run(['check', file, '--key', LOG.verifierKey])
  expect([honest.code, honest.stdout]).toEqual([1, expect.stringContaining('no evidence of a fork: the roots are the same')])
})

test('misuse and absence: told, nothing written', async () => {
  const { dir, ledger } = await makeLedger('audit')
  const file = join(dir, 'proof')
  writeFileSync(file, 'what was there before')
  mkdirSync(join(dir, 'folder'))
  for (const [code, args] of [
    [2, ['prove', ledger, '-o', file]],
    [2, ['prove', ledger, '--run-id', 'a', '--seq', '1', '-o', file]],
    [2, ['prove', ledger, '--run-id', 'a', '-o', join(ledger, 'segments', 'proof')]],
    [2, ['prove', ledger, '--run-id', 'a', '-o', join(dir, 'folder')]],
    [3, ['prove', ledger, '--run-id', 'a', '-o', join(dir, 'no', 'folder')]],
    [3, ['prove', ledger, '--run-id', 'none', '-o', file]],
    [2, ['check', file]],
    [2, ['check', file, '--key', 'no key']],
    [3, ['check', join(dir, 'nothing'), '--key', LOG.verifierKey]],
    [3, ['check', join(dir, 'folder'), '--key', LOG.verifierKey]],
  ] as const) {
    const said = await run(args)
    expect([said.code, said.stdout, said.stderr.includes('should not happen')], `${args.join(' ')}\n${said.stderr}`).toEqual([
      code,
      '',
      false,
    ])
  }
  expect(readFileSync(file, 'utf8')).toBe('what was there before')
  expect(readdirSync(dir).toSorted()).toEqual(['audit', 'folder', 'proof'])
})
