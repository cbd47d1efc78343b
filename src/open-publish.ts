/** Publishing a ledger by its location. Above the stores, beside src/open.ts (docs/decisions/0006). */
import { resolve, sep } from 'node:path'
import type { SignedCheckpoint } from './ledger/checkpoints.ts'
import { LedgerError } from './ledger/errors.ts'
import { publishLog } from './ledger/publish.ts'
import type { PublishOptions, PublishReport } from './ledger/publish.ts'
import { isNoKey } from './ledger/signing-keys.ts'
import { AuditLedger } from './open.ts'
import type { OpenOptions } from './open.ts'
import { locate, openStore, shownLocation } from './open-store.ts'
import { lockFile } from './stores/sql/lock.ts'

export interface PublishLedgerOptions
  extends Omit<PublishOptions, 'lock'>, Pick<OpenOptions, 'key' | 'passphrase' | 'signer' | 'policy' | 'origin' | 'driver' | 'onWarning'> {}

export interface PublishedReport extends PublishReport {
  /** Why no new checkpoint was signed, so that the latest one was published; null where one was. */
  readonly not_signed: string | null
}

/** Signing needs the writer's place and the key; without them the latest checkpoint is as good as it was. */
const CAN_NOT_SIGN: readonly string[] = ['locked', 'read_only', 'key_error']

/**
 * Publishes the ledger at a path or URL into `dir`: up to a new checkpoint where one can be signed, else up to the
 * latest one, so also beside a live writer and where the ledger can only be read.
 * @throws LedgerError as `publishLog`, and `not_found` where there is no checkpoint
 * @throws RangeError where `dir` is in the ledger itself
 */
export async function publishLedger(location: string | URL, dir: string, options: PublishLedgerOptions = {}): Promise<PublishedReport> {
  const { key, passphrase, signer, policy, origin, driver, onWarning, ...publishing } = options
  refuseLedgerAsFolder(location, dir)
  const { checkpoint, not_signed } = await checkpointOf(location, { key, passphrase, signer, policy, origin, driver, onWarning })
  const store = await openStore(location, { readOnly: true, index: 'off', driver })
  try {
    const lock = (path: string): Promise<() => void> =>
      lockFile(path, `another process is publishing to ${resolve(dir)}: wait until it has finished`)
    return { ...(await publishLog(store, checkpoint, dir, { ...publishing, lock })), not_signed }
  } finally {
    await store.close()
  }
}

function refuseLedgerAsFolder(location: string | URL, dir: string): void {
  const place = locate(location)
  const folder = resolve(dir)
  if ('path' in place && (folder === place.path || folder.startsWith(place.path + sep)))
    throw new RangeError(`${folder} is in the ledger itself: publish to a folder of its own`)
}

async function checkpointOf(
  location: string | URL,
  options: OpenOptions,
): Promise<{ checkpoint: SignedCheckpoint; not_signed: string | null }> {
  let not_signed: string
  try {
    const ledger = await AuditLedger.open(location, { ...options, create: false, fullText: 'off' })
    try {
      return { checkpoint: await ledger.checkpoint({ cosigned: true }), not_signed: null }
    } finally {
      await ledger.close()
    }
  } catch (error) {
    // Whoever names a key wants it used.
    const isNamed = (options.key !== undefined && !isNoKey(options.key)) || (options.signer ?? null) !== null
    if (!(error instanceof LedgerError) || !CAN_NOT_SIGN.includes(error.code) || (isNamed && error.code === 'key_error')) throw error
    not_signed = error.message
  }
  const { driver, onWarning } = options
  const ledger = await AuditLedger.open(location, { driver, onWarning, readOnly: true, fullText: 'off' })
  try {
    const checkpoint = await ledger.latestCheckpoint()
    if (checkpoint !== null) return { checkpoint, not_signed }
    throw new LedgerError('not_found', `the ledger has no checkpoint, and none can be signed: ${not_signed}`, {
      location: shownLocation(location),
    })
  } finally {
    await ledger.close()
  }
}
