/**
 * The ledger's own Ed25519 key, in the notation of signed notes (C2SP signed-note): a verifier key
 * `<name>+<8 hex key id>+<base64(0x01 ‖ public key)>` and, kept in a file, `PRIVATE+KEY+<name>+<8 hex>+<base64(0x01 ‖ seed)>`.
 * A witness' key (C2SP tlog-cosignature) has 0x04 in place of 0x01, so that neither can be used for the other.
 */
import { createHash, createPrivateKey, createPublicKey, sign } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { chmod, mkdir, open, readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { ED25519 } from '../verify/note.ts'
import type { ED25519_COSIGNATURE } from '../verify/note.ts'
import { LedgerError } from './errors.ts'
import type { Random } from './random.ts'

/** Signs statements about the ledger. One asynchronous method, so that a KMS or an HSM fits. */
export interface Signer {
  /** The public key as `<name>+<8 hex key id>+<base64>`. */
  readonly verifierKey: string
  /** The 64 bytes of the Ed25519 signature. @throws LedgerError `key_error` */
  sign(message: Uint8Array): Promise<Uint8Array>
}

/** What an Ed25519 key is for: notes of a log, or cosignatures of a witness. */
export type KeyKind = typeof ED25519 | typeof ED25519_COSIGNATURE

/** DER before the 32 bytes of an Ed25519 seed (PKCS #8) and of a public key (SPKI). Source: RFC 8410. */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex')
const SPKI_PREFIX_BYTES = 12

function privateKey(seed: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: 'der', type: 'pkcs8' })
}

function publicBytes(key: KeyObject): Buffer {
  return createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(SPKI_PREFIX_BYTES)
}

/** First 4 bytes of SHA-256(name LF algorithm ‖ public key), as 8 hex. Source: C2SP signed-note. */
function keyId(name: string, algorithmAndKey: Uint8Array): string {
  return createHash('sha256').update(`${name}\n`).update(algorithmAndKey).digest('hex').slice(0, 8)
}

function tagged(kind: KeyKind, bytes: Uint8Array): Buffer {
  return Buffer.concat([Uint8Array.of(kind), bytes])
}

/** A signer from a 32-byte seed. `name` is the ledger's origin, or a witness' name. */
export function signerFromSeed(name: string, seed: Uint8Array, kind: KeyKind = ED25519): Signer {
  const key = privateKey(seed)
  const publicKey = tagged(kind, publicBytes(key))
  return {
    verifierKey: `${name}+${keyId(name, publicKey)}+${publicKey.toString('base64')}`,
    sign: async (message) => sign(null, message, key),
  }
}

/** The text of a key file. */
export function formatKeyFile(name: string, seed: Uint8Array, kind: KeyKind = ED25519): string {
  const id = keyId(name, tagged(kind, publicBytes(privateKey(seed))))
  return `PRIVATE+KEY+${name}+${id}+${tagged(kind, seed).toString('base64')}\n`
}

/** @throws LedgerError `key_error` */
export function parseKeyFile(text: string, path: string, kind: KeyKind = ED25519): Signer {
  const match = /^PRIVATE\+KEY\+([^+\s]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})\n?$/.exec(text)
  const bytes = match === null ? null : Buffer.from(match[3] as string, 'base64')
  if (match === null || bytes === null || bytes.length !== 33 || bytes[0] !== kind) {
    throw new LedgerError(
      'key_error',
      kind === ED25519
        ? `${path} is not an Ed25519 key file (PRIVATE+KEY+<origin>+<8 hex>+<base64>): give the file that init made`
        : `${path} is not the key file of a witness: give the file that "cortex-ledger witness" made, or a path where nothing is`,
      { file: path },
    )
  }
  const signer = signerFromSeed(match[1] as string, bytes.subarray(1), kind)
  if (!signer.verifierKey.startsWith(`${match[1]}+${match[2]}+`)) {
    throw new LedgerError('key_error', `${path} is damaged: its key id is not that of its key. Restore it from a backup`, { file: path })
  }
  return signer
}

/** `${XDG_CONFIG_HOME:-~/.config}/cortex-ledger/keys/<origin>-<8 hex>.key`, the origin made fit for a file name. */
export function defaultKeyPath(origin: string, verifierKey: string): string {
  const config = process.env['XDG_CONFIG_HOME'] || join(homedir(), '.config')
  const id = verifierKey.slice(origin.length + 1, origin.length + 9)
  return join(config, 'cortex-ledger', 'keys', `${origin.replace(/[^A-Za-z0-9.-]/g, '_').slice(0, 120)}-${id}.key`)
}

export async function readKeyFile(path: string): Promise<Signer> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    throw new LedgerError('key_error', `the key file ${path} can't be read: check the path and its mode`, { file: path, cause: error })
  }
  return parseKeyFile(text, path)
}

/** Makes a key and keeps it, mode 0600, durable before it is used; never over a file that is there. */
async function createKeyFile(origin: string, random: Random, path: string | undefined): Promise<{ signer: Signer; path: string }> {
  const seed = random.bytes(32)
  const signer = signerFromSeed(origin, seed)
  const file = path ?? defaultKeyPath(origin, signer.verifierKey)
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 })
    const handle = await open(file, 'wx', 0o600)
    try {
      await handle.writeFile(formatKeyFile(origin, seed))
      await handle.sync()
    } finally {
      await handle.close()
    }
    await chmod(file, 0o600)
  } catch (error) {
    throw new LedgerError('key_error', `the key file ${file} can't be made: give another one (key, --key or CORTEX_LEDGER_KEY)`, {
      file,
      cause: error,
    })
  }
  return { signer, path: file }
}

/** The key of a new ledger: the file that was named, if it is there, else a new one under that name or the default one. */
export async function keyOfNewLedger(origin: string, random: Random, path: string | undefined): Promise<{ signer: Signer; path: string }> {
  if (path !== undefined) {
    const there = await readFile(path, 'utf8').catch(() => null)
    if (there !== null) {
      const signer = parseKeyFile(there, path)
      if (!signer.verifierKey.startsWith(`${origin}+`)) {
        throw new LedgerError(
          'key_error',
          `the key in ${path} is named for another origin than ${origin}: give that ledger's key, or a path where nothing is`,
          { file: path },
        )
      }
      return { signer, path }
    }
  }
  return createKeyFile(origin, random, path)
}
