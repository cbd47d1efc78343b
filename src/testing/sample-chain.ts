/**
 * Records for tests of a store alone, without the writer: sealed here a second time and as plainly as docs/format.md
 * says it, so that a fault of the writer's sealing can't hide in both.
 */
import { hash } from 'node:crypto'
import { indexedName } from '../ledger/filter.ts'
import type { AppendOptions, Head, SealedRecord, Store } from '../ledger/store.ts'
import { canonicalize } from '../verify/canonical.ts'
import { GENESIS, LEDGER_STREAM, type Outcome, type RecordHeader } from '../verify/header.ts'
import { formatLine } from '../verify/record.ts'
import { formatTime, parseTime } from '../verify/time.ts'
import { seededRandom, type SeededRandom } from './seeded-random.ts'

/** What is particular about a record; all else is made up, and other for each record. */
export interface Sample {
  readonly stream?: string
  readonly type?: string
  readonly run_id?: string
  readonly actor?: string
  readonly action?: string
  readonly outcome?: Outcome
  readonly correlation_id?: string
  readonly causation_id?: string
  readonly tags?: readonly string[]
  readonly timestamp?: string
  readonly recorded_at?: string
  readonly schema?: number
  readonly entry?: object
  /** Further header members, such as a later version's. */
  readonly further?: { readonly [key: string]: string | number | readonly string[] }
  readonly signatures_text?: string
  /** The store gets the record without its entry, as a copy of what is withheld does. */
  readonly withheld?: boolean
}

export const SAMPLE_ORIGIN = 'example.com/contract'

/** Record 0 of a ledger. */
export const LEDGER_CREATED: Sample = {
  stream: LEDGER_STREAM,
  type: 'LedgerCreated',
  actor: SAMPLE_ORIGIN,
  action: 'create',
  entry: { origin: SAMPLE_ORIGIN, keys: [] },
}

const START_US = parseTime('2026-03-01T12:00:00.000000Z') as number

/** The records that a store was given so far, and what comes next. One chain goes with one store. */
export class SampleChain {
  readonly random: SeededRandom
  /** Every record that was accepted, in its place. */
  readonly records: SealedRecord[] = []
  readonly #versions = new Map<string, number>()

  constructor(seed = 1) {
    this.random = seededRandom(seed)
  }

  get head(): Head {
    const last = this.records.at(-1)
    return last === undefined
      ? { size: 0, hash: GENESIS, recorded_at: null }
      : { size: this.records.length, hash: last.hash, recorded_at: last.header.recorded_at }
  }

  /** The lines that the store must return, in their order. */
  get lines(): string[] {
    return this.records.map(formatLine)
  }

  lastVersion(stream: string): number | undefined {
    return this.#versions.get(stream)
  }

  /** Seals records to follow the chain, which stays as it is. @param whole they are one append, all or none */
  seal(samples: readonly Sample[], whole = false): SealedRecord[] {
    const sealed: SealedRecord[] = []
    const versions = new Map(this.#versions)
    let { size: seq, hash: previous_hash, recorded_at } = this.head
    const last = whole && samples.length > 1 ? seq + samples.length - 1 : undefined
    for (const sample of samples) {
      const stream = sample.stream ?? `stream-${seq % 5}`
      const stream_version = (versions.get(stream) ?? -1) + 1
      recorded_at =
        sample.recorded_at ?? formatTime(Math.max(START_US + seq * 1000, recorded_at === null ? 0 : (parseTime(recorded_at) ?? 0)))
      const record = this.#sealOne(sample, { seq, previous_hash, recorded_at, stream, stream_version, last })
      versions.set(stream, stream_version)
      previous_hash = record.hash
      seq++
      sealed.push(record)
    }
    return sealed
  }

  #sealOne(
    sample: Sample,
    at: { seq: number; previous_hash: string; recorded_at: string; stream: string; stream_version: number; last: number | undefined },
  ): SealedRecord {
    const entry = sample.entry ?? { note: `entry ${at.seq}`, provider_name: `provider-${at.seq % 3}`, model_name: `model-${at.seq % 7}` }
    const entry_text = canonicalize(entry)
    const salt = Buffer.from(this.random.bytes(16)).toString('base64url')
    const header = {
      action: sample.action ?? `action-${at.seq % 4}`,
      actor: sample.actor ?? `actor-${at.seq % 3}`,
      ...(at.last === undefined ? {} : { append_last_seq: at.last }),
      ...(sample.causation_id === undefined ? {} : { causation_id: sample.causation_id }),
      ...(sample.correlation_id === undefined ? {} : { correlation_id: sample.correlation_id }),
      entry_hash: hash('sha256', `"salt":"${salt}","entry":${entry_text}`, 'hex'),
      outcome: sample.outcome ?? 'success',
      previous_hash: at.previous_hash,
      recorded_at: at.recorded_at,
      run_id: sample.run_id ?? `run-${at.seq}`,
      schema: sample.schema ?? 1,
      seq: at.seq,
      stream: at.stream,
      stream_version: at.stream_version,
      ...(sample.tags === undefined ? {} : { tags: sample.tags }),
      timestamp: sample.timestamp ?? at.recorded_at,
      type: sample.type ?? 'SampleTaken',
      v: 1,
      ...sample.further,
    } as RecordHeader
    const header_text = canonicalize(header)
    const names = entry as { readonly provider_name?: unknown; readonly model_name?: unknown }
    const sealed = {
      hash: hash('sha256', `\0${header_text}`, 'hex'),
      header,
      header_text,
      signatures_text: sample.signatures_text ?? null,
    }
    if (sample.withheld === true) return { ...sealed, salt: null, entry_text: null, provider: null, model: null }
    return { ...sealed, salt, entry_text, provider: indexedName(names.provider_name), model: indexedName(names.model_name) }
  }

  /** The store has taken these: the chain goes on behind them. */
  accept(records: readonly SealedRecord[]): void {
    for (const record of records) {
      this.records.push(record)
      this.#versions.set(record.header.stream, record.header.stream_version)
    }
  }

  /** Seals, appends and accepts. */
  async append(
    store: Store,
    samples: readonly Sample[],
    options: AppendOptions & { readonly whole?: boolean } = {},
  ): Promise<SealedRecord[]> {
    const records = this.seal(samples, options.whole)
    await store.append(records, this.head, options.newSegment === true ? { newSegment: true } : {})
    this.accept(records)
    return records
  }
}
