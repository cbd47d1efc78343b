/**
 * One line of a ledger that the Python of the seed document wrote, checked by the rules of its verification (sections
 * 4.1 and 4.2): what Python says, and what it can't see. The rules hash the value and not the bytes, so of one value
 * every spelling passes: a duplicate key, `1.00e0` for `1.0`, white space, `\u006f` for `o`.
 */
import type { Sha256 } from '../hash.ts'
import { encodeText } from '../text.ts'
import { dumps } from './dumps.ts'
import { loadsWithNotes, type LoadsNotes } from './loads.ts'
import { PythonError, type PythonDict, type PythonException, type PythonLimits, type PythonValue } from './value.ts'

/** What `verify_ledger_integrity` does at a line. */
export type PythonVerdict =
  /** It goes on to the next line. */
  | { readonly says: 'ok' }
  /** It returns False: which of the two comparisons failed. */
  | { readonly says: 'false'; readonly check: 'previous_hash' | 'hash' }
  | { readonly says: 'raises'; readonly exception: PythonException; readonly reason: string }
  /** The line is over our limits, of which Python knows nothing. */
  | { readonly says: 'not checked'; readonly reason: string }

/** The closed set of what a line can be found to be. The first part is what Python notices in its way, the second what it can't see. */
export const PYTHON_FINDING_CODES = [
  /** Not UTF-8: Python raises for the file as a whole, often some lines before. `found`: byte offset in the file. */
  'undecodable',
  /** Nothing but white space. */
  'blank_line',
  /** No JSON as Python reads it. */
  'not_json',
  /** JSON, but no object. */
  'not_object',
  /** An integer of more digits than Python reads. */
  'too_many_digits',
  /** Nested so deep that the verdict depends on the version of Python and on who calls it; ours is that of the given limits. */
  'too_deep',
  /** An object with neither `hash` nor `previous_hash`, before the first line that has one: written before there was a chain. */
  'legacy_line',
  /** The same behind a line of the chain. */
  'unchained_line',
  /** One of the two keys is missing. `expected` names it. */
  'missing_hash',
  /** `previous_hash` is not the hash that the line before states: something was removed, inserted, moved or rewritten. */
  'chain_broken',
  /** `hash` is not that of the line's value and its own `previous_hash`: the line is not what was hashed. */
  'hash_mismatch',
  /** The hash can't be computed since `previous_hash` has an unpaired surrogate; only behind a line that states such a hash. */
  'unencodable',
  /** A key twice in one object: Python reads the last value, other readers the first. `found`: pointer to it. */
  'duplicate_key',
  /** A number whose digits say another one than what is read, and so hashed. */
  'lost_precision',
  /** Not the text that `json.dumps` gives for the value in the order of its keys. `expected`, `found`: from where they differ. */
  'other_spelling',
  /** The last line has no line ending: it is torn, or was cut. */
  'torn_line',
  /** Ended by a bare CR, at which other readers don't split, or otherwise than the first line. */
  'line_ending',
  /** Longer than this verifier reads. */
  'line_too_long',
] as const

export type PythonFindingCode = (typeof PYTHON_FINDING_CODES)[number]

/** The texts are printable ASCII, all else escaped, and short: they may go into a log or a record. */
export interface PythonFinding {
  readonly code: PythonFindingCode
  readonly expected: string | null
  readonly found: string | null
}

export interface PythonEntryCheck {
  readonly verdict: PythonVerdict
  readonly findings: readonly PythonFinding[]
  /** What Python read, or null where it raised. */
  readonly value: PythonValue
  /** The value where it is an object, else null. */
  readonly entry: PythonDict | null
  /** The hash that Python computes for the value with the line's own `previous_hash`; null where it can't. */
  readonly computed_hash: string | null
  /** The line's own `hash` where that is a string, else null. */
  readonly stated_hash: string | null
}

export interface PythonEntryOptions {
  readonly sha256: Sha256
  readonly limits: PythonLimits
  /** A line of the chain came before this one. */
  readonly chained: boolean
}

/** Beyond this depth the verdict depends on how deep in Python's own stack the verification runs. */
const DEPTH_SURE_MAX = 500
const TEXT_MAX = 80

function printable(text: string): string {
  const escaped = text.slice(0, TEXT_MAX).replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
  return text.length > TEXT_MAX ? `${escaped}...` : escaped
}

export function pythonFinding(code: PythonFindingCode, expected: string | null = null, found: string | null = null): PythonFinding {
  return { code, expected: expected === null ? null : printable(expected), found: found === null ? null : printable(found) }
}

/** `compute_entry_hash` of the seed, for the entry without its `hash`. @throws PythonError where Python raises. */
export function computeEntryHash(entry: PythonDict, previousHash: string, sha256: Sha256, limits: PythonLimits): string {
  const hashed = new Map(entry)
  hashed.delete('hash')
  const content = dumps(hashed, { sort_keys: true, depth_max: limits.dumps_depth_max }) + previousHash
  // Python encodes strictly; ours would put U+FFFD for it, and so give two texts one hash.
  if (!content.isWellFormed()) throw new PythonError('UnicodeEncodeError', 'surrogates not allowed')
  return sha256(encodeText(content))
}

const CODE_OF: Partial<Record<PythonException, PythonFindingCode>> = {
  JSONDecodeError: 'not_json',
  ValueError: 'too_many_digits',
  RecursionError: 'too_deep',
  UnicodeEncodeError: 'unencodable',
}

function raises(exception: PythonException, reason: string): PythonVerdict {
  return { says: 'raises', exception, reason }
}

/** Checks one line, given without its ending, after a line whose hash is `previous` (`GENESIS` for the first). */
export function checkPythonEntry(text: string, previous: string, options: PythonEntryOptions): PythonEntryCheck {
  let value: PythonValue
  let notes: LoadsNotes
  try {
    ;({ value, notes } = loadsWithNotes(text, options.limits))
  } catch (error) {
    if (!(error instanceof PythonError)) throw error
    const isBlank = /^[ \t]*$/.test(text)
    const finding = isBlank ? pythonFinding('blank_line') : pythonFinding(CODE_OF[error.exception] ?? 'not_json', null, error.message)
    const verdict = raises(error.exception, error.message)
    return { verdict, findings: [finding], value: null, entry: null, computed_hash: null, stated_hash: null }
  }
  if (!(value instanceof Map)) {
    const verdict = raises('TypeError', 'the line is no object')
    return { verdict, findings: [pythonFinding('not_object')], value, entry: null, computed_hash: null, stated_hash: null }
  }
  return { value, ...checkDict(value, text, notes, previous, options) }
}

function checkDict(
  entry: PythonDict,
  text: string,
  notes: LoadsNotes,
  previous: string,
  options: PythonEntryOptions,
): Omit<PythonEntryCheck, 'value'> {
  const stated = entry.get('hash')
  const own = entry.get('previous_hash')
  let computed: string | null = null
  let raised: PythonError | null = null
  if (typeof own === 'string') {
    try {
      computed = computeEntryHash(entry, own, options.sha256, options.limits)
    } catch (error) {
      if (!(error instanceof PythonError)) throw error
      raised = error
    }
  }
  const findings = [...chainFindings(entry, previous, computed, options.chained), ...spellingFindings(entry, text, notes)]
  if (raised !== null || notes.depth > DEPTH_SURE_MAX) {
    findings.unshift(
      pythonFinding((raised && CODE_OF[raised.exception]) ?? 'too_deep', null, raised?.message ?? `a depth of ${notes.depth}`),
    )
  }

  // In the order of the seed's code: each of these ends Python's verification.
  let verdict: PythonVerdict
  if (!entry.has('previous_hash')) verdict = raises('KeyError', "'previous_hash'")
  else if (own !== previous) verdict = { says: 'false', check: 'previous_hash' }
  else if (raised !== null) verdict = raises(raised.exception, raised.message)
  else if (!entry.has('hash')) verdict = raises('KeyError', "'hash'")
  else verdict = stated === computed ? { says: 'ok' } : { says: 'false', check: 'hash' }
  return { verdict, findings, entry, computed_hash: computed, stated_hash: typeof stated === 'string' ? stated : null }
}

function chainFindings(entry: PythonDict, previous: string, computed: string | null, chained: boolean): PythonFinding[] {
  const hasHash = entry.has('hash')
  const hasPrevious = entry.has('previous_hash')
  if (!hasHash && !hasPrevious) return [pythonFinding(chained ? 'unchained_line' : 'legacy_line')]
  const findings: PythonFinding[] = []
  if (!hasHash || !hasPrevious) findings.push(pythonFinding('missing_hash', hasHash ? 'previous_hash' : 'hash'))
  const own = entry.get('previous_hash')
  if (own !== undefined && own !== previous) findings.push(pythonFinding('chain_broken', previous, shown(own)))
  const stated = entry.get('hash')
  // Where previous_hash is no string there is nothing that the hash could be of, and the chain is broken there anyway.
  if (stated !== undefined && computed !== null && stated !== computed) {
    findings.push(pythonFinding('hash_mismatch', computed, shown(stated)))
  }
  return findings
}

function shown(value: PythonValue): string {
  return typeof value === 'string' ? value : dumps(value)
}

function spellingFindings(entry: PythonDict, text: string, notes: LoadsNotes): PythonFinding[] {
  const findings: PythonFinding[] = []
  if (notes.duplicate_key !== null) findings.push(pythonFinding('duplicate_key', null, notes.duplicate_key))
  if (notes.lost_precision !== null) {
    const { pointer, token, value } = notes.lost_precision
    findings.push(pythonFinding('lost_precision', `${dumps(value)} at ${pointer}`, token))
  }
  const spelled = dumps(entry)
  if (spelled !== text) {
    let at = 0
    while (spelled.charCodeAt(at) === text.charCodeAt(at)) at++
    findings.push(pythonFinding('other_spelling', spelled.slice(at), text.slice(at)))
  }
  return findings
}
