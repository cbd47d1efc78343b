/** The lines of run_ids and the last versions of streams: the newest records from memory, all others by the index. */
import type { StateRequest } from '../../ledger/store.ts'
import type { RecordHeader } from '../../verify/header.ts'
import { headerOfLine } from './checked-line.ts'
import type { LedgerEnd } from './end.ts'
import type { FilePort } from './files.ts'
import { indexMismatch } from './index-db.ts'
import type { IndexedPlace } from './index-db.ts'
import type { LedgerIndex } from './ledger-index.ts'
import type { Segment } from './layout.ts'
import { Overlay } from './overlay.ts'
import type { Run } from './overlay.ts'
import { findLine, findLineNow, isLineOf, readPlaceNow, readPlaces } from './places.ts'
import { scan } from './scan.ts'

export interface Found {
  readonly streams: Map<string, number>
  readonly runs: Map<string, Uint8Array>
}

/** What has to be read for an answer, and what it must turn out to be. */
interface Wanted {
  readonly place: IndexedPlace
  /** How many lines of `place` come before the wanted one. */
  readonly skip: number
  /** Set where the line is the answer, else it is read only to see that the index is right. */
  readonly run_id: string | null
  readonly isRight: (header: RecordHeader) => boolean
}

interface Located {
  readonly streams: Map<string, number>
  readonly wanted: readonly Wanted[]
}

function inOverlay(run: Run, seq: number, run_id: string): Wanted {
  const place = { seq: run.first_seq, segment: run.segment.first_seq, byte: run.byte, length: run.end - run.byte - 1 }
  return { place, skip: seq - run.first_seq, run_id, isRight: (header) => header.run_id === run_id }
}

/** @param index null where the overlay has everything */
function locate(request: StateRequest, overlay: Overlay, index: LedgerIndex | null): Located {
  const streams = new Map<string, number>()
  const wanted: Wanted[] = []
  const runsLeft: string[] = []
  for (const run_id of new Set(request.run_ids)) {
    const seq = overlay.findRun(run_id)
    const run = seq === undefined ? undefined : overlay.locate(seq)
    if (seq !== undefined && run !== undefined) wanted.push(inOverlay(run, seq, run_id))
    else if (run_id.isWellFormed()) runsLeft.push(run_id)
  }
  const streamsLeft: string[] = []
  for (const stream of new Set(request.streams)) {
    const version = overlay.findStream(stream)
    if (version !== undefined) streams.set(stream, version)
    else if (stream.isWellFormed()) streamsLeft.push(stream)
  }
  if (index === null || (runsLeft.length === 0 && streamsLeft.length === 0)) return { streams, wanted }
  const found = index.find(runsLeft, streamsLeft, overlay.from)
  for (const [run_id, place] of found.runs) {
    wanted.push({ place, skip: 0, run_id, isRight: (header) => header.run_id === run_id && header.seq === place.seq })
  }
  for (const [stream, place] of found.streams) {
    const { stream_version } = place
    streams.set(stream, stream_version)
    wanted.push({ place, skip: 0, run_id: null, isRight: (header) => header.stream === stream && header.stream_version === stream_version })
  }
  return { streams, wanted }
}

/**
 * @param lines of what is wanted, in its order
 * @throws LedgerError `isBrokenDatabase` where a line is not what the index says
 */
function answer({ streams, wanted }: Located, lines: readonly Buffer[]): Found {
  const runs = new Map<string, Uint8Array>()
  for (const [i, { place, skip, run_id, isRight }] of wanted.entries()) {
    const line = lines[i] as Buffer
    const header = headerOfLine(line, 0, line.length)
    if (header === null || !isRight(header)) throw indexMismatch(`position ${place.seq + skip}`)
    // Memory of its own: the piece may hold many lines, and the caller may write to what it gets.
    if (run_id !== null) runs.set(run_id, Buffer.from(line))
  }
  return { streams, runs }
}

function nthLine(bytes: Buffer, skip: number): Buffer {
  let start = 0
  for (let i = 0; i < skip; i++) start = bytes.indexOf(0x0a, start) + 1
  const end = bytes.indexOf(0x0a, start)
  return bytes.subarray(start, end === -1 ? bytes.length : end)
}

/** Several run_ids can lie in one run of the overlay: it is read once. */
function distinct(wanted: readonly Wanted[]): { places: IndexedPlace[]; of: (index: number) => number } {
  const places: IndexedPlace[] = []
  const known = new Map<string, number>()
  const of = wanted.map(({ place }) => {
    const key = `${place.segment} ${place.byte} ${place.length}`
    let at = known.get(key)
    if (at === undefined) {
      at = places.push(place) - 1
      known.set(key, at)
    }
    return at
  })
  return { places, of: (index) => of[index] as number }
}

/** @throws LedgerError; the index `heals` those that it is the cause of */
export async function lookUp(
  files: FilePort,
  segments: readonly Segment[],
  request: StateRequest,
  overlay: Overlay,
  index: LedgerIndex | null,
): Promise<Found> {
  const located = locate(request, overlay, index)
  if (located.wanted.length === 0) return answer(located, [])
  const { places, of } = distinct(located.wanted)
  const pieces = await readPlaces(files, segments, places)
  const lines: Buffer[] = []
  for (const [i, { place, skip }] of located.wanted.entries()) {
    const seq = place.seq + skip
    const line = nthLine(pieces[of(i)] as Buffer, skip)
    if (isLineOf(line, seq)) lines.push(line)
    else {
      // The segment was rewritten since the place was noted.
      lines.push(await findLine(files, segments, place.segment, seq))
      index?.strayed(place.segment)
    }
  }
  return answer(located, lines)
}

/** The same with blocking calls, for a process that exits. */
export function lookUpNow(dir: string, request: StateRequest, overlay: Overlay, index: LedgerIndex | null): Found {
  const located = locate(request, overlay, index)
  const { places, of } = distinct(located.wanted)
  const pieces = places.map((place) => readPlaceNow(dir, place))
  const lines = located.wanted.map(({ place, skip }, i) => {
    const line = nthLine(pieces[of(i)] as Buffer, skip)
    return isLineOf(line, place.seq + skip) ? line : findLineNow(dir, place.segment, place.seq + skip)
  })
  return answer(located, lines)
}

/** The records from a position to the end, by scanning: about ten times as fast as indexing them. */
export async function loadOverlay(files: FilePort, end: LedgerEnd, from: number, generationRecords: number): Promise<Overlay> {
  const overlay = new Overlay(from, generationRecords)
  for await (const { segment, bytes, base, lines } of scan(files, end, { from, before: Infinity, reverse: false }, null)) {
    for (let first = 0; first < lines.length;) {
      // A run has no gaps; in a ledger that was tampered with there may be some.
      let last = first
      while (last + 1 < lines.length && lines[last + 1]?.seq === (lines[last]?.seq ?? 0) + 1) last++
      const run = lines.slice(first, last + 1)
      const records = run.flatMap(({ start, end: lineEnd }) => {
        const header = headerOfLine(bytes, start, lineEnd)
        return header === null ? [] : [{ header }]
      })
      const [head] = run
      if (head !== undefined && records.length === run.length) {
        overlay.add(records, { first_seq: head.seq, segment, byte: base + head.start, end: base + (run.at(-1)?.end ?? 0) + 1 })
      }
      first = last + 1
    }
  }
  return overlay
}
