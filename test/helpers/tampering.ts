/**
 * An honest JSONL segment, changed in every way that the format says is found: each variant names the record at
 * which it must be reported. Used on our verifier and on docs/verify.py.
 */
import { hash } from 'node:crypto'

export interface Tampered {
  readonly name: string
  readonly bytes: Buffer
  /** Position of the record at which the first problem must be reported. */
  readonly seq: number
}

const LF = 0x0a

/** The segment's lines, each with its line feed. */
export function linesIn(segment: Buffer): Buffer[] {
  const lines: Buffer[] = []
  for (let start = 0; start < segment.length;) {
    const end = segment.indexOf(LF, start)
    lines.push(segment.subarray(start, end + 1))
    start = end + 1
  }
  return lines
}

/** Every byte, changed three ways. The line feed belongs to the record that it ends. */
export function* changedBytes(segment: Buffer, positions: Iterable<number> = segment.keys()): Generator<Tampered> {
  const ends: number[] = []
  for (let at = segment.indexOf(LF); at >= 0; at = segment.indexOf(LF, at + 1)) ends.push(at)
  for (const position of positions) {
    const seq = ends.findIndex((end) => position <= end)
    for (const mask of [0x01, 0x20, 0x80]) {
      const bytes = Buffer.from(segment)
      bytes[position] = bytes[position]! ^ mask
      yield { name: `byte ${position} xor 0x${mask.toString(16)}`, bytes, seq }
    }
  }
}

function joined(lines: readonly (Buffer | string)[]): Buffer {
  return Buffer.concat(lines.map((line) => (typeof line === 'string' ? Buffer.from(line) : line)))
}

/** Lines removed, swapped, doubled, inserted, cut. `strangers` are lines of another ledger, in their own order. */
export function* movedLines(segment: Buffer, strangers: readonly Buffer[] = []): Generator<Tampered> {
  const lines = linesIn(segment)
  const with_ = (seq: number, count: number, ...instead: (Buffer | string)[]): Buffer =>
    joined([...lines.slice(0, seq), ...instead, ...lines.slice(seq + count)])
  for (const [seq, line] of lines.entries()) {
    const text = line.toString('utf8')
    const last = seq === lines.length - 1
    // Without its last record a ledger is shorter and honest: only a checkpoint can tell.
    if (!last) yield { name: `record ${seq} removed`, bytes: with_(seq, 1), seq }
    if (!last) yield { name: `records ${seq} and ${seq + 1} swapped`, bytes: with_(seq, 2, lines[seq + 1]!, line), seq }
    if (seq > 0 && !last) yield { name: `record ${seq} moved to the end`, bytes: joined([with_(seq, 1), line]), seq }
    if (seq > 0 && !last) yield { name: `record ${seq} replaced by the one before`, bytes: with_(seq, 1, lines[seq - 1]!), seq }
    yield { name: `record ${seq} doubled`, bytes: with_(seq, 0, line), seq: seq + 1 }
    yield { name: `record ${seq} again at the end`, bytes: joined([segment, line]), seq: lines.length }
    yield { name: `an empty line before record ${seq}`, bytes: with_(seq, 0, '\n'), seq }
    yield { name: `an empty object before record ${seq}`, bytes: with_(seq, 0, '{}\n'), seq }
    yield { name: `record ${seq} without its last character`, bytes: with_(seq, 1, `${text.slice(0, -2)}\n`), seq }
    yield { name: `record ${seq} in two lines`, bytes: with_(seq, 1, `${text.slice(0, 100)}\n${text.slice(100)}`), seq }
    yield { name: `record ${seq} ended by CR LF`, bytes: with_(seq, 1, `${text.slice(0, -1)}\r\n`), seq }
    yield { name: `record ${seq} emptied`, bytes: with_(seq, 1, `${text.slice(0, text.indexOf(',"salt":'))},"entry":null}\n`), seq }
    for (const [n, stranger] of strangers.slice(seq, seq + 2).entries()) {
      yield { name: `a record of another ledger (${seq + n}) before record ${seq}`, bytes: with_(seq, 0, stranger), seq }
      // Another ledger's record 0 is whole in itself: only the record behind it tells.
      const whole = seq + n === 0
      yield {
        name: `a record of another ledger (${seq + n}) in place of record ${seq}`,
        bytes: with_(seq, 1, stranger),
        seq: whole ? 1 : seq,
      }
    }
  }
  yield { name: 'a byte order mark at the beginning', bytes: joined(['\ufeff', segment]), seq: 0 }
  yield { name: 'an empty line at the end', bytes: joined([segment, '\n']), seq: lines.length }
  yield { name: 'half a record at the end', bytes: joined([segment, lines[0]!.subarray(0, 200)]), seq: lines.length }
  yield { name: 'the last line feed removed', bytes: segment.subarray(0, -1), seq: lines.length - 1 }
  yield {
    name: 'half of the last record removed',
    bytes: segment.subarray(0, -Math.floor(lines.at(-1)!.length / 2)),
    seq: lines.length - 1,
  }
}

const BASE64URL = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

/** The salt's 22nd character carries two bits; the other four are spare, and must be 0. */
function spareBits(line: string): string[] {
  const at = line.indexOf('"salt":"') + 8 + 21
  const value = BASE64URL.indexOf(line[at]!)
  return [1, 2, 8, 15].map((spare) => line.slice(0, at) + BASE64URL[value | spare] + line.slice(at + 1))
}

/** The line with another entry, and all hashes of this record made to fit: what a forger without the next record can do. */
function resealed(line: string, change: (header: string, salted: string) => readonly [header: string, salted: string]): string {
  const headerEnd = line.indexOf('},"salt":') + 1
  const [header, salted] = change(line.slice(84, headerEnd), line.slice(headerEnd + 1, -2))
  const committed = header.replace(/"entry_hash":"[0-9a-f]{64}"/, `"entry_hash":"${hash('sha256', salted, 'hex')}"`)
  return `{"hash":"${hash('sha256', `\0${committed}`, 'hex')}","header":${committed},${salted}}\n`
}

/** Members slipped in, other spellings of the same values, duplicate keys, white space: the line says more than what was hashed, or says it otherwise. */
export function* spelledOtherwise(segment: Buffer): Generator<Tampered> {
  const lines = linesIn(segment).map((line) => line.toString('utf8'))
  for (const [seq, line] of lines.entries()) {
    const body = line.slice(0, -2)
    const atSalt = line.indexOf(',"salt":')
    const edits: [name: string, line: string][] = [
      ['a member behind the entry', `${body},"note":"x"}\n`],
      ['a second header behind the entry', `${body},"header":{"outcome":"success"}}\n`],
      ['a second entry behind the entry', `${body},"entry":{}}\n`],
      ['a header inside the entry slice', `${body.slice(0, -1)}},"header":{"outcome":"success"}}\n`],
      ['a second value behind the line', `${body}}{}\n`],
      ['a member before the hash', `{"note":"x",${line.slice(1)}`],
      ['a member between hash and header', `${line.slice(0, 74)},"note":"x"${line.slice(74)}`],
      ['a member between header and salt', `${line.slice(0, atSalt)},"note":"x"${line.slice(atSalt)}`],
      ['empty signatures', `${line.slice(0, atSalt)},"signatures":[]${line.slice(atSalt)}`],
      [
        'signatures that no signer names',
        `${line.slice(0, atSalt)},"signatures":[{"key":"00000000","alg":"ed25519","sig":"${'A'.repeat(86)}=="}]${line.slice(atSalt)}`,
      ],
      ['a blank at the beginning', ` ${line}`],
      ['a blank at the end', `${line.slice(0, -1)} \n`],
      ['a blank before the entry', line.replace(',"entry":', ',"entry": ')],
      ['a blank in the entry', line.replace(',"entry":{', ',"entry":{ ')],
      ['a blank in the header', line.replace('"header":{', '"header":{ ')],
      ['the hash in capitals', line.replace(/^\{"hash":"[0-9a-f]{64}"/, (found) => `{"hash":"${found.slice(9).toUpperCase()}`)],
      ['another spelling of the hash key', line.replace('{"hash"', '{"h\\u0061sh"')],
      ['another spelling of a header key', line.replace('"action":', '"\\u0061ction":')],
      ['another spelling of a header value', line.replace('"success"', '"\\u0073uccess"')],
      ['a header key twice', line.replace('"outcome":"', '"outcome":"failure","outcome":"')],
      ['a header member more', line.replace(',"v":1', ',"v":1,"zone":"x"')],
      ['a header without its last member', line.replace(',"v":1', '')],
      ['another number of the same value', line.replace('"v":1', '"v":1.0')],
      ['a nested header', line.replace(',"v":1', ',"v":1,"w":{}')],
      ['an entry member twice', line.replace(',"entry":{', ',"entry":{"a":1,"a":1,')],
      ['an entry that is no object', `${line.slice(0, line.indexOf(',"entry":'))},"entry":[]}\n`],
      ['an entry that is no value', `${line.slice(0, line.indexOf(',"entry":'))},"entry":{]}\n`],
      ...spareBits(line).map((text, i): [string, string] => [`spare bits of the salt (${i})`, text]),
      // Whole in itself: only the record behind it tells.
      [
        'another entry, resealed',
        resealed(line, (header, salted) => [header, salted.replace(/"entry":\{.*\}$/s, '"entry":{"forged":true}')]),
      ],
      [
        'another outcome, resealed',
        resealed(line, (header, salted) => [header.replace('"outcome":"success"', '"outcome":"failure"'), salted]),
      ],
    ]
    for (const [name, text] of edits) {
      if (text === line) continue
      const sealed = name.endsWith('resealed')
      if (sealed && seq === lines.length - 1) continue
      yield {
        name: `record ${seq}: ${name}`,
        bytes: Buffer.from([...lines.slice(0, seq), text, ...lines.slice(seq + 1)].join('')),
        seq: sealed ? seq + 1 : seq,
      }
    }
  }
}
