/** Opening a ledger over a store: founding it where the store is empty (record 0, its key), else reading who it is. */
import { randomUUID } from 'node:crypto'
import { V7Generator } from 'uuidv7'
import { isOrigin, ORIGIN_RULE } from '../verify/origin.ts'
import { formatTime } from '../verify/time.ts'
import type { Clock } from './clock.ts'
import { systemClock } from './clock.ts'
import { draftOwnRecord, OWN_ACTOR } from './draft.ts'
import type { DraftContext, Mask } from './draft.ts'
import { requireEncryption } from './encryption/options.ts'
import type { EncryptionOptions } from './encryption/options.ts'
import type { JsonObject } from './entry.ts'
import { LedgerError } from './errors.ts'
import { refuseFoundingAnew, refuseOtherThanRemembered } from './checkpoints.ts'
import type { CheckpointOptions } from './checkpoints.ts'
import { keyOfNewLedger } from './keys.ts'
import type { Signer } from './keys.ts'
import { keyAddedDraft } from './key-records.ts'
import type { LedgerParts } from './parts.ts'
import { askedOnce } from './passphrase.ts'
import type { Passphrase } from './passphrase.ts'
import type { BatchLimits, QueueLimits } from './queue.ts'
import { saltsFrom, systemRandom, uint32sFrom } from './random.ts'
import type { Random } from './random.ts'
import { LedgerRecord } from './record.ts'
import { asRecordSigners } from './record-signer.ts'
import type { RecordSigner } from './record-signer.ts'
import { RecordSigning } from './record-signing.ts'
import { OriginMemory } from './remembered.ts'
import { refuseReplica } from './replica.ts'
import { writerOver } from './rotation.ts'
import { isNoKey, SigningKeys } from './signing-keys.ts'
import { emitWarning } from './warning.ts'
import type { LedgerWarning } from './warning.ts'
import type { Store } from './store.ts'

/** What can be said about a ledger whatever keeps it. */
export interface LedgerOptions {
  /** Name of a new ledger, a line such as `example.com/agents/prod`; `localhost/<uuid>` if absent. An existing one must have it. */
  readonly origin?: string | undefined
  /** File of the ledger's key; of a new ledger it is made there unless it is there. */
  readonly key?: string | undefined
  /** Of a key file under one, or who asks for it; `CORTEX_LEDGER_PASSPHRASE` if absent. A key that is made is put under it. */
  readonly passphrase?: Passphrase | undefined
  /**
   * Signs every record, beside what checkpoints sign: one key or several, each of which the ledger must know
   * (`addKey`, `cortex-ledger keys add`); a new ledger is founded with them. An append waits for its signatures, and is
   * refused with `key_error` where one can't be had.
   */
  readonly signRecords?: RecordSigner | readonly RecordSigner[] | undefined
  /** Signs for the ledger in place of a key file; null for one without any key, or to go on without signing. */
  readonly signer?: Signer | null | undefined
  /** When a checkpoint is signed by itself; false: only on demand. */
  readonly checkpoints?: CheckpointOptions | false | undefined
  /**
   * Path of a policy (C2SP tlog-policy): its witnesses are asked to cosign each checkpoint, and their quorum is watched.
   * CORTEX_LEDGER_POLICY unless said.
   */
  readonly policy?: string | undefined
  /** `background` (unless said): new records are put into the Merkle tree behind their receipts. `on-demand`: when a proof or a checkpoint needs them. */
  readonly tree?: 'background' | 'on-demand' | undefined
  /** Where this machine remembers what was signed; `${XDG_STATE_HOME:-~/.local/state}/cortex-ledger` unless said. */
  readonly stateFolder?: string | undefined
  /** Who causes events that name no actor. */
  readonly actor?: string | undefined
  readonly clock?: Clock | undefined
  readonly random?: Random | undefined
  /** Changes data before anything is hashed; gets a copy of its own. */
  readonly mask?: Mask | undefined
  /**
   * Encrypts what callers record, and opens it when it is read (docs/guides/encryption.md). Null: an encrypted ledger is
   * written in clear from now on; unless said, that is refused with `key_error`.
   */
  readonly encryption?: EncryptionOptions | null | undefined
  readonly queue?: Partial<QueueLimits> | undefined
  readonly batch?: Partial<BatchLimits> | undefined
  /** Hears of what is no error of a call of yours; `process.emitWarning` if absent. */
  readonly onWarning?: ((warning: LedgerWarning) => void) | undefined
}

/** Misuse is told before anything is made. @throws RangeError */
export function requireTreeMode(mode: unknown): void {
  if (mode !== undefined && mode !== 'background' && mode !== 'on-demand')
    throw new RangeError(`tree must be background or on-demand, not ${JSON.stringify(mode)}`)
}

/** Misuse is told before anything is made. @throws RangeError */
export function requireOrigin(origin: string | undefined): void {
  if (origin !== undefined && !isOrigin(origin)) throw new RangeError(`${JSON.stringify(origin)} is no origin: ${ORIGIN_RULE}`)
}

/** What record 0 says. */
interface Identity {
  readonly origin: string
  readonly keys: readonly string[]
}

async function readIdentity(store: Store): Promise<Identity | null> {
  for await (const chunk of store.read({ filter: {}, from: 0, before: 1, reverse: false, limit: 1 })) {
    for (const line of chunk) {
      const record = new LedgerRecord(line)
      const keys = record.entry?.['keys']
      return { origin: record.header.actor, keys: Array.isArray(keys) ? keys.filter((key) => typeof key === 'string') : [] }
    }
  }
  return null
}

function draftingContext(options: LedgerOptions, clock: Clock, signers: readonly RecordSigner[]): DraftContext {
  const random = options.random ?? systemRandom()
  const uuids = new V7Generator({ nextUint32: uint32sFrom(random) })
  return {
    now: () => clock.now(),
    // A clock before 1970 must not keep anything from being recorded.
    newId: () => uuids.generateOrResetWithTs(Math.max(0, Math.floor(clock.now() / 1000))).toString(),
    newSalt: saltsFrom(random),
    random,
    mask: options.mask ?? null,
    actor: options.actor ?? null,
    signers: signers.length === 0 ? undefined : signers.map(({ key }) => key),
    encrypts: options.encryption !== undefined && options.encryption !== null,
  }
}

/** What this machine remembers of an origin; nothing of a ledger that is gone with its process. */
function memoryOf(store: Store, origin: string, options: LedgerOptions): OriginMemory | null {
  return store.kind === 'memory' ? null : new OriginMemory(origin, options.stateFolder)
}

/**
 * Writes record 0, and the keys that sign records behind it in the same append, so that there is never a ledger without
 * them. Where another process was faster, its record 0 stands.
 */
async function found(
  store: Store,
  options: LedgerOptions,
  drafting: DraftContext,
  signers: readonly RecordSigner[],
): Promise<{ path: string | null; key: string | null }> {
  const origin = options.origin ?? `localhost/${randomUUID()}`
  const memory = memoryOf(store, origin, options)
  if (memory !== null) await refuseFoundingAnew(store.location, origin, memory)
  const { signer, path } = await signerOfNewLedger(store, origin, options, drafting.random)
  const data: JsonObject = { format: 'cortex-ledger/v1', keys: signer === null ? [] : [signer.verifierKey], origin }
  const draft = draftOwnRecord('LedgerCreated', 'create', origin, data, drafting)
  const drafts = [draft, ...signers.map((record) => keyAddedDraft(record, drafting))]
  try {
    await writerOver(store, drafting).submit({ drafts, expectations: [{ stream: draft.stream, expected: 'no-stream' }], newSegment: false })
  } catch (error) {
    if (!(error instanceof LedgerError && error.code === 'version_conflict')) throw error
  }
  return { path, key: signer?.verifierKey ?? null }
}

async function signerOfNewLedger(
  store: Store,
  origin: string,
  options: LedgerOptions,
  random: Random,
): Promise<{ signer: Signer | null; path: string | null }> {
  if (options.signer !== undefined) {
    if (options.signer !== null && !options.signer.verifierKey.startsWith(`${origin}+`)) {
      throw new LedgerError(
        'key_error',
        `the signer's key is named for another origin than ${origin}: a ledger's key carries its origin as name`,
        { origin },
      )
    }
    return { signer: options.signer, path: null }
  }
  // A ledger that lives in memory leaves nothing behind, no key either.
  if (store.kind === 'memory' && options.key === undefined) return { signer: null, path: null }
  const path = options.key ?? (process.env['CORTEX_LEDGER_KEY'] || undefined)
  if (isNoKey(path)) return { signer: null, path: null }
  return keyOfNewLedger(origin, random, path, options.passphrase)
}

function checkIdentity(identity: Identity, store: Store, options: LedgerOptions): void {
  if (options.origin !== undefined && options.origin !== identity.origin) {
    throw new LedgerError(
      'not_a_ledger',
      `the ledger at ${store.location} is ${identity.origin}, not ${options.origin}: check the path, or leave the origin out`,
      {
        expected: options.origin,
        found: identity.origin,
      },
    )
  }
}

/** What recovery moved aside is recorded, so that nothing ever vanishes silently. */
async function recordRecovery({ store, drafting, warn }: CommonParts, signing: RecordSigning | undefined): Promise<void> {
  const { recovered } = store
  if (recovered === null) return
  const { head } = await store.state({ streams: [], run_ids: [] })
  const until = formatTime(drafting.now())
  const data = {
    bytes: recovered.bytes,
    moved_to: recovered.moved_to,
    reason: recovered.reason,
    records_lost: 0,
    since: head.recorded_at ?? until,
    until,
  }
  const draft = draftOwnRecord('RecordingGapDetected', 'note_gap', OWN_ACTOR, data, drafting)
  await writerOver(store, drafting, { signing }).submit({ drafts: [draft], expectations: [], newSegment: false })
  warn({
    code: 'torn_tail_moved',
    message: `${recovered.bytes} bytes at the end of ${store.location} were no whole record (${recovered.reason}); never acknowledged, they were moved to ${recovered.moved_to}`,
  })
}

type CommonParts = Pick<LedgerParts, 'store' | 'clock' | 'drafting' | 'warn'>

async function partsForReading(store: Store, options: LedgerOptions, common: CommonParts): Promise<LedgerParts> {
  // A damaged ledger must open for reading, so that it can be looked into and verified.
  const identity = await readIdentity(store).catch(() => null)
  if (identity !== null) checkIdentity(identity, store, options)
  const keys = new SigningKeys(store, identity?.origin ?? '', [], { signer: null })
  const none = { keyFile: null, isNew: false, signing: undefined, memory: null, witnesses: null }
  return { ...common, ...identityParts(identity), ...none, keys, ...limits(options) }
}

async function partsForWriting(store: Store, options: LedgerOptions, mustCreate: boolean, common: CommonParts): Promise<LedgerParts> {
  const signers = asRecordSigners(options.signRecords)
  await refuseReplica(store)
  const { head } = await store.state({ streams: [], run_ids: [] })
  const isNew = head.size === 0
  if (mustCreate && !isNew)
    throw new LedgerError('already_exists', `there is a ledger at ${store.location} already: choose another path, or open it`, {
      location: store.location,
    })
  const founded = isNew ? await found(store, options, common.drafting, signers) : null
  const keyFile = founded?.path ?? null
  const identity = await readIdentity(store)
  if (identity === null)
    throw new LedgerError('damaged', `the ledger at ${store.location} has no readable record 0: run verify to see what is wrong`)
  checkIdentity(identity, store, options)
  const memory = memoryOf(store, identity.origin, options)
  // Before anything is written.
  if (!isNew && memory !== null) await refuseOtherThanRemembered(store, identity.origin, memory)
  const signing = await signingOf(store, identity.origin, signers)
  // And this before anything else can fail: the next opening would not know of it.
  if (!isNew) await recordRecovery(common, signing)
  // Where another process was faster, its key counts.
  const isOwnKey = keyFile !== null && identity.keys.includes(founded?.key ?? '')
  const keys = new SigningKeys(store, identity.origin, identity.keys, isOwnKey ? { ...options, key: keyFile } : options)
  await keys.open()
  const witnesses = await witnessesFor(options, keys.verifierKeys, memory?.folder ?? null, common.warn)
  return { ...common, ...identityParts(identity), keyFile, isNew, keys, signing, memory, witnesses, ...limits(options) }
}

/** The witnesses of the policy that was named; null where none was. */
async function witnessesFor(
  options: LedgerOptions,
  verifierKeys: readonly string[],
  folder: string | null,
  warn: LedgerParts['warn'],
): Promise<LedgerParts['witnesses']> {
  const path = options.policy ?? (process.env['CORTEX_LEDGER_POLICY'] || undefined)
  if (path === undefined) return null
  // Few need it: it is loaded for them.
  const { readPolicyFile, witnessesOf } = await import('./cosigning.ts')
  return witnessesOf({ policy: await readPolicyFile(path), verifierKeys, folder, warn })
}

/** Who signs the records from now on. @throws LedgerError `key_error` where the ledger doesn't know a key, or it was retired */
async function signingOf(store: Store, origin: string, signers: readonly RecordSigner[]): Promise<RecordSigning | undefined> {
  if (signers.length === 0) return undefined
  const signing = new RecordSigning(store, origin, signers)
  await signing.look()
  return signing
}

function identityParts(identity: Identity | null): Pick<LedgerParts, 'origin' | 'verifierKey'> {
  return { origin: identity?.origin ?? null, verifierKey: identity?.keys[0] ?? null }
}

function limits(options: LedgerOptions): Pick<LedgerParts, 'queue' | 'batch' | 'checkpoints' | 'followsTree'> {
  const { queue, batch, checkpoints = {}, tree } = options
  return { queue, batch, checkpoints, followsTree: tree !== 'on-demand' }
}

/** The parts of a ledger that is encrypted; of others as they are. @throws LedgerError `key_error` */
async function encrypted(parts: LedgerParts, { encryption, passphrase }: LedgerOptions): Promise<LedgerParts> {
  const { store } = parts
  if (encryption === null || (encryption === undefined && (store.readOnly || (await store.dataKeys.isEmpty())))) return parts
  const { withEncryption, withoutEncryption } = await import('./encryption/join.ts')
  return encryption === undefined ? withoutEncryption(parts) : withEncryption(parts, encryption, passphrase)
}

/** What was asked for and what the process should be told: everything a `Ledger` is made of. Closes the store where it fails. */
export async function ledgerParts(store: Store, given: LedgerOptions, mustCreate: boolean): Promise<LedgerParts> {
  const options = { ...given, passphrase: askedOnce(given.passphrase) }
  const clock = options.clock ?? systemClock
  const warn = options.onWarning ?? emitWarning
  try {
    requireEncryption(options.encryption)
    const drafting = draftingContext(options, clock, asRecordSigners(options.signRecords))
    const common = { store, clock, drafting, warn }
    const parts = store.readOnly ? await partsForReading(store, options, common) : await partsForWriting(store, options, mustCreate, common)
    return await encrypted(parts, options)
  } catch (error) {
    await store.close().catch(() => {})
    throw error
  }
}
