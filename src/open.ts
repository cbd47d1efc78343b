/**
 * The one place that knows all stores: where a ledger lies decides what keeps it. Above the ledger and the stores,
 * below the command line (docs/decisions/0006).
 */
import { isAbsolute } from 'node:path'
import { DataKeys } from './ledger/encryption/data-keys.ts'
import { ledgerParts, requireOrigin, requireTreeMode } from './ledger/founding.ts'
import type { LedgerOptions } from './ledger/founding.ts'
import { Ledger } from './ledger/ledger.ts'
import type { LedgerParts } from './ledger/parts.ts'
import type { ArchiveStore } from './ledger/archive.ts'
import { asRetentionPolicy } from './ledger/retention/policy.ts'
import type { RetentionPolicyInput } from './ledger/retention/policy.ts'
import { tieredStore } from './ledger/retention/tiered-store.ts'
import { openStore } from './open-store.ts'
import type { StoreOptions } from './open-store.ts'

export interface OpenOptions extends LedgerOptions, StoreOptions {
  /** There must be nothing yet: what `init` asks for. */
  readonly mustCreate?: boolean | undefined
  /**
   * The full-text index. `on-demand`, unless said: made by the first query for words, and kept up from then on.
   * `background`: kept up from the start. `off`: neither made nor asked. Appends never wait for it.
   */
  readonly fullText?: 'on-demand' | 'background' | 'off' | undefined
  /** How long entries are kept where, for `applyRetention`: nothing is moved by itself. */
  readonly retention?: RetentionPolicyInput | undefined
  /** Where cold entries go and are read from: a directory, an `s3:` URL, or an archive of your own. */
  readonly archive?: string | URL | ArchiveStore | undefined
  /** Cold entries are read from the archive wherever they are asked for. Unless said, their data are an `archived` error. */
  readonly readThrough?: boolean | undefined
}

/** @throws RangeError */
function requireFullText(mode: unknown): void {
  if (mode !== undefined && mode !== 'on-demand' && mode !== 'background' && mode !== 'off')
    throw new RangeError(`fullText must be on-demand, background or off, not ${JSON.stringify(mode)}`)
}

/** Loaded where one is named only. @throws as `openArchive` */
async function archiveAt(archive: string | URL | ArchiveStore): Promise<ArchiveStore> {
  return (await import('./open-archive.ts')).asArchive(archive)
}

/** Where an archive lies on a file system of this machine. */
function foldersOf(archive: ArchiveStore | null): readonly string[] {
  return archive !== null && isAbsolute(archive.location) ? [archive.location] : []
}

/** The flight recorder: an append-only ledger of agent calls and events that proves itself. */
export class AuditLedger extends Ledger {
  /** Data keys of encrypted entries: which there are, shredding one, putting all of them under another master key. */
  readonly dataKeys: DataKeys

  private constructor(parts: LedgerParts, forgetText: () => Promise<void>) {
    super(parts)
    const { store, keyring = null } = parts
    const refuseHeld = async (ids: readonly string[]): Promise<void> =>
      (await import('./ledger/retention/held-keys.ts')).refuseHeldKeys(store, ids)
    this.dataKeys = new DataKeys({ store, keyring, forgetText, refuseHeld })
  }

  /**
   * Opens the ledger at a path or URL, and makes a new one where nothing is.
   * @throws LedgerError `not_found` | `not_a_ledger` | `already_exists` | `locked` | `read_only` | `damaged` | `newer_format` | `key_error` | `unsupported` | `io_error`
   */
  static async open(location: string | URL, options: OpenOptions = {}): Promise<AuditLedger> {
    requireOrigin(options.origin)
    requireFullText(options.fullText)
    requireTreeMode(options.tree)
    asRetentionPolicy(options.retention)
    const cold = options.archive === undefined ? null : await archiveAt(options.archive)
    const below = await openStore(location, options, foldersOf(cold))
    const store = tieredStore(below, { cold, readThrough: options.readThrough ?? false })
    const parts = await ledgerParts(store, options, options.mustCreate ?? false)
    const { forgetDecryptedText, textIndexFor } = await import('./open-text.ts')
    const text = textIndexFor(location, parts.store, options)
    if (!store.readOnly) text.follow(1)
    return new AuditLedger({ ...parts, text, retention: options.retention }, async () => {
      if (options.store === undefined) forgetDecryptedText(location)
      if (parts.store.entries?.indexed === true && options.fullText !== 'off') await text.rebuild()
    })
  }
}
