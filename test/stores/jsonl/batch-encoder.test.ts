import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { SealedRecord } from '../../../src/ledger/store.ts'
import { BatchEncoder } from '../../../src/stores/jsonl/batch-encoder.ts'
import { SampleChain } from '../../../src/testing/sample-chain.ts'
import { formatLine } from '../../../src/verify/record.ts'
import { scale } from '../../helpers/scale.ts'

const linesOf = (records: readonly SealedRecord[]): Buffer => Buffer.from(records.map((record) => `${formatLine(record)}\n`).join(''))

test('any batches, one after the other, are the bytes of their lines', () => {
  const text = fc.oneof(
    fc.string({ unit: 'grapheme', maxLength: 200 }),
    fc.constantFrom('x', '\u00e9', '\u20ac', '\ud83d\ude00').chain((unit) => fc.nat(3000).map((count) => unit.repeat(count))),
  )
  const batches = fc.array(fc.array(text, { minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 5 })
  fc.assert(
    fc.property(batches, (texts) => {
      const encoder = new BatchEncoder()
      const chain = new SampleChain()
      for (const batch of texts) {
        const records = chain.seal(batch.map((content) => ({ entry: { content } })))
        expect(encoder.encode(records).equals(linesOf(records))).toBe(true)
      }
    }),
    { numRuns: scale(200, 5000) },
  )
})

test('a batch that is larger than what is kept, between small ones', () => {
  const encoder = new BatchEncoder()
  const chain = new SampleChain()
  for (const count of [1, 6_000_000, 2, 5_000_000, 1]) {
    const records = chain.seal([{ entry: { content: '\u20ac'.repeat(count / 2) } }])
    expect(encoder.encode(records).equals(linesOf(records))).toBe(true)
  }
})
