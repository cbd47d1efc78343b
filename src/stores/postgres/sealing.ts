/** Appending records that the database seals. */
import { timeMicros } from '../../ledger/micros.ts'
import type { SealedFor, UnsealedRecord } from '../../ledger/store.ts'
import type { BindMessage } from './bind-message.ts'
import type { Session } from './session.ts'
import { bindFoundBy } from './writing.ts'
import type { LedgerPlace } from './writing.ts'

const SEAL = {
  name: 'cortex_seal',
  text: `SELECT sealed, base_size, base_hash, base_recorded, recorded, last_hash, base_versions, now_us
    FROM seal_records(${Array.from({ length: 22 }, (_, i) => `$${i + 1}`).join(', ')})`,
}

/** What `seal_records` takes, column by column. */
function bindSeal(
  message: BindMessage,
  place: LedgerPlace,
  records: readonly UnsealedRecord[],
  streams: ReadonlyMap<string, number>,
): Buffer {
  message.begin(SEAL.name)
  message.int4(place.id)
  message.textArray([...streams.keys()], (stream) => stream)
  const bytesAt = message.int8(0)
  const text = (pick: (record: UnsealedRecord) => string | null | undefined): number => message.textArray(records, pick)
  message.timeArray(records, ({ header }) => timeMicros(header.timestamp))
  message.int8Array(records, ({ header, isStreamNew }) => (isStreamNew ? 0 : (streams.get(header.stream) as number)))
  for (const piece of [0, 1, 2, 3] as const) text(({ pieces }) => pieces[piece])
  bindFoundBy(message, records)
  let bytes = text(({ salt }) => salt)
  bytes += text(({ entry_text }) => entry_text)
  message.setInt8(bytesAt, bytes)
  return message.end()
}

/**
 * Seals and appends at the end, whatever it is, all or nothing.
 * @returns null where nothing was appended, since a record of the ledger's own has to come first
 * @throws LedgerError of the storage
 */
export async function sealRecords(session: Session, place: LedgerPlace, records: readonly UnsealedRecord[]): Promise<SealedFor | null> {
  // From 1, as arrays are counted there.
  const places = new Map<string, number>()
  for (const { header, isStreamNew } of records) {
    if (!isStreamNew && !places.has(header.stream)) places.set(header.stream, places.size + 1)
  }
  const [row] = await session.bound(SEAL, (message) => bindSeal(message, place, records, places))
  const [sealed, size, base, base_recorded, recorded_at, hash, versions, now_us] = row as string[]
  session.clock.heard(Number(now_us))
  if (sealed !== 't') return null
  const last = (versions as string).split(',')
  const streams = new Map<string, number>()
  for (const [stream, at] of places) {
    const version = Number(last[at - 1])
    if (version >= 0) streams.set(stream, version)
  }
  const head = { size: Number(size), hash: base as string, recorded_at: base_recorded ?? null }
  return { head, streams, recorded_at: recorded_at as string, hash: hash as string }
}
