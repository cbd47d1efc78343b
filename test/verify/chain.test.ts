import { hash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { LedgerVerifier } from '../../src/verify/chain.ts'
import { canonicalize } from '../../src/verify/canonical.ts'
import { formatLine } from '../../src/verify/record.ts'
import type { Problem, VerificationReport } from '../../src/verify/report.ts'
import {
  fileOf,
  honestLedger,
  makeLedger,
  makeRecord,
  ORIGIN,
  recordHash,
  verifyFile,
  verifyLines,
  WITHHELD,
} from '../helpers/make-lines.ts'
import type { MadeRecord, RecordInput } from '../helpers/make-lines.ts'

const codes = (report: VerificationReport): string[] => report.problems.map(({ code, seq }) => `${code}@${seq}`)
const system = (type: string, entry: unknown = {}, fields: RecordInput = {}): RecordInput => ({ stream: 'ledger', type, entry, ...fields })
const verify = (inputs: readonly RecordInput[], options = {}): VerificationReport => verifyLines(makeLedger(inputs), options)

describe('an honest ledger', () => {
  const made = honestLedger()
  const report = verifyLines(made, { origin: ORIGIN, canonical_entries: true })

  test('passes, and the report says what was not claimed', () => {
    expect(report).toMatchObject({
      ok: true,
      size: 50,
      head: made.at(-1)!.hash,
      origin: ORIGIN,
      verdicts: { integrity: 'pass', authenticity: 'not checked', completeness: 'not checked', time: 'not checked' },
      problems: [],
      problems_total: 0,
      notes: [],
      withheld: { erased: 0, archived: WITHHELD.length, unnamed: 0, pending: 0 },
      recorded: { first: made[0]!.header.recorded_at, last: made.at(-1)!.header.recorded_at },
    })
    expect(report.missing.completeness).toContain('cut tail')
    expect(report.missing.authenticity).toContain('public key')
    expect(report.missing.time).toContain('cosignature')
    expect(report.checks).toMatchObject({
      run_ids_unique: { verdict: 'pass' },
      stream_versions: { verdict: 'pass' },
      entries_canonical: { verdict: 'pass' },
      columns: { verdict: 'not checked' },
    })
  })

  test('gives the same report with the plain SHA-256 and with that of Node', () => {
    expect(verifyLines(made, { origin: ORIGIN, canonical_entries: true, sha256: (bytes) => hash('sha256', bytes) })).toEqual(report)
  })

  test('is not asked for canonical entries by itself', () => {
    const { checks, ok } = verifyLines(made)
    expect(ok).toBe(true)
    expect(checks.entries_canonical).toMatchObject({ verdict: 'not checked', missing: expect.any(String) })
  })

  test('an empty ledger passes', () => {
    expect(new LedgerVerifier().finish()).toMatchObject({
      ok: true,
      size: 0,
      head: null,
      origin: null,
      problems: [],
      recorded: { first: null, last: null },
    })
  })

  test('a cut tail is NOT found by the chain: completeness is what says so', () => {
    const cut = verifyLines(made.slice(0, 47))
    expect(cut).toMatchObject({ ok: true, size: 47, verdicts: { integrity: 'pass', completeness: 'not checked' } })
  })

  test('lines may lie anywhere in memory', () => {
    const file = fileOf(made)
    for (const shift of [1, 2, 3]) {
      const moved = new Uint8Array(new ArrayBuffer(file.length + 8), shift, file.length)
      moved.set(file)
      expect(verifyFile(moved).ok).toBe(true)
    }
    const verifier = new LedgerVerifier()
    verifier.file(null, null)
    for (const [row, { line }] of made.entries()) {
      const bytes = new TextEncoder().encode(line)
      verifier.line(bytes, 0, bytes.length, row)
    }
    expect(verifier.finish().ok).toBe(true)
  })
})

describe('record 0', () => {
  const first = (fields: RecordInput, options = {}): string[] => {
    const record = makeRecord(0, 'GENESIS', 0, { actor: ORIGIN, stream: 'ledger', type: 'LedgerCreated', ...fields })
    return codes(verifyLines([record], options))
  }

  test('is LedgerCreated of a legal origin', () => {
    expect(first({})).toEqual([])
    expect(first({ actor: 'x'.repeat(255) })).toEqual([])
    expect(first({ type: 'SegmentSealed' })).toEqual(['wrong_origin@0'])
    for (const actor of ['a b', 'a+b', 'cortex-ledger/x', 'x'.repeat(256), 'a\u00a0b', 'a\u2028b'])
      expect(first({ actor }), actor).toEqual(['wrong_origin@0'])
  })

  test('is of the origin that was asked for', () => {
    expect(first({}, { origin: ORIGIN })).toEqual([])
    const report = verify([], { origin: 'example.com/other' })
    expect(report.problems).toEqual([
      { code: 'wrong_origin', seq: 0, expected: 'example.com/other', found: ORIGIN, where: { file: 'ledger.jsonl', byte: 0 } },
    ])
    expect(report.verdicts.integrity).toBe('fail')
  })
})

describe('the clock', () => {
  const at = (time: string, fields: RecordInput = {}): RecordInput => ({ recorded_at: time, ...fields })
  const times = ['2030-01-01T00:00:00.000001Z', '2030-01-01T00:00:00.000000Z', '2030-01-01T00:00:00.000000Z'] as const

  test('goes back only with a ClockMovedBack, which carries the new time itself', () => {
    expect(codes(verify([at(times[0]), at(times[1]), at(times[2])]))).toEqual(['clock_moved_back@2'])
    expect(codes(verify([at(times[0]), { ...system('ClockMovedBack'), recorded_at: times[1] }, at(times[2])]))).toEqual([])
    expect(codes(verify([at(times[0]), at(times[0])]))).toEqual([])
  })

  test('the second of two steps back is found as well', () => {
    expect(codes(verify([at(times[0]), at(times[1]), at('2029-01-01T00:00:00.000000Z')]))).toEqual([
      'clock_moved_back@2',
      'clock_moved_back@3',
    ])
  })
})

describe('the reserved stream', () => {
  test('and the reserved types belong together', () => {
    expect(codes(verify([system('KeyAdded'), system('RecordingGapDetected')]))).toEqual([])
    expect(codes(verify([system('AgentCallCompleted')]))).toEqual(['reserved_misused@1'])
    expect(codes(verify([{ type: 'EntryErased', entry: { seq: 0 } }]))).toEqual(['reserved_misused@1'])
  })

  test('withholds nothing', () => {
    expect(codes(verify([system('KeyAdded', {}, { withheld: true })]))).toEqual(['reserved_misused@1'])
  })
})

describe('an append of several records', () => {
  const of = (last: number): RecordInput => ({ append_last_seq: last })

  test('is whole', () => {
    expect(codes(verify([of(2), of(2), of(5), of(5), of(5), {}]))).toEqual([])
  })

  test.each<[name: string, inputs: RecordInput[], problem: string]>([
    ['cut by the end', [{}, of(4), of(4)], 'incomplete_append@2'],
    ['interrupted by another record', [of(3), {}, {}], 'incomplete_append@1'],
    ['interrupted by another append', [of(3), of(4), of(4), of(4)], 'incomplete_append@1'],
    ['going on with another last position', [of(4), of(4), of(5), of(5), of(5)], 'incomplete_append@1'],
    ['without its first records', [{}, of(2)], 'incomplete_append@2'],
  ])('that is %s is one problem', (_, inputs, problem) => expect(codes(verify(inputs))).toEqual([problem]))

  test('that a live writer is in the middle of is none', () => {
    const bytes = fileOf(makeLedger([of(3), of(3)]))
    const live = (length: number): VerificationReport => {
      const verifier = new LedgerVerifier()
      verifier.file('a', 0)
      for (let start = 0, end = bytes.indexOf(10); end !== -1; start = end + 1, end = bytes.indexOf(10, start))
        verifier.line(bytes, start, end, start)
      verifier.unended(bytes.length, length, 'live')
      return verifier.finish()
    }
    expect(live(100)).toMatchObject({
      ok: true,
      notes: [{ code: 'unended_line_of_live_writer', where: { file: 'a', byte: bytes.length } }],
    })
    expect(live(0)).toMatchObject({ ok: true, notes: [] })
    expect(codes(verifyFile(bytes))).toEqual(['incomplete_append@1'])
  })
})

describe('ids and stream versions', () => {
  test('a run_id comes once', () => {
    const report = verify([{ run_id: 'a' }, { run_id: 'b' }, { run_id: 'a' }])
    expect(report.problems).toMatchObject([{ code: 'duplicate_run_id', seq: 3, found: 'a' }])
    expect(report).toMatchObject({ ok: false, checks: { run_ids_unique: { verdict: 'fail' }, stream_versions: { verdict: 'pass' } } })
  })

  test('a stream starts at 0 and has no gap', () => {
    expect(codes(verify([{ stream_version: 1 }]))).toEqual(['stream_version_gap@1'])
    const report = verify([{}, { stream_version: 2 }, { stream_version: 3 }, { stream_version: 3 }, { stream: 'other' }])
    expect(codes(report)).toEqual(['stream_version_gap@2', 'stream_version_gap@4'])
    expect(report.problems[0]).toMatchObject({ expected: '1 of task-1', found: '2 of task-1' })
    expect(report.checks.stream_versions.verdict).toBe('fail')
  })

  test('of many streams and ids, with escapes and beyond ASCII', () => {
    const inputs = Array.from({ length: 5000 }, (_, i) => ({ stream: `s"${i % 1700}\u20ac`, run_id: `r\\${i}` }))
    const made = makeLedger(inputs)
    expect(verifyLines(made).checks).toMatchObject({ run_ids_unique: { verdict: 'pass' }, stream_versions: { verdict: 'pass' } })
    const twice = makeLedger([...inputs, { run_id: 'r\\1234', stream: 's"3\u20ac' }])
    expect(verifyLines(twice).problems).toMatchObject([{ code: 'duplicate_run_id', seq: 5001, found: 'r\\1234' }])
  })

  test('beyond ids_max they are not checked, and the report says so', () => {
    const inputs = Array.from({ length: 20 }, (_, i) => ({ stream: `s${i}` }))
    const { ok, checks } = verify(inputs, { ids_max: 10 })
    expect(ok).toBe(true)
    expect(checks.run_ids_unique).toEqual({ verdict: 'not checked', missing: expect.stringContaining('10 ids') })
    expect(checks.stream_versions).toEqual({ verdict: 'not checked', missing: expect.stringContaining('10 ids') })
    expect(verify([...inputs, { run_id: 'run-1' }], { ids_max: 100 }).checks.run_ids_unique.verdict).toBe('fail')
  })

  test('after missing records a jump is no further problem, and the check does not claim to have passed', () => {
    const made = makeLedger(Array.from({ length: 10 }, (_, i) => ({ stream: `s${i % 2}` })))
    const report = verifyLines(made.toSpliced(4, 3))
    expect(codes(report)).toEqual(['missing_records@4'])
    expect(report.checks.stream_versions).toEqual({ verdict: 'not checked', missing: expect.any(String) })
  })
})

describe('withheld entries', () => {
  const withheld: RecordInput = { withheld: true }

  test('are named as erased or archived by a later record, in any form', () => {
    const report = verify([
      withheld,
      withheld,
      withheld,
      withheld,
      {},
      withheld,
      system('EntriesArchived', { first_seq: 2, last_seq: 3 }),
      system('EntryErased', { seq: 1, seqs: [4] }),
      system('EntryErased', { records: [{ seq: 6, hash: 'x' }] }),
    ])
    expect(report).toMatchObject({ ok: true, withheld: { erased: 3, archived: 2, unnamed: 0, pending: 0 } })
  })

  test('that nobody names are a problem for each run of them', () => {
    const report = verify([withheld, withheld, {}, withheld, system('EntryErased', { seq: 2 })])
    expect(report.problems).toMatchObject([
      { code: 'withheld_unnamed', seq: 1, found: 'position 1' },
      { code: 'withheld_unnamed', seq: 4, found: 'position 4' },
    ])
    expect(report).toMatchObject({ verdicts: { integrity: 'fail' }, withheld: { erased: 1, unnamed: 2 } })
  })

  test('can not be named before they are there, nor by a record that is not of the ledger itself', () => {
    expect(codes(verify([system('EntryErased', { seq: 2 }), withheld]))).toEqual(['withheld_unnamed@2'])
    expect(codes(verify([withheld, { type: 'EntryErased', stream: 's', entry: { seq: 1 } }]))).toEqual([
      'reserved_misused@2',
      'withheld_unnamed@1',
    ])
  })

  test('that are restored may not be withheld; archived again, they may', () => {
    const archived = system('EntriesArchived', { first_seq: 1, last_seq: 3 })
    const restored = system('EntriesRestored', { first_seq: 2, last_seq: 2 })
    expect(codes(verify([withheld, withheld, withheld, archived, restored]))).toEqual(['withheld_unnamed@2'])
    expect(verify([withheld, {}, withheld, archived, restored])).toMatchObject({ ok: true, withheld: { archived: 2 } })
    expect(codes(verify([withheld, withheld, withheld, archived, restored, system('EntriesArchived', { seq: 2 })]))).toEqual([])
  })

  test('that are named as erased and still there are noted', () => {
    const report = verify([withheld, {}, {}, system('EntryErased', { first_seq: 1, last_seq: 3 })])
    expect(report).toMatchObject({ ok: true, withheld: { erased: 1, pending: 2 }, notes: [{ code: 'erasure_pending', seq: 2 }] })
  })

  test('named by nonsense are not named, and nonsense takes neither time nor memory', () => {
    for (const entry of [
      { seq: '1' },
      { seq: 1.5 },
      { seq: -1 },
      { seqs: 1 },
      { first_seq: 1 },
      { last_seq: 1 },
      { first_seq: 1, last_seq: 0 },
      { records: 1 },
      { ranges: [null, 1] },
      {},
    ]) {
      expect(codes(verify([withheld, system('EntryErased', entry)])), JSON.stringify(entry)).toEqual(['withheld_unnamed@1'])
    }
    const wide = system('EntriesArchived', { first_seq: 0, last_seq: Number.MAX_SAFE_INTEGER })
    expect(verify([withheld, wide])).toMatchObject({ ok: true, withheld: { archived: 1 } })
    const many = system('EntryErased', { seqs: Array.from({ length: 100_000 }, (_, i) => 100_000 - i) })
    expect(verify([withheld, many, many])).toMatchObject({ ok: true, withheld: { erased: 1 } })
  })
})

/** The record with another header text, its hash made to fit. */
function withHeader(record: MadeRecord, header_text: string): string {
  const { salt, entry_text } = record
  return formatLine({ hash: recordHash(header_text), header_text, signatures_text: null, salt, entry_text })
}

describe('formats and spellings', () => {
  test('keys that are not known are noted once each', () => {
    const [first, second] = [makeRecord(0, 'GENESIS', 0, { actor: ORIGIN, stream: 'ledger', type: 'LedgerCreated' }), makeRecord(1, '', 0)]
    const zero = withHeader(first, canonicalize({ ...first.header, region: 'eu' }))
    const previous = zero.slice(9, 73)
    const one = withHeader(second, canonicalize({ ...second.header, previous_hash: previous, region: 'eu', shard: 3 }))
    const report = verifyLines([zero, one])
    expect(report).toMatchObject({ ok: true, size: 2 })
    expect(report.notes).toMatchObject([
      { code: 'unknown_header_key', seq: 0, text: expect.stringContaining('region') },
      { code: 'unknown_header_key', seq: 1, text: expect.stringContaining('shard') },
    ])
  })

  test('of a newer format hash and chain are checked, and the rest is not', () => {
    const made = makeLedger([{}, {}])
    const newer = withHeader(made[2]!, canonicalize({ ...made[2]!.header, actor: -1.5, v: 2 }))
    const after = makeRecord(3, newer.slice(9, 73), 2)
    const report = verifyLines([made[0]!, made[1]!, newer, after])
    expect(report).toMatchObject({ ok: true, size: 4, head: after.hash, notes: [{ code: 'newer_format', seq: 2 }] })
    expect(report.checks.stream_versions.verdict).toBe('not checked')
    expect(codes(verifyLines([made[0]!, newer, after]))).toEqual(['missing_records@1'])
    expect(codes(verifyLines([made[0]!, made[1]!, newer.replace('summarise', 'summarize'), after]))).toEqual(['hash_mismatch@2'])
  })

  test('an entry that is JSON but not canonical is a problem of its own check', () => {
    for (const entry_text of ['{"b":1,"a":2}', '{"a":1,"a":1}', '{"a": 1}', '{"a":1.0}', '{"a":"\\u0061"}']) {
      const made = makeLedger([{ entry_text }])
      expect(verifyLines(made)).toMatchObject({ ok: true, checks: { entries_canonical: { verdict: 'not checked' } } })
      expect(verifyLines(made, { canonical_entries: true })).toMatchObject({
        ok: false,
        problems: [{ code: 'entry_not_canonical', seq: 1 }],
        checks: { entries_canonical: { verdict: 'fail' } },
      })
    }
  })

  test.each([
    '[]',
    '"a"',
    'null',
    '{}{}',
    '{} ',
    ' {}',
    '{"a":1}}',
    '{"a":1',
    '{"a":tru}',
    '{"a":"\t"}',
    `{"a":${'['.repeat(64)}${']'.repeat(64)}}`,
  ])('an entry %j is malformed', (entry_text) => {
    expect(codes(verify([{}, { entry_text }, {}]))).toEqual(['malformed_record@2'])
  })

  test('an entry over 16 MiB is malformed, one of 16 MiB is not', () => {
    const of = (length: number): string => `{"a":"${'x'.repeat(length - 8)}"}`
    const fast = { sha256: (bytes: Uint8Array) => hash('sha256', bytes) }
    expect(verify([{ entry_text: of(16 * 1024 * 1024) }], fast).ok).toBe(true)
    expect(codes(verify([{ entry_text: of(16 * 1024 * 1024 + 1) }, {}], fast))).toEqual(['malformed_record@1'])
  })

  test('signatures that signers names must be there, of these keys, also where the entry is withheld', () => {
    const signatures_text = `[{"key":"0a1b2c3d","alg":"ed25519","sig":"${Buffer.alloc(64, 7).toString('base64')}"}]`
    const signers = ['0a1b2c3d']
    expect(
      codes(verify([{ signers, signatures_text }, { signers, signatures_text, withheld: true }, system('EntryErased', { seq: 2 })])),
    ).toEqual([])
    expect(
      codes(verify([{ signers }, { signatures_text }, { signers, withheld: true }, { signers: ['0a1b2c3e'], signatures_text }])),
    ).toEqual(['malformed_record@1', 'malformed_record@2', 'malformed_record@3', 'malformed_record@4'])
  })
})

describe('files', () => {
  function segments(...files: readonly [name: string, promised: number | null, lines: readonly MadeRecord[]][]): VerificationReport {
    const verifier = new LedgerVerifier()
    for (const [name, promised, lines] of files) {
      verifier.file(name, promised)
      const bytes = fileOf(lines)
      for (let start = 0, end = bytes.indexOf(10); end !== -1; start = end + 1, end = bytes.indexOf(10, start))
        verifier.line(bytes, start, end, start)
    }
    return verifier.finish()
  }
  const made = makeLedger(Array.from({ length: 39 }, (_, i) => ({ stream: `s${i % 3}` })))
  const [a, b, c, d] = [made.slice(0, 10), made.slice(10, 20), made.slice(20, 30), made.slice(30)] as const

  test('in order they are one ledger', () => {
    expect(segments(['0', 0, a], ['10', 10, b], ['20', 20, c], ['30', 30, d])).toMatchObject({ ok: true, size: 40, head: made[39]!.hash })
  })

  test('a file that is missing is one problem, where it is missing', () => {
    const report = segments(['0', 0, a], ['20', 20, c], ['30', 30, d])
    expect(report.problems).toEqual([{ code: 'missing_records', seq: 10, expected: '10', found: '20', where: { file: '20', byte: 0 } }])
    expect(codes(segments(['10', 10, b], ['20', 20, c]))).toEqual(['missing_records@0'])
  })

  test('a file with another name is misplaced', () => {
    expect(codes(segments(['0', 0, a], ['11', 11, b], ['20', 20, c]))).toEqual(['segment_misplaced@10'])
    expect(codes(segments(['0', 0, a], ['20', 20, c], ['30', 30, d], ['40', 40, b]))).toEqual([
      'missing_records@10',
      'segment_misplaced@10',
    ])
  })

  test('two files that changed places, with or without their names, are three problems at most', () => {
    const named = segments(['0', 0, a], ['10', 10, c], ['20', 20, b], ['30', 30, d])
    expect(codes(named)).toEqual(['segment_misplaced@10', 'segment_misplaced@10', 'missing_records@20'])
    const plain = segments(['x', null, a], ['x', null, c], ['x', null, b], ['x', null, d])
    expect(codes(plain)).toEqual(['missing_records@10', 'unexpected_record@30', 'missing_records@20'])
    expect(plain).toMatchObject({ size: 40, head: made[39]!.hash, checks: { run_ids_unique: { verdict: 'not checked' } } })
  })

  test('a file that comes twice is one problem, and its ids are not doubles', () => {
    expect(codes(segments(['x', null, a], ['x', null, b], ['x', null, b], ['x', null, c]))).toEqual(['unexpected_record@20'])
    const atEnd = segments(['x', null, a], ['x', null, b], ['x', null, a])
    expect(codes(atEnd)).toEqual(['unexpected_record@20'])
    expect(atEnd).toMatchObject({ size: 20, head: made[19]!.hash })
  })

  test('an unended last line is torn at the end, and a fault in a sealed file', () => {
    const verifier = (state: 'tail' | 'sealed', then: readonly MadeRecord[]): VerificationReport => {
      const one = new LedgerVerifier()
      one.file('0', 0)
      for (const { line } of a.slice(0, 9)) one.line(Buffer.from(line), 0, Buffer.byteLength(line), 0)
      one.unended(1234, 300, state)
      one.file('10', 10)
      for (const { line } of then) one.line(Buffer.from(line), 0, Buffer.byteLength(line), 0)
      return one.finish()
    }
    expect(verifier('tail', []).problems).toMatchObject([
      { code: 'torn_tail', seq: 9, found: '300 bytes without one', where: { file: '0', byte: 1234 } },
    ])
    expect(verifier('sealed', b).problems).toMatchObject([{ code: 'unended_segment', seq: 9 }])
    expect(verifier('sealed', b).size).toBe(20)
  })

  test('a row that the store can not read takes its position', () => {
    const one = new LedgerVerifier()
    one.file(null, null)
    const unreadable: Problem = { code: 'unreadable', seq: null, expected: null, found: 'page 7 is damaged', where: { row: 5 } }
    for (const [row, { line }] of a.entries()) {
      if (row === 5) one.problem(unreadable)
      else one.line(Buffer.from(line), 0, Buffer.byteLength(line), row)
    }
    one.columnsChecked()
    expect(one.finish()).toMatchObject({
      ok: false,
      size: 10,
      problems: [{ ...unreadable, seq: 5 }],
      checks: { columns: { verdict: 'pass' } },
    })
  })

  test('what the store finds in its columns counts', () => {
    const one = new LedgerVerifier()
    one.problem({ code: 'column_mismatch', seq: 3, expected: 'actor=a', found: 'actor=b', where: { row: 3 } })
    one.columnsChecked()
    expect(one.finish()).toMatchObject({ ok: false, checks: { columns: { verdict: 'fail' } }, verdicts: { integrity: 'fail' } })
    const other = new LedgerVerifier()
    other.columnsChecked('an index')
    expect(other.finish().checks.columns).toEqual({ verdict: 'not checked', missing: 'an index' })
  })
})

describe('limits', () => {
  test('problems beyond problems_max are counted', () => {
    const lines = Array.from({ length: 500 }, () => '{}')
    const report = verifyLines(lines, { problems_max: 7 })
    expect(report.problems).toHaveLength(7)
    expect(report).toMatchObject({ ok: false, problems_total: 500, size: 0 })
    expect(codes(report)).toEqual(Array.from({ length: 7 }, (_, i) => `malformed_record@${i}`))
  })

  test('the report is the same when it is asked for twice', () => {
    const verifier = new LedgerVerifier()
    verifier.line(Buffer.from('{}'), 0, 2, 0)
    expect(verifier.finish()).toBe(verifier.finish())
  })
})
