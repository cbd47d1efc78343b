/** What a pass over the records gathers for judging checkpoints: roots of the tree, and what the ledger says of its keys. */
import { parseCheckpoint } from './checkpoint.ts'
import { KEY_EVENTS_MAX, readKeyEvents } from './checkpoint-keys.ts'
import type { KeyEvent } from './checkpoint-keys.ts'
import type { Sha256 } from './hash.ts'
import type { OwnEntry } from './record-checks.ts'
import { isKeyRecord } from './record-checks.ts'
import { TreeJoin, TreeWatch } from './tree-watch.ts'
import type { TreeAt } from './tree-watch.ts'

/** What is found in a part of a ledger; it can be sent from thread to thread. */
export interface WatchedPart {
  /** Position behind the last record of which the tree is known. */
  readonly size: number
  readonly found: ReadonlyMap<number, TreeAt>
  readonly end: TreeAt
  readonly is_broken: boolean
  readonly first_fault: number
  readonly keys: readonly KeyEvent[]
}

/** What the records say that checkpoints are judged by. */
export interface LedgerFacts {
  /** Roots by size, with the `recorded_at` of the last record of each. A size that is not here: its root is not known. */
  readonly roots: ReadonlyMap<number, { readonly root: string; readonly recorded_at: string | null }>
  /** Lowest position whose content is not what the header commits to; Infinity where there is none. */
  readonly first_fault: number
  readonly keys: readonly KeyEvent[]
  /** There are more of them than are kept. */
  readonly keys_overflown: boolean
}

/** The size that the text of a signed checkpoint names. */
export function quotedSize(note: string): number | null {
  const checkpoint = parseCheckpoint(note.slice(0, note.lastIndexOf('\n\n') + 1))
  return typeof checkpoint === 'string' || checkpoint.size > BigInt(Number.MAX_SAFE_INTEGER) ? null : Number(checkpoint.size)
}

export class CheckpointWatch {
  readonly #sha256: Sha256
  readonly #sizes: readonly number[]
  readonly #recordedAt: () => string | null
  #tree: TreeWatch
  readonly #behind: WatchedPart[] = []
  readonly #keys: KeyEvent[] = []
  #isOverflown = false

  /** @param sizes at which roots are wanted @param recordedAt tells that of the last record */
  constructor(sha256: Sha256, sizes: Iterable<number>, recordedAt: () => string | null) {
    this.#sha256 = sha256
    this.#sizes = [...sizes]
    this.#recordedAt = recordedAt
    this.#tree = new TreeWatch(sha256, 0, this.#sizes, recordedAt)
  }

  /** The first record has this position. */
  begin(start: number): void {
    this.#tree = new TreeWatch(this.#sha256, start, this.#sizes, this.#recordedAt)
  }

  /** @param digits of the record's hash @param isFaulty its content is not what the header commits to */
  take(seq: number, digits: Uint8Array, isFaulty: boolean): void {
    this.#tree.take(seq, digits, isFaulty)
  }

  /** What the record that was just taken says of keys, if it is one of the ledger's own. */
  takeOwn(own: OwnEntry | null, seq: number): void {
    if (own === null || !isKeyRecord(own.type)) return
    for (const event of readKeyEvents(this.#sha256, own.type, seq, own.entry)) {
      if (this.#keys.length === KEY_EVENTS_MAX) {
        this.#isOverflown = true
        return
      }
      this.#keys.push(event)
      // The size of a checkpoint that is quoted lies behind; whether it is one is judged later.
      const size = event.kind === 'retired' && event.checkpoint !== null ? quotedSize(event.checkpoint) : null
      if (size !== null) this.#tree.lookBack(size)
    }
  }

  get isOverflown(): boolean {
    return this.#isOverflown
  }

  part(): WatchedPart {
    const { size, found, isBroken, firstFault } = this.#tree
    return { size, found, end: this.#tree.end(), is_broken: isBroken, first_fault: firstFault, keys: this.#keys }
  }

  /** What was found in the part behind. False where that is too much. */
  absorb(part: WatchedPart): boolean {
    this.#behind.push(part)
    for (const event of part.keys) this.#keys.push(event)
    return this.#keys.length <= KEY_EVENTS_MAX
  }

  /** @param before hashes of the perfect subtrees in front of the first record (`rangeNodes`) */
  facts(before: readonly Uint8Array[]): LedgerFacts {
    const join = new TreeJoin(this.#sha256, this.#tree.start, before)
    let first_fault = Infinity
    for (const part of [this.part(), ...this.#behind]) {
      join.add(part.found, part.size, part.end)
      first_fault = Math.min(first_fault, part.first_fault)
      if (part.is_broken) break
    }
    return { roots: join.roots, first_fault, keys: this.#keys, keys_overflown: this.#isOverflown }
  }
}
