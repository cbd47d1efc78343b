/** `maskRules`: a mask for `AuditLedger.open` from names of patterns, pointers and rules of one's own. */
import type { Mask } from '../draft.ts'
import { isObject } from '../entry.ts'
import type { JsonObject, JsonValue } from '../entry.ts'
import type { Finder, Span } from './finder.ts'
import { MARK_NAME, markOf, MASKED_MEMBER, marksOf } from './mark.ts'
import { Masking, WHOLE_TEXT } from './masking.ts'
import type { Rule, Rules } from './masking.ts'
import { PERSONAL } from './personal.ts'
import { Places } from './places.ts'
import type { Ahead, PlaceRule } from './places.ts'
import { SECRETS } from './secrets.ts'

const PATTERNS = { ...SECRETS, ...PERSONAL }
export type MaskPattern = keyof typeof PATTERNS

/** All patterns, in the order in which they are looked for. */
export const MASK_PATTERNS = Object.keys(PATTERNS) as readonly MaskPattern[]
/** Those that are looked for where none are named: all but `phone`, which takes other numbers for phone numbers too often. */
export const DEFAULT_MASK_PATTERNS: readonly MaskPattern[] = MASK_PATTERNS.filter((name) => name !== 'phone')

/** Where in a text something to be masked stands: `[start, end)` as `slice` takes them, ascending, none over another. */
export type MaskFinder = (text: string) => Iterable<readonly [start: number, end: number]>

export interface MaskOptions {
  /** What is looked for in every text; `DEFAULT_MASK_PATTERNS` if absent, none if empty. */
  readonly patterns?: readonly MaskPattern[] | undefined
  /**
   * Rules of your own by name, looked for before the patterns: what a RegExp matches is masked as `[masked:<name>]`, or
   * what a function finds. A RegExp must not take more than linear time, since texts can be 16 MiB.
   */
  readonly own?: { readonly [name: string]: RegExp | MaskFinder } | undefined
  /**
   * Values that are masked whole, whatever they are: JSON pointers (RFC 6901) into the data, with `*` for any key or
   * item, also into a text that is JSON. A text or number becomes `[masked:pointer]`, an object
   * `{ masked: '[masked:pointer]' }`, an array `['[masked:pointer]']`; null stays.
   */
  readonly pointers?: readonly string[] | undefined
  /** Names of members, such as `password`, whose values are masked whole wherever they are, whatever the name's case. */
  readonly members?: readonly string[] | undefined
  /** Patterns and rules are also looked for in the keys of objects. */
  readonly keys?: boolean | undefined
  /**
   * The member of an event's data that says how often what was masked; `masked` if absent. (Of agent calls it is
   * `input_metadata.masked`.) Where the caller has a member of that name, the next free one: `masked_2`.
   */
  readonly countMember?: string | undefined
}

const OPTION_KEYS = new Set(['patterns', 'own', 'pointers', 'members', 'keys', 'countMember'])
const CALL_TYPES = new Set(['AgentCallCompleted', 'AgentCallStarted'])
/** Members of an agent call that the header has too, which no mask changes, and its start: entry and header say the same. */
const HEADER_MEMBERS = new Set(['agent_name', 'method_name', 'run_id', 'correlation_id', 'timestamp_start', 'timestamp_end'])
/** Names in marks that are no rule of anybody's own. */
const KNOWN_NAMES: ReadonlySet<string> = new Set([...MASK_PATTERNS, 'pointer', 'member', WHOLE_TEXT])

function checkedFinder(name: string, find: MaskFinder): Finder {
  return (text) => {
    const spans: Span[] = []
    let last = 0
    for (const [start, end] of find(text)) {
      if (!Number.isInteger(start) || !Number.isInteger(end) || start < last || end <= start || end > text.length)
        throw new RangeError(
          `the mask rule ${name} found [${start}, ${end}) in a text of ${text.length}: spans are within it, ascending, and none over another`,
        )
      spans.push([start, end])
      last = end
    }
    return spans
  }
}

function ownRule([name, rule]: readonly [string, RegExp | MaskFinder]): Rule {
  if (!MARK_NAME.test(name) || KNOWN_NAMES.has(name))
    throw new RangeError(
      `own: ${JSON.stringify(name)} can't name a rule: lower-case letters, digits and _, and none of ${[...KNOWN_NAMES].join(', ')}`,
    )
  if (typeof rule === 'function') return { name, find: checkedFinder(name, rule), numbers: false }
  if (!(rule instanceof RegExp)) throw new TypeError(`own: ${name} must be a RegExp or a function`)
  const pattern = new RegExp(rule.source, `${rule.flags.replaceAll(/[gy]/g, '')}g`)
  return { name, find: (text) => [...text.matchAll(pattern)].flatMap(spanOf), numbers: false }
}

function spanOf({ index, 0: found }: RegExpExecArray): Span[] {
  return found === '' ? [] : [[index, index + found.length]]
}

function builtInRule(name: MaskPattern): Rule {
  if (!Object.hasOwn(PATTERNS, name))
    throw new RangeError(`patterns: ${JSON.stringify(name)} is none; known are ${MASK_PATTERNS.join(', ')}`)
  return { name, find: PATTERNS[name], numbers: name === 'card' }
}

function textsOf(option: string, value: readonly string[] | undefined): readonly string[] {
  if (value === undefined) return []
  if (!Array.isArray(value) || !value.every((item) => typeof item === 'string'))
    throw new TypeError(`${option} must be an array of strings`)
  return value
}

function rulesOf(options: MaskOptions): Rules {
  const { own = {}, keys = false } = options
  if (typeof own !== 'object' || own === null || Array.isArray(own)) throw new TypeError('own must be an object of rules by name')
  if (typeof keys !== 'boolean') throw new TypeError('keys must be true or false')
  const patterns = new Set(
    options.patterns === undefined ? DEFAULT_MASK_PATTERNS : (textsOf('patterns', options.patterns) as MaskPattern[]),
  )
  for (const name of patterns) builtInRule(name)
  // In their own order: a token within a URL is a token, whatever order they were named in.
  const builtIn = MASK_PATTERNS.filter((name) => patterns.has(name)).map(builtInRule)
  const ownRules = Object.entries(own).map(ownRule)
  return {
    rules: [...ownRules, ...builtIn],
    places: new Places(textsOf('pointers', options.pointers), textsOf('members', options.members)),
    keys,
    marks: marksOf([...KNOWN_NAMES, ...Object.keys(own)]),
  }
}

/** No number that could be somebody's: a card number here would be left. */
function isSmallCount(count: JsonValue): boolean {
  return typeof count === 'number' && Number.isInteger(count) && count > 0 && count < 1e8
}

/** A count that masking left, which no rule is to change. */
class CountMember {
  readonly #name: string
  readonly #names: ReadonlySet<string>

  /** @param names that are counted by */
  constructor(name: string, names: ReadonlySet<string>) {
    if (typeof name !== 'string' || name === '' || name.startsWith('$'))
      throw new RangeError('countMember is the name of a member, and does not start with $')
    this.#name = name
    this.#names = names
  }

  readonly isCount = (key: string, value: JsonValue): boolean => {
    if (!key.startsWith(this.#name) || !/^(?:_\d+)?$/.test(key.slice(this.#name.length)) || !isObject(value)) return false
    const counts = Object.entries(value)
    return counts.length > 0 && counts.every(([name, count]) => this.#names.has(name) && isSmallCount(count))
  }

  /** With the count as a member that is not there yet. */
  add(data: JsonObject, counts: ReadonlyMap<string, number>): JsonObject {
    let free = this.#name
    for (let n = 2; Object.hasOwn(data, free); n++) free = `${this.#name}_${n}`
    return Object.fromEntries([...Object.entries(data), [free, Object.fromEntries(counts)]])
  }
}

/** What stands for metadata that were masked whole, with the counts that came in then. */
function isMaskedWhole(metadata: JsonValue, place: PlaceRule | Ahead, count: CountMember): boolean {
  if (!isObject(metadata) || typeof place !== 'string') return false
  const others = Object.entries(metadata).filter(([key, value]) => !count.isCount(key, value))
  return others.length === 1 && others[0]?.[0] === MASKED_MEMBER && others[0][1] === markOf(place)
}

function maskCall(data: JsonObject, masking: Masking, count: CountMember): JsonObject {
  const metadata = data['input_metadata']
  const root = masking.places.root
  const inMetadata = masking.places.into(root, 'input_metadata', false)
  const isOpen = isObject(metadata) && typeof inMetadata !== 'string'
  const isLeft = (key: string, value: JsonValue): boolean =>
    HEADER_MEMBERS.has(key) ||
    (key === 'input_metadata' && (isOpen || isMaskedWhole(value, inMetadata, count))) ||
    count.isCount(key, value)
  let masked = masking.object(data, root, isLeft)
  if (isOpen) {
    const inside = masking.object(metadata, inMetadata, count.isCount)
    if (inside !== metadata) masked = { ...masked, input_metadata: inside }
  }
  if (masking.counts.size === 0) return masked
  const now = masked['input_metadata']
  return isObject(now) ? { ...masked, input_metadata: count.add(now, masking.counts) } : count.add(masked, masking.counts)
}

/**
 * A mask for `AuditLedger.open`: it puts a visible mark such as `[masked:email]` in the place of what the rules find in
 * the texts of a record's data, however deep, and counts by rule how often. A text that is JSON is masked inside and
 * stays JSON. What is masked already stays as it is. It takes time in proportion to the data.
 *
 * The header is not data: agent_name, method_name, run_id and correlation_id of an agent call stay as they are, in the
 * entry too.
 * @throws TypeError | RangeError for rules that mean nothing
 */
export function maskRules(options: MaskOptions = {}): Mask {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) throw new TypeError('mask rules are an object')
  for (const key of Object.keys(options)) {
    if (!OPTION_KEYS.has(key)) throw new TypeError(`unknown option ${JSON.stringify(key)}; known are ${[...OPTION_KEYS].join(', ')}`)
  }
  const rules = rulesOf(options)
  const names = new Set([...KNOWN_NAMES, ...rules.rules.map(({ name }) => name)])
  const count = new CountMember(options.countMember ?? 'masked', names)
  const callCount = new CountMember('masked', names)
  return (data, { type }) => {
    const masking = new Masking(rules)
    if (CALL_TYPES.has(type)) return maskCall(data, masking, callCount)
    const masked = masking.object(data, rules.places.root, count.isCount)
    return masking.counts.size === 0 ? masked : count.add(masked, masking.counts)
  }
}
