/** The records of a bundle, one after the other: each by itself, in the tree, and beside those before it. */
import { asciiText, LINE_FEED } from './bytes.ts'
import type { BundledRecord } from './bundle.ts'
import type { BundledRecordReport, BundleFindings, BundleProblem } from './bundle-report.ts'
import type { Checkpoint } from './checkpoint.ts'
import type { Sha256 } from './hash.ts'
import type { RecordHeader } from './header.ts'
import { LineCheck } from './line-check.ts'
import { checkInclusion } from './proof.ts'
import { decodeText } from './text.ts'
import { hashBytes, parentHashing } from './tree.ts'
import type { ParentHash } from './tree.ts'

interface Hashing {
  readonly sha256: Sha256
  readonly isUtf8: (bytes: Uint8Array) => boolean
}

export class BundledRecords {
  readonly #findings: BundleFindings
  readonly #checkpoint: Checkpoint | null
  readonly #line: LineCheck
  readonly #parent: ParentHash
  /** Position by run_id. */
  readonly #runs = new Map<string, number>()
  /** The record before, where it could be read. */
  #before: { readonly seq: number; readonly hash: string } | null = null

  /** @param checkpoint null where there is none that can be read: then nothing is said about the tree */
  constructor(findings: BundleFindings, checkpoint: Checkpoint | null, hashing: Hashing) {
    this.#findings = findings
    this.#checkpoint = checkpoint
    // Canonical entries only: of two equal keys one reader takes the first and another the last.
    this.#line = new LineCheck({ ...hashing, canonicalEntries: true })
    this.#parent = parentHashing(hashing.sha256)
  }

  /** Records come ascending by index. */
  check({ index, line, path }: BundledRecord): BundledRecordReport {
    const check = this.#line
    check.check(line, 0, line.length, null)
    const problems: BundleProblem[] = []
    // Of a later version the rest of the line is not judged; that it is one line is.
    const isOneLine = !line.includes(LINE_FEED)
    const fault = isOneLine ? check.fault : { code: 'malformed_record', expected: null, found: 'a line feed in the line' }
    const status = isOneLine ? check.status : 'nothing'
    if (fault !== null) problems.push(this.#findings.add(fault.code as BundleProblem['code'], index, fault.expected, fault.found))
    if (status !== 'header' && status !== 'newer') {
      this.#before = null
      return { index, hash: null, header: null, entry: 'not checked', entry_text: null, problems }
    }
    const hash = asciiText(check.hash.bytes, 0, check.hash.bytes.length)
    const header = status === 'header' ? (JSON.parse(decodeText(line.subarray(check.headerStart, check.headerEnd))) as RecordHeader) : null
    const add: Add = (code, expected, found) => void problems.push(this.#findings.add(code, index, expected, found))
    this.#checkPlace(index, hash, path, add)
    if (header === null) this.#findings.note('newer_format', index, 'a newer format: only its hash and its place are checked')
    else this.#checkHeader(index, header, add)
    this.#before = { seq: check.seq, hash }
    const isWhole = fault === null && header !== null
    const entry = isWhole ? (check.withheld ? 'withheld' : 'disclosed') : 'not checked'
    const entry_text = entry === 'disclosed' ? decodeText(line.subarray(check.entryStart, check.entryEnd)) : null
    return { index, hash, header, entry, entry_text, problems }
  }

  #checkPlace(index: number, hash: string, path: readonly Uint8Array[], add: Add): void {
    if (this.#line.seq !== index) add('index_mismatch', String(index), String(this.#line.seq))
    if (this.#checkpoint === null) return
    const { size, root } = this.#checkpoint
    const fault = checkInclusion(this.#parent, BigInt(index), size, hashBytes(hash), root, path)
    if (fault !== null) add('not_included', `a path from ${hash} to the checkpoint's root`, fault)
  }

  #checkHeader(index: number, header: RecordHeader, add: Add): void {
    const before = this.#before
    if (before !== null && before.seq + 1 === header.seq && before.hash !== header.previous_hash)
      add('chain_broken', before.hash, header.previous_hash)
    const other = this.#runs.get(header.run_id)
    if (other === undefined) this.#runs.set(header.run_id, index)
    else add('duplicate_run_id', `a run_id that no other record has`, `${header.run_id}, which record ${other} has`)
    const origin = this.#checkpoint?.origin
    if (header.seq === 0 && origin !== undefined && (header.type !== 'LedgerCreated' || header.actor !== origin))
      add('wrong_origin', `LedgerCreated of ${origin}`, `${header.type} of ${header.actor}`)
    if (header.signers !== undefined)
      this.#findings.note('signatures_not_checked', index, `its own signatures, by ${header.signers.join(', ')}, are not checked here`)
  }
}

type Add = (code: BundleProblem['code'], expected: string, found: string) => void
