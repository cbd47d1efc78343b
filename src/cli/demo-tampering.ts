/** Three ways to tamper with a copy of a ledger, each done as somebody with an editor and a hash function would. */
import { createHash } from 'node:crypto'
import { chmod, cp, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DECISION } from './demo-agents.ts'

export interface Tampering {
  readonly name: string
  /** What was done, in a sentence. */
  readonly what: string
  /** Why it is found, and what the position of the problem means. */
  readonly why: string
  /** Lines of the segment in, lines out. @throws Error where the line to change is not there */
  readonly apply: (lines: string[]) => { readonly lines: string[]; readonly problem_seq: number }
}

function indexOfLine(lines: readonly string[], needle: string): number {
  const at = lines.findIndex((line) => line.includes(needle))
  if (at === -1) throw new Error(`the ledger has no line with ${needle}`)
  return at
}

/** Replaces a line; its seq is its place here, because the demonstration's ledger has one segment. */
function withLine(lines: string[], at: number, change: (line: string) => string): string[] {
  return lines.map((line, i) => (i === at ? change(line) : line))
}

const HASH_BYTES = 64
const HASH_AT = '{"hash":"'.length
const HEADER_AT = '{"hash":"'.length + HASH_BYTES + '","header":'.length

/** The line with the hash that its header now has: SHA-256 of 0x00 and the header's bytes. Source: docs/format.md. */
function rehashed(line: string): string {
  const header = line.slice(HEADER_AT, line.search(/\},"(?:salt|entry|signatures)":/) + 1)
  const hash = createHash('sha256').update('\0').update(header).digest('hex')
  return line.slice(0, HASH_AT) + hash + line.slice(HASH_AT + HASH_BYTES)
}

export const TAMPERINGS: readonly Tampering[] = [
  {
    name: '1-one-byte-of-an-output',
    what: `One byte of an output: "${DECISION}" becomes "${DECISION.replace('not', 'now')}"`,
    why: "The header commits to the entry's bytes, and they are others now.",
    apply: (lines) => {
      const at = indexOfLine(lines, DECISION)
      return { lines: withLine(lines, at, (line) => line.replace(DECISION, DECISION.replace('not', 'now'))), problem_seq: at }
    },
  },
  {
    name: '2-a-record-removed',
    what: 'The record of the denial is removed',
    why: 'Positions have no gaps, and the record behind it names the hash of one that is not there.',
    apply: (lines) => {
      const at = indexOfLine(lines, '"outcome":"denied"')
      return { lines: lines.filter((_, i) => i !== at), problem_seq: at }
    },
  },
  {
    name: '3-an-outcome-rewritten',
    what: 'The denial becomes a success, and its hash is computed anew, so that the record itself is faultless',
    why: 'The record behind it still names the old hash: the one before it was rewritten.',
    apply: (lines) => {
      const at = indexOfLine(lines, '"outcome":"denied"')
      return {
        lines: withLine(lines, at, (line) => rehashed(line.replace('"outcome":"denied"', '"outcome":"success"'))),
        problem_seq: at + 1,
      }
    },
  },
]

/** Copies a ledger (closed: nobody may copy a lock) and tampers with its first segment. @returns where the problem must be found */
export async function tamperWithCopy(ledger: string, copy: string, tampering: Tampering): Promise<number> {
  await cp(ledger, copy, { recursive: true })
  const segments = join(copy, 'segments')
  const [first] = (await readdir(segments)).filter((name) => name.endsWith('.jsonl')).toSorted()
  if (first === undefined) throw new Error(`${segments} holds no segment`)
  const file = join(segments, first)
  const { lines, problem_seq } = tampering.apply((await readFile(file, 'utf8')).slice(0, -1).split('\n'))
  await chmod(file, 0o644)
  await writeFile(file, `${lines.join('\n')}\n`)
  return problem_seq
}
