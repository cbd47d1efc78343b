/**
 * Provider and model of entries that are withheld and not erased, beside each segment, so that queries by them still find
 * these records when the index is made anew:
 *
 *     names/<20-digit position of the segment's first record>.json    {"names":[{"provider":…,"model":…,"ranges":[[first,last],…]},…]}
 *
 * It is written before entries go, and again before any is erased. What stands in it of an entry that is there counts for
 * nothing.
 */
import fs from 'node:fs'
import { dirname, join } from 'node:path'
import { isMissing } from '../../ledger/errors.ts'
import { indexedName, NO_NAMES } from '../../ledger/filter.ts'
import type { EntryNames } from '../../ledger/filter.ts'
import { seqOfLine } from '../../ledger/line-seq.ts'
import { partition, union } from '../../verify/ranges.ts'
import type { Range } from '../../verify/ranges.ts'
import { placeOf } from './audit-range.ts'
import { namesOfLine } from './checked-line.ts'
import { readFully, writeFully } from './files.ts'
import type { FilePort } from './files.ts'
import { NAMES, padSeq, SEGMENTS } from './layout.ts'
import type { Segment } from './layout.ts'
import { forwardLines } from './lines.ts'

interface Named extends EntryNames, Range {}

/** Of one segment: ascending, without overlap. */
export type SegmentNames = readonly Named[]

export function namesAt(names: SegmentNames, seq: number): EntryNames {
  let [low, high] = [0, names.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (names[middle]!.last < seq) low = middle + 1
    else high = middle
  }
  const found = names[low]
  return found !== undefined && found.first <= seq ? found : NO_NAMES
}

/** Null for a file that was exported: there is nothing beside it. */
function pathOf({ name, path, first_seq }: Segment): string | null {
  return name.startsWith(`${SEGMENTS}/`) ? join(dirname(path), '..', NAMES, `${padSeq(first_seq)}.json`) : null
}

/** True for a file that has not taken its place yet. */
export function isAsideNames(file: string): boolean {
  return file.endsWith('.json.next')
}

function formatNames(names: SegmentNames): string {
  const groups = new Map<string, { provider: string | null; model: string | null; ranges: [number, number][] }>()
  for (const { provider, model, first, last } of names) {
    const key = JSON.stringify([provider, model])
    const group = groups.get(key) ?? { provider, model, ranges: [] }
    groups.set(key, group)
    const before = group.ranges.at(-1)
    if (before !== undefined && before[1] === first - 1) before[1] = last
    else group.ranges.push([first, last])
  }
  return `${JSON.stringify({ names: [...groups.values()] })}\n`
}

/** What can't be read says nothing: it is derived from entries, and only searching is the worse for it. */
function parseNames(text: string): SegmentNames {
  const isPosition = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
  const found: Named[] = []
  try {
    const { names } = JSON.parse(text) as { names?: unknown }
    for (const { provider, model, ranges } of names as { provider?: unknown; model?: unknown; ranges?: unknown }[])
      for (const [first, last] of ranges as [unknown, unknown][])
        if (isPosition(first) && isPosition(last) && first <= last)
          found.push({ provider: indexedName(provider), model: indexedName(model), first, last })
  } catch {
    return []
  }
  return found.sort((a, b) => a.first - b.first)
}

/** None where there is no such file. */
export async function readNames(files: FilePort, segment: Segment): Promise<SegmentNames> {
  const path = pathOf(segment)
  if (path === null) return []
  try {
    const file = await files.open(path, 'read')
    try {
      const bytes = Buffer.alloc(await file.size())
      return parseNames(bytes.toString('utf8', 0, await readFully(file, bytes, 0)))
    } finally {
      await file.close()
    }
  } catch (error) {
    if (isMissing(error)) return []
    throw error
  }
}

/** The same with blocking calls. */
export function readNamesNow(segment: Segment): SegmentNames {
  const path = pathOf(segment)
  try {
    return path === null ? [] : parseNames(fs.readFileSync(path, 'utf8'))
  } catch (error) {
    if (isMissing(error)) return []
    throw error
  }
}

/** Durable when it resolves: the old file is there or the new one, whatever happens. */
async function writeNames(files: FilePort, segment: Segment, names: SegmentNames): Promise<void> {
  const path = pathOf(segment)
  if (path === null) return
  if (names.length === 0) {
    await files.remove(path)
    await files.syncFolder(dirname(path), 'removed')
    return
  }
  if (await files.makeFolder(dirname(path))) await files.syncFolder(dirname(dirname(path)), 'rewritten-name')
  const file = await files.open(`${path}.next`, 'replace')
  try {
    await writeFully(file, Buffer.from(formatNames(names)), 0)
    await file.sync('rewritten')
  } finally {
    await file.close()
  }
  await files.rename(`${path}.next`, path)
  await files.syncFolder(dirname(path), 'rewritten-name')
}

/** What entries of the segment at these positions name. */
async function namesWithin(files: FilePort, segment: Segment, ranges: readonly Range[]): Promise<Named[]> {
  const found: Named[] = []
  const last = ranges.at(-1)?.last ?? -1
  let next = 0
  const file = await files.open(segment.path, 'read')
  try {
    const size = await file.size()
    const from = (await placeOf(file, size, ranges[0]?.first ?? Infinity)) ?? 0
    for await (const { bytes, ends, oversized } of forwardLines(file, from, size)) {
      if (oversized !== undefined) continue
      let start = 0
      for (const end of ends) {
        const seq = seqOfLine(bytes, start, end)
        while (next < ranges.length && ranges[next]!.last < seq) next++
        if (seq !== -1 && seq >= (ranges[next]?.first ?? Infinity)) {
          const names = namesOfLine(bytes, start, end)
          if (names.provider !== null || names.model !== null) found.push({ ...names, first: seq, last: seq })
        }
        if (seq >= last) return found
        start = end + 1
      }
    }
    return found
  } finally {
    await file.close()
  }
}

function without(names: SegmentNames, ranges: readonly Range[]): Named[] {
  return names.flatMap((named) => partition([named], ranges).outside.map((range) => ({ ...named, ...range })))
}

/** Before entries at these positions are withheld. */
export async function keepNames(files: FilePort, segment: Segment, ranges: readonly Range[]): Promise<void> {
  const fresh = await namesWithin(files, segment, ranges)
  if (fresh.length === 0) return
  const others = without(await readNames(files, segment), union(fresh))
  const all = [...others, ...fresh].sort((a, b) => a.first - b.first)
  await writeNames(files, segment, all)
}

/** Before entries at these positions are erased. */
export async function forgetNames(files: FilePort, segment: Segment, ranges: readonly Range[]): Promise<void> {
  const before = await readNames(files, segment)
  if (partition(before, ranges).inside.length > 0) await writeNames(files, segment, without(before, ranges))
}
