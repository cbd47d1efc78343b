/** Makes records without the writer, so that what it seals and what is verified are not the same code's word. */
import { createHash } from 'node:crypto'
import { canonicalize } from '../../src/verify/canonical.ts'
import { formatHeader, GENESIS } from '../../src/verify/header.ts'
import type { RecordHeader } from '../../src/verify/header.ts'
import { formatLine } from '../../src/verify/record.ts'
import { LedgerVerifier } from '../../src/verify/chain.ts'
import type { VerifierOptions } from '../../src/verify/verifier-options.ts'
import type { VerificationReport } from '../../src/verify/report.ts'
import { formatTime } from '../../src/verify/time.ts'

export const ORIGIN = 'example.com/agents/test'
/** 2026-11-22T20:15:33.123456Z */
const START_US = 1_795_378_533_123_456

export const sha256Hex = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex')
export const recordHash = (headerText: string): string => sha256Hex(Buffer.concat([Buffer.of(0), Buffer.from(headerText)]))
export const saltOf = (seed: string): string => createHash('sha256').update(seed).digest().subarray(0, 16).toString('base64url')

export interface RecordInput extends Partial<Omit<RecordHeader, 'seq' | 'previous_hash' | 'entry_hash'>> {
  readonly entry?: unknown
  /** The entry's text where it shall not be canonical. */
  readonly entry_text?: string
  readonly withheld?: boolean
  readonly signatures_text?: string
}

export interface MadeRecord {
  readonly line: string
  readonly hash: string
  readonly header: RecordHeader
  readonly header_text: string
  readonly entry_text: string
  readonly salt: string
}

/** Seals one record behind `previous`, with plain values for what is not given. */
export function makeRecord(seq: number, previous: string, version: number, input: RecordInput = {}): MadeRecord {
  const { entry, entry_text: given, withheld = false, signatures_text = null, ...fields } = input
  const entry_text = given ?? canonicalize(entry ?? { method_name: 'summarise', prompt: `question ${seq}`, raw_output: 'an answer' })
  const salt = saltOf(`salt ${seq}`)
  const at = formatTime(START_US + seq * 1_000_003)
  const header: RecordHeader = {
    action: 'summarise',
    actor: 'analyst',
    entry_hash: sha256Hex(`"salt":"${salt}","entry":${entry_text}`),
    outcome: 'success',
    previous_hash: previous,
    recorded_at: at,
    run_id: `run-${seq}`,
    schema: 1,
    seq,
    stream: 'task-1',
    stream_version: version,
    timestamp: at,
    type: 'AgentCallCompleted',
    v: 1,
    ...fields,
  }
  const header_text = formatHeader(header)
  const hash = recordHash(header_text)
  const line = formatLine({ hash, header_text, signatures_text, salt: withheld ? null : salt, entry_text: withheld ? null : entry_text })
  return { line, hash, header, header_text, entry_text, salt }
}

/** A chain of records that starts with LedgerCreated; `inputs` are those behind it. */
export function makeLedger(inputs: readonly RecordInput[], origin = ORIGIN): MadeRecord[] {
  const versions = new Map<string, number>()
  const records: MadeRecord[] = []
  const created: RecordInput = { actor: origin, action: 'create', stream: 'ledger', type: 'LedgerCreated', entry: { keys: [] } }
  for (const [seq, input] of [created, ...inputs].entries()) {
    const stream = input.stream ?? 'task-1'
    const version = input.stream_version ?? (versions.get(stream) ?? -1) + 1
    versions.set(stream, version)
    records.push(makeRecord(seq, records.at(-1)?.hash ?? GENESIS, version, input))
  }
  return records
}

/** Positions whose entries are withheld in `honestLedger`, all named as archived. */
export const WITHHELD = [7, 8, 20]
/** First and last position of the append of several records. */
export const GROUP = [12, 14] as const

/** The clock is back by an hour from record 33 on. */
function clockAt(seq: number): { recorded_at?: string } {
  return seq < 33 ? {} : { recorded_at: formatTime(START_US - 3_600_000_000 + seq * 1000) }
}

function inputAt(seq: number): RecordInput {
  const system = { stream: 'ledger', actor: 'cortex-ledger', ...clockAt(seq) }
  if (seq === 30) return { ...system, action: 'seal_segment', type: 'SegmentSealed', entry: { first_seq: 0, last_seq: 29 } }
  if (seq === 33) {
    return { ...system, action: 'note_clock', type: 'ClockMovedBack', entry: { by_us: 3_600_000_000 } }
  }
  if (seq === 40) {
    const entry = { records: [{ first_seq: 7, last_seq: 8 }, { seq: 20 }] }
    return { ...system, action: 'archive_entries', type: 'EntriesArchived', entry }
  }
  return {
    stream: `task-${seq % 3}`,
    entry: {
      agent_name: 'analyst',
      parsed_data: { '9': 'neun', '10': [1.5e-7, -0, 1e21, true, null], '\u20ac': '\ud83d\ude00' },
      prompt: `Übersetze \u2028 “${seq}” mit \\ und "Zitaten" 😀\n`,
      raw_output: 'x'.repeat(seq),
    },
    ...(seq % 2 === 0 ? { correlation_id: `task-${seq % 3}`, actor: 'Ärztin "A" \\ 😀' } : {}),
    ...(seq % 5 === 0
      ? { tags: ['a\ufffdb', 'tier:\ud83d\ude00', 'tier:\uffee'].sort(), causation_id: `run-${seq - 1}`, outcome: 'denied' as const }
      : {}),
    ...(seq >= GROUP[0] && seq <= GROUP[1] ? { append_last_seq: GROUP[1] } : {}),
    ...clockAt(seq),
    withheld: WITHHELD.includes(seq),
  }
}

/** An honest ledger with all that the format has: optional keys, texts beyond ASCII, an append of three, withheld entries. */
export function honestLedger(count = 50): MadeRecord[] {
  return makeLedger(Array.from({ length: count - 1 }, (_, index) => inputAt(index + 1)))
}

/** The file that the lines make. */
export function fileOf(lines: readonly (MadeRecord | string)[]): Buffer {
  return Buffer.from(lines.map((line) => `${typeof line === 'string' ? line : line.line}\n`).join(''))
}

/** The report on a file as a store gives it line by line; an unended last line is a torn tail. */
export function verifyFile(bytes: Uint8Array, options: VerifierOptions = {}): VerificationReport {
  const verifier = new LedgerVerifier(options)
  verifier.file('ledger.jsonl', null)
  let start = 0
  for (let end = bytes.indexOf(10); end !== -1; end = bytes.indexOf(10, start)) {
    verifier.line(bytes, start, end, start)
    start = end + 1
  }
  if (start < bytes.length) verifier.unended(start, bytes.length - start, 'tail')
  return verifier.finish()
}

/** The report on lines. */
export function verifyLines(lines: readonly (MadeRecord | string)[], options: VerifierOptions = {}): VerificationReport {
  return verifyFile(fileOf(lines), options)
}
