/**
 * Checks a bundle: what of it can be claimed, what can't, and what is wrong. It never throws on data. Source:
 * docs/format.md, "Bundles".
 */
import { parseBundle } from './bundle.ts'
import type { Bundle } from './bundle.ts'
import { BundleFindings } from './bundle-report.ts'
import type { BundledRecordReport, BundleReport, BundleSignature } from './bundle-report.ts'
import { BundledRecords } from './bundle-records.ts'
import { parseCheckpoint } from './checkpoint.ts'
import type { Checkpoint } from './checkpoint.ts'
import { sha256 as plainSha256 } from './hash.ts'
import type { Sha256 } from './hash.ts'
import { cosignatureTime, ED25519, ED25519_COSIGNATURE, openNote, parseNote } from './note.ts'
import type { Ed25519Check, OpenedNote, SignedNote, VerifierKey } from './note.ts'
import { isOrigin, ORIGIN_RULE } from './origin.ts'
import { encodeText, isUtf8 as decodesAsUtf8 } from './text.ts'
import { formatTimeOfMs } from './time.ts'
import { hashHex } from './tree.ts'

export interface BundleCheckOptions {
  /** SHA-256; by default the one in plain ECMAScript. */
  readonly sha256?: Sha256
  /** True for valid UTF-8; by default by the platform's decoder. */
  readonly isUtf8?: (bytes: Uint8Array) => boolean
  /** Null where the platform has none: then no signature is checked, and the report says so. */
  readonly ed25519: Ed25519Check | null
  /** Keys that are trusted, known from outside: of the ledger, and of witnesses. */
  readonly keys: readonly VerifierKey[]
  /** True where cosignatures by these keys are as many as are asked for. More of them never make less. */
  readonly quorum?: (cosigners: readonly VerifierKey[]) => boolean
}

const NO_ED25519 = 'Ed25519, which is not to be had here'
const NO_LEDGER_KEY = "the ledger's verifier key, known from outside"
const NO_WITNESS_KEY = 'a cosignature by a witness whose key is known from outside'
/** Seconds by which a record may seem younger than the witness' look at it: clocks differ. */
const CLOCKS_DIFFER_S = 300
/** 9999-12-31T23:59:59Z: later ones have no spelling. */
const SECONDS_MAX = 253_402_300_799n

/** A checkpoint that could be read, and the note that it is in. */
interface ReadCheckpoint extends Checkpoint {
  readonly note: SignedNote
}

interface Cosignature {
  readonly key: VerifierKey
  readonly seconds: bigint
}

/** @param bytes the whole file, a tlog-proof or a bundle of several records. @throws RangeError where a key is of no kind that can be checked */
export async function checkBundle(bytes: Uint8Array, options: BundleCheckOptions): Promise<BundleReport> {
  for (const { name, id, kind } of options.keys)
    if (kind !== ED25519 && kind !== ED25519_COSIGNATURE)
      throw new RangeError(`the key ${name}+${id} is of kind ${kind}, which is not known`)
  const findings = new BundleFindings()
  const bundle = parseBundle(bytes)
  if (typeof bundle === 'string') {
    findings.add('malformed_bundle', null, 'a tlog-proof or a bundle of records', bundle)
    return findings.report({ checkpoint: null, signatures: [], existed_by: null, records: [], missing: NOTHING_TO_CHECK })
  }
  return checkParsed(bundle, options, findings)
}

const NOTHING_TO_CHECK = { authenticity: 'a bundle with a checkpoint', time: 'a bundle with a checkpoint' }

async function checkParsed(bundle: Bundle, options: BundleCheckOptions, findings: BundleFindings): Promise<BundleReport> {
  const checkpoint = readCheckpoint(bundle.note, findings)
  const records = checkRecords(bundle, checkpoint, options, findings)
  if (checkpoint === null) return findings.report({ checkpoint, signatures: [], existed_by: null, records, missing: NOTHING_TO_CHECK })
  const opened = await openSignatures(checkpoint.note, options)
  const missing: { authenticity?: string; time?: string } = {}
  let existed_by: string | null = null
  if (opened === null) missing.authenticity = missing.time = NO_ED25519
  else if (typeof opened === 'string') {
    findings.add('checkpoint_invalid', null, 'right signatures by the keys that are given', opened)
    missing.time = 'a checkpoint whose signatures by given keys are right'
  } else {
    judgeSigners(checkpoint, opened, options, findings, missing)
    existed_by = judgeTime(opened, records, options, findings, missing)
  }
  const { origin, size, root } = checkpoint
  return findings.report({
    checkpoint: { origin, size: Number(size), root: hashHex(root) },
    signatures: signaturesOf(checkpoint.note, opened),
    existed_by,
    records,
    missing,
  })
}

function readCheckpoint(text: string, findings: BundleFindings): ReadCheckpoint | null {
  const note = parseNote(encodeText(text))
  const checkpoint = typeof note === 'string' ? note : parseCheckpoint(note.text)
  const fault = typeof checkpoint === 'string' ? checkpoint : checkpointFault(checkpoint)
  if (fault === null) return { ...(checkpoint as Checkpoint), note: note as SignedNote }
  findings.add('malformed_checkpoint', null, 'a signed checkpoint of a ledger', fault)
  return null
}

function checkpointFault({ origin, size }: Checkpoint): string | null {
  if (!isOrigin(origin)) return `the origin ${JSON.stringify(origin.slice(0, 80))} is none: ${ORIGIN_RULE}`
  return size === 0n || size > BigInt(Number.MAX_SAFE_INTEGER) ? `a ledger of ${size} records` : null
}

function checkRecords(
  { records }: Bundle,
  checkpoint: ReadCheckpoint | null,
  { sha256 = plainSha256, isUtf8 = decodesAsUtf8 }: BundleCheckOptions,
  findings: BundleFindings,
): BundledRecordReport[] {
  const checks = new BundledRecords(findings, checkpoint, { sha256, isUtf8 })
  return records.map((record) => checks.check(record))
}

/** What the note says under the given keys; why it is refused; or null where signatures can't be checked here. */
async function openSignatures(note: SignedNote, { ed25519, keys }: BundleCheckOptions): Promise<OpenedNote | string | null> {
  if (ed25519 === null) return null
  try {
    return await openNote(note, keys, ed25519)
  } catch {
    // A platform that has Ed25519 by name only, as browsers had.
    return null
  }
}

/** A key signs for the ledger whose origin it has as name, and for no other. */
function judgeSigners(
  { origin, note }: ReadCheckpoint,
  { verified }: OpenedNote,
  { keys }: BundleCheckOptions,
  findings: BundleFindings,
  missing: { authenticity?: string },
): void {
  const ledgerKeys = keys.filter(({ kind }) => kind === ED25519)
  if (ledgerKeys.length === 0) missing.authenticity = NO_LEDGER_KEY
  else if (!verified.some(({ key }) => key.kind === ED25519 && key.name === origin)) {
    const named = ledgerKeys.filter(({ name }) => name === origin)
    const wanted = named.length === 0 ? `a key named ${origin}` : named.map(({ name, id }) => `${name}+${id}`).join(' or ')
    const there = note.signatures.map(({ name, id }) => `${name}+${id}`).join(', ')
    findings.add('not_signed', null, `a signature by ${wanted}`, `${origin}, signed by ${there}`)
  }
}

/** By when the checkpoint existed: when as many as are asked for had cosigned it; one, where nobody says how many. */
function judgeTime(
  { verified }: OpenedNote,
  records: readonly BundledRecordReport[],
  { quorum }: BundleCheckOptions,
  findings: BundleFindings,
  missing: { time?: string },
): string | null {
  const cosignatures: Cosignature[] = verified
    .filter(({ key }) => key.kind === ED25519_COSIGNATURE)
    .map(({ key, signature }) => ({ key, seconds: cosignatureTime(signature.bytes) }))
    .filter(({ seconds }) => isTime(seconds))
    .toSorted((a, b) => (a.seconds < b.seconds ? -1 : a.seconds > b.seconds ? 1 : 0))
  const keys = cosignatures.map(({ key }) => key)
  if (quorum !== undefined && !quorum(keys)) {
    const found = keys.length === 0 ? 'no cosignature by a witness that it names' : `cosigned by ${keys.map(({ name }) => name).join(', ')}`
    findings.add('quorum_not_met', null, "the policy's quorum of witnesses", found)
    return null
  }
  const enough = cosignatures.findIndex((_, i) => quorum === undefined || quorum(keys.slice(0, i + 1)))
  if (enough === -1) {
    missing.time = NO_WITNESS_KEY
    return null
  }
  const { seconds } = cosignatures[enough]!
  const existedBy = timeText(seconds)
  const latest = timeText(seconds + BigInt(CLOCKS_DIFFER_S))
  for (const { index, header } of records) {
    // The ledger's spelling of times: the order of the texts is that of the times.
    if (header !== null && header.recorded_at > latest)
      findings.add('time_contradicted', index, `recorded by ${existedBy}, when it had been seen`, header.recorded_at)
  }
  return existedBy
}

/** Zero is no time: C2SP tlog-cosignature. */
function isTime(seconds: bigint): boolean {
  return seconds > 0n && seconds <= SECONDS_MAX - BigInt(CLOCKS_DIFFER_S)
}

function timeText(seconds: bigint): string {
  return formatTimeOfMs(Number(seconds) * 1000)
}

function signaturesOf(note: SignedNote, opened: OpenedNote | string | null): BundleSignature[] {
  const verified = typeof opened === 'string' || opened === null ? [] : opened.verified
  return note.signatures.map((signature) => {
    const by = verified.find((one) => one.signature === signature)
    const seconds = by?.key.kind === ED25519_COSIGNATURE ? cosignatureTime(signature.bytes) : 0n
    return {
      name: signature.name,
      id: signature.id,
      verified: by !== undefined,
      kind: by === undefined ? null : by.key.kind === ED25519 ? 'signature' : 'cosignature',
      time: isTime(seconds) ? timeText(seconds) : null,
    }
  })
}
