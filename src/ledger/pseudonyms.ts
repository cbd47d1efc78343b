/**
 * Pseudonyms for people as actors: a keyed hash, so that headers, which are for ever, name nobody. Who has the key can
 * tell the pseudonym of a name; nobody can tell the name of a pseudonym but by trying names with the key. When the key
 * is erased, nobody can any more, and every proof still holds. Source: docs/format.md, "The header".
 */
import { createHash, createHmac, createSecretKey } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { open } from 'node:fs/promises'
import { parseBase64 } from '../verify/base64.ts'
import { removeText } from './durable-file.ts'
import { isMissing, LedgerError } from './errors.ts'
import { keyFileText, writePrivateFile } from './keys.ts'
import { systemRandom } from './random.ts'
import type { Random } from './random.ts'

/** What gives people pseudonyms. */
export interface Pseudonymiser {
  /** Always the same for the same name. */
  of(name: string): string
}

export interface PseudonymsOptions {
  /** Make the key file where none is; false if absent. */
  readonly create?: boolean | undefined
  /** The word before the hash; `person` if absent. Two kinds of one name have nothing in common. */
  readonly kind?: string | undefined
  readonly random?: Random | undefined
}

const KEY_BYTES = 32
/** 130 bits: nobody meets two names with the same pseudonym. */
const CHARACTERS = 26
/** RFC 4648, section 6, in lower case. */
const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567'
const DOMAIN = 'cortex-ledger/v1 pseudonym'

function base32(bytes: Uint8Array): string {
  let text = ''
  let bits = 0
  let value = 0
  for (const byte of bytes) {
    value = ((value << 8) | byte) & 0xfff
    for (bits += 8; bits >= 5; bits -= 5) text += BASE32[(value >> (bits - 5)) & 31]
  }
  return text
}

/** First 4 bytes of SHA-256(domain LF key), as 8 hex: a damaged file is told from another key. */
function keyId(key: Uint8Array): string {
  return createHash('sha256').update(`${DOMAIN} key\n`).update(key).digest('hex').slice(0, 8)
}

function formatKey(key: Uint8Array): string {
  return `PSEUDONYM+KEY+${keyId(key)}+${Buffer.from(key).toString('base64')}\n`
}

/** @throws LedgerError `key_error` */
function parseKey(text: string, path: string): Uint8Array {
  const [, id, base64] = /^PSEUDONYM\+KEY\+([0-9a-f]{8})\+([A-Za-z0-9+/]{43}=)\n?$/.exec(text) ?? []
  const key = base64 === undefined ? null : parseBase64(base64)
  if (key === null || key.length !== KEY_BYTES || keyId(key) !== id)
    throw new LedgerError(
      'key_error',
      `${path} is no key of pseudonyms (PSEUDONYM+KEY+<8 hex>+<base64>), or is damaged: restore it from a backup`,
      {
        file: path,
      },
    )
  return key
}

/** Pseudonyms under one key: HMAC-SHA-256, told apart from any other use of the key, as `person-<26 base32 characters>`. */
export class Pseudonyms implements Pseudonymiser {
  readonly #kind: string
  readonly #file: string | null
  #key: KeyObject | null

  private constructor(key: Uint8Array, file: string | null, kind = 'person') {
    if (typeof kind !== 'string' || !/^[a-z][a-z0-9_]{0,31}$/.test(kind))
      throw new RangeError(`kind ${JSON.stringify(kind)} is none: write lower-case letters, digits and _, such as person`)
    this.#kind = kind
    this.#file = file
    this.#key = createSecretKey(key)
  }

  /**
   * With the key of a file, mode 0600. Keep it apart from the ledger and back it up: without it nobody finds a person's
   * records again.
   * @throws RangeError for a kind that is none; LedgerError `key_error`
   */
  static async open(path: string, options: PseudonymsOptions = {}): Promise<Pseudonyms> {
    const there = await keyFileText(path)
    if (there !== null) return new Pseudonyms(parseKey(there, path), path, options.kind)
    if (options.create !== true)
      throw new LedgerError('key_error', `there is no key of pseudonyms ${path}: check the path, or make one with { create: true }`, {
        file: path,
      })
    const key = (options.random ?? systemRandom()).bytes(KEY_BYTES)
    const made = new Pseudonyms(key, path, options.kind)
    await writePrivateFile(path, formatKey(key))
    return made
  }

  /**
   * With a key that is kept elsewhere, such as in a KMS.
   * @param key 32 bytes from a source of randomness
   * @throws TypeError | RangeError
   */
  static fromKey(key: Uint8Array, options: Pick<PseudonymsOptions, 'kind'> = {}): Pseudonyms {
    if (!(key instanceof Uint8Array)) throw new TypeError('the key of pseudonyms is a Uint8Array')
    if (key.length !== KEY_BYTES) throw new RangeError(`the key of pseudonyms has ${KEY_BYTES} bytes, not ${key.length}`)
    return new Pseudonyms(key, null, options.kind)
  }

  /**
   * The pseudonym of a name, taken byte by byte as it is: give one person's name always in one spelling, such as an
   * address in lower case.
   * @throws TypeError for what is no name; LedgerError `key_error` after `erase`
   */
  of(name: string): string {
    // Unpaired surrogates all become the same bytes.
    if (typeof name !== 'string' || name === '' || !name.isWellFormed()) throw new TypeError('a name is a text that is not empty')
    if (this.#key === null)
      throw new LedgerError('key_error', 'the key of these pseudonyms was erased: open another one', { file: this.#file })
    const mac = createHmac('sha256', this.#key).update(`${DOMAIN}\n${this.#kind}\n${name}`, 'utf8').digest()
    return `${this.#kind}-${base32(mac).slice(0, CHARACTERS)}`
  }

  /**
   * Forgets the key: overwrites its file and takes it away. Nobody can tell any more whose pseudonyms these were. What a
   * disk, a snapshot of it, or a backup keeps of the file is not in reach: erase it there too.
   * @throws LedgerError `key_error` where the file can't be erased
   */
  async erase(): Promise<void> {
    if (this.#file !== null) await eraseFile(this.#file)
    this.#key = null
  }
}

async function eraseFile(path: string): Promise<void> {
  try {
    const handle = await open(path, 'r+')
    try {
      const { size } = await handle.stat()
      await handle.write(Buffer.alloc(size), 0, size, 0)
      // Before its name goes: else the bytes could outlive it.
      await handle.sync()
    } finally {
      await handle.close()
    }
    await removeText(path)
  } catch (error) {
    if (isMissing(error)) return
    throw new LedgerError('key_error', `the key of pseudonyms ${path} can't be erased: check its mode and its folder's`, {
      file: path,
      cause: error,
    })
  }
}
