import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fitsFilter } from '../../../src/ledger/filter.ts'
import { TALLY_COLUMNS } from '../../../src/ledger/store.ts'
import type { Selection, TallyColumn } from '../../../src/ledger/store.ts'
import type { Database, DriverName } from '../../../src/stores/sql/driver.ts'
import { SelectedRows, countRecords, tallyRecords } from '../../../src/stores/sql/select.ts'
import { scale } from '../../helpers/scale.ts'
import { filters, samples, tableOf } from './sample.ts'
import type { Sample } from './sample.ts'

const DRIVERS: readonly DriverName[] = ['node:sqlite', 'better-sqlite3']

function seqsOf(database: Database, selection: Selection, page = 256): number[] {
  const rows = new SelectedRows(database, selection, 'records.run_id AS run_id')
  const seqs: number[] = []
  for (let next = rows.next(page); next.length > 0; next = rows.next(page)) {
    expect(next.length).toBeLessThanOrEqual(page)
    for (const row of next) {
      expect(row['run_id']).toBe(`run-${row['seq']}`)
      seqs.push(Number(row['seq']))
    }
  }
  return seqs
}

function tallyOf(column: TallyColumn, all: readonly Sample[]): Map<string, number> {
  const tally = new Map<string, number>()
  for (const { header, provider, model } of all) {
    const value = column === 'provider' ? provider : column === 'model' ? model : header[column]
    if (value !== null) tally.set(value, (tally.get(value) ?? 0) + 1)
  }
  return tally
}

const byKey = (tally: ReadonlyMap<string, number>): [string, number][] => [...tally].sort(([a], [b]) => (a < b ? -1 : 1))

describe.each(DRIVERS)('%s', (driver) => {
  test('what SQL selects is what fitsFilter says, in order of seq, in pages, forwards and backwards', async () => {
    const selections = fc.record({
      filter: filters,
      from: fc.nat(10),
      before: fc.oneof(fc.constant(Infinity), fc.nat(50)),
      reverse: fc.boolean(),
      limit: fc.oneof(fc.constant(Infinity), fc.nat(20)),
    })
    await fc.assert(
      fc.asyncProperty(
        samples,
        fc.array(selections, { minLength: 1, maxLength: 12 }),
        fc.integer({ min: 1, max: 7 }),
        async (all, asked, page) => {
          const database = await tableOf(driver, all)
          for (const selection of asked) {
            const fitting = all.filter((each) => fitsFilter(selection.filter, each.header, each.provider, each.model))
            const seqs = fitting.map((each) => each.header.seq).filter((seq) => seq >= selection.from && seq < selection.before)
            if (selection.reverse) seqs.reverse()
            expect(seqsOf(database, selection, page)).toEqual(seqs.slice(0, selection.limit))
            expect(countRecords(database, selection.filter)).toBe(fitting.length)
            for (const column of TALLY_COLUMNS) {
              expect(byKey(tallyRecords(database, column, selection.filter))).toEqual(byKey(tallyOf(column, fitting)))
            }
          }
          database.close()
        },
      ),
      { numRuns: scale(100, 3000) },
    )
  })
})
