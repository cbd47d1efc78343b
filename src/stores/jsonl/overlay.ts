/**
 * What the index does not have yet, in memory: which run_ids and streams the newest records name, and where those
 * records lie. It is kept in generations, so that what the index has caught up with goes at once and not one by one.
 */
import type { Segment } from './layout.ts'

/** Records that lie one behind the other, as one write or one read brought them. */
export interface Run {
  readonly first_seq: number
  readonly segment: Segment
  /** Where they begin and end in the segment's file. */
  readonly byte: number
  readonly end: number
}

/** Records of one generation where the index follows. */
export const FOLLOWED_GENERATION = 4096
/** And where everything stays: a Map takes 2^24 entries. */
export const LASTING_GENERATION = 4_000_000

interface Generation {
  /** Position behind its last record. */
  before: number
  readonly run_ids: Map<string, number>
  readonly streams: Map<string, number>
  readonly runs: Run[]
}

/** The header members that are looked up. */
export interface OverlayRecord {
  readonly header: { readonly run_id: string; readonly stream: string; readonly stream_version: number }
}

export class Overlay {
  readonly #generationRecords: number
  /** Oldest first. */
  #generations: Generation[] = []
  #from: number
  #before: number

  /**
   * @param from position of the first record that will be added
   * @param generationRecords one of the two above
   */
  constructor(from: number, generationRecords: number) {
    this.#from = from
    this.#before = from
    this.#generationRecords = generationRecords
  }

  /** Position of the first record that is in here. */
  get from(): number {
    return this.#from
  }

  /** Adds records in the order of position. */
  add(records: readonly OverlayRecord[], run: Run): void {
    let generation = this.#generations.at(-1)
    if (generation === undefined || generation.run_ids.size >= this.#generationRecords) {
      generation = { before: run.first_seq, run_ids: new Map(), streams: new Map(), runs: [] }
      this.#generations.push(generation)
    }
    let seq = run.first_seq
    for (const { header } of records) {
      // The first of two records with one run_id is the one that counts; a writer makes no second.
      if (!generation.run_ids.has(header.run_id)) generation.run_ids.set(header.run_id, seq)
      generation.streams.set(header.stream, header.stream_version)
      seq++
    }
    generation.runs.push(run)
    generation.before = seq
    this.#before = seq
  }

  /** The index has all records before `size`. */
  evict(size: number): void {
    let gone = 0
    while (gone < this.#generations.length && (this.#generations[gone] as Generation).before <= size) gone++
    if (gone === 0) return
    this.#generations = this.#generations.slice(gone)
    this.#from = this.#generations[0]?.runs[0]?.first_seq ?? this.#before
  }

  /** Position of the record with this run_id. */
  findRun(run_id: string): number | undefined {
    for (const { run_ids } of this.#generations) {
      const seq = run_ids.get(run_id)
      if (seq !== undefined) return seq
    }
    return undefined
  }

  /** Last version of the stream. */
  findStream(stream: string): number | undefined {
    for (let i = this.#generations.length - 1; i >= 0; i--) {
      const version = (this.#generations[i] as Generation).streams.get(stream)
      if (version !== undefined) return version
    }
    return undefined
  }

  /** Where to look for the record at this position, which is in here. */
  locate(seq: number): Run | undefined {
    const generation = this.#generations.find(({ before }) => seq < before)
    if (generation === undefined) return undefined
    const { runs } = generation
    let low = 0
    let high = runs.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((runs[middle] as Run).first_seq <= seq) low = middle
      else high = middle - 1
    }
    const run = runs[low]
    return run !== undefined && run.first_seq <= seq ? run : undefined
  }
}
