/** All records of one subject: those whose entries are encrypted under its data key. The key goes, and the entries with it. */
import type { Keyring } from '../encryption/keyring.ts'
import { keyIdOf } from '../encryption/sealed-entry.ts'
import { LedgerError } from '../errors.ts'
import { readSense } from '../../verify/record.ts'
import type { RetentionContext } from './context.ts'
import type { KeptRecord } from './scan.ts'

export interface Subject {
  /** True where the record's entry is under one of the subject's keys. @throws LedgerError where it lies in a file that can't be read */
  has(context: RetentionContext, record: KeptRecord): Promise<boolean>
  /** Destroys the keys: what is encrypted under them can't be read any more, in backups and copies neither. */
  shred(): Promise<void>
}

/** @throws LedgerError `key_error` without a master key; `not_found` where the subject has no key (any more) */
export async function subjectOf(name: string, keyring: Keyring | null): Promise<Subject> {
  if (keyring === null)
    throw new LedgerError(
      'key_error',
      'to find what is encrypted under the key of a subject, open the ledger with its master key (encryption, --master-key or CORTEX_LEDGER_MASTER_KEY). Nothing was erased',
    )
  // By their ids: who records under the name meanwhile gets a new key, which is to stay.
  const ids = await keyring.idsOf(name)
  if (ids.length === 0)
    throw new LedgerError(
      'not_found',
      'this subject has no data key: nothing is encrypted under its name, or it was erased. Nothing was erased',
    )
  return {
    async has({ tiers }, { seq, line, isWithheld }) {
      const owner = isWithheld ? tiers.catalogue.ownerOf(seq) : null
      if (isWithheld && owner?.kind !== 'file') return false
      const { entry_text } = readSense(owner?.kind === 'file' ? await tiers.whole(owner, seq, line) : line)
      const id = entry_text === null ? null : keyIdOf(entry_text)
      return id !== null && ids.includes(id)
    },
    async shred() {
      for (const id of ids) await keyring.shred({ id })
    },
  }
}
