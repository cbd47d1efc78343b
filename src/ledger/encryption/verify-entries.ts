/** Opening every encrypted entry, on top of a verification that needs no key. */
import type { Problem, VerificationReport } from '../../verify/report.ts'
import { partition, union } from '../../verify/ranges.ts'
import type { Range } from '../../verify/ranges.ts'
import { namedPositions } from '../../verify/withheld.ts'
import type { Passphrase } from '../passphrase.ts'
import { asToldError, LedgerError } from '../errors.ts'
import { systemRandom } from '../random.ts'
import type { LedgerRecord } from '../record.ts'
import { readRecords } from '../record-reading.ts'
import type { Store } from '../store.ts'
import { EntryReader, openingStore } from './entry-reader.ts'
import { mastersOf } from './join.ts'
import { Keyring } from './keyring.ts'
import type { EncryptionOptions } from './options.ts'

/** So many are told one by one. */
const PROBLEMS_MAX = 1000
/** Entries whose key is gone are remembered, until it is known which records name them as erased. */
const RANGES_MAX = 1_000_000

/** What opens the entries. */
export interface DecryptOptions {
  readonly master: EncryptionOptions['master']
  /** Of a master key's file that is under one; `CORTEX_LEDGER_PASSPHRASE` if absent. */
  readonly passphrase?: Passphrase | undefined
}

/** The store with what opens its entries. @throws LedgerError `key_error` where a master key can't be had */
export async function decrypting(store: Store, origin: string | null, { master, passphrase }: DecryptOptions): Promise<Store> {
  const named = origin ?? ''
  const keyring = new Keyring({
    store: store.dataKeys,
    masters: await mastersOf(master, passphrase),
    origin: named,
    random: systemRandom(),
  })
  return openingStore(store, new EntryReader(keyring, named, false))
}

class OpenedEntries {
  opened = 0
  failed = 0
  readonly problems: Problem[] = []
  readonly #gone: Range[] = []
  readonly #erased: Range[] = []

  take(record: LedgerRecord): void {
    const { seq, header } = record
    if (header.stream === 'ledger' && header.type === 'EntryErased') this.#erased.push(...namedPositions(record.entry, seq))
    if (!record.isEncrypted) return
    let why: LedgerError | null
    try {
      why = record.locked
    } catch (error) {
      why = asToldError(error)
    }
    if (why === null) {
      this.opened++
      return
    }
    const last = this.#gone.at(-1)
    if (why.details['reason'] !== 'key_gone' || this.#gone.length >= RANGES_MAX) this.#fail(seq, why.message)
    else if (last !== undefined && last.last === seq - 1) this.#gone[this.#gone.length - 1] = { first: last.first, last: seq }
    else this.#gone.push({ first: seq, last: seq })
  }

  #fail(seq: number, found: string): void {
    this.failed++
    if (this.problems.length < PROBLEMS_MAX)
      this.problems.push({ code: 'entry_not_opened', seq, expected: 'an entry that opens under its data key', found, where: null })
  }

  /** A key that is gone is a finding, unless a record says that the entry was erased. Gives how many were. */
  settle(): number {
    const { inside, outside } = partition(this.#gone, union(this.#erased))
    for (const { first, last } of outside) for (let seq = first; seq <= last; seq++) this.#fail(seq, 'its data key is gone')
    this.problems.sort((a, b) => (a.seq as number) - (b.seq as number))
    return inside.reduce((sum, { first, last }) => sum + last - first + 1, 0)
  }
}

/**
 * The report, with what opening each encrypted entry found. No verdict changes: the hashes are of the ciphertext, and hold
 * without any key; but `ok` is false where an entry does not open.
 * @param store with what opens its entries
 */
export async function withOpenedEntries(report: VerificationReport, store: Store): Promise<VerificationReport> {
  if (store.entries === undefined)
    throw new LedgerError('key_error', 'to open each entry, open the ledger with its master key (encryption, --decrypt)')
  const entries = new OpenedEntries()
  let missing: string | null = null
  try {
    const all = { filter: {}, from: report.from, before: Infinity, reverse: false, limit: Infinity }
    for await (const record of readRecords(store, all)) entries.take(record)
  } catch (error) {
    // A damaged ledger is told of by the problems above.
    missing = `records that can be read (${asToldError(error).message})`
  }
  const erased = entries.settle()
  const { opened, failed, problems } = entries
  if (missing === null && opened + failed + erased === 0) missing = 'encrypted entries: there are none'
  const verdict = failed > 0 ? 'fail' : missing === null ? 'pass' : 'not checked'
  return {
    ...report,
    ok: report.ok && failed === 0,
    checks: { ...report.checks, entries_opened: verdict === 'not checked' && missing !== null ? { verdict, missing } : { verdict } },
    problems: [...report.problems, ...problems].slice(0, Math.max(PROBLEMS_MAX, report.problems.length)),
    problems_total: report.problems_total + failed,
    opened: { opened, erased, failed },
  }
}
