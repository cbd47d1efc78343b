/** A real ledger's checkpoints, cosigned by real witnesses as its policy has it. */
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { AuditLedger } from '../../src/index.ts'
import type { LedgerWarning, OpenOptions, SignedCheckpoint } from '../../src/index.ts'
import { ed25519Check } from '../../src/ledger/ed25519.ts'
import { nodeHashing } from '../../src/ledger/hashing.ts'
import { readRemembered } from '../../src/ledger/remembered.ts'
import { checkForkEvidence, parseForkEvidence } from '../../src/verify/fork-evidence.ts'
import { formatVerifierKey, openNote, parseNote } from '../../src/verify/note.ts'
import type { SignedNote, VerifierKey } from '../../src/verify/note.ts'
import { ok, runProcess } from '../cli/cli.ts'
import { tempDir } from '../helpers/temp.ts'
import { keyOf } from '../helpers/test-log.ts'
import { serving } from './serving.ts'

const ORIGIN = 'example.com/witnessed'

interface Stage {
  readonly path: string
  readonly log: VerifierKey
  readonly warnings: LedgerWarning[]
  open(more?: OpenOptions): Promise<AuditLedger>
}

/** A new ledger with its key in a file, and nothing in it yet. */
async function stage(name: string): Promise<Stage> {
  const folder = tempDir()
  const path = join(folder, name)
  const warnings: LedgerWarning[] = []
  const open = (more: OpenOptions = {}): Promise<AuditLedger> =>
    AuditLedger.open(path, {
      origin: ORIGIN,
      key: join(folder, 'k.key'),
      stateFolder: join(folder, 'state'),
      onWarning: (warning) => void warnings.push(warning),
      ...more,
    })
  const ledger = await open()
  const log = keyOf(ledger.verifierKey!)
  await ledger.close()
  return { path, log, warnings, open }
}

function policyFile(lines: readonly string[]): string {
  const path = join(tempDir(), 'policy')
  writeFileSync(path, lines.map((line) => `${line}\n`).join(''))
  return path
}

async function record(ledger: AuditLedger, count: number): Promise<void> {
  await Promise.all(Array.from({ length: count }, () => ledger.record({ agent_name: 'a', method_name: 'm' })))
}

async function signers({ note }: SignedCheckpoint, keys: readonly VerifierKey[]): Promise<string[]> {
  const opened = await openNote(parseNote(Buffer.from(note)) as SignedNote, keys, ed25519Check)
  if (typeof opened === 'string') throw new Error(opened)
  return opened.verified.map(({ key }) => key.name)
}

test.each(['audit', 'audit.db'])('%s: each checkpoint continues the one before, in this process and the next', async (name) => {
  const { log, warnings, open } = await stage(name)
  const { url, witness } = await serving([{ key: log }])
  const policy = policyFile([`witness w ${formatVerifierKey(witness.key)} ${url}`, 'quorum w'])
  for (const counts of [
    [0, 1, 300, 0],
    [1, 5],
  ]) {
    const ledger = await open({ policy, checkpoints: false })
    for (const count of counts) {
      await record(ledger, count)
      const cosigned = await ledger.checkpoint({ cosigned: true })
      expect(await signers(cosigned, [log, witness.key])).toEqual([ORIGIN, witness.key.name])
      expect(await ledger.latestCheckpoint()).toEqual(cosigned)
    }
    await ledger.close()
  }
  expect(warnings).toEqual([])
})

test('by itself at closing, and what is remembered has the cosignatures', async () => {
  const { log, warnings, open } = await stage('audit')
  const { url, witness } = await serving([{ key: log }])
  const policy = policyFile([`witness w ${formatVerifierKey(witness.key)} ${url}`, 'quorum w'])
  const ledger = await open({ policy })
  await record(ledger, 3)
  await ledger.close()
  const latest = await ledger.latestCheckpoint()
  expect(await signers(latest!, [log, witness.key])).toHaveLength(2)
  expect((await readRemembered(ORIGIN, join(ledger.location, '..', 'state')))?.note).toBe(latest!.note)
  expect(warnings).toEqual([])
})

test('a witness that is down stops nothing; a missing quorum is told once, and made up for when it is back', async () => {
  const { log, warnings, open } = await stage('audit.db')
  const up = await serving([{ key: log }])
  const later = await serving([{ key: log }])
  await later.stop()
  const [a, b] = [up, later].map(({ url, witness }, i) => `witness w${i} ${formatVerifierKey(witness.key)} ${url}`)
  const one = await open({ policy: policyFile([a!, b!, 'group g any w0 w1', 'quorum g']), checkpoints: false })
  await record(one, 2)
  expect(await signers(await one.checkpoint({ cosigned: true }), [log, up.witness.key])).toHaveLength(2)
  await one.close()
  expect(warnings).toEqual([])

  const both = policyFile([a!, b!, 'group g all w0 w1', 'quorum g'])
  const two = await open({ policy: both, checkpoints: false })
  for (const count of [1, 1]) {
    await record(two, count)
    await two.checkpoint({ cosigned: true })
  }
  await two.close()
  expect(warnings).toMatchObject([{ code: 'quorum_missing', message: expect.stringContaining('w1') }])
})

test('two copies that both sign are found by the witness, with evidence that anyone can check', async () => {
  const { path, log, warnings, open } = await stage('audit.db')
  const { url, witness } = await serving([{ key: log }])
  const policy = policyFile([`witness w ${formatVerifierKey(witness.key)} ${url}`, 'quorum w'])
  const copy = join(tempDir(), 'copy.db')
  cpSync(path, copy)
  const ledger = await open({ policy, checkpoints: false })
  await record(ledger, 4)
  await ledger.checkpoint({ cosigned: true })
  await ledger.close()
  // The same key on another machine, which remembers nothing.
  const folder = tempDir()
  const heard: LedgerWarning[] = []
  const other = await AuditLedger.open(copy, {
    key: join(path, '..', 'k.key'),
    stateFolder: folder,
    policy,
    checkpoints: false,
    onWarning: (warning) => void heard.push(warning),
  })
  await record(other, 4)
  expect(await signers(await other.checkpoint({ cosigned: true }), [log, witness.key])).toEqual([ORIGIN])
  await record(other, 1)
  await other.close()
  expect(heard.map(({ code }) => code).toSorted()).toEqual(['quorum_missing', 'witness_conflict'])
  const file = /evidence is in (\S+)$/.exec(heard.find(({ code }) => code === 'witness_conflict')!.message)?.[1]
  const evidence = parseForkEvidence(readFileSync(file!))
  if (typeof evidence === 'string') throw new Error(evidence)
  expect(await checkForkEvidence(evidence, [log], { sha256: nodeHashing.sha256, check: ed25519Check })).toMatchObject({ proven: true })
  expect(warnings).toEqual([])
})

test('a policy that is none is refused at opening', async () => {
  const { open } = await stage('audit')
  for (const policy of [policyFile(['quorum nobody']), join(tempDir(), 'missing')])
    await expect(open({ policy })).rejects.toMatchObject({ code: 'invalid_policy' })
})

test('the command line asks as the policy says', async () => {
  const { path, log } = await stage('audit')
  const { url, witness } = await serving([{ key: log }])
  const policy = policyFile([`witness w ${formatVerifierKey(witness.key)} ${url}`, 'quorum w'])
  const env = { XDG_STATE_HOME: join(path, '..', 'state'), CORTEX_LEDGER_KEY: join(path, '..', 'k.key') }
  await ok(['record', path], { input: '{"agent_name":"a","method_name":"m"}\n', env })
  // A process of its own: the connection that it keeps to this one would stay open here.
  const { stdout: note } = await runProcess(['checkpoint', path, '--policy', policy], { env })
  expect(await signers({ size: 2, root: '', note }, [log, witness.key])).toHaveLength(2)
})
