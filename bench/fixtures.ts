/** The large ledgers that several topics look at: made once a run, of events of about 200 bytes. */
import { AuditLedger } from '../src/index.ts'
import { shown } from './figures.ts'
import { LEDGER_OPTIONS, locationIn, timed } from './session.ts'
import type { Session, StoreKind } from './session.ts'
import { sampleEvents } from './workloads.ts'

export interface Fixture {
  readonly location: string
  readonly records: number
  /** Some ids that are in it, spread evenly. */
  readonly run_ids: readonly string[]
}

const BATCH = 1000
/** Appends that wait at once, so that the next batch is drafted while the last one is written. */
const AT_ONCE = 4
const RUN_IDS_KEPT = 1000

/** @returns some ids of what it put there */
export async function fill(ledger: AuditLedger, records: number): Promise<string[]> {
  const run_ids: string[] = []
  const every = Math.max(1, Math.floor(records / RUN_IDS_KEPT))
  const append = async (first: number): Promise<void> => {
    const receipts = await ledger.append(`run-${first / BATCH}`, sampleEvents(Math.min(BATCH, records - first), first))
    receipts.forEach(({ run_id }, i) => {
      if ((first + i) % every === 0) run_ids.push(run_id)
    })
  }
  for (let first = 0; first < records; first += BATCH * AT_ONCE) {
    const starts = Array.from({ length: AT_ONCE }, (_, i) => first + i * BATCH).filter((start) => start < records)
    await Promise.all(starts.map(append))
  }
  await ledger.flush()
  return run_ids
}

export class Fixtures {
  readonly #session: Session
  readonly #made = new Map<string, Promise<Fixture>>()

  constructor(session: Session) {
    this.#session = session
  }

  get(store: StoreKind, records: number): Promise<Fixture> {
    const name = `${store} ${records}`
    const made = this.#made.get(name) ?? this.#make(store, records)
    this.#made.set(name, made)
    return made
  }

  async #make(store: StoreKind, records: number): Promise<Fixture> {
    const location = locationIn(this.#session.keptFolder(), store)
    const ledger = await AuditLedger.open(location, LEDGER_OPTIONS)
    let run_ids: readonly string[] = []
    try {
      const seconds = await timed(async () => (run_ids = await fill(ledger, records)))
      this.#session.say(`a ${store} ledger of ${shown(records)} events: ${shown(records / seconds)} a second, index included`)
    } finally {
      await ledger.close()
    }
    return { location, records, run_ids }
  }
}
