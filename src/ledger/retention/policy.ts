/**
 * How long entries are kept where: tiers by age, and a floor below which no policy erases. Plain data, from a program or
 * a file of JSON. Ages count from when the record came into the ledger (`recorded_at`), or from when its entry was last
 * brought back (`restore`).
 */
import { readFile } from 'node:fs/promises'
import type { JsonObject } from '../entry.ts'
import { LedgerError } from '../errors.ts'

/** Why, and by whose decision, a policy erases below the floor. It goes into the record of each erasure. */
export interface FloorOverride {
  /** A reference to the decision, such as a case or a ticket: no person's name, since it stays for ever. */
  readonly by: string
  readonly reason: string
}

/** What a policy may say. Days are whole or parts of 86,400 seconds. */
export interface RetentionPolicyInput {
  /** Begins with what this says; the other members replace parts of it. */
  readonly preset?: PresetName | undefined
  /** So old, an entry is compressed, and stays in the ledger. 7 unless said. */
  readonly hotDays?: number | undefined
  /** So old, it goes to the archive, where there is one. 30 unless said; null: never. */
  readonly warmDays?: number | null | undefined
  /** So old, it is erased, but not below the floor. null, unless said: never. */
  readonly eraseAfterDays?: number | null | undefined
  /** Nothing younger is erased by a policy, without an override; nor may it be less than 183, or the preset's. 183 unless said. */
  readonly floorDays?: number | undefined
  /** Erases after `eraseAfterDays` also below the floor. */
  readonly override?: FloorOverride | undefined
  /** JSONL: a live segment that holds entries so old is sealed first, since only sealed ones can be changed. As `hotDays` unless said. */
  readonly rotateAfterDays?: number | undefined
}

export interface RetentionPolicy {
  readonly preset: PresetName | null
  readonly hotDays: number
  readonly warmDays: number | null
  readonly eraseAfterDays: number | null
  readonly floorDays: number
  readonly override: FloorOverride | null
  readonly rotateAfterDays: number
}

interface Preset extends Pick<RetentionPolicyInput, 'hotDays' | 'warmDays' | 'floorDays'> {
  /** What asks for it. */
  readonly source: string
}

/** A half-year has up to 184 days, a year 366, and so on: the longest is meant. None of them erases by itself. */
export const RETENTION_PRESETS = {
  '6-months': { floorDays: 184, source: 'Regulation (EU) 2024/1689 (AI Act), article 26(6): logs are kept at least six months' },
  '12-months': {
    hotDays: 7,
    warmDays: 92,
    floorDays: 366,
    source: 'PCI DSS v4.0, 10.5.1: audit logs are kept at least 12 months, the last three at hand',
  },
  '6-years': { floorDays: 2192, source: 'HIPAA, 45 CFR 164.316(b)(2)(i): documentation is kept six years' },
  '10-years': { floorDays: 3653, source: 'Regulation (EU) 2024/1689 (AI Act), article 18: documentation is kept ten years' },
} as const satisfies { readonly [name: string]: Preset }
export type PresetName = keyof typeof RETENTION_PRESETS

const DEFAULTS = { hotDays: 7, warmDays: 30, floorDays: 183 } as const
const KEYS = ['preset', 'hotDays', 'warmDays', 'eraseAfterDays', 'floorDays', 'override', 'rotateAfterDays']
const DAYS_MAX = 100_000
const TEXT_BYTES_MAX = 1024
const US_PER_DAY = 86_400_000_000

function isPlainObject(value: unknown): value is { readonly [key: string]: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function daysAt(path: string, value: unknown): number {
  if (typeof value !== 'number') throw new TypeError(`policy: ${path} must be a number of days`)
  if (!(value >= 0 && value <= DAYS_MAX))
    throw new RangeError(`policy: ${path} must be a number of days from 0 to ${DAYS_MAX}, not ${value}`)
  return value
}

/** A text that goes into a record for ever. @throws TypeError | RangeError */
export function recordedText(path: string, value: unknown): string {
  if (typeof value !== 'string') throw new TypeError(`${path} must be a text`)
  if (value.trim() === '' || !value.isWellFormed() || Buffer.byteLength(value) > TEXT_BYTES_MAX)
    throw new RangeError(`${path} must be a text of 1 to ${TEXT_BYTES_MAX} bytes`)
  return value
}

function overrideAt(value: unknown): FloorOverride {
  if (!isPlainObject(value)) throw new TypeError('policy: /override must be an object with by and reason')
  for (const key of Object.keys(value))
    if (key !== 'by' && key !== 'reason') throw new TypeError(`policy: /override/${key} is unknown; known are by, reason`)
  return {
    by: recordedText('policy: /override/by', value['by']),
    reason: recordedText('policy: /override/reason', value['reason']),
  }
}

function presetAt(value: unknown): PresetName {
  if (typeof value === 'string' && Object.hasOwn(RETENTION_PRESETS, value)) return value as PresetName
  throw new RangeError(`policy: /preset must be one of ${Object.keys(RETENTION_PRESETS).join(', ')}, not ${JSON.stringify(value)}`)
}

/**
 * A policy with all that was left out.
 * @throws TypeError | RangeError whose message names the member, such as `/override/by`
 */
export function asRetentionPolicy(input: unknown = {}): RetentionPolicy {
  if (!isPlainObject(input)) throw new TypeError('policy: must be an object')
  for (const key of Object.keys(input))
    if (!KEYS.includes(key)) throw new TypeError(`policy: /${key} is unknown; known are ${KEYS.join(', ')}`)
  const preset = input['preset'] === undefined ? null : presetAt(input['preset'])
  const basis: Omit<Preset, 'source'> = preset === null ? {} : RETENTION_PRESETS[preset]
  const days = (key: 'hotDays' | 'warmDays' | 'floorDays'): number => daysAt(`/${key}`, input[key] ?? basis[key] ?? DEFAULTS[key])
  const orNever = (key: string, value: unknown): number | null => (value === null ? null : daysAt(`/${key}`, value))
  const hotDays = days('hotDays')
  const warmDays = input['warmDays'] === null ? null : days('warmDays')
  const floorDays = days('floorDays')
  const eraseAfterDays = orNever('eraseAfterDays', input['eraseAfterDays'] ?? null)
  const override = input['override'] === undefined ? null : overrideAt(input['override'])
  const rotateAfterDays = daysAt('/rotateAfterDays', input['rotateAfterDays'] ?? hotDays)
  if (warmDays !== null && warmDays < hotDays)
    throw new RangeError(`policy: /warmDays (${warmDays}) must not be below /hotDays (${hotDays})`)
  if (preset === '12-months' && warmDays !== null && warmDays < RETENTION_PRESETS['12-months'].warmDays)
    throw new RangeError(
      `policy: /warmDays (${warmDays}) must be at least ${RETENTION_PRESETS['12-months'].warmDays} under the preset 12-months`,
    )
  // A floor that can be set to nothing is none: who wants less than that says why, for the record.
  const least = basis.floorDays ?? DEFAULTS.floorDays
  if (floorDays < least && override === null)
    throw new RangeError(
      `policy: /floorDays (${floorDays}) must be at least ${least}${preset === null ? '' : ` under the preset ${preset}`}: to erase earlier, give an override, which is recorded`,
    )
  return { preset, hotDays, warmDays, eraseAfterDays, floorDays, override, rotateAfterDays }
}

/** A policy from a file of JSON. @throws LedgerError `invalid_policy` | `not_found` | `io_error`, with the member's `path` */
export async function readRetentionPolicy(file: string): Promise<RetentionPolicyInput> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    const isMissing = (error as { code?: unknown }).code === 'ENOENT'
    throw new LedgerError(isMissing ? 'not_found' : 'io_error', `the policy ${file} can't be read: check its path (${String(error)})`, {
      cause: error,
    })
  }
  try {
    const policy = JSON.parse(text) as RetentionPolicyInput
    asRetentionPolicy(policy)
    return policy
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    const path = /^policy: (\/\S*)/.exec(message)?.[1]
    throw new LedgerError('invalid_policy', `${file} is no policy of retention: ${message.replace(/^policy: /, '')}`, {
      cause: error,
      ...(path === undefined ? {} : { path }),
    })
  }
}

/** As records have it: why something was moved or erased. */
export function policyEntry(policy: RetentionPolicy): JsonObject {
  const { preset, hotDays, warmDays, eraseAfterDays, floorDays, override } = policy
  return {
    ...(preset === null ? {} : { preset }),
    hot_days: hotDays,
    warm_days: warmDays,
    erase_after_days: eraseAfterDays,
    floor_days: floorDays,
    ...(override === null ? {} : { override: { by: override.by, reason: override.reason } }),
  }
}

export type Tier = 'hot' | 'warm' | 'cold'

/** What a policy looks at, of one record. Times are µs since the epoch. */
export interface RetainedRecord {
  readonly tier: Tier
  readonly recorded_us: number
  /** When the entry was brought back, where it was. */
  readonly restored_us: number | null
  readonly isOwn: boolean
  readonly isHeld: boolean
}

/** What is to be done with an entry, and what keeps it from something that is due. */
export interface Decision {
  readonly move: 'warm' | 'cold' | 'erase' | null
  readonly kept: 'held' | 'floor' | null
}

const KEEP: Decision = { move: null, kept: null }
const COLDER: Record<Tier, number> = { hot: 0, warm: 1, cold: 2 }

/** Where entries of this age belong. @param hasCold an archive was named */
function tierAt(policy: RetentionPolicy, age_us: number, hasCold: boolean): Tier {
  if (age_us < policy.hotDays * US_PER_DAY) return 'hot'
  return hasCold && policy.warmDays !== null && age_us >= policy.warmDays * US_PER_DAY ? 'cold' : 'warm'
}

/**
 * The whole of a policy: a pure function of one record and the time. Nothing comes back to a warmer tier by itself. What
 * is too young to be erased without the override is moved as if nobody wanted to erase it.
 */
export function decide(policy: RetentionPolicy, record: RetainedRecord, now_us: number, hasCold: boolean): Decision {
  if (record.isOwn) return KEEP
  const age_us = now_us - record.recorded_us
  const { eraseAfterDays, floorDays, override } = policy
  const isOld = eraseAfterDays !== null && age_us >= eraseAfterDays * US_PER_DAY
  const isFloored = isOld && age_us < floorDays * US_PER_DAY && override === null
  if (isOld && !isFloored) return record.isHeld ? { move: null, kept: 'held' } : { move: 'erase', kept: null }
  const tier = tierAt(policy, record.restored_us === null ? age_us : now_us - record.restored_us, hasCold)
  const kept = isFloored ? 'floor' : null
  if (tier === 'hot' || COLDER[tier] <= COLDER[record.tier]) return { move: null, kept }
  return record.isHeld ? { move: null, kept: 'held' } : { move: tier, kept }
}

/** Records that came in before this time (exclusive) may be due for this, µs since the epoch; later ones are not. */
export function dueBefore(
  policy: RetentionPolicy,
  now_us: number,
): { readonly warm: number; readonly cold: number; readonly erase: number } {
  const before = (days: number | null): number => (days === null ? -Infinity : now_us - days * US_PER_DAY + 1)
  return { warm: before(policy.hotDays), cold: before(policy.warmDays), erase: before(policy.eraseAfterDays) }
}
