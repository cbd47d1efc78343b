/** Copies between any two stores: the same bytes in the same places, never anything but a beginning of the source. */
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { AuditLedger, copyLedger, promoteLedger, publishLedger, verifyLedger } from '../../src/index.ts'
import { copyLedger as copyStore, promoteReplica } from '../../src/ledger/copy.ts'
import { indexedName, indexedNames } from '../../src/ledger/filter.ts'
import { nodeHashing } from '../../src/ledger/hashing.ts'
import { formatReplicaNote, parseReplicaNote } from '../../src/ledger/replica.ts'
import type { Store } from '../../src/ledger/store.ts'
import { openStore } from '../../src/open-store.ts'
import { selection, textOf } from '../../src/testing/checks.ts'
import { canonicalize } from '../../src/verify/canonical.ts'
import { headerHash } from '../../src/verify/hash.ts'
import { formatLine, readLine } from '../../src/verify/record.ts'
import { honest, NEW_PLACES, recorded, ROUND_SIGNER, segmentedLedger, segmentsOf, varied } from '../helpers/copies.ts'
import type { CopyPlace } from '../helpers/copies.ts'
import { copied, copyCases, linesAt, noteAt, replicaCases } from '../helpers/copy-cases.ts'
import { gotlog } from '../helpers/gotlog.ts'
import { damage, lineStarts, segmentNames } from '../helpers/jsonl-ledger.ts'
import { scale } from '../helpers/scale.ts'
import { tempDir } from '../helpers/temp.ts'
import { wrapped } from '../helpers/wrapped-store.ts'

const code = (wanted: string) => expect.objectContaining({ code: wanted })

function placeOf(kind: string): CopyPlace {
  return NEW_PLACES[kind]!()
}

const KINDS = Object.keys(NEW_PLACES)
copyCases(
  KINDS.flatMap((from) => KINDS.map((to) => [from, to] as const)),
  placeOf,
)
replicaCases(KINDS, placeOf)

describe('who else writes', () => {
  test('a ledger that was founded in between is not taken for a replica', async () => {
    const [from, to] = [placeOf('memory'), placeOf('sqlite')]
    await honest(10)(from)
    const target = await to.open()
    const between: Store = {
      ...wrapped(target),
      replica: {
        ...target.replica,
        write: async (text) => {
          if (text !== null) await recorded(5, 2)(to)
          await target.replica.write(text)
        },
      },
    }
    await expect(from.with((source) => copyStore(source, between))).rejects.toThrow(code('locked'))
    expect([await noteAt(to), (await linesAt(to)).length]).toEqual([null, 5])
  })

  test('a replica that was promoted during the copy stays promoted', async () => {
    const [from, to] = [placeOf('memory'), placeOf('sqlite')]
    await honest(10)(from)
    const target = await to.open()
    const slow: Store = {
      ...wrapped(target),
      audit: async (...given) => {
        await to.with((store) => promoteReplica(store, { unverified: true }))
        await target.audit(...given)
      },
    }
    await expect(from.with((source) => copyStore(source, slow))).rejects.toThrow(code('already_exists'))
    expect(await noteAt(to)).toBeNull()
  })

  test('two copies to one place: one of them at a time, and in the end all is there', async () => {
    const [from, to] = [placeOf('memory'), placeOf('sqlite')]
    await honest(300)(from)
    const runs = await Promise.allSettled([copied(from, to), copied(from, to), copied(from, to)])
    for (const run of runs) if (run.status === 'rejected') expect(run.reason).toMatchObject({ code: 'locked' })
    await copied(from, to)
    expect(await linesAt(to)).toEqual(await linesAt(from))
  })
})

/** The same record with another outcome, as somebody would write it who knows how to hash. */
function resealed(line: Buffer): Buffer {
  const parts = readLine(line.subarray(0, -1))
  const header_text = parts.header_text.replace('"outcome":"success"', '"outcome":"failure"')
  return Buffer.from(`${formatLine({ ...parts, header_text, hash: headerHash(nodeHashing.sha256, Buffer.from(header_text)) })}\n`)
}

describe('a damaged source', () => {
  /** A JSONL ledger of 40 records with this done to the bytes of its line 25. */
  async function spoilt(change: (line: Buffer) => Buffer): Promise<string> {
    const dir = join(tempDir(), 'ledger')
    const ledger = await AuditLedger.open(dir, { origin: 'example.com/spoilt', signer: null })
    const calls = Array.from({ length: 39 }, (_, n) => ({ agent_name: 'a', method_name: 'm', raw_output: `answer ${n + 1}` }))
    await Promise.all(calls.map((call) => ledger.record(call)))
    await ledger.close()
    damage(dir, (bytes) => {
      const starts = lineStarts(bytes)
      return Buffer.concat([bytes.subarray(0, starts[25]), change(bytes.subarray(starts[25], starts[26])), bytes.subarray(starts[26])])
    })
    return dir
  }

  test.each<[string, (line: Buffer) => Buffer]>([
    ['no record', () => Buffer.from('{"hash":\n')],
    ['no UTF-8', (line) => Buffer.from(line.toString('latin1').replace('answer', 'ans\xffer'), 'latin1')],
    ['a header that is none', (line) => Buffer.from(line.toString().replace('"v":1', '"v":"x"'))],
    ['gone', () => Buffer.alloc(0)],
    ['there twice', (line) => Buffer.concat([line, line])],
    ['another one, sealed anew', resealed],
  ])('whose record is %s: what stands before it is copied', async (what, change) => {
    const dir = await spoilt(change)
    const to = join(tempDir(), 'copy.db')
    const seq = ['there twice', 'another one, sealed anew'].includes(what) ? 26 : 25
    await expect(copyLedger(dir, to)).rejects.toThrow(
      expect.objectContaining({ code: 'damaged', details: expect.objectContaining({ seq }) }),
    )
    await expect(copyLedger(dir, to), 'again').rejects.toThrow(code('damaged'))
    await expect(promoteLedger(to)).rejects.toThrow(code('not_verified'))
    expect(await promoteLedger(to, { unverified: true })).toMatchObject({ size: seq, verified: false })
    const report = await verifyLedger(to, { remembered: false })
    expect(report).toMatchObject({ size: seq, verdicts: { integrity: 'pass' } })
  })

  test('is read up to the very line', async () => {
    const dir = await spoilt(() => Buffer.from('{"hash":\n'))
    const store = await openStore(dir, { readOnly: true, index: 'off' })
    const lines: string[] = []
    const reading = async (): Promise<void> => {
      for await (const chunk of store.read(selection())) lines.push(...chunk.map(textOf))
    }
    await expect(reading()).rejects.toThrow(code('damaged'))
    expect(lines.length).toBe(25)
    await store.close()
  })

  test('whose last line is no record, or whose record 0 is none', async () => {
    const dir = await spoilt((line) => line)
    damage(dir, (bytes) => Buffer.concat([bytes.subarray(0, lineStarts(bytes)[39]), Buffer.from('{"x":1}\n')]))
    const to = join(tempDir(), 'copy')
    await expect(copyLedger(dir, to)).rejects.toThrow(expect.objectContaining({ details: expect.objectContaining({ seq: 39 }) }))
    expect(await promoteLedger(to, { unverified: true })).toMatchObject({ size: 39 })
    damage(dir, (bytes) => bytes.subarray(30))
    await expect(copyLedger(dir, join(tempDir(), 'other'))).rejects.toThrow(code('damaged'))
  })

  test('that was tampered with is copied as it is, and nobody vouches for it', async () => {
    const dir = await spoilt((line) => Buffer.from(line.toString().replace('answer', 'ANSWER')))
    const to = join(tempDir(), 'copy.db')
    const refused = copyLedger(dir, to)
    await expect(refused).rejects.toThrow(code('damaged'))
    await expect(refused).rejects.toThrow(/entry_mismatch at position 25/)
    await expect(promoteLedger(to)).rejects.toThrow(code('not_verified'))
    const [a, b] = [await verifyLedger(dir, { remembered: false }), await verifyLedger(to, { remembered: false })]
    expect(b.problems.map(({ code: found, seq }) => [found, seq])).toEqual(a.problems.map(({ code: found, seq }) => [found, seq]))
  })

  test('a copy that was tampered with is found out when it is brought up to date', async () => {
    const dir = await spoilt((line) => line)
    const to = join(tempDir(), 'copy')
    await copyLedger(dir, to)
    damage(to, (bytes) => Buffer.from(bytes.toString().replace('answer 12', 'answer 13')))
    await expect(copyLedger(dir, to)).rejects.toThrow(/entry_mismatch/)
    await expect(promoteLedger(to)).rejects.toThrow(code('not_verified'))
  })

  test('a source whose earlier records were changed after the last copy is found out', async () => {
    const dir = await spoilt((line) => line)
    const to = join(tempDir(), 'copy.db')
    await copyLedger(dir, to)
    damage(dir, (bytes) => Buffer.from(bytes.toString().replace('"actor":"a"', '"actor":"b"')))
    await expect(copyLedger(dir, to)).rejects.toThrow(expect.objectContaining({ details: expect.objectContaining({ seq: 1 }) }))
  })
})

describe('from files to a database and back', () => {
  test('the segment files are the same, and what was signed and proven before holds', async () => {
    const folder = tempDir()
    const [dir, db, back] = [join(folder, 'audit'), join(folder, 'audit.db'), join(folder, 'back')]
    const { checkpoint, bundle } = await segmentedLedger(dir)
    expect(segmentNames(dir).length).toBeGreaterThan(3)
    await copyLedger(dir, db)
    const { size } = await copyLedger(db, back)
    expect(segmentsOf(back)).toEqual(segmentsOf(dir))
    for (const copy of [db, back]) {
      const since = [checkpoint, bundle]
      const report = await verifyLedger(copy, { keys: [ROUND_SIGNER.verifierKey], since, remembered: false })
      expect(report).toMatchObject({ ok: true, size, verdicts: { authenticity: 'pass', completeness: 'pass' } })
      const ledger = await AuditLedger.open(copy, { readOnly: true })
      expect(await ledger.latestCheckpoint()).toMatchObject({ note: checkpoint })
      expect(Buffer.from(await ledger.prove({ run_id: 'run-7' }, { disclose: true }))).toEqual(Buffer.from(bundle))
      await ledger.close()
    }
  })

  test('a promoted copy goes on where the source was, to segments of its own', async () => {
    const folder = tempDir()
    const [dir, db, back] = [join(folder, 'audit'), join(folder, 'audit.db'), join(folder, 'back')]
    await segmentedLedger(dir)
    await copyLedger(dir, db)
    await promoteLedger(db)
    const open = { signer: ROUND_SIGNER, checkpoints: false, stateFolder: join(folder, 'state'), segmentBytes: 20_000 } as const
    const ledger = await AuditLedger.open(db, open)
    await Promise.all(Array.from({ length: 50 }, () => ledger.record({ agent_name: 'b', method_name: 'm', raw_output: 'x'.repeat(500) })))
    await ledger.rotate()
    await ledger.close()
    await copyLedger(db, back)
    await promoteLedger(back)
    const again = await AuditLedger.open(back, open)
    await again.record({ agent_name: 'c', method_name: 'm' })
    expect(await again.verifyIntegrity()).toMatchObject({ ok: true })
    await again.close()
  })

  test.skipIf(gotlog === null)('a copy is published, and others judge it as they do the source', async () => {
    const folder = tempDir()
    const [dir, db, log] = [join(folder, 'audit'), join(folder, 'audit.db'), join(folder, 'log')]
    await segmentedLedger(dir)
    await copyLedger(dir, db)
    const { size, not_signed } = await publishLedger(db, log)
    expect(not_signed, 'a replica signs nothing').toMatch(/replica/)
    expect(await gotlog!(['log', log, ROUND_SIGNER.verifierKey])).toMatchObject({ ok: true, said: expect.stringContaining(`size=${size}`) })
  })

  test('a source whose checkpoint is of other records is not vouched for', async () => {
    const folder = tempDir()
    const [dir, other, db] = [join(folder, 'audit'), join(folder, 'other'), join(folder, 'audit.db')]
    await segmentedLedger(dir)
    const { checkpoint } = await segmentedLedger(other)
    writeFileSync(join(dir, 'tree/checkpoint'), checkpoint)
    await expect(copyLedger(dir, db)).rejects.toThrow(/root_mismatch/)
    rmSync(join(dir, 'tree'), { recursive: true })
    rmSync(`${db}-tree`, { recursive: true })
    await copyLedger(dir, db)
  })
})

describe('what can not be', () => {
  test('misuse is told before anything is made', async () => {
    const folder = tempDir()
    const dir = join(folder, 'audit')
    for (const to of [dir, join(dir, 'copy.db'), folder, 'memory:']) await expect(copyLedger(dir, to)).rejects.toThrow(RangeError)
    await expect(copyLedger('memory:', dir)).rejects.toThrow(RangeError)
    await expect(copyLedger(dir, join(folder, 'copy'))).rejects.toThrow(code('not_found'))
    await expect(promoteLedger(join(folder, 'copy'))).rejects.toThrow(code('not_found'))
  })

  test('a source without a record', async () => {
    const [from, to] = [placeOf('memory'), placeOf('memory')]
    await expect(copied(from, to)).rejects.toThrow(code('not_found'))
    expect(await noteAt(to)).toBeNull()
  })

  test('a target that may not be written to', async () => {
    const [from, to] = [placeOf('memory'), placeOf('sqlite')]
    await honest(3)(from)
    await honest(3)(to)
    await to.with((store) => store.replica.write('a mark'))
    await honest(9)(from)
    const refused = from.with((source) => to.with((target) => copyStore(source, target), { readOnly: true }))
    await expect(refused).rejects.toThrow(code('read_only'))
  })

  test('it ends when it is told to, and leaves a beginning', async () => {
    const [from, to] = [placeOf('memory'), placeOf('jsonl')]
    await varied(from)
    const stopped = AbortSignal.abort(new Error('enough'))
    await expect(copied(from, to, { signal: stopped })).rejects.toThrow('enough')
    await copied(from, to)
    expect(await linesAt(to)).toEqual(await linesAt(from))
  })

  test('a disk that is full in between: what is there stays, and the next run goes on', async () => {
    const [from, to] = [placeOf('memory'), placeOf('sqlite')]
    await varied(from)
    await from.with((source) =>
      to.with(async (target) => {
        let appends = 0
        const full: Store = {
          ...wrapped(target),
          append: (records, expected) =>
            ++appends === 2
              ? Promise.reject(Object.assign(new Error('no space'), { code: 'disk_full' }))
              : target.append(records, expected),
        }
        await expect(copyStore(source, full)).rejects.toThrow('no space')
      }),
    )
    const beginning = await linesAt(to)
    expect(beginning).toEqual((await linesAt(from)).slice(0, beginning.length))
    expect(beginning.length).toBeGreaterThan(0)
    await copied(from, to)
  })
})

describe('the mark', () => {
  test('says again what it was made of', () => {
    const verified = fc.option(fc.record({ size: fc.nat(), hash: fc.string() }), { nil: null })
    fc.assert(
      fc.property(fc.record({ source: fc.string({ unit: 'grapheme' }), origin: fc.string(), verified }), (note) => {
        expect(parseReplicaNote(formatReplicaNote(note))).toEqual(note)
      }),
      { numRuns: scale(100, 5000) },
    )
  })

  test('whatever else stands there, it is a replica that nobody vouches for', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        expect(parseReplicaNote(text).verified).toBeNull()
      }),
      { numRuns: scale(200, 5000) },
    )
  })

  test('a mark that a JSONL ledger can not read keeps it from being written', async () => {
    const dir = join(tempDir(), 'audit')
    await (await AuditLedger.open(dir, { origin: 'example.com/x', signer: null })).close()
    writeFileSync(join(dir, 'replica.json'), '')
    await expect(AuditLedger.open(dir)).rejects.toThrow(code('read_only'))
    expect(readFileSync(join(dir, 'replica.json'), 'utf8')).toBe('')
    chmodSync(join(dir, 'replica.json'), 0o600)
  })
})

test('names in the index are those that the entry has at its top', () => {
  const value = fc.oneof(fc.string(), fc.integer(), fc.constant(null), fc.constant('model_name'))
  const entry = fc.dictionary(
    fc.constantFrom('provider_name', 'model_name', 'a', 'x"provider_name":'),
    fc.oneof(value, fc.record({ model_name: value })),
  )
  fc.assert(
    fc.property(entry, (made) => {
      const { provider_name, model_name } = made
      expect(indexedNames(canonicalize(made))).toEqual({ provider: indexedName(provider_name), model: indexedName(model_name) })
    }),
  )
  expect(indexedNames(null)).toEqual({ provider: null, model: null })
  expect(indexedNames('{"model_name":')).toEqual({ provider: null, model: null })
})
