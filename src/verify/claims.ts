/**
 * What can be claimed of a ledger beyond its records alone: who said so, that nothing is missing, by when it existed.
 * Checkpoints are held against the roots that the records give. Source: docs/format.md, "Checkpoints and keys".
 */
import { CheckpointKeys } from './checkpoint-keys.ts'
import type { LedgerFacts } from './checkpoint-watch.ts'
import { cosignatureTime, ED25519, ED25519_COSIGNATURE, formatVerifierKey, openNote } from './note.ts'
import type { Ed25519Check, VerifierKey } from './note.ts'
import { verdictOf } from './report.ts'
import type { Claims, Problem, ProblemCode, Verdict, Verdicts, VerificationReport, VouchedCheckpoint } from './report.ts'
import { readStatement } from './statement.ts'
import type { Statement } from './statement.ts'
import { formatTimeOfMs, parseTime } from './time.ts'
import { hashHex } from './tree.ts'

/** The witnesses that somebody believes, and how many of them are enough. */
export interface WitnessRule {
  /** Keys of logs of this origin, trusted as those from outside are. */
  readonly logKeys: (origin: string) => readonly VerifierKey[]
  readonly witnessKeys: readonly VerifierKey[]
  /** There must be enough of them: the policy's quorum is not `none`. */
  readonly isAsked: boolean
  /** By when enough of them had seen a checkpoint, seconds since 1970; null where they are not enough. */
  readonly quorumTime: (cosignatures: readonly { readonly key: VerifierKey; readonly time: bigint }[]) => bigint | null
}

export interface ClaimEvidence {
  readonly statements: readonly Statement[]
  /** What should have been a statement, kept with the ledger or by this machine, and is none. */
  readonly unreadable: readonly { readonly source: string; readonly why: string }[]
  /** Trusted, from outside. */
  readonly keys: readonly VerifierKey[]
  readonly witnesses: WitnessRule | null
  readonly check: Ed25519Check
  /**
   * The size of the checkpoint that verification began with: the records before it were not read, so that keys may have
   * been added and retired there; 0 where all were read.
   */
  readonly begun: number
}

/** How far a witness's clock may be behind the ledger's. */
const CLOCK_TOLERANCE_MS = 300_000

/** What the records say about a statement. `unknown`: some of the records can't be read. */
type Standing = 'agrees' | 'differs' | 'behind' | 'unknown'

/** A statement whose signatures were checked. */
interface Opened {
  readonly statement: Statement
  readonly size: number
  readonly standing: Standing
  /** Keys that signed it, each in its time. */
  readonly signers: readonly VerifierKey[]
  readonly cosigners: readonly { readonly key: VerifierKey; readonly time: bigint }[]
  /** Seconds since 1970; null without a quorum of witnesses. */
  readonly quorum: bigint | null
}

const idOf = ({ name, id }: VerifierKey): string => `${name}+${id}`
const largest = (opened: readonly Opened[]): Opened | null =>
  opened.reduce<Opened | null>((best, one) => (best === null || one.size > best.size ? one : best), null)

class ClaimsJudge {
  readonly #report: VerificationReport
  readonly #facts: LedgerFacts
  readonly #evidence: ClaimEvidence
  readonly #ledgerKeys: CheckpointKeys
  /** From outside: by `--key`, or as a log of the policy. */
  readonly #outside: readonly VerifierKey[]
  readonly #known: readonly VerifierKey[]
  readonly #problems: Problem[] = []

  constructor(report: VerificationReport, facts: LedgerFacts, evidence: ClaimEvidence) {
    this.#report = report
    this.#facts = facts
    this.#evidence = evidence
    this.#ledgerKeys = new CheckpointKeys(facts.keys, report.origin)
    const logs = report.origin === null ? [] : (evidence.witnesses?.logKeys(report.origin) ?? [])
    this.#outside = [...evidence.keys, ...logs]
    // Those from outside first: a name and an id that the ledger gives to another key must not hide them.
    const known = [...this.#outside, ...(evidence.witnesses?.witnessKeys ?? []), ...this.#ledgerKeys.keys]
    this.#known = [...new Map(known.toReversed().map((key) => [formatVerifierKey(key), key])).values()].toReversed()
  }

  #add(code: ProblemCode, seq: number | null, expected: string | null, found: string | null, source: string | null): void {
    this.#problems.push({ code, seq, expected, found, where: source === null ? null : { file: source, byte: 0 } })
  }

  #problemOf(code: ProblemCode, { source, seq }: Statement, expected: string | null, found: string | null): void {
    this.#add(code, seq, expected, found, seq === null ? source : null)
  }

  #statements(): Statement[] {
    for (const { source, why } of this.#evidence.unreadable) this.#add('checkpoint_invalid', null, 'a signed checkpoint', why, source)
    const quoted = this.#facts.keys.flatMap((event) => {
      if (event.kind !== 'retired' || event.checkpoint === null) return []
      const statement = readStatement('quoted', `record ${event.seq}`, event.checkpoint, event.seq)
      if (typeof statement !== 'string' && statement.checkpoint.size <= BigInt(event.seq)) return [statement]
      const why = typeof statement === 'string' ? statement : `one of ${statement.checkpoint.size} records`
      this.#add('checkpoint_invalid', event.seq, `a signed checkpoint of at most ${event.seq} records`, why, null)
      return []
    })
    return [...this.#evidence.statements, ...quoted]
  }

  /** Checks its origin and its signatures, then holds it against the records; null where it says nothing. */
  async #open(statement: Statement): Promise<Opened | null> {
    const { checkpoint, note } = statement
    const { origin } = this.#report
    if (origin !== null && checkpoint.origin !== origin) {
      this.#problemOf('checkpoint_invalid', statement, `a checkpoint of ${origin}`, `one of ${checkpoint.origin}`)
      return null
    }
    const opened = note === null ? { verified: [] } : await openNote(note, this.#known, this.#evidence.check)
    if (typeof opened === 'string') {
      this.#problemOf('checkpoint_invalid', statement, 'signatures that are right', opened)
      return null
    }
    const signed = opened.verified.filter(({ key }) => key.kind === ED25519).map(({ key }) => key)
    const isOurs = statement.role === 'own' || statement.role === 'quoted'
    if (isOurs && signed.length === 0 && this.#evidence.begun === 0) {
      this.#problemOf('checkpoint_invalid', statement, 'a signature by a key that the ledger names', 'none')
      return null
    }
    const cosigners = opened.verified
      .filter(({ key }) => key.kind === ED25519_COSIGNATURE)
      .map(({ key, signature }) => ({ key, time: cosignatureTime(signature.bytes) }))
    return {
      statement,
      size: Number(checkpoint.size),
      standing: this.#standing(statement),
      signers: signed.filter((key) => this.#isInTime(key, statement)),
      cosigners,
      quorum: this.#evidence.witnesses?.quorumTime(cosigners) ?? null,
    }
  }

  #isInTime(key: VerifierKey, statement: Statement): boolean {
    const size = Number(statement.checkpoint.size)
    const named = this.#ledgerKeys.timeOf(key)
    // One that the ledger does not name is trusted from outside, or counts for nothing.
    if (named === null || (size > named.added && size <= named.retired)) return true
    const { added, retired } = named
    const time = retired === Infinity ? `checkpoints of more than ${added} records` : `checkpoints of ${added + 1} to ${retired} records`
    this.#problemOf('key_misused', statement, `${idOf(key)} to sign ${time}`, `one of ${size}`)
    return false
  }

  #standing(statement: Statement): Standing {
    const { checkpoint, role } = statement
    const { size } = this.#report
    if (checkpoint.size > BigInt(size)) {
      this.#problemOf('behind_checkpoint', statement, `${checkpoint.size} records`, `${size} records`)
      return 'behind'
    }
    const root = this.#facts.roots.get(Number(checkpoint.size))?.root
    if (root === undefined) return 'unknown'
    const wanted = hashHex(checkpoint.root)
    if (root === wanted) return 'agrees'
    const code = role === 'own' || role === 'quoted' ? 'root_mismatch' : 'forked'
    this.#problemOf(code, statement, `${wanted} for ${checkpoint.size} records`, root)
    return 'differs'
  }

  /** The keys that are trusted: those from outside, and those that a trusted one vouches for, by a checkpoint that covers their record. */
  #trusted(opened: readonly Opened[]): ReadonlySet<string> {
    const { begun } = this.#evidence
    // What was retired among records that were not read is not known: a key that signed where verification began was right there.
    const first = this.#outside.filter((key) => begun === 0 || opened.some((one) => one.size === begun && has(one.signers, key)))
    const trusted = new Set(first.map(formatVerifierKey))
    for (let covered = 0; ;) {
      const best = largest(opened.filter((one) => this.#vouches(one, trusted)))
      if (best === null || best.size <= covered) return trusted
      covered = best.size
      for (const key of this.#ledgerKeys.keys) if (this.#ledgerKeys.timeOf(key)!.added < covered) trusted.add(formatVerifierKey(key))
    }
  }

  /** A trusted key signed it, the records give its root, and their content is what their headers commit to. */
  #vouches(one: Opened, trusted: ReadonlySet<string>): boolean {
    return one.size > 0 && one.standing === 'agrees' && this.#facts.first_fault >= one.size && isSignedBy(one, trusted)
  }

  #authenticity(opened: readonly Opened[], trusted: ReadonlySet<string>): { verdict: Verdict; missing: string } {
    const named = this.#ledgerKeys.keys.map(idOf).join(', ')
    const hint = named === '' ? 'this ledger names none' : `this ledger names ${named}, by its own word only`
    if (this.#outside.length === 0) return notChecked(`a public key from outside (${hint}), and a checkpoint that is signed with it`)
    if (this.#facts.keys_overflown) return notChecked('memory for all that the ledger says of its keys')
    const bySigner = opened.filter((one) => isSignedBy(one, trusted))
    if (bySigner.some(({ standing }) => standing === 'differs')) return { verdict: 'fail', missing: '' }
    if (bySigner.some((one) => this.#vouches(one, trusted))) return { verdict: 'pass', missing: '' }
    if (bySigner.some(({ standing }) => standing !== 'behind')) return { verdict: 'fail', missing: '' }
    if (bySigner.length > 0) return notChecked(`a checkpoint of at most ${this.#report.size} records that is signed with a trusted key`)
    if (this.#evidence.begun > 0 && opened.some((one) => isSignedBy(one, new Set(this.#outside.map(formatVerifierKey)))))
      return notChecked('all records: whether the key was retired before is not known')
    const wanted = this.#outside.map(idOf).join(' or ')
    const found = opened.length === 0 ? 'no checkpoint' : `checkpoints that are not signed so: ${opened.length}`
    this.#add('checkpoint_invalid', null, `a checkpoint that is signed by ${wanted}`, found, null)
    return { verdict: 'fail', missing: '' }
  }

  #completeness(opened: readonly Opened[]): { verdict: Verdict; missing: string; size: number | null } {
    const fromBefore = opened.filter(
      ({ statement, size, quorum }) => size > 0 && (statement.role === 'since' || statement.role === 'remembered' || quorum !== null),
    )
    const unknown = fromBefore.find(({ standing }) => standing === 'unknown')
    if (unknown !== undefined)
      return { ...notChecked(`every one of the first ${unknown.size} records: they do not give a root as they are`), size: null }
    const agreeing = largest(fromBefore.filter(({ standing }) => standing === 'agrees'))
    return agreeing === null
      ? { ...notChecked(this.#report.missing.completeness ?? ''), size: null }
      : { verdict: 'pass', missing: '', size: agreeing.size }
  }

  #time(opened: readonly Opened[]): { verdict: Verdict; missing: string; existed: Claims['existed'] } {
    // Whoever names witnesses does not want to do without: where they are taken away, that must not end as if all were well.
    if (this.#evidence.witnesses?.isAsked === true && opened.every(({ quorum }) => quorum === null)) {
      const cosigners = opened.flatMap((one) => one.cosigners.map(({ key }) => key.name))
      const found = cosigners.length === 0 ? 'no cosignature by any of them' : `by ${[...new Set(cosigners)].join(', ')}`
      this.#add('quorum_not_met', null, "a checkpoint with the policy's quorum of witnesses", found, null)
    }
    const timed = opened.filter(({ standing, quorum }) => standing === 'agrees' && quorum !== null)
    for (const { statement, size, quorum } of timed) {
      const recorded = this.#facts.roots.get(size)?.recorded_at ?? null
      const recordedUs = recorded === null ? null : parseTime(recorded)
      if (recordedUs === null || recordedUs / 1000 <= Number(quorum) * 1000 + CLOCK_TOLERANCE_MS) continue
      this.#add('time_contradicted', size - 1, `recorded by ${timeText(quorum!)}, or 300 s later`, recorded, statement.source)
    }
    const best = largest(timed)
    if (best !== null) return { verdict: 'pass', missing: '', existed: { size: best.size, by: timeText(best.quorum!) } }
    const missing =
      this.#evidence.witnesses === null
        ? (this.#report.missing.time ?? '')
        : "enough witnesses' cosignatures (a quorum of the policy) on a checkpoint that these records give"
    return { ...notChecked(missing), existed: null }
  }

  /** The checkpoint that stands for the most records. */
  #vouched(opened: readonly Opened[], trusted: ReadonlySet<string>): VouchedCheckpoint | null {
    const best =
      largest(opened.filter((one) => this.#vouches(one, trusted))) ?? largest(opened.filter(({ standing }) => standing === 'agrees'))
    if (best === null) return null
    const signed = best.signers.filter((key) => trusted.has(formatVerifierKey(key)))
    return {
      size: best.size,
      root: hashHex(best.statement.checkpoint.root),
      signed_by: signed.map(idOf),
      cosigned_by: best.cosigners.map(({ key, time }) => ({ name: key.name, time: timeText(time) })),
      behind: this.#report.size - best.size,
    }
  }

  async judge(): Promise<VerificationReport> {
    const report = this.#report
    const opened: Opened[] = []
    for (const statement of this.#statements()) {
      const one = await this.#open(statement)
      if (one !== null) opened.push(one)
    }
    const trusted = this.#trusted(opened)
    const authenticity = this.#authenticity(opened, trusted)
    const completeness = this.#completeness(opened)
    const time = this.#time(opened)
    const checkpoint = this.#vouched(opened, trusted)
    const judged = { authenticity, completeness, time }
    const problems = [...report.problems, ...this.#problems]
    const verdicts: Record<keyof Verdicts, Verdict> = { ...report.verdicts }
    const missing: Partial<Record<keyof Verdicts, string>> = { ...report.missing }
    for (const name of ['integrity', 'authenticity', 'completeness', 'time'] as const) {
      if (name !== 'integrity' && verdicts[name] !== 'fail') verdicts[name] = judged[name].verdict
      if (this.#problems.some(({ code }) => verdictOf(code) === name)) verdicts[name] = 'fail'
      if (verdicts[name] !== 'not checked') delete missing[name]
      else if (name !== 'integrity') missing[name] = judged[name].missing
    }
    const passes = (name: keyof Verdicts): boolean => verdicts[name] === 'pass'
    return {
      ...report,
      ok: !Object.values(verdicts).includes('fail'),
      root: this.#facts.roots.get(report.size)?.root ?? null,
      verdicts,
      missing,
      claims: {
        authentic: passes('authenticity') ? (checkpoint?.size ?? null) : null,
        complete: passes('completeness') ? completeness.size : null,
        existed: passes('time') ? time.existed : null,
      },
      checkpoint,
      problems,
      problems_total: report.problems_total + this.#problems.length,
      notes: checkpoint === null || checkpoint.behind === 0 ? report.notes : [...report.notes, behindNote(checkpoint)],
    }
  }
}

function behindNote({ size, behind }: VouchedCheckpoint): VerificationReport['notes'][number] {
  const records = behind === 1 ? '1 record stands' : `${behind} records stand`
  return {
    code: 'records_behind_checkpoint',
    seq: size,
    text: `${records} behind the checkpoint of ${size} and are not covered by it`,
    where: null,
  }
}

function notChecked(missing: string): { verdict: Verdict; missing: string } {
  return { verdict: 'not checked', missing }
}

function has(keys: readonly VerifierKey[], key: VerifierKey): boolean {
  return keys.some((other) => formatVerifierKey(other) === formatVerifierKey(key))
}

function isSignedBy({ signers }: Opened, trusted: ReadonlySet<string>): boolean {
  return signers.some((key) => trusted.has(formatVerifierKey(key)))
}

/** The ledger's spelling; the number itself where that is beyond the years it can spell. */
function timeText(seconds: bigint): string {
  return seconds <= 253_402_300_799n ? formatTimeOfMs(Number(seconds) * 1000) : `${seconds} s after 1970`
}

/** Sizes at which roots are needed to judge the statements. */
export function sizesOf(statements: readonly Statement[]): number[] {
  return statements.map(({ checkpoint }) => Number(checkpoint.size)).filter((size) => Number.isSafeInteger(size))
}

/**
 * The report with what the checkpoints add to it. `report` and `facts` are of one verifier that was asked for the roots at
 * `sizesOf` the statements.
 */
export function judgeClaims(report: VerificationReport, facts: LedgerFacts, evidence: ClaimEvidence): Promise<VerificationReport> {
  return new ClaimsJudge(report, facts, evidence).judge()
}

/** Sizes of checkpoints that records quote and whose roots a pass did not find: they are worth another pass. */
export function sizesNotFound(facts: LedgerFacts): number[] {
  return facts.keys.flatMap((event) => {
    const statement = event.kind === 'retired' && event.checkpoint !== null ? readStatement('quoted', '', event.checkpoint) : ''
    if (typeof statement === 'string' || statement.checkpoint.size > BigInt(event.seq)) return []
    const size = Number(statement.checkpoint.size)
    return facts.roots.has(size) ? [] : [size]
  })
}
