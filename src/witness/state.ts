/**
 * What a witness must never forget: the last checkpoint that it cosigned, for each log. A folder with
 *
 *     witness                  the verifier key whose memory this is
 *     <hex sha256(origin)>     the checkpoint that was cosigned last, a signed note
 *     witness.key              the key, unless it is kept elsewhere
 *     witness.lock             see lock.ts
 *
 * DANGER: a key together with an older copy of this folder, or with an empty one, can be brought to cosign a second
 * history. So key and folder name each other, and a key that is there already is not taken to a new folder unasked.
 */
import { randomUUID } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { asStorageError, LedgerError } from '../ledger/errors.ts'
import { formatKeyFile, parseKeyFile, signerFromSeed } from '../ledger/keys.ts'
import type { Signer } from '../ledger/keys.ts'
import { systemRandom } from '../ledger/random.ts'
import type { Random } from '../ledger/random.ts'
import { ED25519_COSIGNATURE, isKeyName } from '../verify/note.ts'
import { createText, makeFolder, readText, replaceText } from '../ledger/durable-file.ts'
import { lockFolder } from './lock.ts'
import type { CheckpointStore } from './protocol.ts'

const OWNER_FILE = 'witness'
const KEY_FILE = 'witness.key'
const CHECKPOINT_FILE = /^[0-9a-f]{64}$/

export interface WitnessStateOptions {
  /** Where the key is, or is made; `witness.key` in the folder unless said. */
  readonly keyFile?: string | undefined
  /** Name of a key that is made; a key that is there must have it. `localhost/witness-<uuid>` unless said. */
  readonly name?: string | undefined
  /** The key that is there has never cosigned anything: it may begin with an empty folder. */
  readonly newState?: boolean | undefined
  readonly random?: Random | undefined
}

export class WitnessState implements CheckpointStore {
  readonly signer: Signer
  readonly keyFile: string
  readonly #dir: string
  readonly #release: () => void

  private constructor(dir: string, signer: Signer, keyFile: string, release: () => void) {
    this.#dir = dir
    this.signer = signer
    this.keyFile = keyFile
    this.#release = release
  }

  /**
   * Takes the folder, which is made where it is not there, and the key.
   * @throws LedgerError `locked` | `key_error` | `read_only` | `disk_full` | `io_error`; RangeError for a name that is none
   */
  static async open(dir: string, options: WitnessStateOptions = {}): Promise<WitnessState> {
    if (options.name !== undefined && !isKeyName(options.name))
      throw new RangeError("a witness' name is not empty and has no white space and no +")
    const keyFile = resolve(options.keyFile ?? join(dir, KEY_FILE))
    await makeFolder(dir)
    const release = await lockFolder(dir)
    try {
      const text = await readText(keyFile)
      const signer = text === null ? await makeKey(dir, keyFile, options) : await takeKey(dir, keyFile, text, options)
      return new WitnessState(dir, signer, keyFile, release)
    } catch (error) {
      release()
      throw error
    }
  }

  /** Hashes of the origins that something is remembered of. */
  origins(): Promise<string[]> {
    return originsIn(this.#dir)
  }

  read(originHash: string): Promise<string | null> {
    return readText(this.#path(originHash))
  }

  write(originHash: string, note: string): Promise<void> {
    return replaceText(this.#path(originHash), note)
  }

  /** Lets go of the folder. */
  close(): void {
    this.#release()
  }

  #path(originHash: string): string {
    if (!CHECKPOINT_FILE.test(originHash)) throw new RangeError('the hash of an origin is 64 hex digits')
    return join(this.#dir, originHash)
  }
}

async function originsIn(dir: string): Promise<string[]> {
  try {
    return (await readdir(dir)).filter((name) => CHECKPOINT_FILE.test(name)).toSorted()
  } catch (error) {
    throw asStorageError(error, `listing ${dir}`)
  }
}

async function ownerOf(dir: string): Promise<string | null> {
  return (await readText(join(dir, OWNER_FILE)))?.trimEnd() ?? null
}

async function makeKey(dir: string, keyFile: string, { name, random = systemRandom() }: WitnessStateOptions): Promise<Signer> {
  if ((await originsIn(dir)).length > 0) {
    throw new LedgerError(
      'key_error',
      `${dir} is the memory of the key ${(await ownerOf(dir)) ?? '(unknown)'}, and ${keyFile} is not there: give that key (--key), or another folder for a new one`,
      { file: keyFile },
    )
  }
  const named = name ?? `localhost/witness-${randomUUID()}`
  const seed = random.bytes(32)
  const signer = signerFromSeed(named, seed, ED25519_COSIGNATURE)
  // The folder first: after a crash in between, the folder names a key that nobody has, and the next one replaces it.
  await replaceText(join(dir, OWNER_FILE), `${signer.verifierKey}\n`)
  await makeFolder(dirname(keyFile))
  try {
    await createText(keyFile, formatKeyFile(named, seed, ED25519_COSIGNATURE))
  } catch (error) {
    throw new LedgerError('key_error', `the key file ${keyFile} can't be made: give another one (--key)`, { file: keyFile, cause: error })
  }
  return signer
}

async function takeKey(dir: string, keyFile: string, text: string, { name, newState = false }: WitnessStateOptions): Promise<Signer> {
  const signer = parseKeyFile(text, keyFile, ED25519_COSIGNATURE)
  if (name !== undefined && !signer.verifierKey.startsWith(`${name}+`))
    throw new LedgerError(
      'key_error',
      `the key in ${keyFile} has another name than ${name}: leave the name out, or give a path where nothing is`,
      {
        file: keyFile,
      },
    )
  const owner = await ownerOf(dir)
  if (owner === signer.verifierKey) return signer
  if ((await originsIn(dir)).length > 0) {
    throw new LedgerError(
      'key_error',
      `${dir} is the memory of the key ${owner ?? '(unknown)'}, not of ${signer.verifierKey}: give the folder that this key has used, or the other key`,
      { file: keyFile },
    )
  }
  if (!newState) {
    throw new LedgerError(
      'key_error',
      `${dir} is empty and the key in ${keyFile} is not new: with an empty memory it could cosign a second history. Give the folder that it has used (--state), or say --new-state if it has never cosigned anything`,
      { file: keyFile },
    )
  }
  await replaceText(join(dir, OWNER_FILE), `${signer.verifierKey}\n`)
  return signer
}
