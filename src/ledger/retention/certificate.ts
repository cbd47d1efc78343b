/**
 * What an erasure leaves in the hand of whoever asked for it: a bundle with the record that says what was erased, under a
 * signed checkpoint, and the proof that the ledger before it is the beginning of the ledger after it.
 */
import { formatBase64, parseBase64 } from '../../verify/base64.ts'
import { checkBundle } from '../../verify/bundle-check.ts'
import type { BundleReport } from '../../verify/bundle-report.ts'
import { LEDGER_STREAM } from '../../verify/header.ts'
import { checkConsistency } from '../../verify/proof.ts'
import { countOf, partition, union } from '../../verify/ranges.ts'
import { hashBytes, hashHex } from '../../verify/tree.ts'
import { namedPositions } from '../../verify/withheld.ts'
import { trustOf } from '../check.ts'
import type { ProofTrust } from '../check.ts'
import { ed25519Check } from '../ed25519.ts'
import type { JsonObject } from '../entry.ts'
import { LedgerError } from '../errors.ts'
import { nodeHashing } from '../hashing.ts'
import type { CheckpointToProve, ProofRequest, ProveOptions } from '../prove.ts'
import type { LedgerTree } from '../tree.ts'
import { nodeParent } from '../tree.ts'
import { rangesEntry } from './context.ts'
import type { Erased } from './erase.ts'

export const CERTIFICATE_FORMAT = 'cortex-ledger/erasure-certificate/v1'
/** Of so many erased records the headers are in the bundle, too. */
const HEADERS_MAX = 1000

interface SizeAndRoot {
  readonly size: number
  /** 64 hex. */
  readonly root: string
}

/** One JSON object; `checkErasureCertificate` checks it without the ledger. */
export interface ErasureCertificate {
  readonly format: typeof CERTIFICATE_FORMAT
  readonly origin: string | null
  readonly records: number
  readonly ranges: readonly { readonly first_seq: number; readonly last_seq: number }[]
  /** Positions of the `EntryErased` records. */
  readonly erased_by: readonly number[]
  /** The ledger up to the first of them, and as it is now. */
  readonly before: SizeAndRoot
  readonly after: SizeAndRoot
  /** RFC 9162, 2.1.4, base64: what was there before is there now, unchanged. */
  readonly consistency: readonly string[]
  /** docs/format.md, "Bundles": those records with their entries, and the headers of what was erased. Null where nobody could sign. */
  readonly bundle: string | null
  /** What was not reached, such as backups; empty where all is gone as far as the ledger reaches. */
  readonly left: readonly string[]
}

export interface CertificateSources {
  readonly origin: string | null
  readonly tree: Pick<LedgerTree, 'root' | 'consistency'>
  readonly size: () => Promise<number>
  /** Of all that is there now; the last one that is kept, where this process can't sign. Null: there is none. */
  readonly checkpoint: () => Promise<CheckpointToProve | null>
  readonly prove: (request: ProofRequest, options: ProveOptions) => Promise<Uint8Array>
}

export async function certify(
  sources: CertificateSources,
  { ranges, receipts, before: earlier, left }: Erased,
): Promise<ErasureCertificate> {
  const erased_by = receipts.length > 0 ? receipts.map(({ seq }) => seq) : [...earlier]
  const [first, last] = [erased_by[0]!, erased_by.at(-1)!]
  const checkpoint = await sources.checkpoint().catch((error: unknown) => {
    if (error instanceof LedgerError) return null
    throw error
  })
  const isCovered = checkpoint !== null && checkpoint.size > last
  const size = isCovered ? checkpoint.size : await sources.size()
  const headers: number[] = []
  for (const range of countOf(ranges) <= HEADERS_MAX ? ranges : []) for (let seq = range.first; seq <= range.last; seq++) headers.push(seq)
  const bundle = isCovered
    ? await sources.prove({ seq: [...headers, ...erased_by] }, { disclose: ({ header }) => header.stream === LEDGER_STREAM, checkpoint })
    : null
  return {
    format: CERTIFICATE_FORMAT,
    origin: sources.origin,
    records: countOf(ranges),
    ranges: rangesEntry(ranges) as unknown as ErasureCertificate['ranges'],
    erased_by,
    before: { size: first, root: hashHex(await sources.tree.root(first)) },
    after: { size, root: hashHex(await sources.tree.root(size)) },
    consistency: (await sources.tree.consistency(first, size)).map(formatBase64),
    bundle: bundle === null ? null : Buffer.from(bundle).toString('utf8'),
    left,
  }
}

export interface CertificateReport {
  /** Nothing is wrong with it; what was not claimed, the bundle's report says. */
  readonly ok: boolean
  readonly problems: readonly string[]
  /** Null where the certificate has no bundle that can be read. */
  readonly bundle: BundleReport | null
}

function isObject(value: unknown): value is { readonly [member: string]: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function sizeAndRoot(value: unknown): { readonly size: bigint; readonly root: Uint8Array } | null {
  if (!isObject(value)) return null
  const { size, root } = value
  if (!Number.isSafeInteger(size) || (size as number) < 0 || typeof root !== 'string' || !/^[0-9a-f]{64}$/.test(root)) return null
  return { size: BigInt(size as number), root: hashBytes(root) }
}

/** Members that nothing else looks at: whoever reads them of a certificate that is right relies on their form. */
function formFaults({ ranges, left, erased_by, before }: { readonly [member: string]: unknown }): string[] {
  const faults: string[] = []
  const isRange = (range: unknown): boolean => isObject(range) && Object.keys(range).toSorted().join() === 'first_seq,last_seq'
  if (!Array.isArray(ranges) || !ranges.every(isRange)) faults.push('ranges is not a list of first_seq and last_seq')
  if (!Array.isArray(left) || !left.every((text) => typeof text === 'string')) faults.push('left is not a list of texts')
  // Else the later tree could stand for the earlier one, and prove of it nothing.
  const first = Array.isArray(erased_by) ? (erased_by as readonly unknown[])[0] : undefined
  if (!isObject(before) || before['size'] !== first) faults.push('before is not the ledger up to the first record of erased_by')
  return faults
}

/** Why the two trees are not one history, or null. */
function consistencyFault(said: { readonly [member: string]: unknown }): string | null {
  const [before, after] = [sizeAndRoot(said['before']), sizeAndRoot(said['after'])]
  if (before === null || after === null) return 'before and after are not a size and a root each'
  const list = said['consistency']
  const proof = Array.isArray(list) ? list.map((text: unknown) => (typeof text === 'string' ? parseBase64(text) : null)) : [null]
  if (proof.some((node) => node === null)) return 'the consistency proof is not a list of hashes'
  const fault = checkConsistency(nodeParent, before.size, after.size, before.root, after.root, proof as Uint8Array[])
  return fault === null ? null : `the ledger after it is not a continuation of the ledger before it: ${fault}`
}

/** What the bundle has to say for what the certificate says. */
function bundleFaults(said: { readonly [member: string]: unknown }, { checkpoint, records }: BundleReport): string[] {
  const faults: string[] = []
  const { after, erased_by, origin } = said
  const isSame = isObject(after) && checkpoint !== null && after['size'] === checkpoint.size && after['root'] === checkpoint.root
  if (!isSame) faults.push('its checkpoint is not over the size and the root that the certificate says')
  if (checkpoint !== null && checkpoint.origin !== origin) faults.push(`its checkpoint is of ${checkpoint.origin}`)
  const named = Array.isArray(erased_by) ? (erased_by as readonly unknown[]) : []
  if (named.length === 0) faults.push('erased_by names no record')
  const proven = named.map((seq) => records.find(({ index, header }) => index === seq && header?.type === 'EntryErased'))
  const erased = union(
    proven.flatMap((record) => {
      const text = record?.entry_text ?? null
      return text === null || record === undefined || record.header?.stream !== LEDGER_STREAM
        ? []
        : namedPositions(JSON.parse(text), record.index)
    }),
  )
  if (proven.some((record) => record === undefined || record.entry_text === null))
    faults.push('a record of erased_by is not in it, with its entry')
  const ranges = namedPositions({ ranges: said['ranges'] }, Number.MAX_SAFE_INTEGER)
  if (ranges.length === 0 || partition(ranges, erased).outside.length > 0 || countOf(ranges) !== said['records'])
    faults.push('its records do not name the positions that the certificate says')
  return faults
}

/**
 * Checks a certificate without the ledger. Whose signature counts is said by keys from elsewhere.
 * @throws RangeError where a key or the policy is none
 */
export async function checkErasureCertificate(certificate: unknown, trust: ProofTrust): Promise<CertificateReport> {
  const trusted = trustOf(trust)
  if (!isObject(certificate) || certificate['format'] !== CERTIFICATE_FORMAT)
    return { ok: false, problems: [`it is no ${CERTIFICATE_FORMAT}`], bundle: null }
  const problems = formFaults(certificate)
  const fault = consistencyFault(certificate)
  if (fault !== null) problems.push(fault)
  const text = certificate['bundle']
  if (typeof text !== 'string') return { ok: false, problems: [...problems, 'it has no bundle: nobody could sign'], bundle: null }
  const bundle = await checkBundle(Buffer.from(text), { ...nodeHashing, ed25519: ed25519Check, ...trusted })
  if (!bundle.ok) problems.push('the bundle does not check: see its problems')
  problems.push(...bundleFaults(certificate, bundle))
  return { ok: problems.length === 0, problems, bundle }
}

/** As it is kept: one JSON object, indented, and a line feed. */
export function formatCertificate(certificate: ErasureCertificate): string {
  return `${JSON.stringify(certificate as unknown as JsonObject, null, 2)}\n`
}
