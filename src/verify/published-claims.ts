/**
 * What can be claimed of a published log beyond its records: by the signatures of its checkpoint, by witnesses, and by
 * checkpoints from before. Source: docs/format.md, "The published log".
 */
import { parseCheckpoint } from './checkpoint.ts'
import type { Checkpoint } from './checkpoint.ts'
import { cosignatureTime, ED25519, ED25519_COSIGNATURE, openNote, parseNote } from './note.ts'
import type { Ed25519Check, VerifierKey } from './note.ts'
import type { Problem, ProblemCode, VerificationReport, Verdict, Verdicts } from './report.ts'
import { formatTimeOfMs, parseTime } from './time.ts'
import { hashHex } from './tree.ts'

/** A signed checkpoint, and where it is from. */
export interface NamedNote {
  /** A path or a name, for messages. */
  readonly name: string
  readonly bytes: Uint8Array
}

/** The witnesses that somebody believes, and how many of them are enough. */
export interface WitnessRule {
  readonly witnessKeys: readonly VerifierKey[]
  /** There must be enough of them: the policy's quorum is not `none`. */
  readonly isAsked: boolean
  /** By when enough of them had seen a checkpoint, seconds since 1970; null where they are not enough. */
  readonly quorumTime: (cosignatures: readonly { readonly key: VerifierKey; readonly time: bigint }[]) => bigint | null
}

export interface ClaimsToJudge {
  /** The log's own checkpoint. */
  readonly own: NamedNote
  /** Checkpoints from before. */
  readonly since: readonly NamedNote[]
  /** Keys from outside. */
  readonly keys: readonly VerifierKey[]
  readonly witnesses: WitnessRule | null
  readonly check: Ed25519Check
  /** Roots (hex) that the headers give, by size. */
  readonly roots: ReadonlyMap<bigint, string>
}

/** How far a witness's clock may be behind the ledger's. µs. */
const CLOCK_TOLERANCE_US = 300_000_000

const MISSING: { readonly [name in keyof Verdicts]?: string } = {
  authenticity: 'a public key from outside, which the checkpoint is signed with',
  completeness: "a checkpoint from before, or enough witnesses' cosignatures",
  time: "enough witnesses' cosignatures, and a policy that says whom to believe",
}

/** The checkpoint in a signed note, or why there is none. */
export function readCheckpoint(bytes: Uint8Array): Checkpoint | string {
  const note = parseNote(bytes)
  return typeof note === 'string' ? note : parseCheckpoint(note.text)
}

const idOf = ({ name, id }: { readonly name: string; readonly id: string }): string => `${name}+${id}`

class PublishedClaims {
  readonly problems: Problem[] = []
  readonly #claims: ClaimsToJudge
  readonly #report: VerificationReport

  constructor(report: VerificationReport, claims: ClaimsToJudge) {
    this.#report = report
    this.#claims = claims
  }

  #problem(code: ProblemCode, note: NamedNote, expected: string | null, found: string, seq: number | null = null): void {
    this.problems.push({ code, seq, expected, found, where: { file: note.name, byte: 0 } })
  }

  /** What a note says that is rightly signed, as far as keys are given; null where it says nothing (then that is a problem). */
  async #open(note: NamedNote): Promise<{ checkpoint: Checkpoint; quorum: bigint | null } | null> {
    const { keys, witnesses, check } = this.#claims
    const { origin } = this.#report
    const parsed = parseNote(note.bytes)
    const checkpoint = typeof parsed === 'string' ? parsed : parseCheckpoint(parsed.text)
    if (typeof parsed === 'string' || typeof checkpoint === 'string') {
      this.#problem('checkpoint_invalid', note, 'a signed checkpoint', String(checkpoint))
      return null
    }
    if (origin !== null && checkpoint.origin !== origin) {
      this.#problem('checkpoint_invalid', note, `a checkpoint of ${origin}`, `one of ${checkpoint.origin}`)
      return null
    }
    const opened = await openNote(parsed, [...keys, ...(witnesses?.witnessKeys ?? [])], check)
    if (typeof opened === 'string') {
      this.#problem('checkpoint_invalid', note, 'signatures that are right', opened)
      return null
    }
    if (keys.length > 0 && !opened.verified.some(({ key }) => key.kind === ED25519)) {
      const signed = parsed.signatures.map(idOf).join(', ')
      this.#problem('checkpoint_invalid', note, `a signature by ${keys.map(idOf).join(' or ')}`, `by ${signed}`)
      return null
    }
    const cosigners = opened.verified.filter(({ key }) => key.kind === ED25519_COSIGNATURE)
    const times = cosigners.map(({ key, signature }) => ({ key, time: cosignatureTime(signature.bytes) }))
    return { checkpoint, quorum: witnesses?.quorumTime(times) ?? null }
  }

  #isOurs({ size, root }: Checkpoint): boolean {
    return this.#claims.roots.get(size) === hashHex(root)
  }

  /** Against a checkpoint from before. */
  #continues(note: NamedNote, before: Checkpoint, size: bigint): Verdict {
    if (before.size > size) {
      this.#problem('behind_checkpoint', note, `${before.size} records`, `${size} records`, Number(size))
      return 'fail'
    }
    const root = this.#claims.roots.get(before.size)
    if (root === undefined) return 'not checked'
    if (this.#isOurs(before)) return 'pass'
    this.#problem('forked', note, hashHex(before.root), root)
    return 'fail'
  }

  /** Did it exist by when the witnesses saw it? */
  #time(note: NamedNote, quorum: bigint): Verdict {
    const { last } = this.#report.recorded
    const seen_us = Number(quorum) * 1e6
    const recorded_us = last === null ? null : parseTime(last)
    if (recorded_us === null || recorded_us <= seen_us + CLOCK_TOLERANCE_US) return 'pass'
    this.#problem('time_contradicted', note, `recorded by ${formatTimeOfMs(Number(quorum) * 1000)}`, `recorded at ${last}`)
    return 'fail'
  }

  async judge(size: bigint): Promise<Pick<Verdicts, 'authenticity' | 'completeness' | 'time'>> {
    const { own, since, keys } = this.#claims
    const opened = await this.#open(own)
    const isOurs = opened !== null && this.#isOurs(opened.checkpoint)
    const complete: Verdict[] = []
    for (const note of since) {
      const before = await this.#open(note)
      if (before !== null) complete.push(this.#continues(note, before.checkpoint, size))
    }
    const isInvalid = this.problems.some(({ code }) => code === 'checkpoint_invalid')
    const quorum = isOurs ? opened.quorum : null
    const isUnmet = this.#claims.witnesses?.isAsked === true && isOurs && quorum === null
    if (isUnmet) this.#problem('quorum_not_met', own, "the policy's quorum of witnesses", 'fewer')
    if (quorum !== null) complete.push('pass')
    return {
      authenticity: isInvalid ? 'fail' : keys.length === 0 ? 'not checked' : isOurs ? 'pass' : 'fail',
      completeness: complete.includes('fail') ? 'fail' : complete.includes('pass') ? 'pass' : 'not checked',
      time: isUnmet ? 'fail' : quorum === null ? 'not checked' : this.#time(own, quorum),
    }
  }
}

/** The report on the headers of a log of this size, with the three verdicts in it that are not of the records alone. */
export async function judgePublished(report: VerificationReport, claims: ClaimsToJudge, size: bigint): Promise<VerificationReport> {
  const judge = new PublishedClaims(report, claims)
  const verdicts: Verdicts = { ...report.verdicts, ...(await judge.judge(size)) }
  const missing = { ...report.missing, ...MISSING }
  const names = Object.keys(verdicts) as (keyof Verdicts)[]
  return {
    ...report,
    ok: !Object.values(verdicts).includes('fail'),
    verdicts,
    missing: Object.fromEntries(names.filter((name) => verdicts[name] === 'not checked').map((name) => [name, missing[name]])),
    problems: [...report.problems, ...judge.problems],
    problems_total: report.problems_total + judge.problems.length,
  }
}
