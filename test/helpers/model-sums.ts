/** A read model that shows at once where an event counted twice or not at all. */
import { defineEvent, defineReadModel } from '../../src/index.ts'
import type { ReadModel, ReadModels } from '../../src/index.ts'

export const Added = defineEvent<'Added', { n: number }>('Added')

/** A sum by stream, and one as a value. */
export const SUMS: ReadModel = defineReadModel({
  name: 'sums',
  version: 1,
  tables: { stream_sums: 'stream text PRIMARY KEY, sum bigint NOT NULL, events bigint NOT NULL' },
  events: [Added],
  on: {
    async Added(tx, { n }, record) {
      await tx.sql(
        `INSERT INTO ${tx.tables.stream_sums} AS s (stream, sum, events) VALUES ($1, $2, 1)
          ON CONFLICT (stream) DO UPDATE SET sum = s.sum + excluded.sum, events = s.events + 1`,
        [record.header.stream, n],
      )
      await tx.put('all', (((await tx.get('all')) as number | undefined) ?? 0) + n)
    },
  },
})

/** What the model says, all in one. */
export async function sumsOf(models: ReadModels): Promise<{ rows: readonly object[]; all: unknown }> {
  const rows = await models.sql('SELECT stream, sum, events FROM stream_sums ORDER BY stream')
  return { rows, all: await models.get('sums', 'all') }
}
