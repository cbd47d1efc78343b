/**
 * A key under a passphrase, as text: `ENCRYPTED+KEY+<name>+<8 hex key id>+<base64>`. The base64 is of
 * parameters (4) ‖ salt (16) ‖ iv (12) ‖ ciphertext (33) ‖ tag (16) bytes. Source: docs/format.md, "Keys".
 */
import { createCipheriv, createDecipheriv, scrypt } from 'node:crypto'
import { parseBase64 } from '../verify/base64.ts'
import { LedgerError } from './errors.ts'
import type { Random } from './random.ts'

/** What opens a key file: the text, or who asks for it. */
export type Passphrase = string | (() => string | Promise<string>)

/** The first byte of the parameters: scrypt (RFC 7914), then AES-256-GCM. */
const SCRYPT_AES_256_GCM = 0x01
const SALT_BYTES = 16
const IV_BYTES = 12
const TAG_BYTES = 16
const SECRET_BYTES = 33
const PARAMETER_BYTES = 4
const SEALED_BYTES = PARAMETER_BYTES + SALT_BYTES + IV_BYTES + SECRET_BYTES + TAG_BYTES
/** A file that asks for more than this is not opened: it would stop the process for long. */
const MEMORY_BYTES_MAX = 1 << 30
const PARALLEL_MAX = 16
const PASSPHRASE_BYTES_MAX = 1024

/** Cost of one guess: memory is 128 · r · 2^log2_n bytes. */
export interface ScryptCost {
  readonly log2_n: number
  readonly r: number
  readonly p: number
}

/** 128 MiB for each guess. Source: OWASP Password Storage Cheat Sheet, scrypt. */
const COST: ScryptCost = { log2_n: 17, r: 8, p: 1 }

const SEALED = /^ENCRYPTED\+KEY\+([^+\s]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})\n?$/

/** True for the text of a key file that needs a passphrase. */
export function isSealedKey(text: string): boolean {
  return text.startsWith('ENCRYPTED+KEY+')
}

function memoryOf({ log2_n, r }: ScryptCost): number {
  return 128 * r * 2 ** log2_n
}

function isBearable({ log2_n, r, p }: ScryptCost): boolean {
  return log2_n >= 1 && r >= 1 && p >= 1 && p <= PARALLEL_MAX && log2_n <= 24 && memoryOf({ log2_n, r, p }) <= MEMORY_BYTES_MAX
}

function keyFrom(passphrase: string, salt: Uint8Array, cost: ScryptCost): Promise<Buffer> {
  const { log2_n, r, p } = cost
  // The same words may come in two spellings from two keyboards (RFC 8265, section 4.2).
  const secret = Buffer.from(passphrase.normalize('NFC'))
  return new Promise((resolve, reject) => {
    scrypt(secret, salt, 32, { N: 2 ** log2_n, r, p, maxmem: 2 * memoryOf(cost) + 1024 * 1024 }, (error, key) => {
      if (error === null) resolve(key)
      else reject(error)
    })
  })
}

/** What the tag covers beside the secret: a file can't be given another name or id. */
function boundText(name: string, id: string): Buffer {
  return Buffer.from(`ENCRYPTED+KEY+${name}+${id}`)
}

/** @param secret 33 bytes: the kind of key and the seed */
export async function sealKey(
  name: string,
  id: string,
  secret: Uint8Array,
  passphrase: string,
  random: Random,
  cost: ScryptCost = COST,
): Promise<string> {
  if (secret.length !== SECRET_BYTES || !isBearable(cost)) throw new RangeError('a secret has 33 bytes, and the cost is within its limits')
  const salt = random.bytes(SALT_BYTES)
  const iv = random.bytes(IV_BYTES)
  const cipher = createCipheriv('aes-256-gcm', await keyFrom(passphrase, salt, cost), iv)
  cipher.setAAD(boundText(name, id))
  const ciphertext = Buffer.concat([cipher.update(secret), cipher.final()])
  const parameters = Uint8Array.of(SCRYPT_AES_256_GCM, cost.log2_n, cost.r, cost.p)
  const sealed = Buffer.concat([parameters, salt, iv, ciphertext, cipher.getAuthTag()])
  return `ENCRYPTED+KEY+${name}+${id}+${sealed.toString('base64')}\n`
}

export interface OpenedKey {
  readonly name: string
  /** 8 lower-case hex digits. */
  readonly id: string
  /** 33 bytes: the kind of key and the seed. */
  readonly secret: Uint8Array
}

/** @throws LedgerError `key_error` for a wrong passphrase, or a file that is damaged: the two can't be told apart */
export async function openKey(text: string, path: string, passphrase: string): Promise<OpenedKey> {
  const [, name, id, base64] = SEALED.exec(text) ?? []
  const bytes = base64 === undefined ? null : parseBase64(base64)
  if (name === undefined || id === undefined || bytes === null || bytes.length !== SEALED_BYTES || bytes[0] !== SCRYPT_AES_256_GCM) {
    throw new LedgerError(
      'key_error',
      `${path} is not a key file under a passphrase (ENCRYPTED+KEY+<origin>+<8 hex>+<base64>): restore it from a backup`,
      { file: path },
    )
  }
  const cost = { log2_n: bytes[1]!, r: bytes[2]!, p: bytes[3]! }
  if (!isBearable(cost)) {
    throw new LedgerError(
      'key_error',
      `${path} asks for more memory or time to be opened than is given (scrypt 2^${cost.log2_n}, ${cost.r}, ${cost.p}): restore it from a backup`,
      { file: path },
    )
  }
  const salt = bytes.subarray(PARAMETER_BYTES, PARAMETER_BYTES + SALT_BYTES)
  const iv = bytes.subarray(PARAMETER_BYTES + SALT_BYTES, PARAMETER_BYTES + SALT_BYTES + IV_BYTES)
  const ciphertext = bytes.subarray(SEALED_BYTES - TAG_BYTES - SECRET_BYTES, SEALED_BYTES - TAG_BYTES)
  const decipher = createDecipheriv('aes-256-gcm', await keyFrom(passphrase, salt, cost), iv, { authTagLength: TAG_BYTES })
  decipher.setAAD(boundText(name, id))
  decipher.setAuthTag(bytes.subarray(SEALED_BYTES - TAG_BYTES))
  try {
    return { name, id, secret: Buffer.concat([decipher.update(ciphertext), decipher.final()]) }
  } catch {
    throw new LedgerError('key_error', `the passphrase does not open ${path}: give the right one. Where it is right, the file is damaged`, {
      file: path,
    })
  }
}

/** The same, of which nobody is asked twice. */
export function askedOnce(given: Passphrase | undefined): Passphrase | undefined {
  if (typeof given !== 'function') return given
  let answer: string | Promise<string> | undefined
  return () => (answer ??= given())
}

/**
 * The passphrase that was given: by option, else by `CORTEX_LEDGER_PASSPHRASE`; null where none was.
 * @throws LedgerError `key_error` where it is empty or too long, or asking for it failed
 */
export async function passphraseOf(given: Passphrase | undefined): Promise<string | null> {
  let passphrase: unknown = given ?? (process.env['CORTEX_LEDGER_PASSPHRASE'] || null)
  if (typeof passphrase === 'function') {
    try {
      passphrase = await (passphrase as () => string | Promise<string>)()
    } catch (error) {
      throw new LedgerError('key_error', `asking for the passphrase failed: ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      })
    }
  }
  if (passphrase === null) return null
  if (typeof passphrase !== 'string') throw new TypeError('passphrase must be a string, or a function that gives one')
  if (passphrase === '' || Buffer.byteLength(passphrase) > PASSPHRASE_BYTES_MAX) {
    throw new LedgerError('key_error', `a passphrase has 1 to ${PASSPHRASE_BYTES_MAX} bytes: give another one`)
  }
  return passphrase
}
