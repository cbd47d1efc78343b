/**
 * The ledger's own Ed25519 key, in the notation of signed notes (C2SP signed-note): a verifier key
 * `<name>+<8 hex key id>+<base64(0x01 ‖ public key)>` and, kept in a file, `PRIVATE+KEY+<name>+<8 hex>+<base64(0x01 ‖ seed)>`.
 * A witness' key (C2SP tlog-cosignature) has 0x04 in place of 0x01, so that neither can be used for the other.
 * A key file may also be under a passphrase, or name a command that signs. Source: docs/format.md, "Keys".
 */
import { createHash, createPrivateKey, createPublicKey, sign } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { chmod, mkdir, open } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, isAbsolute, join } from 'node:path'
import { parseBase64 } from '../verify/base64.ts'
import { ED25519 } from '../verify/note.ts'
import type { ED25519_COSIGNATURE } from '../verify/note.ts'
import { commandSigner } from './command-signer.ts'
import { doubledKey } from './doubled-key.ts'
import { LedgerError } from './errors.ts'
import { isSealedKey, openKey, passphraseOf, sealKey } from './passphrase.ts'
import type { Passphrase } from './passphrase.ts'
import type { Random } from './random.ts'
import type { Signer } from './signer.ts'

export type { Signer } from './signer.ts'

/** What an Ed25519 key is for: notes of a log, or cosignatures of a witness. */
export type KeyKind = typeof ED25519 | typeof ED25519_COSIGNATURE

/** No key file is longer; a command's arguments may be long. */
const FILE_BYTES_MAX = 65_536
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

/** The text of a key file under a passphrase. @param random for salt and iv */
export async function formatSealedKeyFile(name: string, seed: Uint8Array, passphrase: string, random: Random): Promise<string> {
  const id = keyId(name, tagged(ED25519, publicBytes(privateKey(seed))))
  return sealKey(name, id, tagged(ED25519, seed), passphrase, random)
}

function keyError(path: string, what: string, cause?: unknown): LedgerError {
  return new LedgerError('key_error', `${path} ${what}`, { file: path, cause })
}

/** @param secret the kind of key and the seed */
function signerOfFile(name: string, id: string, secret: Uint8Array, path: string, kind: KeyKind): Signer {
  const signer = signerFromSeed(name, secret.subarray(1), kind)
  if (!signer.verifierKey.startsWith(`${name}+${id}+`))
    throw keyError(path, 'is damaged: its key id is not that of its key. Restore it from a backup')
  return signer
}

/** The signer of a key file that is under no passphrase. @throws LedgerError `key_error` */
export function parseKeyFile(text: string, path: string, kind: KeyKind = ED25519): Signer {
  if (isSealedKey(text)) throw keyError(path, 'is under a passphrase: read it by readKeyFile, with the passphrase')
  const match = /^PRIVATE\+KEY\+([^+\s]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})\n?$/.exec(text)
  const bytes = match === null ? null : parseBase64(match[3] as string)
  if (match === null || bytes === null || bytes.length !== 33 || bytes[0] !== kind) {
    throw keyError(
      path,
      kind === ED25519
        ? 'is not an Ed25519 key file (PRIVATE+KEY+<origin>+<8 hex>+<base64>): give the file that init made'
        : 'is not the key file of a witness: give the file that "cortex-ledger witness" made, or a path where nothing is',
    )
  }
  return signerOfFile(match[1] as string, match[2] as string, bytes, path, kind)
}

async function openSealedKeyFile(text: string, path: string, given: Passphrase | undefined): Promise<Signer> {
  const passphrase = await passphraseOf(given)
  if (passphrase === null)
    throw keyError(path, 'is under a passphrase: give it (passphrase, --passphrase-file or CORTEX_LEDGER_PASSPHRASE)')
  const { name, id, secret } = await openKey(text, path, passphrase)
  if (secret[0] !== ED25519) throw keyError(path, 'holds a key of another kind than Ed25519: give the file that init made')
  return signerOfFile(name, id, secret, path, ED25519)
}

const COMMAND_MEMBERS = new Set(['verifier_key', 'command', 'timeout_ms'])

/** The signer of a file that names a command: `{"verifier_key":"…","command":["/path/to/program","argument"]}`. */
function parseCommandFile(text: string, path: string): Signer {
  const wanted = '{"verifier_key": …, "command": [program, …arguments]}, maybe with "timeout_ms"'
  let file: { readonly [member: string]: unknown }
  try {
    file = JSON.parse(text) as typeof file
  } catch (error) {
    throw keyError(path, `begins like JSON and is none: it should be ${wanted}`, error)
  }
  const doubled = doubledKey(text)
  const unknown = Object.keys(file).find((member) => !COMMAND_MEMBERS.has(member))
  if (doubled !== null || unknown !== undefined)
    throw keyError(
      path,
      `has ${doubled === null ? `the member ${JSON.stringify(unknown)}, which is not known` : `a member twice (${doubled})`}: it should be ${wanted}`,
    )
  const { verifier_key, command, timeout_ms } = file as { verifier_key: string; command: readonly string[]; timeout_ms?: number }
  let signer: Signer
  try {
    signer = commandSigner({ verifierKey: verifier_key, command, timeoutMs: timeout_ms })
  } catch (error) {
    throw keyError(path, `names no command that signs (${(error as Error).message}): it should be ${wanted}`, error)
  }
  // A relative path would name another program in each folder.
  const [program = ''] = command
  if (/[/\\]/.test(program) && !isAbsolute(program))
    throw keyError(path, `names the program ${program} by a relative path: give the whole path, or a name that PATH finds`)
  return signer
}

/** The signer that a key file's text means. @throws LedgerError `key_error` */
async function signerOfText(text: string, path: string, passphrase: Passphrase | undefined): Promise<Signer> {
  if (isSealedKey(text)) return openSealedKeyFile(text, path, passphrase)
  return /^\s*\{/.test(text) ? parseCommandFile(text, path) : parseKeyFile(text, path)
}

/** `${XDG_CONFIG_HOME:-~/.config}/cortex-ledger/keys/<origin>-<8 hex>.key`, the origin made fit for a file name. */
export function defaultKeyPath(origin: string, verifierKey: string): string {
  const config = process.env['XDG_CONFIG_HOME'] || join(homedir(), '.config')
  const id = verifierKey.slice(origin.length + 1, origin.length + 9)
  return join(config, 'cortex-ledger', 'keys', `${origin.replace(/[^A-Za-z0-9.-]/g, '_').slice(0, 120)}-${id}.key`)
}

/** The text of a key file, or null where nothing is there. @throws LedgerError `key_error` */
export async function keyFileText(path: string): Promise<string | null> {
  try {
    const handle = await open(path, 'r')
    try {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(FILE_BYTES_MAX + 1), 0, FILE_BYTES_MAX + 1, null)
      if (bytesRead > FILE_BYTES_MAX) throw keyError(path, `is longer than ${FILE_BYTES_MAX} bytes: that is no key file`)
      return buffer.toString('utf8', 0, bytesRead)
    } finally {
      await handle.close()
    }
  } catch (error) {
    if (error instanceof LedgerError) throw error
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw new LedgerError('key_error', `the key file ${path} can't be read: check the path and its mode`, { file: path, cause: error })
  }
}

export interface KeyFileOptions {
  /** Of a file under a passphrase; `CORTEX_LEDGER_PASSPHRASE` if absent. Asked for only where it is needed. */
  readonly passphrase?: Passphrase | undefined
}

/**
 * The signer of a key file: of a plain one, of one under a passphrase, or of one that names a command.
 * @throws LedgerError `key_error`
 */
export async function readKeyFile(path: string, options: KeyFileOptions = {}): Promise<Signer> {
  const text = await keyFileText(path)
  if (text === null) throw new LedgerError('key_error', `there is no key file ${path}: check the path`, { file: path })
  return signerOfText(text, path, options.passphrase)
}

/** Puts a private key into a new file, mode 0600, durable before it is used; never over a file that is there. */
export async function writePrivateFile(file: string, text: string): Promise<void> {
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 })
    const handle = await open(file, 'wx', 0o600)
    try {
      await handle.writeFile(text)
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
}

/** Makes a key and keeps it: under a passphrase, where one was given. */
async function createKeyFile(
  origin: string,
  random: Random,
  path: string | undefined,
  given: Passphrase | undefined,
): Promise<{ signer: Signer; path: string }> {
  const passphrase = await passphraseOf(given)
  const seed = random.bytes(32)
  const signer = signerFromSeed(origin, seed)
  const file = path ?? defaultKeyPath(origin, signer.verifierKey)
  await writePrivateFile(
    file,
    passphrase === null ? formatKeyFile(origin, seed) : await formatSealedKeyFile(origin, seed, passphrase, random),
  )
  return { signer, path: file }
}

/** The key of a new ledger: the file that was named, if it is there, else a new one under that name or the default one. */
export async function keyOfNewLedger(
  origin: string,
  random: Random,
  path: string | undefined,
  passphrase?: Passphrase,
): Promise<{ signer: Signer; path: string }> {
  const there = path === undefined ? null : await keyFileText(path)
  if (path === undefined || there === null) return createKeyFile(origin, random, path, passphrase)
  const signer = await signerOfText(there, path, passphrase)
  if (!signer.verifierKey.startsWith(`${origin}+`))
    throw keyError(path, `holds a key that is named for another origin than ${origin}: give that ledger's key, or a path where nothing is`)
  return { signer, path }
}
