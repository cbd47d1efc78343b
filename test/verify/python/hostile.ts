/** Lines that a ledger of the seed's Python may hold, spelled as badly as JSON allows, and worse; all drawn from a seed. */
import { createHash } from 'node:crypto'
import type { SeededRandom } from '../../../src/testing/index.ts'
import { dumps, quotePython } from '../../../src/verify/python/dumps.ts'
import { computeEntryHash } from '../../../src/verify/python/entry.ts'
import { loads } from '../../../src/verify/python/loads.ts'
import { PythonError, type PythonDict, type PythonLimits } from '../../../src/verify/python/value.ts'

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

const WORDS = [
  'run_id',
  'prompt',
  'a',
  '9',
  '10',
  '__proto__',
  'constructor',
  'hash',
  'previous_hash',
  'é',
  '\u007f',
  '\u0080',
  '\ue000',
  '\uffff',
  '\u{1f600}',
  '\u{10ffff}',
  '',
  ' ',
  '/',
  '\\',
  '"',
  '\u0000',
  '\n',
  '\r\n',
  '\u001f',
  '\b\f\t',
  '\ud800',
  '\udfff',
  '\udbff',
  '\u2028',
  '\ufeff',
  '-0',
  '1.0',
  '~1/x',
  'Ω\ud83d',
]

/** Around these the orders by code unit and by code point differ. */
const UNITS = ['a', '\ud7ff', '\ud800', '\udbff', '\udc00', '\udfff', '\ue000', '\uffff']

export function text(random: SeededRandom): string {
  if (random.chance(0.2)) return Array.from({ length: 1 + random.below(3) }, () => random.pick(UNITS)).join('')
  let result = ''
  for (let i = 1 + random.below(3); i > 0; i--) result += random.chance(0.8) ? random.pick(WORDS) : String.fromCharCode(random.below(65536))
  return result
}

const SHORT = new Map(Object.entries({ '"': '"', '\\': '\\', '/': '/', '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't' }))

function unit(letter: string, random: SeededRandom): string {
  const code = letter.charCodeAt(0)
  const hex = code.toString(16).padStart(4, '0')
  const short = SHORT.get(letter)
  if (short !== undefined && random.chance(0.6)) return `\\${short}`
  const mustEscape = code < 0x20 || letter === '"' || letter === '\\'
  if (mustEscape || random.chance(0.2)) return `\\u${random.chance(0.8) ? hex : hex.toUpperCase()}`
  return letter
}

/** A literal of the text in any spelling. Half a pair can only be escaped: UTF-8 has no bytes for it. */
export function literal(value: string, random: SeededRandom): string {
  if (random.chance(0.4)) return quotePython(value)
  let result = ''
  for (const letter of value) {
    if (letter.length === 2) result += random.chance(0.5) ? letter : quotePython(letter).slice(1, -1)
    else result += letter.isWellFormed() ? unit(letter, random) : quotePython(letter).slice(1, -1)
  }
  return `"${result}"`
}

function double(random: SeededRandom): number {
  const view = new DataView(random.bytes(8).buffer)
  // Denormals, and what is near the bounds of the exponent form.
  if (random.chance(0.2)) view.setUint16(0, view.getUint16(0) & 0x800f)
  if (random.chance(0.3)) return Number(`${1 + random.below(10 ** (1 + random.below(9)))}e${random.below(50) - 25}`)
  if (random.chance(0.2)) return random.below(1e9) / 10 ** random.below(12)
  return view.getFloat64(0)
}

/** All digits of the number halfway between a double and the next one: where rounding is decided by the last digit. */
function halfway(value: number): string {
  const view = new DataView(new ArrayBuffer(8))
  view.setFloat64(0, Math.abs(value))
  const bits = view.getBigUint64(0)
  const exponent = Number(bits >> 52n)
  const mantissa = (bits & 0xfffffffffffffn) | (exponent === 0 ? 0n : 1n << 52n)
  const power = Math.max(exponent, 1) - 1076
  const odd = mantissa * 2n + 1n
  return power >= 0 ? `${odd << BigInt(power + 1)}.0` : `${odd * 5n ** BigInt(-power - 1)}e${power + 1}`
}

function digits(count: number, random: SeededRandom): string {
  return String(1 + random.below(9)) + Array.from({ length: count - 1 }, () => random.below(10)).join('')
}

const NUMBERS = [
  '0',
  '-0',
  '-0.0',
  '0.0',
  '1.0',
  '1',
  '1.00e0',
  '0.1',
  '0.1000000000000000055',
  '1E5',
  '1e+5',
  '1e-05',
  '100e-2',
  '1e400',
  '-1e400',
  '1e-400',
  '5e-324',
  '2.4703282292062328e-324',
  '2.4703282292062327e-324',
  '2.2250738585072011e-308',
  '1.7976931348623159e308',
  '9007199254740993',
  '9007199254740993.0',
  '1e16',
  '1e15',
  '9999999999999998.0',
  '0.0001',
  '0.00001',
  '0.00009999999999999999',
  '1e21',
  '1e22',
  '123456789012345678901234567890',
  '-12345678901234567890',
  'NaN',
  'Infinity',
  '-Infinity',
  '0e99999999999999999999',
  '1e99999999999999999999',
  '1e-99999999999999999999',
  '1.e5',
  '0.000000000000000000001e21',
]
const NO_NUMBERS = [
  '01',
  '1.',
  '.5',
  '+1',
  '1e',
  '1e+',
  '-',
  '--1',
  '0x10',
  '1_000',
  '-NaN',
  'nan',
  'inf',
  '-Inf',
  'Infinit',
  'tru',
  'None',
  'True',
  '１',
  "'a'",
  'undefined',
  '1.5.',
  '-01',
]

export function number(random: SeededRandom, limits: PythonLimits): string {
  const kind = random.below(100)
  if (kind < 35) return random.pick(NUMBERS)
  if (kind < 45) return (random.chance(0.3) ? '-' : '') + digits(1 + random.below(40), random)
  if (kind < 46) return digits((Number.isFinite(limits.int_digits_max) ? limits.int_digits_max : 5000) - 1 + random.below(3), random)
  const value = double(random)
  if (!Number.isFinite(value)) return 'NaN'
  if (kind < 70) return dumps(value)
  if (kind < 78) return String(value)
  if (kind < 84) return value.toExponential(random.below(40)).replace('e', random.pick(['e', 'E']))
  if (kind < 90) return value.toPrecision(1 + random.below(60))
  return halfway(value)
}

function blank(random: SeededRandom, tidy: boolean): string {
  if (tidy || random.chance(0.8)) return ''
  return random.chance(0.03) ? random.pick(['\f', '\u00a0', '\ufeff', '\u0000', '\u2028', '\v']) : random.pick([' ', '\t', '  ', ' \t '])
}

function value(random: SeededRandom, limits: PythonLimits, depth: number): string {
  const kind = random.below(depth > 3 ? 70 : 100)
  if (kind < 35) return literal(text(random), random)
  if (kind < 60) return number(random, limits)
  if (kind < 69) return random.pick(['null', 'true', 'false'])
  if (kind < 70) return random.chance(0.15) ? random.pick(NO_NUMBERS) : '[]'
  const tidy = random.chance(0.5)
  const between = (): string => blank(random, tidy)
  const count = random.below(5)
  if (kind < 82) {
    const items = Array.from({ length: count }, () => between() + value(random, limits, depth + 1) + between())
    return `[${items.join(random.chance(0.01) ? ',,' : ', ')}]`
  }
  return object(
    Array.from({ length: count }, () => member(random, limits, depth + 1)),
    random,
  )
}

function member(random: SeededRandom, limits: PythonLimits, depth: number): string {
  return `${literal(text(random), random)}${blank(random, false)}: ${blank(random, false)}${value(random, limits, depth)}`
}

function object(members: readonly string[], random: SeededRandom): string {
  const tidy = random.chance(0.5)
  return `{${blank(random, tidy)}${members.join(random.chance(0.9) ? ', ' : ',')}${blank(random, tidy)}}`
}

/** Nested just so deep that this Python does, or just does not, read it or compute its hash. */
function deep(random: SeededRandom, limits: PythonLimits): string {
  const depth = Math.min(limits.loads_depth_max, 20_000) - 4 + random.below(6)
  return random.chance(0.5) ? '['.repeat(depth) + ']'.repeat(depth) : `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`
}

/** An object of any members. */
export function hostileObject(random: SeededRandom, limits: PythonLimits): string {
  return object(
    Array.from({ length: random.below(8) }, () => member(random, limits, 1)),
    random,
  )
}

export function tryLoads(line: string, limits: PythonLimits): PythonDict | null {
  try {
    const entry = loads(line, limits)
    return entry instanceof Map ? entry : null
  } catch (error) {
    if (error instanceof PythonError) return null
    throw error
  }
}

function insert(list: string[], item: string, random: SeededRandom): void {
  list.splice(random.chance(0.5) ? list.length : random.below(list.length + 1), 0, item)
}

/** A line that belongs behind `previous`, with the hash that we think right. */
function belonging(previous: string, random: SeededRandom, limits: PythonLimits): string {
  const members = Array.from({ length: random.below(6) }, () => member(random, limits, 1))
  if (members.length > 0 && random.chance(0.1)) insert(members, random.pick(members), random)
  if (random.chance(0.01)) members.push(`"deep": ${deep(random, limits)}`)
  if (!random.chance(0.02)) insert(members, `${literal('previous_hash', random)}: ${literal(previous, random)}`, random)
  const entry = tryLoads(object(members, random), limits)
  let hash = '0'.repeat(64)
  try {
    if (entry !== null) hash = computeEntryHash(entry, previous, sha256, limits)
  } catch (error) {
    if (!(error instanceof PythonError)) throw error
  }
  if (random.chance(0.02)) hash = random.pick(['', hash.toUpperCase(), text(random)])
  const stated = random.chance(0.02) ? random.pick([deep(random, limits), 'null', '12', '["a"]']) : literal(hash, random)
  if (!random.chance(0.02)) insert(members, `"hash": ${stated}`, random)
  const line = object(members, random)
  const whole = random.chance(0.4) ? tryLoads(line, limits) : null
  return whole === null ? blank(random, false) + line + blank(random, false) : dumps(whole)
}

/** One edit, as a hand or a bug makes it. */
function edited(line: string, random: SeededRandom): string {
  const at = random.below(line.length + 1)
  switch (random.below(5)) {
    case 0:
      return line.slice(0, at)
    case 1:
      return line.slice(0, at) + line.slice(at + 1 + random.below(5))
    case 2:
      return (
        line.slice(0, at) +
        random.pick(['"', '{', '}', '[', ']', ',', ':', '\\', ' ', '0', '9', '.', 'e', '-', '\\ud800', '\u0001', '\u00e9', 'null']) +
        line.slice(at)
      )
    case 3:
      return line.slice(0, at) + String.fromCharCode(32 + random.below(95)) + line.slice(at + 1)
    default:
      return line + random.pick([' ', ',', '}', '{}', '\u0000', 'x', '\ufeff', '\f'])
  }
}

const ODDITIES = [
  '',
  ' ',
  '\t ',
  'null',
  '[]',
  '{}',
  '""',
  '1',
  'NaN',
  'true',
  '-',
  '"',
  '{',
  '[',
  '\ufeff{}',
  '[1,]',
  '{"a":1,}',
  '{,}',
  '[}',
  '{"a"}',
  '{"a":}',
  '{1:2}',
  '{"previous_hash": "GENESIS"}',
  '{"hash": "x"}',
  '{"previous_hash": null, "hash": null}',
  '"hash previous_hash"',
  '["hash", "previous_hash"]',
  '{"a": 1} {"b": 2}',
  '// x',
  '\f',
  '\u00a0',
]

/** One line without its ending and without a line break in it, mostly a good one. */
export function hostileLine(previous: string, random: SeededRandom, limits: PythonLimits): Buffer {
  const kind = random.below(100)
  if (kind < 5) return Buffer.from(random.pick(ODDITIES))
  if (kind < 6) return Buffer.from(deep(random, limits))
  const line = belonging(previous, random, limits)
  if (kind < 20) return Buffer.from(edited(line, random).replaceAll(/[\r\n]/g, ''))
  const bytes = Buffer.from(line)
  if (kind > 97) bytes[random.below(bytes.length)] = 0x80 + random.below(128)
  return bytes
}
