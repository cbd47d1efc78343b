/**
 * Where each entry is, and what may not be touched: known from the records of the stream `ledger` alone. They are few,
 * and found by the index of their types; each later claim on a position replaces the one before, and an erasure is final
 * (src/verify/withheld.ts reads them so, too).
 */
import { LEDGER_STREAM } from '../../verify/header.ts'
import type { RecordHeader } from '../../verify/header.ts'
import { lastOwners, partition, union } from '../../verify/ranges.ts'
import type { Range } from '../../verify/ranges.ts'
import { parseTime } from '../../verify/time.ts'
import { namedPositions } from '../../verify/withheld.ts'
import type { EventQuery } from '../conditions.ts'
import type { EntryNames } from '../filter.ts'
import type { LedgerRecord } from '../record.ts'
import { readRecords } from '../record-reading.ts'
import type { Store } from '../store.ts'
import { isHeldBy, readHold } from './holds.ts'
import type { ActiveHold, LegalHold } from './holds.ts'

/** Records of these types say where entries are, and what holds them. */
const RETENTION_TYPES = ['EntriesArchived', 'EntriesRestored', 'EntryErased', 'LegalHoldPlaced', 'LegalHoldReleased'] as const

/** What must not have come since somebody looked, for what was decided then to be right still. */
export const SINCE_LOOKED: EventQuery = { types: RETENTION_TYPES, stream: LEDGER_STREAM }

/** An archive file, as the record says that names it. */
export interface ArchivedFile {
  readonly kind: 'file'
  readonly file: string
  readonly tier: 'warm' | 'cold'
  /** Null: beside the ledger itself. */
  readonly location: string | null
  readonly bytes: number
  readonly sha256: string
  /** Positions of the records that are in it, whatever became of them since. */
  readonly ranges: readonly Range[]
  /** Of salts and entries. */
  readonly entry_bytes: number
  /** First and last `recorded_at` of the records in it. */
  readonly oldest: string
  readonly newest: string
  /** Position of the record. */
  readonly named_by: number
}

/** Entries that were brought back. */
export interface Restoration {
  readonly kind: 'restored'
  readonly restored_us: number
  readonly named_by: number
}

export interface Erasure {
  readonly ranges: readonly Range[]
  /** Position of the record. */
  readonly seq: number
}

type Owner = ArchivedFile | Restoration

interface Piece<Of> {
  readonly range: Range
  readonly owner: Of
}

function pieceAt<Of>(pieces: readonly Piece<Of>[], seq: number): Of | null {
  let [low, high] = [0, pieces.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (pieces[middle]!.range.last < seq) low = middle + 1
    else high = middle
  }
  const piece = pieces[low]
  return piece !== undefined && piece.range.first <= seq ? piece.owner : null
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' ? value : null
}

/** Null where the record names no file that can be looked for. */
function readFileRecord({ seq, entry, header }: LedgerRecord): ArchivedFile | null {
  const said = (entry ?? {}) as { readonly [member: string]: unknown }
  const [file, sha256, tier] = [textOf(said['file']), textOf(said['sha256']), said['tier']]
  if (file === null || sha256 === null || (tier !== 'warm' && tier !== 'cold')) return null
  return {
    kind: 'file',
    file,
    tier,
    location: textOf(said['location']),
    bytes: Number(said['bytes'] ?? 0),
    sha256,
    ranges: namedPositions(entry, seq),
    entry_bytes: Number(said['entry_bytes'] ?? 0),
    oldest: textOf(said['first_recorded_at']) ?? header.recorded_at,
    newest: textOf(said['last_recorded_at']) ?? header.recorded_at,
    named_by: seq,
  }
}

export class Catalogue {
  /** Records before this position are in it. */
  size = 0
  readonly files = new Map<string, ArchivedFile>()
  readonly erasures: Erasure[] = []
  readonly #claims: Piece<Owner>[] = []
  readonly #holds = new Map<string, ActiveHold>()
  readonly #restorations: Piece<Restoration>[] = []
  #owned: readonly Piece<Owner>[] | null = null
  #restored: readonly Piece<Restoration>[] | null = null
  #erased: readonly Piece<Erasure>[] | null = null

  /** Takes in what has come since. @returns whether anything has @throws LedgerError of the store */
  async refresh(store: Pick<Store, 'read' | 'state'>): Promise<boolean> {
    const { size } = (await store.state({ streams: [], run_ids: [] })).head
    if (size <= this.size) return false
    const filter = { type: RETENTION_TYPES, stream: [LEDGER_STREAM] }
    let isNew = false
    for await (const record of readRecords(store, { filter, from: this.size, before: size, reverse: false, limit: Infinity })) {
      this.#take(record)
      isNew = true
    }
    this.size = size
    return isNew
  }

  #take(record: LedgerRecord): void {
    const { header, entry, seq } = record
    switch (header.type) {
      case 'EntriesArchived': {
        const file = readFileRecord(record)
        if (file === null) return
        this.files.set(file.file, file)
        for (const range of file.ranges) this.#claims.push({ range, owner: file })
        this.#owned = null
        return
      }
      case 'EntriesRestored': {
        const owner = { kind: 'restored', restored_us: parseTime(header.recorded_at) ?? 0, named_by: seq } as const
        const pieces = namedPositions(entry, seq).map((range) => ({ range, owner }))
        this.#claims.push(...pieces)
        this.#restorations.push(...pieces)
        this.#owned = this.#restored = null
        return
      }
      case 'EntryErased':
        this.erasures.push({ ranges: namedPositions(entry, seq), seq })
        this.#erased = null
        return
      case 'LegalHoldPlaced': {
        const hold = readHold(record)
        if (hold !== null) this.#holds.set(hold.id, hold)
        return
      }
      default:
        this.#release(record)
    }
  }

  #release({ header, entry }: LedgerRecord): void {
    const id = textOf(entry?.['hold'])
    const hold = id === null ? undefined : this.#holds.get(id)
    if (hold?.released_at === null) this.#holds.set(hold.id, { ...hold, released_at: header.recorded_at })
  }

  get #pieces(): readonly Piece<Owner>[] {
    return (this.#owned ??= lastOwners(this.#claims))
  }

  /** The file that an entry is in by the last claim, or when it was brought back; null where nobody moved it. */
  ownerOf(seq: number): ArchivedFile | Restoration | null {
    return pieceAt(this.#pieces, seq)
  }

  /** Whoever has one of these positions by the last claim on it. */
  ownersIn(ranges: readonly Range[]): Owner[] {
    return this.#pieces.filter(({ range }) => partition([range], ranges).inside.length > 0).map(({ owner }) => owner)
  }

  /** When an entry was last brought back, wherever it went since; null where it never was. */
  restoredUs(seq: number): number | null {
    return pieceAt((this.#restored ??= lastOwners(this.#restorations)), seq)?.restored_us ?? null
  }

  /** Position of the first record that names it as erased; null where none does. */
  erasedBy(seq: number): number | null {
    this.#erased ??= lastOwners(this.erasures.toReversed().flatMap((owner) => owner.ranges.map((range) => ({ range, owner }))))
    return pieceAt(this.#erased, seq)?.seq ?? null
  }

  get erased(): Range[] {
    return union(this.erasures.flatMap(({ ranges }) => ranges))
  }

  /** Of each file that still counts, the positions that are in it and nowhere else, in the order of its record. */
  current(): Map<ArchivedFile, Range[]> {
    const { erased } = this
    const found = new Map<ArchivedFile, Range[]>()
    for (const { range, owner } of this.#pieces) {
      if (owner.kind !== 'file') continue
      const left = partition([range], erased).outside
      if (left.length === 0) continue
      const ranges = found.get(owner)
      if (ranges === undefined) found.set(owner, left)
      else ranges.push(...left)
    }
    return new Map([...found].sort(([a], [b]) => a.named_by - b.named_by).map(([file, ranges]) => [file, union(ranges)]))
  }

  /** All that were placed, those that were released among them, oldest first. */
  holds(): LegalHold[] {
    return [...this.#holds.values()].map(({ filter: _filter, ...hold }) => hold)
  }

  /** Those that keep a record's entry where it is. @param names of the entry; null where nobody can tell */
  holdsOver(header: RecordHeader, names: EntryNames | null): ActiveHold[] {
    return this.activeHolds.filter((hold) => isHeldBy(hold, header, names))
  }

  get activeHolds(): ActiveHold[] {
    return [...this.#holds.values()].filter(({ released_at }) => released_at === null)
  }
}
