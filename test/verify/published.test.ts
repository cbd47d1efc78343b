/** Headers alone are judged as lines are, and a log that others published is read as they meant it. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { nodeHashing } from '../../src/ledger/hashing.ts'
import { LedgerVerifier } from '../../src/verify/chain.ts'
import { parseCheckpoint } from '../../src/verify/checkpoint.ts'
import { headerHash } from '../../src/verify/hash.ts'
import { parseNote } from '../../src/verify/note.ts'
import { auditPublished } from '../../src/verify/published.ts'
import type { PublishedFiles } from '../../src/verify/published.ts'
import type { VerificationReport } from '../../src/verify/report.ts'
import { splitLine } from '../../src/verify/record.ts'
import { honestStore } from '../helpers/published.ts'
import { scale } from '../helpers/scale.ts'

async function headersOf(size: number): Promise<Buffer[]> {
  const headers: Buffer[] = []
  const store = await honestStore('memory', size)
  for await (const chunk of store.read({ filter: {}, from: 0, before: size, reverse: false, limit: Infinity }))
    for (const line of chunk) {
      const { header_start, header_end } = splitLine(line)!
      headers.push(Buffer.from(line.slice(header_start, header_end)))
    }
  return headers
}

/** As lines whose entries are withheld, each with the hash that its header has. */
function judgedAsLines(headers: readonly Uint8Array[]): VerificationReport {
  const verifier = new LedgerVerifier(nodeHashing)
  verifier.file('x', null)
  for (const header of headers) {
    const line = Buffer.concat([
      Buffer.from(`{"hash":"${headerHash(nodeHashing.sha256, header)}","header":`),
      header,
      Buffer.from(',"entry":null}'),
    ])
    verifier.line(line, 0, line.length, 0)
  }
  return verifier.finish()
}

/** All in one array, one behind the other, as a bundle has them. */
function judgedAsHeaders(headers: readonly Uint8Array[]): VerificationReport {
  const verifier = new LedgerVerifier(nodeHashing)
  verifier.file('x', null)
  const all = Buffer.concat(headers)
  let at = 0
  for (const header of headers) {
    verifier.header(all, at, at + header.length, 0)
    at += header.length
  }
  return verifier.finish()
}

/** Without what only a line can be blamed for: that its entry is not there. */
const ofHeaders = ({ problems, notes, size, head }: VerificationReport): unknown => ({
  size,
  head,
  notes: notes.map(({ code, seq }) => [code, seq]),
  problems: problems
    .filter(({ code, found }) => code !== 'withheld_unnamed' && !(code === 'reserved_misused' && found === 'withheld'))
    .map(({ code, seq, expected }) => [code, seq, expected]),
})

test('headers changed, removed, doubled and swapped: the same findings as in lines', async () => {
  const headers = await headersOf(40)
  const position = fc.nat(headers.length - 1)
  const change = fc.oneof(
    fc.record({ kind: fc.constant('byte'), at: position, offset: fc.nat(600), value: fc.integer({ min: 0, max: 255 }) }),
    fc.record({
      kind: fc.constantFrom('remove', 'double', 'swap', 'newer', 'cut', 'longer'),
      at: position,
      offset: fc.nat(39),
      value: fc.constant(0),
    }),
  )
  const changed = (
    before: Buffer[],
    { kind, at, offset, value }: { kind: string; at: number; offset: number; value: number },
  ): Buffer[] => {
    const index = at % before.length
    const header = before[index]!
    if (kind === 'byte') return before.with(index, Buffer.from(header.with(offset % header.length, value)))
    if (kind === 'remove') return before.length === 1 ? before : before.toSpliced(index, 1)
    if (kind === 'double') return before.toSpliced(offset % before.length, 0, header)
    if (kind === 'newer') return before.with(index, Buffer.from(header.toString().replace('"v":1}', '"v":2}')))
    if (kind === 'cut') return before.with(index, header.subarray(0, -1 - offset))
    if (kind === 'longer') return before.with(index, Buffer.concat([header, Buffer.from(' ')]))
    return before.with(index, before[offset % before.length]!).with(offset % before.length, header)
  }
  expect(ofHeaders(judgedAsHeaders(headers))).toEqual({ ...(ofHeaders(judgedAsLines(headers)) as object), problems: [] })
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), (changes) => {
      const harmed = changes.reduce(changed, headers)
      // In a line a header ends where it seems to end; here it ends where it ends.
      const isCut = harmed.some(
        (header) =>
          splitLine(Buffer.from(`{"hash":"${'0'.repeat(64)}","header":${header.toString('latin1')},"entry":null}`, 'latin1'))
            ?.header_end !==
          84 + header.length,
      )
      fc.pre(!isCut)
      expect(ofHeaders(judgedAsHeaders(harmed))).toEqual(ofHeaders(judgedAsLines(harmed)))
    }),
    { numRuns: scale(400, 100_000) },
  )
})

test('bytes that are no header at all are malformed, and nothing is thrown', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { minLength: 1, maxLength: 5 }), (headers) => {
      const report = judgedAsHeaders(headers)
      expect(report.problems.map(({ code }) => code)).toEqual(headers.map(() => 'malformed_record'))
    }),
  )
  expect(judgedAsHeaders([Buffer.alloc(16_385, 0x20)]).problems).toMatchObject([
    { code: 'malformed_record', found: expect.stringContaining('16384') },
  ])
})

const LOG = join(import.meta.dirname, '../../../shared/data/tlog/tessera-log')
const there = existsSync(LOG)
if (!there) console.log(`skipped: the published log is not there (${LOG})`)

test.skipIf(!there)('a log of others: tiles and root are right at each of its sizes, and its entries are no headers', async () => {
  const files: PublishedFiles = {
    read: async (path) => (existsSync(join(LOG, path)) ? readFileSync(join(LOG, path)) : 'no such file'),
  }
  for (let size = 1; size <= 15; size++) {
    const note = parseNote(readFileSync(join(LOG, `checkpoint.${size}`)))
    const checkpoint = typeof note === 'string' ? note : parseCheckpoint(note.text)
    if (typeof checkpoint === 'string') throw new Error(checkpoint)
    const verifier = new LedgerVerifier(nodeHashing)
    const { roots, tiles } = await auditPublished(files, checkpoint, verifier, { sha256: nodeHashing.sha256, sizes: [checkpoint.size] })
    expect(tiles.verdict, `size ${size}`).toBe('pass')
    expect(roots.get(checkpoint.size)).toBe(Buffer.from(checkpoint.root).toString('hex'))
    expect(verifier.finish().problems.map(({ code }) => code)).toEqual(Array.from({ length: size }, () => 'malformed_record'))
  }
})
