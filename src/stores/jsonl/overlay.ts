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

/**
 * Many writers never look anything up (new run_ids, streams that they remember), so what a record names goes into lists,
 * and from there into maps when somebody asks: hashing two texts a record is saved.
 */
class Generation {
  readonly first_seq: number
  readonly runs: Run[] = []
  /** Of each record, in the order of position. */
  readonly #run_ids: string[] = []
  readonly #streams: string[] = []
  readonly #versions: number[] = []
  /** So many records are in the maps. */
  #mapped = 0
  readonly #seqs = new Map<string, number>()
  readonly #lastVersions = new Map<string, number>()

  constructor(first_seq: number) {
    this.first_seq = first_seq
  }

  get size(): number {
    return this.#run_ids.length
  }

  /** Position behind its last record. */
  get before(): number {
    return this.first_seq + this.size
  }

  add(records: readonly OverlayRecord[], run: Run): void {
    for (const { header } of records) {
      this.#run_ids.push(header.run_id)
      this.#streams.push(header.stream)
      this.#versions.push(header.stream_version)
    }
    this.runs.push(run)
  }

  findRun(run_id: string): number | undefined {
    this.#map()
    return this.#seqs.get(run_id)
  }

  findStream(stream: string): number | undefined {
    this.#map()
    return this.#lastVersions.get(stream)
  }

  #map(): void {
    for (; this.#mapped < this.size; this.#mapped++) {
      const run_id = this.#run_ids[this.#mapped]!
      // The first of two records with one run_id is the one that counts; a writer makes no second.
      if (!this.#seqs.has(run_id)) this.#seqs.set(run_id, this.first_seq + this.#mapped)
      this.#lastVersions.set(this.#streams[this.#mapped]!, this.#versions[this.#mapped]!)
    }
  }
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
    if (generation === undefined || generation.size >= this.#generationRecords || generation.before !== run.first_seq) {
      generation = new Generation(run.first_seq)
      this.#generations.push(generation)
    }
    generation.add(records, run)
    this.#before = generation.before
  }

  /** The index has all records before `size`. */
  evict(size: number): void {
    let gone = 0
    while (gone < this.#generations.length && (this.#generations[gone] as Generation).before <= size) gone++
    if (gone === 0) return
    this.#generations = this.#generations.slice(gone)
    this.#from = this.#generations[0]?.first_seq ?? this.#before
  }

  /** Lines of this segment begin elsewhere since. */
  move(segment: number, to: (byte: number) => number): void {
    for (const { runs } of this.#generations) {
      for (const [i, run] of runs.entries()) {
        if (run.segment.first_seq === segment) runs[i] = { ...run, byte: to(run.byte), end: to(run.end) }
      }
    }
  }

  /** Position of the record with this run_id. */
  findRun(run_id: string): number | undefined {
    for (const generation of this.#generations) {
      const seq = generation.findRun(run_id)
      if (seq !== undefined) return seq
    }
    return undefined
  }

  /** Last version of the stream. */
  findStream(stream: string): number | undefined {
    for (let i = this.#generations.length - 1; i >= 0; i--) {
      const version = this.#generations[i]?.findStream(stream)
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
