/**
 * An honest ledger of 50 records, changed in every way that docs/format.md lists: each change is found at the right
 * record, with at most three problems, and the rest of the ledger is checked as before.
 */
import { hash } from 'node:crypto'
import { isUtf8 } from 'node:buffer'
import { describe, expect, test } from 'vitest'
import { canonicalize } from '../../src/verify/canonical.ts'
import { formatLine } from '../../src/verify/record.ts'
import type { VerificationReport } from '../../src/verify/report.ts'
import { fileOf, GROUP, honestLedger, makeRecord, recordHash, sha256Hex, verifyFile, verifyLines } from '../helpers/make-lines.ts'
import type { MadeRecord } from '../helpers/make-lines.ts'
import { scale } from '../helpers/scale.ts'

const FAST = { sha256: (bytes: Uint8Array): string => hash('sha256', bytes), isUtf8 }
const PROBLEMS_MAX = 3
const made = honestLedger()
const lines = made.map(({ line }) => line)
const LAST = lines.length - 1
/** Each record goes to a fourth of all places, others for each; to all of them in the soak. */
const PLACES = scale(4, 1)

/** Found, at one of these records first, and not more often than three times. */
function expectFound(name: string, report: VerificationReport, at: readonly number[]): void {
  const told = `${name}: ${JSON.stringify(report.problems)}`
  if (report.ok || report.problems_total === 0) expect.fail(`${name} was not found`)
  if (report.problems_total > PROBLEMS_MAX) expect.fail(`${told}: more than ${PROBLEMS_MAX}`)
  if (!at.includes(report.problems[0]!.seq!)) expect.fail(`${told}: not at ${at.join(' or ')}`)
}

const check = (name: string, changed: readonly (string | MadeRecord)[], ...at: readonly number[]): void =>
  expectFound(name, verifyLines(changed, FAST), at)

test('before any change it passes', () => {
  expect(verifyLines(lines, FAST)).toMatchObject({ ok: true, size: 50, problems_total: 0 })
})

// In the soak 110,000 verifications, which takes minutes.
test('every byte, changed three ways', { timeout: scale(120_000, 1_800_000) }, () => {
  const file = fileOf(made)
  const starts = made.reduce<number[]>((offsets, { line }) => [...offsets, offsets.at(-1)! + Buffer.byteLength(line) + 1], [0])
  // A part of the positions, others in each record; all of them in the soak.
  const step = scale(61, 1)
  let seq = 0
  let count = 0
  for (let at = 0; at < file.length; at += step) {
    while (starts[seq + 1]! <= at) seq++
    const isLineFeed = file[at] === 10
    for (const mask of [0x01, 0x20, 0x80]) {
      file[at]! ^= mask
      expectFound(`byte ${at} xor ${mask}`, verifyFile(file, FAST), isLineFeed ? [seq, seq + 1] : [seq])
      file[at]! ^= mask
      count++
    }
  }
  expect(count).toBe(Math.ceil(file.length / step) * 3)
})

/** A forged record within the append of several breaks it, which is reported at its first record. */
const orAppend = (i: number): number[] => (i > GROUP[0] && i <= GROUP[1] ? [GROUP[0]] : [])

describe('records', () => {
  test('each removed; the last is not missed, and completeness is what says so', () => {
    for (let i = 0; i < LAST; i++) check(`removed ${i}`, lines.toSpliced(i, 1), i)
    const cut = verifyLines(lines.slice(0, LAST), FAST)
    expect(cut).toMatchObject({ ok: true, size: LAST, verdicts: { completeness: 'not checked' } })
    expect(cut.missing.completeness).toContain('cut tail')
  })

  test('any two swapped', () => {
    for (let i = 0; i < LAST; i++) {
      for (let j = i + 1; j <= LAST; j += PLACES) {
        const swapped = [...lines]
        swapped[i] = lines[j]!
        swapped[j] = lines[i]!
        check(`${i} and ${j} swapped`, swapped, i)
      }
    }
  })

  test('each doubled, and a copy of each slipped in anywhere', () => {
    for (let i = 0; i <= LAST; i++) {
      check(`${i} doubled`, lines.toSpliced(i, 0, lines[i]!), i + 1)
      for (let at = i % PLACES; at <= LAST + 1; at += PLACES) {
        if (at !== i && at !== i + 1) check(`a copy of ${i} at ${at}`, lines.toSpliced(at, 0, lines[i]!), at)
      }
    }
  })

  test('each moved to anywhere', () => {
    for (let i = 0; i <= LAST; i++) {
      for (let at = i % PLACES; at < LAST; at += PLACES) {
        if (at === i || (i === LAST && at === LAST)) continue
        const moved = lines.toSpliced(i, 1)
        moved.splice(at, 0, lines[i]!)
        check(`${i} moved to ${at}`, moved, Math.min(i, at))
      }
    }
  })

  test('a forged one slipped in, with the right hashes of its own', () => {
    for (let i = 1; i <= LAST; i++) {
      const before = made[i - 1]!
      const linked = makeRecord(i, before.hash, 99, { stream: 'forged', stream_version: 0, run_id: 'forged' })
      check(`linked, before ${i}`, lines.toSpliced(i, 0, linked.line), i, i + 1, ...orAppend(i))
      const unlinked = makeRecord(i, 'ab'.repeat(32), 0, { stream: 'forged', run_id: 'forged' })
      check(`not linked, before ${i}`, lines.toSpliced(i, 0, unlinked.line), i)
      const elsewhere = makeRecord(i + 1000, before.hash, 0, { stream: 'forged', run_id: 'forged' })
      check(`of another position, before ${i}`, lines.toSpliced(i, 0, elsewhere.line), i)
    }
  })

  test('each replaced by a forged one, with the right hashes of its own', () => {
    for (let i = 1; i < LAST; i++) {
      const { line } = makeRecord(i, made[i - 1]!.hash, made[i]!.header.stream_version, {
        stream: made[i]!.header.stream,
        run_id: made[i]!.header.run_id,
      })
      check(`replaced ${i}`, lines.with(i, line), i + 1, i, ...orAppend(i))
      const unlinked = makeRecord(i, 'ab'.repeat(32), made[i]!.header.stream_version, {
        stream: made[i]!.header.stream,
        run_id: made[i]!.header.run_id,
      })
      check(`replaced without a link ${i}`, lines.with(i, unlinked.line), i)
    }
  })

  test('several removed, and two runs of them that change places', () => {
    for (const [from, to] of [
      [0, 5],
      [1, 2],
      [10, 30],
      [40, LAST],
    ] as const)
      check(`removed ${from} to ${to}`, lines.toSpliced(from, to - from), from)
    for (const [a, b, c] of [
      [0, 10, 20],
      [5, 6, 40],
      [10, 30, 31],
      [10, 30, 45],
      [1, 25, 49],
    ] as const) {
      const swapped = [...lines.slice(0, a), ...lines.slice(b, c), ...lines.slice(a, b), ...lines.slice(c)]
      check(`${a} to ${b} and ${b} to ${c} swapped`, swapped, a)
    }
  })

  test('a line of anything slipped in', () => {
    for (let i = 0; i <= LAST + 1; i++) {
      for (const text of ['', '{}', 'null', '\ufeff', '\r', '{"hash":"', lines[0]!.slice(0, 300), lines[0]!.replace('"v":1', '"v":0')]) {
        check(`${text} before ${i}`, lines.toSpliced(i, 0, text), i)
      }
    }
  })
})

describe('spellings', () => {
  /** Variants of a record's line whose header hash is right, so that only the grammar stands in the way. */
  function reheadered({ header_text, salt, entry_text, line }: MadeRecord, change: (header: string) => string): string {
    const changed = change(header_text)
    if (changed === header_text) throw new Error('nothing was changed')
    const withheld = line.endsWith('"entry":null}')
    return formatLine({
      hash: recordHash(changed),
      header_text: changed,
      signatures_text: null,
      salt: withheld ? null : salt,
      entry_text: withheld ? null : entry_text,
    })
  }

  test('members slipped in behind the entry, before the header, between the parts', () => {
    for (const [i, { line, header_text, entry_text }] of made.entries()) {
      const inside = line.slice(0, -1)
      const headerEnd = 84 + header_text.length
      const variants = [
        `${inside},"header":{"outcome":"success"}}`,
        `${inside},"entry":{}}`,
        `${inside},"x":1}`,
        `${inside}}{}`,
        `${inside}} `,
        `${inside},}`,
        `{"x":1,${line.slice(1)}`,
        ` ${line}`,
        `\ufeff${line}`,
        line.replace('{"hash":', '{"hash": '),
        line.replace('","header":', '","x":1,"header":'),
        line.replace('"header":{', '"header":{},"header":{'),
        `${line.slice(0, headerEnd)},"x":1${line.slice(headerEnd)}`,
        `${line.slice(0, headerEnd)},"signatures":[]${line.slice(headerEnd)}`,
        `${line.slice(0, headerEnd)} ${line.slice(headerEnd)}`,
        line.replace(entry_text, `${entry_text},"entry":${entry_text}`),
        line.replace(entry_text, ` ${entry_text}`),
        line.replace(entry_text, '{}'),
        line.replace(entry_text, 'null'),
      ]
      for (const variant of variants) if (variant !== line) check(`${i}: ${variant.slice(-60)}`, lines.with(i, variant), i)
    }
  })

  test('an entry that JSON.parse of the line would read otherwise than the slices, its commitment made to fit', () => {
    for (let i = 1; i < LAST; i++) {
      const { header_text, salt, header } = made[i]!
      if (lines[i]!.endsWith('"entry":null}')) continue
      const entry_text = '{"a":1},"header":{"outcome":"failure"},"entry":{"b":2}'
      const changed = header_text.replace(header.entry_hash, sha256Hex(`"salt":"${salt}","entry":${entry_text}`))
      const line = formatLine({ hash: recordHash(changed), header_text: changed, signatures_text: null, salt, entry_text })
      expect(JSON.parse(line).header).toEqual({ outcome: 'failure' })
      check(`${i}`, lines.with(i, line), i)
    }
  })

  test('duplicate keys, another order, another spelling in the header, its hash made to fit', () => {
    for (const [i, record] of made.entries()) {
      const changes: ((header: string) => string)[] = [
        (text) => text.replace('"outcome"', '"outcome":"failure","outcome"'),
        (text) => text.replace(/}$/, ',"v":1}'),
        (text) => text.replace('{"action"', '{"action":"x","action"'),
        (text) => text.replace('"schema":1', '"schema":1.0'),
        (text) => text.replace('"type":"', '"type": "'),
        (text) => text.replace('"type":"A', '"type":"\\u0041').replace(/"type":"([^\\A])/, '"type":"\\u0058$1'),
        (text) => text.replace('"run_id":"', '"run_id":"\u0085'),
        (text) => text.replace(/"timestamp":"2026-11-22/, '"timestamp":"2026-11-31'),
        (text) => text.replace('"outcome":"', '"outcome":"x'),
        (text) => text.replace(',"v":1', ',"v":1,"a":1'),
        (text) => text.replace(/"schema":1,"seq":(\d+)/, '"seq":$1,"schema":1'),
      ]
      for (const [n, change] of changes.entries()) check(`${i}, change ${n}`, lines.with(i, reheadered(record, change)), i)
    }
  })

  test("each salt's spare bits, each other salt, an emptied and a withheld entry", () => {
    const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    for (const [i, { line, salt, entry_text }] of made.entries()) {
      if (line.endsWith('"entry":null}')) continue
      for (let spare = 1; spare < 16; spare++) {
        const other = salt.slice(0, -1) + digits[digits.indexOf(salt.at(-1)!) + spare]
        check(`spare bits ${spare} of ${i}`, lines.with(i, line.replace(salt, other)), i)
      }
      check(`salt of ${i}`, lines.with(i, line.replace(salt, 'A'.repeat(22))), i)
      check(`entry of ${i} emptied`, lines.with(i, line.replace(entry_text, '{}')), i)
      const withheld = line.replace(`"salt":"${salt}","entry":${entry_text}`, '"entry":null')
      check(`entry of ${i} withheld`, lines.with(i, withheld), i)
    }
  })

  test('bytes that are not UTF-8, in header and entry, all hashes made to fit', () => {
    const bad = ['\xc0\x80', '\xe0\x80\x80', '\xed\xa0\x80', '\xf4\x90\x80\x80', '\xf8\x88\x80\x80\x80', '\xff', '\xe2\x28\xa1', '\x80']
    for (const text of bad) {
      for (const place of ['actor', 'entry']) {
        const record = makeRecord(5, made[4]!.hash, 0, { stream: 'new', run_id: 'new', actor: 'XX', entry: { a: 'YY' } })
        const entry = Buffer.from(place === 'entry' ? record.entry_text.replace('YY', text) : record.entry_text, 'latin1')
        const commitment = sha256Hex(Buffer.concat([Buffer.from(`"salt":"${record.salt}","entry":`), entry]))
        const header = Buffer.from(
          (place === 'actor' ? record.header_text.replace('XX', text) : record.header_text).replace(record.header.entry_hash, commitment),
          'latin1',
        )
        const head = sha256Hex(Buffer.concat([Buffer.of(0), header]))
        const line = Buffer.concat([
          Buffer.from(`{"hash":"${head}","header":`),
          header,
          Buffer.from(`,"salt":"${record.salt}","entry":`),
          entry,
          Buffer.from('}\n'),
        ])
        for (const options of [FAST, {}]) {
          const report = verifyFile(Buffer.concat([fileOf(lines.slice(0, 5)), line]), options)
          expect(report.problems, `${place} ${JSON.stringify(text)}`).toMatchObject([
            { code: 'malformed_record', seq: 5, found: expect.stringContaining('UTF-8') },
          ])
        }
      }
    }
  })

  test('a header that says the same in another spelling is not what was hashed', () => {
    const { header, header_text } = made[6]!
    const respelled = JSON.stringify(header).replaceAll('/', '\\/').replace('task', '\\u0074ask')
    expect(canonicalize(JSON.parse(respelled))).toBe(header_text)
    const report = verifyLines(lines.with(6, lines[6]!.replace(header_text, respelled)), FAST)
    expect(report.problems).toMatchObject([{ code: 'hash_mismatch', seq: 6 }])
  })
})

test('two faults far from each other are both found where they are', () => {
  const twice = lines.with(10, lines[10]!.replace('"outcome":"', '"outcome":"x')).toSpliced(30, 1)
  const report = verifyLines(twice, FAST)
  expect(report.problems.map(({ code, seq }) => [code, seq])).toEqual([
    ['hash_mismatch', 10],
    ['missing_records', 30],
  ])
  expect(report).toMatchObject({ size: 50, head: made.at(-1)!.hash })
})
