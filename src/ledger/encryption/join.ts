/** Puts encryption into the parts of a ledger, where it was asked for. */
import type { LedgerParts } from '../parts.ts'
import type { Passphrase } from '../passphrase.ts'
import { DraftSealer, EncryptingWriter, RefusingWriter } from './encrypting-writer.ts'
import { EntryReader, openingStore } from './entry-reader.ts'
import { Keyring } from './keyring.ts'
import { readMasterKeyFile } from './master-key.ts'
import type { MasterKey } from './master-key.ts'
import type { EncryptionOptions } from './options.ts'

/** @throws LedgerError `key_error` */
export async function mastersOf(master: EncryptionOptions['master'], passphrase: Passphrase | undefined): Promise<MasterKey[]> {
  const all = (Array.isArray(master) ? master : [master]) as readonly (MasterKey | string)[]
  return Promise.all(all.map((one) => (typeof one === 'string' ? readMasterKeyFile(one, { passphrase }) : one)))
}

/** The parts of a ledger whose callers' entries are encrypted, and opened again when they are read. */
export async function withEncryption(
  parts: LedgerParts,
  options: EncryptionOptions,
  passphrase: Passphrase | undefined,
): Promise<LedgerParts> {
  const { keyOf = ({ subject, stream }) => subject ?? stream, indexEncrypted: indexed = false } = options
  const { random } = parts.drafting
  const origin = parts.origin ?? ''
  const keyring = new Keyring({ store: parts.store.dataKeys, masters: await mastersOf(options.master, passphrase), origin, random })
  const store = openingStore(parts.store, new EntryReader(keyring, origin, indexed))
  if (!store.readOnly) await keyring.begin(parts.isNew)
  const sealer = new DraftSealer({ keyring, origin, random, keyOf, indexed })
  return { ...parts, store, keyring, writer: (over, writing) => new EncryptingWriter(over, writing, sealer) }
}

/** The parts of a ledger that was opened without a master key, though its entries are encrypted. */
export function withoutEncryption(parts: LedgerParts): LedgerParts {
  return { ...parts, writer: (store, options) => new RefusingWriter(store, options) }
}
