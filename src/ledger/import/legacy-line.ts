/**
 * One line of a ledger that the mission's Python wrote, as the event that it becomes: the line as it stands, and a
 * header from its fields. What a header can't say is a finding, never a guess.
 */
import { OUTCOMES } from '../../verify/header.ts'
import type { Outcome } from '../../verify/header.ts'
import { dumps } from '../../verify/python/dumps.ts'
import { pythonFinding } from '../../verify/python/entry.ts'
import type { PythonFindingCode } from '../../verify/python/entry.ts'
import type { PythonLine } from '../../verify/python/ledger.ts'
import type { PythonDict, PythonValue } from '../../verify/python/value.ts'
import { byteLength } from '../../verify/text.ts'
import { normalizeTime } from '../../verify/time.ts'
import type { JsonObject } from '../entry.ts'
import { LIMITS } from '../limits.ts'
import { fitsHeader } from './source.ts'

/** What a line can be found to be, besides what Python's rules find. */
export type LegacyFindingCode =
  | PythonFindingCode
  /** The time has no zone. Not for `adoptFindings`: only `assumeUtc` says what it means. */
  | 'zoneless_time'
  /** The time is no RFC 3339 time of a real instant. */
  | 'bad_time'
  /** A field for the header is no text, or one that a header can't hold. `expected` names it. */
  | 'unusable_field'

export interface LegacyFinding {
  readonly code: LegacyFindingCode
  readonly expected: string | null
  readonly found: string | null
}

/** What the header of the line's record says; null where the line doesn't. */
export interface LegacyLine {
  readonly run_id: string | null
  readonly actor: string | null
  readonly action: string | null
  readonly outcome: Outcome
  /** In the ledger's spelling. */
  readonly timestamp: string | null
  readonly correlation_id: string | null
  readonly causation_id: string | null
  /** Without `legacy_line`: that there was no chain yet is nothing that is wrong with a line. */
  readonly findings: readonly LegacyFinding[]
}

/** As long as no record of it could hold: read no further. */
export const LEGACY_LINE_BYTES_MAX = LIMITS.entry_bytes_max - 64 * 1024

function finding(code: LegacyFindingCode, expected: string | null = null, found: string | null = null): LegacyFinding {
  return { ...pythonFinding('not_json', expected, found), code }
}

/** True where a record can't hold the line, whatever is wrong with it. */
export function isTooLong(line: PythonLine): boolean {
  if (line.bytes !== null) return Math.ceil(line.length / 3) * 4 > LEGACY_LINE_BYTES_MAX
  if (line.text === null) return true
  // No character takes more than six bytes as an escape, and most lines are far from the limit.
  return line.length * 6 > LEGACY_LINE_BYTES_MAX && byteLength(JSON.stringify(line.text)) > LEGACY_LINE_BYTES_MAX
}

/** @param assumeUtc a time without a zone is UTC */
export function readLegacyLine(line: PythonLine, assumeUtc: boolean): LegacyLine {
  const findings: LegacyFinding[] = line.findings.filter(({ code }) => code !== 'legacy_line')
  if (isTooLong(line) && !findings.some(({ code }) => code === 'line_too_long')) {
    findings.push(finding('line_too_long', null, `a line of ${line.length} bytes`))
  }
  if (line.entry === null) {
    return {
      run_id: null,
      actor: null,
      action: null,
      outcome: 'unknown',
      timestamp: null,
      correlation_id: null,
      causation_id: null,
      findings,
    }
  }
  const fields = new Fields(line.entry, findings)
  return {
    run_id: fields.text('run_id'),
    actor: fields.text('agent_name', 'actor'),
    action: fields.text('method_name', 'action'),
    outcome: outcomeOf(line.entry),
    timestamp: fields.time(assumeUtc, 'timestamp_end', 'timestamp', 'timestamp_start'),
    correlation_id: fields.text('correlation_id'),
    causation_id: fields.text('causation_id'),
    findings,
  }
}

class Fields {
  readonly #entry: PythonDict
  readonly #findings: LegacyFinding[]

  constructor(entry: PythonDict, findings: LegacyFinding[]) {
    this.#entry = entry
    this.#findings = findings
  }

  /** The first of these that says something. */
  #first(names: readonly string[]): readonly [name: string, value: PythonValue] | null {
    for (const name of names) {
      const value = this.#entry.get(name)
      if (value !== undefined && value !== null && value !== '') return [name, value]
    }
    return null
  }

  text(...names: readonly string[]): string | null {
    const field = this.#first(names)
    if (field === null) return null
    const [name, value] = field
    if (typeof value === 'string' && fitsHeader(value)) return value
    this.#findings.push(finding('unusable_field', name, typeof value === 'string' ? value : dumps(value)))
    return null
  }

  time(assumeUtc: boolean, ...names: readonly string[]): string | null {
    const field = this.#first(names)
    if (field === null) return null
    const [name, value] = field
    const text = typeof value === 'string' ? value : dumps(value)
    const { time, hasZone } = typeof value === 'string' ? pythonTime(text) : { time: null, hasZone: true }
    if (time === null) this.#findings.push(finding('bad_time', `an RFC 3339 time in ${name}`, text))
    else if (!hasZone && !assumeUtc) this.#findings.push(finding('zoneless_time', `a zone in ${name}`, text))
    else return time
    return null
  }
}

/** Date and time as `isoformat()` and `str()` write them; `%z` of strftime has no colon in the zone. */
const PYTHON_TIME = /^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)([Zz]|[+-]\d{2}:?\d{2})?$/

/** The instant in the ledger's spelling, as UTC where the text has no zone; null where it is no real one. */
function pythonTime(text: string): { readonly time: string | null; readonly hasZone: boolean } {
  const match = PYTHON_TIME.exec(text)
  // RFC 3339 has spellings that Python never writes, such as a small t.
  if (match === null) return { time: normalizeTime(text), hasZone: true }
  const [, date, clock, zone] = match as unknown as [string, string, string, string | undefined]
  const seconds = clock.length === 5 ? `${clock}:00` : clock
  const colon = zone?.replace(/^([+-]\d{2})(\d{2})$/, '$1:$2') ?? 'Z'
  return { time: normalizeTime(`${date}T${seconds}${colon}`), hasZone: zone !== undefined }
}

/** As the outcome of an agent call: the one that is given, else a policy that denies, then a parse that failed, else success. */
function outcomeOf(entry: PythonDict): Outcome {
  const given = entry.get('outcome')
  if (given !== undefined && given !== null) {
    return OUTCOMES.find((outcome) => outcome === given) ?? 'unknown'
  }
  const policies = entry.get('policy_decisions')
  if (Array.isArray(policies) && policies.some((policy) => isDict(policy) && policy.get('decision') === 'deny')) return 'denied'
  const parsed = entry.get('parse_result')
  return isDict(parsed) && parsed.get('ok') === false ? 'failure' : 'success'
}

function isDict(value: PythonValue | undefined): value is PythonDict {
  return value instanceof Map
}

/** What is recorded of a line. The file can be put together again from it: each line's text, or bytes, and its ending. */
export function legacyData(line: PythonLine, file: string, findings: readonly LegacyFinding[]): JsonObject {
  return {
    line: line.text,
    ...(line.bytes === null ? {} : { line_base64: Buffer.from(line.bytes).toString('base64') }),
    ...(line.ending === '\n' ? {} : { ending: line.ending }),
    file,
    number: line.number,
    findings: findings.map(({ code, expected, found }) => ({ code, expected, found })),
  }
}
