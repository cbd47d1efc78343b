/** The mission's own files: checked by Python's rules, carried to the byte, refused or adopted with what is wrong. */
import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { AuditLedger, checkCortexJsonl, importCortexJsonl } from '../../../src/index.ts'
import type { CortexImportOptions, ImportSource, LedgerRecord } from '../../../src/index.ts'
import { seededRandom } from '../../../src/testing/index.ts'
import { dumps, quotePython } from '../../../src/verify/python/dumps.ts'
import { computeEntryHash, PYTHON_FINDING_CODES } from '../../../src/verify/python/entry.ts'
import { loads } from '../../../src/verify/python/loads.ts'
import { PYTHON_3_11 } from '../../../src/verify/python/value.ts'
import type { PythonDict } from '../../../src/verify/python/value.ts'
import { mutated } from '../../helpers/fuzzing.ts'
import { scale } from '../../helpers/scale.ts'
import { hostileObject, sha256, tryLoads } from '../../verify/python/hostile.ts'
import { askPython, pythonMissing } from '../../verify/python/python.ts'

function sourceOf(content: string | Uint8Array, name = 'audit.jsonl', step = 1 << 16): ImportSource {
  const bytes = Buffer.from(content)
  return {
    name,
    async *read() {
      for (let at = 0; at < bytes.length; at += step) yield Uint8Array.from(bytes.subarray(at, at + step))
    },
  }
}

const openLedger = (): Promise<AuditLedger> => AuditLedger.open('memory:', { origin: 'example.com/import', signer: null })

async function recordsOf(ledger: AuditLedger): Promise<LedgerRecord[]> {
  const records: LedgerRecord[] = []
  for await (const record of ledger.read()) if (record.header.stream !== 'ledger') records.push(record)
  return records
}

/** A line of the chain, as Python writes it. */
function entry(members: string, previous: string): string {
  const dict = new Map(loads(`{${members}}`) as PythonDict).set('previous_hash', previous)
  return dumps(dict.set('hash', computeEntryHash(dict, previous, sha256, PYTHON_3_11)))
}

function chain(...members: readonly string[]): string[] {
  let previous = 'GENESIS'
  return members.map((text) => {
    const line = entry(text, previous)
    previous = (loads(line) as PythonDict).get('hash') as string
    return line
  })
}

const call = (id: string, more = ''): string =>
  `"run_id": "${id}", "agent_name": "analyst", "method_name": "sum", "timestamp": "2026-02-08T04:00:00Z"${more}`
const [first, second, third] = chain(call('r1'), call('r2', ', "correlation_id": "c"'), call('r3')) as [string, string, string]
const good = `${first}\n${second}\n${third}\n`

/** The file, out of its records alone. */
function rebuilt(records: readonly LedgerRecord[]): Buffer {
  const lines = records
    .filter(({ header }) => header.type === 'LegacyEntryImported')
    .map((record) => record.entry as { [key: string]: string | number | null })
  lines.sort((a, b) => (a['number'] as number) - (b['number'] as number))
  return Buffer.concat(
    lines.flatMap(({ line, line_base64, ending }) => [
      line === null ? Buffer.from(line_base64 as string, 'base64') : Buffer.from(line as string),
      Buffer.from((ending ?? '\n') as string),
    ]),
  )
}

describe('an honest file', () => {
  test('with a chain: what commits to it comes first, then each line as it stands', async () => {
    await using ledger = await openLedger()
    expect(await importCortexJsonl(ledger, sourceOf(good))).toEqual({
      imported: 4,
      already: 0,
      skipped: 0,
      problems: [],
      problems_total: 0,
      interrupted: false,
      sha256: sha256(Buffer.from(good)),
      bytes: good.length,
      lines: 3,
      chained: 3,
      verdict: 'True',
      findings: {},
    })
    const [adopted, ...lines] = await recordsOf(ledger)
    expect(adopted!.header).toMatchObject({ type: 'LegacyLedgerAdopted', actor: 'cortex-ledger', timestamp: '2026-02-08T04:00:00.000000Z' })
    expect(adopted!.entry).toEqual({
      file: 'audit.jsonl',
      sha256: sha256(Buffer.from(good)),
      bytes: good.length,
      lines: 3,
      chained: 3,
      head: (loads(third) as PythonDict).get('hash'),
      verdict: 'True',
      verdict_line: null,
      findings: {},
    })
    expect(lines.map(({ entry: data }) => data)).toEqual(
      [first, second, third].map((line, i) => ({ line, file: 'audit.jsonl', number: i + 1, findings: [] })),
    )
    expect(lines[1]!.header).toMatchObject({
      run_id: 'r2',
      type: 'LegacyEntryImported',
      actor: 'analyst',
      action: 'sum',
      outcome: 'success',
      correlation_id: 'c',
      timestamp: '2026-02-08T04:00:00.000000Z',
      stream: adopted!.run_id,
    })
    expect((await ledger.verifyIntegrity({ canonicalEntries: true })).ok).toBe(true)
  })

  test('from before there was a chain: nothing is wrong with it', async () => {
    await using ledger = await openLedger()
    const plain = '{"run_id": "r1", "agent_name": "analyst", "timestamp": "2026-02-08T04:00:00Z"}\n{}\n{"action": "x", "actor": "y"}\n'
    expect(await importCortexJsonl(ledger, sourceOf(plain))).toMatchObject({ imported: 4, verdict: 'KeyError', chained: 0, findings: {} })
    const [, one, two, three] = await recordsOf(ledger)
    expect(one!.header).toMatchObject({ run_id: 'r1', actor: 'analyst', action: 'unknown' })
    expect(two!.header).toMatchObject({ actor: 'unknown', action: 'unknown', timestamp: '1970-01-01T00:00:00.000000Z' })
    expect(two!.entry!['findings']).toEqual([])
    expect(three!.header).toMatchObject({ actor: 'y', action: 'x' })
  })

  test.each<[string, string]>([
    ['"outcome": "denied"', 'denied'],
    ['"outcome": "FAILED"', 'unknown'],
    ['"policy_decisions": [{"decision": "allow"}, {"decision": "deny"}]', 'denied'],
    ['"parse_result": {"ok": false}', 'failure'],
    ['"parse_result": {"ok": true}, "outcome": null', 'success'],
  ])('the outcome of %s', async (members, outcome) => {
    await using ledger = await openLedger()
    await importCortexJsonl(ledger, sourceOf(`{${members}}\n`))
    expect((await recordsOf(ledger))[1]!.header.outcome).toBe(outcome)
  })

  test.skipIf(pythonMissing !== null)('what Python itself wrote', async (context) => {
    const seed = 20260208
    context.annotate(`seed ${seed}`)
    const random = seededRandom(seed)
    const expressions: string[] = []
    while (expressions.length < scale(60, 2000)) {
      const dict = tryLoads(hostileObject(random, PYTHON_3_11), PYTHON_3_11)
      if (dict === null || ['hash', 'previous_hash'].some((key) => dict.has(key))) continue
      expressions.push(`json.loads(${quotePython(dumps(new Map([['run_id', `r${random.below(50)}`], ...dict])))})`)
    }
    const { answers } = askPython([{ kind: 'A', payload: Buffer.from(JSON.stringify(expressions)) }])
    const file = Buffer.from(answers[0]!.file!, 'base64')
    await using ledger = await openLedger()
    const report = await importCortexJsonl(ledger, sourceOf(file), { adoptFindings: true })
    expect(report).toMatchObject({ imported: expressions.length + 1, verdict: 'True', chained: expressions.length })
    const records = await recordsOf(ledger)
    expect(rebuilt(records).equals(file)).toBe(true)
    // Whatever fields were made up, Python's part of the findings is empty.
    expect(Object.keys(report.findings).filter((code) => (PYTHON_FINDING_CODES as readonly string[]).includes(code))).toEqual([])
  })
})

const seen = new Set<string>()

describe('findings', () => {
  const tooDeep = chain(`"deep": ${'['.repeat(600)}${']'.repeat(600)}`)[0]!
  const bytes = Buffer.from(`${first}\n`)
  bytes[5] = 0xff

  test.each<[string, string | Uint8Array, { readonly [code: string]: number }]>([
    ['bytes that are no text', bytes, { undecodable: 1 }],
    ['a blank line', `${first}\n\n${second}\n`, { blank_line: 1 }],
    ['a broken chain', `${first}\n${third}\n`, { chain_broken: 1 }],
    ['a changed line', `${first.replace('sum', 'Sum')}\n${second}\n`, { hash_mismatch: 1 }],
    ['a key twice', `${first.replace('"agent_name"', '"agent_name": "x", "agent_name"')}\n`, { duplicate_key: 1, other_spelling: 1 }],
    ['another spelling', `${first.replaceAll(', ', ',')}\n`, { other_spelling: 1 }],
    ['a torn line', `${first}\n${second.slice(0, 30)}`, { not_json: 1, torn_line: 1 }],
    ['other line endings', `${first}\n${second}\r\n${third}\r`, { line_ending: 2 }],
    ['no chain behind the chain', `${first}\n{"run_id": "x"}\n`, { unchained_line: 1 }],
    ['half a chain', '{"previous_hash": "GENESIS"}\n', { missing_hash: 1 }],
    ['no object', '[1]\n', { not_object: 1 }],
    ['too many digits', `{"a": ${'9'.repeat(5000)}}\n`, { too_many_digits: 1 }],
    ['too deep', `${tooDeep}\n`, { too_deep: 1 }],
    ['lost digits', '{"a": 0.1000000000000000055}\n', { lost_precision: 1, other_spelling: 1 }],
    [
      'what has no hash',
      '{"previous_hash": "GENESIS", "hash": "\\ud800"}\n{"previous_hash": "\\ud800", "hash": ""}\n',
      { hash_mismatch: 1, unencodable: 1 },
    ],
    ['no time', '{"timestamp": "2026-02-30T04:00:00Z"}\n{"timestamp": 1}\n{"timestamp_end": "now"}\n', { bad_time: 3 }],
    [
      'names that no header can hold',
      `{"agent_name": "a\\nb", "run_id": 7, "correlation_id": "${'x'.repeat(600)}"}\n`,
      { unusable_field: 3 },
    ],
  ])('%s: nothing is written, unless it is adopted', async (_, file, findings) => {
    for (const code of Object.keys(findings)) seen.add(code)
    await using ledger = await openLedger()
    const refused = await importCortexJsonl(ledger, sourceOf(file))
    expect(refused).toMatchObject({ imported: 0, already: 0, skipped: refused.lines, findings })
    expect(refused.problems.map(({ code }) => code).toSorted()).toEqual(
      Object.entries(findings)
        .flatMap(([code, count]) => Array(count).fill(code))
        .toSorted(),
    )
    for (const { line, message } of refused.problems) {
      expect(line).toBeGreaterThan(0)
      expect(message).toMatch(/^[ -~]+$/)
    }
    expect((await ledger.head()).size).toBe(1)
    const adopted = await importCortexJsonl(ledger, sourceOf(file), { adoptFindings: true })
    expect(adopted).toMatchObject({ imported: refused.lines + 1, skipped: 0, findings })
    expect(await importCortexJsonl(ledger, sourceOf(file), { adoptFindings: true })).toMatchObject({
      imported: 0,
      already: refused.lines + 1,
    })
    const records = await recordsOf(ledger)
    expect(rebuilt(records).equals(Buffer.from(file))).toBe(true)
    const told = records.slice(1).flatMap(({ entry: data }) => (data!['findings'] as { code: string }[]).map(({ code }) => code))
    expect(told.toSorted()).toEqual(refused.problems.map(({ code }) => code).toSorted())
    expect((await ledger.verifyIntegrity({ canonicalEntries: true })).ok).toBe(true)
  })

  test('a line that no record can hold is refused, adopted or not', async () => {
    seen.add('line_too_long')
    for (const file of [`{"a": "${'x'.repeat(17 << 20)}"}\n`, `"${'\\"'.repeat(6 << 20)}"\n`]) {
      await using ledger = await openLedger()
      const report = await importCortexJsonl(ledger, sourceOf(file), { adoptFindings: true })
      expect(report).toMatchObject({ imported: 0, skipped: 1 })
      expect(report.findings).toHaveProperty('line_too_long', 1)
      expect((await ledger.head()).size).toBe(1)
    }
  })

  test('every kind of Python’s findings was met above', () => {
    for (const code of PYTHON_FINDING_CODES) if (code !== 'legacy_line') expect(seen, code).toContain(code)
  })

  test('damaged files: adopted, each is there to the byte', { timeout: 300_000 }, async (context) => {
    const seed = 7
    context.annotate(`seed ${seed}`)
    const random = seededRandom(seed)
    for (let i = scale(60, 1000); i > 0; i--) {
      const file = mutated(Buffer.from(good), random)
      await using ledger = await openLedger()
      const report = await importCortexJsonl(ledger, sourceOf(file), { adoptFindings: true, assumeUtc: true })
      expect(rebuilt(await recordsOf(ledger)).equals(file)).toBe(true)
      expect(report.imported).toBe(report.lines + 1)
    }
  })
})

describe('times without a zone', () => {
  const file =
    '{"timestamp": "2026-02-08T04:00:00.5"}\n{"timestamp_end": "2026-02-08 04:00", "timestamp": "x"}\n{"timestamp": "2026-02-08T04:00:00+0100"}\n'

  test('are refused, adopted or not', async () => {
    await using ledger = await openLedger()
    for (const adoptFindings of [false, true]) {
      const report = await importCortexJsonl(ledger, sourceOf(file), { adoptFindings })
      expect(report).toMatchObject({ imported: 0, skipped: 3, findings: { zoneless_time: 2 } })
      expect(report.problems.map(({ line }) => line)).toEqual([1, 2])
    }
    expect((await ledger.head()).size).toBe(1)
  })

  test('are UTC where that is said', async () => {
    await using ledger = await openLedger()
    expect(await importCortexJsonl(ledger, sourceOf(file), { assumeUtc: true })).toMatchObject({ imported: 4, findings: {} })
    expect((await recordsOf(ledger)).map(({ header }) => header.timestamp)).toEqual([
      '2026-02-08T04:00:00.500000Z',
      '2026-02-08T04:00:00.500000Z',
      '2026-02-08T04:00:00.000000Z',
      '2026-02-08T03:00:00.000000Z',
    ])
  })
})

describe('ids', () => {
  test('a repeated run_id gets its number; one that looks like it does too', async () => {
    await using ledger = await openLedger()
    const file = ['r', 'r#3', 'r', 'r', 'x'.repeat(512), 'x'.repeat(512)].map((id) => `{"run_id": "${id}"}\n`).join('')
    await importCortexJsonl(ledger, sourceOf(file))
    const ids = (await recordsOf(ledger)).slice(1).map(({ run_id }) => run_id)
    expect(ids.slice(0, 5)).toEqual(['r', 'r#3', 'r#3#3', 'r#4', 'x'.repeat(512)])
    expect(ids[5]).toMatch(/^[0-9a-f-]{36}$/)
    expect(await importCortexJsonl(ledger, sourceOf(file))).toMatchObject({ imported: 0, already: 7 })
  })

  test('so does one that another record of the ledger has', async () => {
    await using ledger = await openLedger()
    await ledger.record({ agent_name: 'a', method_name: 'm', run_id: 'r1' })
    for (const name of ['one', 'two', 'three']) {
      expect(await importCortexJsonl(ledger, sourceOf(good, name))).toMatchObject({ imported: 4, already: 0 })
    }
    for (const name of ['one', 'two', 'three']) {
      expect(await importCortexJsonl(ledger, sourceOf(good, name))).toMatchObject({ imported: 0, already: 4 })
    }
    expect((await ledger.get('r1'))!.header.type).toBe('AgentCallCompleted')
    expect((await ledger.get('r1#1'))!.entry).toMatchObject({ file: 'one', line: first })
    expect((await ledger.get('r2'))!.entry).toMatchObject({ file: 'one' })
    expect((await ledger.get('r2#2'))!.entry).toMatchObject({ file: 'two' })
  })
})

describe('twice, in parts, and while it changes', () => {
  const many = `${chain(...Array.from({ length: 500 }, (_, i) => call(`r${i % 400}`))).join('\n')}\n`

  /** Fails in its second reading, when so many bytes were read. */
  function failing(bytes: number): ImportSource {
    let reading = 0
    return {
      name: 'audit.jsonl',
      async *read() {
        reading++
        yield* sourceOf(reading === 1 ? many : many.slice(0, bytes), undefined, 1000).read()
        if (reading > 1) throw new Error('the disk is gone')
      },
    }
  }

  test('what broke off goes on where it stopped', async () => {
    await using whole = await openLedger()
    await importCortexJsonl(whole, sourceOf(many))
    await using ledger = await openLedger()
    await expect(importCortexJsonl(ledger, failing(many.length / 3))).rejects.toThrow('the disk is gone')
    const before = (await recordsOf(ledger)).length
    expect(before).toBeGreaterThan(100)
    expect(before).toBeLessThan(300)
    expect(await importCortexJsonl(ledger, sourceOf(many))).toMatchObject({ imported: 501 - before, already: before })
    const plain = (records: LedgerRecord[]): unknown[] =>
      records.map(({ run_id, header, entry: data }) => [run_id, header.timestamp, header.stream_version, data])
    expect(plain(await recordsOf(ledger))).toEqual(plain(await recordsOf(whole)))
  })

  test('what is appended meanwhile is left for another time; any other change is told', async () => {
    const options: CortexImportOptions = { check: await checkCortexJsonl(sourceOf(good)) }
    await using ledger = await openLedger()
    expect(await importCortexJsonl(ledger, sourceOf(`${good}{"more": 1}\n`), options)).toMatchObject({ imported: 4 })
    expect(rebuilt(await recordsOf(ledger)).toString()).toBe(good)
    await using other = await openLedger()
    await expect(importCortexJsonl(other, sourceOf(good.replace('sum', 'Sum')), options)).rejects.toMatchObject({ code: 'io_error' })
  })

  test('another file under the same name is refused before a line of it is written', async () => {
    await using ledger = await openLedger()
    await importCortexJsonl(ledger, sourceOf(good))
    const { size } = await ledger.head()
    await expect(importCortexJsonl(ledger, sourceOf(`${first}\n`))).rejects.toMatchObject({ code: 'run_id_conflict' })
    expect((await ledger.head()).size).toBe(size)
  })

  test('a signal stops it in either pass', async () => {
    await using ledger = await openLedger()
    const abort = new AbortController()
    const onProgress = ({ phase, records }: { phase: string; records: number }): void => {
      if (phase === 'importing' && records > 50) abort.abort()
    }
    const report = await importCortexJsonl(ledger, sourceOf(many, undefined, 1000), { signal: abort.signal, onProgress })
    expect(report.interrupted).toBe(true)
    expect(report.imported).toBeGreaterThan(50)
    expect(report.imported).toBeLessThan(500)
    expect(await importCortexJsonl(ledger, sourceOf(many), { signal: AbortSignal.abort() })).toMatchObject({
      imported: 0,
      interrupted: true,
    })
  })
})

test('the digest is that of the bytes, however they come', async () => {
  const expected = createHash('sha256').update(good).digest('hex')
  for (const step of [1, 13, 1 << 16])
    expect(await checkCortexJsonl(sourceOf(good, 'x', step))).toMatchObject({ sha256: expected, lines: 3, problems: [] })
})
