/** The recorded runs of a real agent: what queries find is what a plain reading finds. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { fileSource, importChat } from '../../../src/index.ts'
import { recordText } from '../../../src/ledger/record-text.ts'
import { everything, hasAll, open, PERSISTENT, placeOf, seqsOf } from './helpers.ts'

const DATA = join(import.meta.dirname, '../../../../shared/data/tau-airline-gpt-4o.json.gz')
const missing = existsSync(DATA) ? null : `${DATA} is not there`
if (missing !== null) console.warn(`skipped, the real runs are not searched: ${missing}`)

const QUERIES = [
  'refund',
  'refund airline',
  "don't",
  'certificate $50',
  'HAT136',
  'basic economy cancel insurance',
  'user_id',
  'example.com',
]

describe.skipIf(missing !== null).each(PERSISTENT)('%s', (kind) => {
  test('real runs are searched', async () => {
    await using ledger = await open(placeOf(kind), { fullText: 'background' })
    expect(await importChat(ledger, fileSource(DATA))).toMatchObject({ imported: 3618 })
    const records = await everything(ledger)
    const texts = records.map((record) => ({ record, text: recordText(record) }))
    let found = 0
    for (const text of QUERIES) {
      const expected = texts.filter((each) => hasAll(each.text, text)).map(({ record }) => record)
      const seqs = expected.map(({ seq }) => seq)
      found += seqs.length
      expect(await seqsOf(ledger, { text }), text).toEqual(seqs)
      expect(
        (await seqsOf(ledger, { text, order: 'rank', limit: 500 })).toSorted((a, b) => a - b),
        text,
      ).toEqual(seqs)
      expect(await ledger.count({ text, type: 'ToolCallCompleted' }), text).toBe(
        expected.filter(({ header }) => header.type === 'ToolCallCompleted').length,
      )
    }
    expect(found).toBeGreaterThan(1000)
  })
})
