/** Bytes that a file of a ledger might hold after an accident, a bug or an attack; all drawn from a seed. */
import type { SeededRandom } from '../../src/testing/index.ts'

/** Mutations of bytes, whatever they mean: each takes the file and gives another one. */
const MUTATIONS: readonly ((bytes: Buffer, random: SeededRandom) => Buffer)[] = [
  (bytes, random) => {
    const copy = Buffer.from(bytes)
    for (let i = 1 + random.below(8); i > 0 && copy.length > 0; i--) copy[random.below(copy.length)]! ^= 1 << random.below(8)
    return copy
  },
  (bytes, random) => bytes.subarray(0, random.below(bytes.length + 1)),
  (bytes, random) => bytes.subarray(random.below(bytes.length + 1)),
  (bytes, random) => {
    const [at, length] = [random.below(bytes.length + 1), random.below(300)]
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.min(bytes.length, at + length))])
  },
  (bytes, random) => {
    const at = random.below(bytes.length + 1)
    return Buffer.concat([bytes.subarray(0, at), random.bytes(random.below(500)), bytes.subarray(at)])
  },
  (bytes, random) => {
    // A page or a line's length of zeros: what a crash may leave of a write.
    const copy = Buffer.from(bytes)
    const at = random.below(copy.length + 1)
    copy.fill(0, at, Math.min(copy.length, at + 1 + random.below(5000)))
    return copy
  },
  (bytes, random) => {
    const [from, length, at] = [random.below(bytes.length + 1), random.below(3000), random.below(bytes.length + 1)]
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(from, from + length), bytes.subarray(at)])
  },
  (bytes, random) => {
    const copy = Buffer.from(bytes)
    for (let i = 1 + random.below(20); i > 0 && copy.length > 0; i--)
      copy[random.below(copy.length)] = random.pick([0x0a, 0x22, 0x7b, 0x7d, 0x5c, 0x2c, 0x00, 0xff])
    return copy
  },
]

export function mutated(bytes: Buffer, random: SeededRandom): Buffer {
  let copy = bytes
  for (let i = 1 + random.below(3); i > 0; i--) copy = random.pick(MUTATIONS)(copy, random)
  return copy
}

const PIECES = [
  '{"hash":"',
  '"header":{',
  '},"salt":"',
  '","entry":{',
  '"entry":null}',
  '"signatures":[',
  '\n',
  '\r\n',
  '\u2028',
  '{}',
  '[]',
  '""',
  '\\u0000',
  '\\ud800',
  '1e999',
  '-0',
  '99999999999999999999',
  'null',
  'GENESIS',
  'a'.repeat(64),
  'A'.repeat(22),
  '[[[[[[[[',
  '{"a":{"a":{"a":',
  ',',
  ':',
  '}',
  '}}',
  '"seq":',
  '"recorded_at":"2026-01-01T00:00:00.000000Z"',
  '"__proto__":',
]

/** Text that looks like records to whoever does not look closely. */
export function recordLike(random: SeededRandom): Buffer {
  let text = ''
  for (let i = random.below(400); i > 0; i--) text += random.pick(PIECES)
  return Buffer.from(text)
}

/** The beginning and the end of a record around a middle that goes very deep, or is very long. */
export function monstrous(random: SeededRandom, honest: string): Buffer {
  const at = honest.indexOf(',"entry":{') + 10
  const middle = random.pick([
    () => `"d":${'['.repeat(200_000)}${']'.repeat(200_000)},`,
    () => `"d":${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)},`,
    () => '"d":'.repeat(100_000),
    () => `"d":"${'\\u0041'.repeat(300_000)}",`,
    () => `"d":${'9'.repeat(1_000_000)},`,
    () => `"d":[${'1,'.repeat(500_000)}1],`,
    () => `"d":"${'x'.repeat(3_000_000)}`,
    () => '\u0000'.repeat(1_000_000),
  ])()
  return Buffer.from(honest.slice(0, at) + middle + honest.slice(at))
}

/** One file, of any of these kinds. `honest` is a whole one. */
export function fuzzedSegment(honest: Buffer, random: SeededRandom): { readonly name: string; readonly bytes: Buffer } {
  const kind = random.below(100)
  const first = honest.subarray(0, honest.indexOf(0x0a) + 1).toString('utf8')
  if (kind < 65) return { name: 'mutated', bytes: mutated(honest, random) }
  if (kind < 75) return { name: 'like records', bytes: recordLike(random) }
  if (kind < 80) return { name: 'honest, then like records', bytes: Buffer.concat([honest, recordLike(random)]) }
  if (kind < 88) return { name: 'random bytes', bytes: Buffer.from(random.bytes(random.below(20_000))) }
  if (kind < 92) return { name: 'many short lines', bytes: Buffer.from('x\n'.repeat(random.below(20_000))) }
  if (kind < 96) return { name: 'monstrous', bytes: monstrous(random, first) }
  return { name: 'nearly nothing', bytes: Buffer.from(random.pick(['', '\n', '{', '{}\n', '\n\n\n', '\ufeff', 'null\n', '[]\n', '0'])) }
}
