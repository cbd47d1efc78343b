/** Opening a large ledger, beside a small one: it should cost the same at any size. */
import { AuditLedger } from '../src/index.ts'
import { inRounds, shown } from './figures.ts'
import type { Fixture, Fixtures } from './fixtures.ts'
import { atMost } from './rows.ts'
import type { Result, Row } from './rows.ts'
import { LEDGER_OPTIONS, STORES, timed } from './session.ts'
import type { Session } from './session.ts'
import { eventAt } from './workloads.ts'

type Way = 'for writing' | 'for writing, and one record' | 'for reading'

/** Closing is not part of it. */
async function opened({ location }: Fixture, way: Way): Promise<number> {
  let ledger: AuditLedger | null = null
  const seconds = await timed(async () => {
    ledger = await AuditLedger.open(location, way === 'for reading' ? { readOnly: true } : LEDGER_OPTIONS)
    if (way === 'for writing, and one record') await ledger.append('opened', eventAt(0))
  })
  await (ledger as AuditLedger | null)?.close()
  return seconds * 1000
}

export async function openRows(session: Session, fixtures: Fixtures): Promise<Result[]> {
  const { records } = session.options
  const rows: Row[] = []
  for (const store of STORES) {
    const large = await fixtures.get(store, records)
    const small = await fixtures.get(store, 1000)
    for (const way of ['for writing', 'for writing, and one record', 'for reading'] as const) {
      const { ours, floor } = await inRounds(session.count(15, 1), async () => ({
        ours: await opened(large, way),
        floor: await opened(small, way),
      }))
      const target = way === 'for writing, and one record' ? null : atMost(2)
      rows.push({ topic: 'open', what: `${store}, ${way}`, unit: 'ms', ours, floor, target, note: '' })
    }
    session.say(`open, ${store}, ${shown(records)} beside ${shown(1000)}`)
  }
  return rows
}
