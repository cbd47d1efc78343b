/** What is claimed of a ledger beyond its records, and who is found out: each attack by the verdict that should. */
import { cpSync, existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { AuditLedger, verifyLedger } from '../../src/index.ts'
import type { VerificationReport, VerifyOptions } from '../../src/index.ts'
import { openJsonlStore } from '../../src/stores/jsonl/index.ts'
import { SampleChain } from '../../src/testing/sample-chain.ts'
import type { Sample } from '../../src/testing/sample-chain.ts'
import {
  anyOf,
  checkpointText,
  keyOf,
  linesOfLedger,
  makeKeyedLedger,
  putLines,
  signedBy,
  signerOf,
  witnessOf,
} from '../helpers/checkpoints.ts'
import { scale } from '../helpers/scale.ts'
import { useLedgerUrls } from '../helpers/postgres.ts'
import { tempDir } from '../helpers/temp.ts'

const ORIGIN = 'example.com/claims'
const SIGNER = signerOf(ORIGIN, 1)
const KEYS = [SIGNER.verifierKey]
/** Nothing remembered, unless a test says so. */
const verify = (location: string, options: VerifyOptions = {}): Promise<VerificationReport> =>
  verifyLedger(location, { remembered: false, ...options })
const codes = (report: VerificationReport): string[] => report.problems.map(({ code }) => code)
const ownCheckpoint = (location: string): string => join(location, 'tree', 'checkpoint')

const [newUrl] = useLedgerUrls()

async function ledgerOf(records = 20, name = 'audit'): Promise<{ location: string; note: string; stateFolder: string }> {
  const location = name === 'postgres' ? newUrl!() : join(tempDir(), name)
  const stateFolder = name === 'postgres' ? join(tempDir(), 'state') : `${location}-state`
  const note = await makeKeyedLedger(location, { origin: ORIGIN, signer: SIGNER, records, options: { stateFolder } })
  return { location, note, stateFolder }
}

describe.each(['audit', 'audit.db', ...(newUrl === undefined ? [] : ['postgres'])])('an honest ledger %s', (name) => {
  test('without anything from outside claims nothing, and says what would be needed', async () => {
    const { location } = await ledgerOf(20, name)
    const report = await verify(location)
    expect(report).toMatchObject({
      ok: true,
      verdicts: { integrity: 'pass', authenticity: 'not checked', completeness: 'not checked', time: 'not checked' },
      claims: { authentic: null, complete: null, existed: null },
      checkpoint: { size: 20, signed_by: [], behind: 0 },
    })
    expect(report.root).toBe(report.checkpoint?.root)
    expect(report.missing.authenticity).toContain(SIGNER.verifierKey.slice(0, ORIGIN.length + 9))
  })

  test('with its key is authentic, and with a checkpoint from before complete, each up to a size', async () => {
    const { location, note, stateFolder } = await ledgerOf(20, name)
    await makeKeyedLedger(location, { origin: ORIGIN, signer: SIGNER, records: 33, options: { stateFolder } })
    const ledger = await AuditLedger.open(location, { signer: SIGNER, checkpoints: false, stateFolder })
    await ledger.record({ agent_name: 'a', method_name: 'm' })
    await ledger.close()
    const report = await verify(location, { keys: KEYS, since: [note] })
    expect(report).toMatchObject({
      ok: true,
      size: 34,
      verdicts: { integrity: 'pass', authenticity: 'pass', completeness: 'pass', time: 'not checked' },
      claims: { authentic: 33, complete: 20, existed: null },
      checkpoint: { size: 33, signed_by: [SIGNER.verifierKey.slice(0, ORIGIN.length + 9)], behind: 1 },
      missing: { time: expect.any(String) },
    })
    expect(Object.keys(report.missing)).toEqual(['time'])
    expect(report.notes).toMatchObject([{ code: 'records_behind_checkpoint', seq: 33 }])
  })

  test('what this machine remembers is held against it unless that is left out', async () => {
    const { location, stateFolder } = await ledgerOf(20, name)
    expect(await verifyLedger(location, { stateFolder })).toMatchObject({ verdicts: { completeness: 'pass' }, claims: { complete: 20 } })
    expect(await verify(location, { stateFolder })).toMatchObject({ verdicts: { completeness: 'not checked' } })
  })
})

describe('attacks', () => {
  test('a tail cut by one record: completeness, by whoever has seen more', async () => {
    const { location, note } = await ledgerOf()
    putLines(location, linesOfLedger(location).slice(0, -1))
    const own = await verify(location, { keys: KEYS })
    expect(codes(own)).toEqual(['behind_checkpoint'])
    expect(own).toMatchObject({ ok: false, size: 19, verdicts: { integrity: 'pass', completeness: 'fail', authenticity: 'not checked' } })
    rmSync(ownCheckpoint(location))
    for (const options of [{ since: [note] }, { remembered: true, stateFolder: `${location}-state` }]) {
      const report = await verify(location, options)
      expect(report).toMatchObject({ ok: false, verdicts: { integrity: 'pass', completeness: 'fail' } })
      expect(report.problems).toMatchObject([
        { code: 'behind_checkpoint', expected: '20 records', found: '19 records', where: expect.anything() },
      ])
    }
  })

  test('the whole ledger written anew and hashed anew without the key: authenticity', async () => {
    const { location, note } = await ledgerOf()
    const forged = join(tempDir(), 'audit')
    const mallory = signerOf(ORIGIN, 66)
    await makeKeyedLedger(forged, { origin: ORIGIN, signer: mallory, records: 20, text: 'never said' })
    // With a checkpoint of the forger's own, with the true one, and with none.
    const withOwn = await verify(forged, { keys: KEYS })
    expect(codes(withOwn)).toEqual(['checkpoint_invalid'])
    writeFileSync(ownCheckpoint(forged), note)
    const withTrue = await verify(forged, { keys: KEYS })
    expect(codes(withTrue)).toEqual(['root_mismatch'])
    rmSync(ownCheckpoint(forged))
    const withNone = await verify(forged, { keys: KEYS })
    expect(codes(withNone)).toEqual(['checkpoint_invalid'])
    for (const report of [withOwn, withTrue, withNone]) expect(report).toMatchObject({ ok: false, verdicts: { authenticity: 'fail' } })
    // Nobody from outside: integrity alone can't tell, and doesn't say that it can.
    expect(await verify(forged)).toMatchObject({ ok: true, verdicts: { authenticity: 'not checked', completeness: 'not checked' } })
    expect(await verify(location, { keys: KEYS })).toMatchObject({ ok: true })
  })

  test('the same with the key, where an older checkpoint is at hand: completeness', async () => {
    const { location, note } = await ledgerOf()
    const forged = join(tempDir(), 'audit')
    await makeKeyedLedger(forged, { origin: ORIGIN, signer: SIGNER, records: 25, text: 'never said' })
    expect(await verify(forged, { keys: KEYS })).toMatchObject({
      ok: true,
      verdicts: { authenticity: 'pass', completeness: 'not checked' },
    })
    for (const options of [{ since: [note] }, { remembered: true, stateFolder: `${location}-state` }]) {
      const report = await verify(forged, options)
      expect(report).toMatchObject({ ok: false, verdicts: { integrity: 'pass', completeness: 'fail' } })
      expect(report.problems).toMatchObject([{ code: 'forked', where: { byte: 0 } }])
    }
  })

  test('two forks shown to two people: each holds its checkpoint against the other', async () => {
    const { location } = await ledgerOf(10)
    const fork = join(tempDir(), 'audit')
    cpSync(location, fork, { recursive: true })
    const [a, b] = [
      await makeKeyedLedger(location, { origin: ORIGIN, signer: SIGNER, records: 15, text: 'to Alice' }),
      await makeKeyedLedger(fork, { origin: ORIGIN, signer: SIGNER, records: 15, text: 'to Bob' }),
    ]
    expect(await verify(location, { keys: KEYS, since: [a] })).toMatchObject({ ok: true, verdicts: { completeness: 'pass' } })
    for (const [place, note] of [
      [location, b],
      [fork, a],
    ] as const) {
      const report = await verify(place, { keys: KEYS, since: [note] })
      expect(codes(report)).toEqual(['forked'])
      // One key signed both: its word is worth nothing here.
      expect(report).toMatchObject({ verdicts: { integrity: 'pass', authenticity: 'fail', completeness: 'fail' } })
    }
  })

  test('an entry altered below the checkpoint is not what the holder of the key said', async () => {
    const { location } = await ledgerOf()
    putLines(
      location,
      linesOfLedger(location).map((line, seq) => (seq === 7 ? line.replace('said 7', 'said 8') : line)),
    )
    const report = await verify(location, { keys: KEYS })
    expect(codes(report)).toEqual(['entry_mismatch'])
    expect(report.verdicts).toMatchObject({ integrity: 'fail', authenticity: 'fail' })
  })

  test('a byte of the checkpoint changed, or a checkpoint of another ledger: authenticity', async () => {
    const { location, note } = await ledgerOf(9)
    const missed: number[] = []
    for (let at = 0; at < note.length; at += scale(3, 1)) {
      const changed = Buffer.from(note)
      changed[at] = (changed[at] as number) ^ 0x01
      writeFileSync(ownCheckpoint(location), changed)
      const report = await verify(location, { keys: KEYS })
      if (report.ok || report.verdicts.authenticity !== 'fail') missed.push(at)
    }
    expect(missed).toEqual([])
    const other = signerOf('example.com/other', 1)
    const text = checkpointText('example.com/other', linesOfLedger(location))
    writeFileSync(ownCheckpoint(location), note)
    const report = await verify(location, { since: [await signedBy(text, other)] })
    expect(report.problems).toMatchObject([{ code: 'checkpoint_invalid', expected: `a checkpoint of ${ORIGIN}` }])
    expect(report.verdicts).toMatchObject({ authenticity: 'fail', completeness: 'not checked' })
  })
})

/** A ledger whose record 0 names the first key; `samples` follow, and may be own records. */
async function chainOf(
  samples: (lines: readonly string[]) => Promise<readonly Sample[]>,
  count: number,
): Promise<{ location: string; lines: string[] }> {
  const location = join(tempDir(), 'audit')
  const store = await openJsonlStore(location, { index: 'off' })
  const chain = new SampleChain()
  const created = { stream: 'ledger', type: 'LedgerCreated', actor: ORIGIN, action: 'create', entry: { origin: ORIGIN, keys: KEYS } }
  await chain.append(store, [created, ...Array.from({ length: 9 }, () => ({}))])
  for (const sample of await samples(chain.lines)) await chain.append(store, [sample])
  while (chain.lines.length < count)
    await chain.append(
      store,
      Array.from({ length: Math.min(500, count - chain.lines.length) }, () => ({})),
    )
  await store.close()
  return { location, lines: chain.lines }
}

const NEXT = signerOf(ORIGIN, 2)
const added: Sample = {
  stream: 'ledger',
  type: 'KeyAdded',
  entry: { key: keyOf(NEXT).id, purpose: 'checkpoint', alg: 'ed25519', verifier_key: NEXT.verifierKey },
}
const retired = (checkpoint: string | null, id = keyOf(SIGNER).id): Sample => ({
  stream: 'ledger',
  type: 'KeyRetired',
  entry: { key: id, purpose: 'checkpoint', ...(checkpoint === null ? {} : { checkpoint }) },
})

/** Records 0 to 9; 10 adds the next key, `gap` records, then one retires the first with its last checkpoint. */
async function rotated(gap: number, count: number): Promise<{ location: string; lines: string[]; retiredAt: number }> {
  const location = join(tempDir(), 'audit')
  const store = await openJsonlStore(location, { index: 'off' })
  const chain = new SampleChain()
  const created = { stream: 'ledger', type: 'LedgerCreated', actor: ORIGIN, action: 'create', entry: { origin: ORIGIN, keys: KEYS } }
  await chain.append(store, [created, ...Array.from({ length: 9 }, () => ({})), added])
  const last = await signedBy(checkpointText(ORIGIN, chain.lines), SIGNER)
  for (let left = gap; left > 0; left -= 500)
    await chain.append(
      store,
      Array.from({ length: Math.min(left, 500) }, () => ({})),
    )
  await chain.append(store, [retired(last)])
  const retiredAt = chain.lines.length - 1
  while (chain.lines.length < count) await chain.append(store, [{}])
  const lines = chain.lines
  await store.tree.writeText('checkpoint', await signedBy(checkpointText(ORIGIN, lines), NEXT))
  await store.close()
  return { location, lines, retiredAt }
}

describe('keys', () => {
  test.each([3, 20_000])('a later key is trusted by way of the first, %i records behind its last checkpoint', async (gap) => {
    const { location, lines } = await rotated(gap, gap + 20)
    expect(await verify(location, { keys: KEYS })).toMatchObject({
      ok: true,
      verdicts: { authenticity: 'pass' },
      claims: { authentic: lines.length },
      checkpoint: { signed_by: [`${ORIGIN}+${keyOf(NEXT).id}`], behind: 0 },
    })
  })

  test('a checkpoint that is signed by a retired key: authenticity', async () => {
    const { location, lines, retiredAt } = await rotated(3, 30)
    for (const size of [retiredAt + 1, 30]) {
      writeFileSync(ownCheckpoint(location), await signedBy(checkpointText(ORIGIN, lines, size), SIGNER))
      const report = await verify(location, { keys: KEYS })
      expect(codes(report)).toEqual(['key_misused'])
      expect(report.verdicts).toMatchObject({ integrity: 'pass', authenticity: 'fail' })
    }
    // Up to its retirement it was right.
    writeFileSync(ownCheckpoint(location), await signedBy(checkpointText(ORIGIN, lines, retiredAt), SIGNER))
    expect(await verify(location, { keys: KEYS })).toMatchObject({ ok: true, claims: { authentic: retiredAt } })
  })

  test('a key before it was added: authenticity', async () => {
    const { location, lines } = await rotated(3, 30)
    writeFileSync(ownCheckpoint(location), await signedBy(checkpointText(ORIGIN, lines, 10), NEXT))
    expect(codes(await verify(location, { keys: KEYS }))).toEqual(['key_misused'])
  })

  test('a key that nobody vouches for is not trusted', async () => {
    const { location, lines } = await chainOf(async () => [added, {}, {}], 20)
    const note = await signedBy(checkpointText(ORIGIN, lines), NEXT)
    const report = await verify(location, { keys: KEYS, since: [note] })
    expect(codes(report)).toEqual(['checkpoint_invalid'])
    expect(report).toMatchObject({ verdicts: { authenticity: 'fail', completeness: 'pass' } })
  })

  test('what a record quotes must be a checkpoint of before, and of these records', async () => {
    const variants: [name: string, code: string, quoted: (lines: readonly string[]) => Promise<string>][] = [
      ['no note', 'checkpoint_invalid', async () => 'nonsense'],
      ['of the future', 'checkpoint_invalid', async (lines) => signedBy(checkpointText(ORIGIN, [...lines, ...lines]), SIGNER)],
      ['by another', 'checkpoint_invalid', async (lines) => signedBy(checkpointText(ORIGIN, lines), NEXT)],
      ['of other records', 'root_mismatch', async (lines) => signedBy(checkpointText(ORIGIN, lines.toReversed()), SIGNER)],
    ]
    for (const [name, code, quoted] of variants) {
      const { location } = await chainOf(async (lines) => [retired(await quoted(lines))], 20)
      const report = await verify(location, { keys: KEYS })
      expect(report.problems[0], name).toMatchObject({ code, seq: 10 })
    }
  })
})

describe('time', () => {
  const [anna, ben] = [witnessOf('witness.example/anna', 11), witnessOf('witness.example/ben', 12)]
  const recordedAt = (location: string, seq: number): number =>
    Date.parse((/"recorded_at":"([^"]+)"/.exec(linesOfLedger(location)[seq] as string) as RegExpExecArray)[1] as string) / 1000

  async function cosigned(offset: number, ...witnesses: readonly (typeof anna)[]): Promise<{ location: string; time: number }> {
    const { location, note } = await ledgerOf(8)
    const time = Math.ceil(recordedAt(location, 7)) + offset
    let all = note
    for (const [i, witness] of witnesses.entries()) all = await witness.cosign(all, BigInt(time + i))
    writeFileSync(ownCheckpoint(location), all)
    return { location, time }
  }

  test('a quorum of witnesses says by when, and that others have seen it', async () => {
    const { location, time } = await cosigned(5, anna, ben)
    const report = await verify(location, { keys: KEYS, policy: anyOf(2, anna, ben) })
    const by = `${new Date((time + 1) * 1000).toISOString().slice(0, 19)}.000000Z`
    expect(report).toMatchObject({
      ok: true,
      verdicts: { integrity: 'pass', authenticity: 'pass', completeness: 'pass', time: 'pass' },
      claims: { authentic: 8, complete: 8, existed: { size: 8, by } },
      missing: {},
    })
    expect(report.checkpoint?.cosigned_by.map(({ name }) => name)).toEqual([anna.key.name, ben.key.name])
  })

  test('fewer than a quorum fail: somebody may have taken the others away', async () => {
    const { location } = await cosigned(5, anna)
    for (const policy of [anyOf(2, anna, ben), anyOf(1, ben)]) {
      const report = await verify(location, { keys: KEYS, policy })
      expect(report).toMatchObject({ ok: false, verdicts: { authenticity: 'pass', completeness: 'not checked', time: 'fail' } })
      expect(codes(report)).toEqual(['quorum_not_met'])
    }
    expect(await verify(location, { keys: KEYS, policy: 'quorum none\n' })).toMatchObject({ ok: true, verdicts: { time: 'not checked' } })
  })

  test('records from after their witnesses: time', async () => {
    expect(await verify((await cosigned(-290, anna)).location, { policy: anyOf(1, anna) })).toMatchObject({ verdicts: { time: 'pass' } })
    const { location } = await cosigned(-305, anna)
    const report = await verify(location, { policy: anyOf(1, anna) })
    expect(report.problems).toMatchObject([{ code: 'time_contradicted', seq: 7, where: { byte: 0 } }])
    expect(report).toMatchObject({ ok: false, verdicts: { integrity: 'pass', time: 'fail' } })
  })

  test('a cosignature that is wrong spoils the checkpoint', async () => {
    const { location, note } = await ledgerOf(8)
    const cosigned = await anna.cosign(note, 1_800_000_000n)
    const at = cosigned.length - 20
    const spoiled = `${cosigned.slice(0, at)}${cosigned[at] === 'A' ? 'B' : 'A'}${cosigned.slice(at + 1)}`
    writeFileSync(ownCheckpoint(location), spoiled)
    expect(codes(await verify(location, { policy: anyOf(1, anna) }))).toEqual(['checkpoint_invalid', 'quorum_not_met'])
    // To whoever does not know the witness it is a line like any other.
    expect(codes(await verify(location, { policy: anyOf(1, ben) }))).toEqual(['quorum_not_met'])
  })
})

test('a key or a checkpoint that is none is misuse, and no finding', async () => {
  const { location, note } = await ledgerOf(3)
  const wrong: VerifyOptions[] = [
    { keys: ['nonsense'] },
    { keys: [SIGNER.verifierKey.replace(/.$/, 'x')] },
    { policy: 'nonsense' },
    { policy: 'quorum none' },
    { since: ['nonsense'] },
    { since: [note.slice(0, -20)] },
    { since: [Buffer.from([0xff])] },
    { since: ['{"format":"other"}'] },
    { onlySince: true },
    { threads: 3 },
  ]
  for (const options of wrong) await expect(verifyLedger(location, options)).rejects.toThrow(RangeError)
  expect(existsSync(location)).toBe(true)
})
