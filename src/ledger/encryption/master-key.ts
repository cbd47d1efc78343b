/**
 * Master keys: they wrap data keys, and nothing else. One lies in a file, `MASTER+KEY+<8 hex key id>+<base64(0x20 ‖ 32
 * bytes)>`, which may be under a passphrase as a signing key may; or with another program, such as that of a KMS.
 * Source: docs/format.md, "Encrypted entries".
 */
import { createCipheriv, createDecipheriv, createHash } from 'node:crypto'
import { homedir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import { parseBase64 } from '../../verify/base64.ts'
import { doubledKey } from '../doubled-key.ts'
import { LedgerError } from '../errors.ts'
import { keyFileText, writePrivateFile } from '../keys.ts'
import { isSealedKey, openKey, passphraseOf, sealKey } from '../passphrase.ts'
import type { Passphrase } from '../passphrase.ts'
import { systemRandom } from '../random.ts'
import type { Random } from '../random.ts'
import { requireCommand, runCommand } from '../run-command.ts'

/** Wraps data keys. What it is made of need not be here: a KMS fits. */
export interface MasterKey {
  /** Which key it is, 1 to 200 characters without a control character; kept beside all that it wrapped, so it is no secret. */
  readonly id: string
  /**
   * The 32 bytes of a data key, encrypted.
   * @param context what the wrapping is for; where the key can bind it (additional data, an encryption context), `unwrap` fails under another one
   */
  wrap(key: Uint8Array, context: string): Promise<Uint8Array>
  /** The 32 bytes again. Rejects where it is not what `wrap` gave under this context. */
  unwrap(wrapped: Uint8Array, context: string): Promise<Uint8Array>
}

const MASTER = 0x20
const NAME = 'cortex-ledger-master'
const KEY_BYTES = 32
const IV_BYTES = 12
const TAG_BYTES = 16
/** The first byte of what is wrapped: AES-256-GCM, then iv (12) ‖ ciphertext (32) ‖ tag (16). */
const WRAPPED_BY_GCM = 0x01
const WRAPPED_BYTES = 1 + IV_BYTES + KEY_BYTES + TAG_BYTES
const OUTPUT_BYTES_MAX = 16_384

function idOf(key: Uint8Array): string {
  return createHash('sha256').update('cortex-ledger/v1 master key\n').update(key).digest('hex').slice(0, 8)
}

function keyError(file: string, what: string, cause?: unknown): LedgerError {
  return new LedgerError('key_error', `${file} ${what}`, { file, cause })
}

/** A master key of these 32 bytes. @throws RangeError */
export function masterKeyFrom(bytes: Uint8Array, random: Random = systemRandom()): MasterKey {
  if (bytes.length !== KEY_BYTES) throw new RangeError(`a master key has ${KEY_BYTES} bytes, not ${bytes.length}`)
  const key = Uint8Array.from(bytes)
  const id = idOf(key)
  return {
    id,
    async wrap(dataKey, context) {
      const iv = random.bytes(IV_BYTES)
      const cipher = createCipheriv('aes-256-gcm', key, iv, { authTagLength: TAG_BYTES })
      cipher.setAAD(Buffer.from(context))
      return Buffer.concat([Uint8Array.of(WRAPPED_BY_GCM), iv, cipher.update(dataKey), cipher.final(), cipher.getAuthTag()])
    },
    async unwrap(wrapped, context) {
      if (wrapped.length !== WRAPPED_BYTES || wrapped[0] !== WRAPPED_BY_GCM)
        throw new LedgerError('key_error', `what is to be unwrapped was not wrapped by the master key ${id}`)
      const decipher = createDecipheriv('aes-256-gcm', key, wrapped.subarray(1, 1 + IV_BYTES), { authTagLength: TAG_BYTES })
      decipher.setAAD(Buffer.from(context))
      decipher.setAuthTag(wrapped.subarray(-TAG_BYTES))
      return Buffer.concat([decipher.update(wrapped.subarray(1 + IV_BYTES, -TAG_BYTES)), decipher.final()])
    },
  }
}

export interface CommandMasterKeyOptions {
  /** Which key it is, as `MasterKey.id`. */
  readonly id: string
  /** The program and its arguments that wrap: bytes on stdin, the base64 of what it makes of them on stdout. No shell reads them. */
  readonly wrap: readonly string[]
  readonly unwrap: readonly string[]
  /** Milliseconds after which a command is killed; 30,000 unless said. */
  readonly timeoutMs?: number | undefined
}

/** True for the id of a master key. */
function isMasterId(id: unknown): id is string {
  // oxlint-disable-next-line no-control-regex -- that is what is refused
  return typeof id === 'string' && /^[^\u0000-\u001f\u007f]{1,200}$/.test(id)
}

/**
 * A master key that two commands work with, so that it may lie in a KMS. They do not hear the context: a data key that was
 * put in the place of another one is found by the commitment in the entries.
 * @throws TypeError | RangeError
 */
export function commandMasterKey(options: CommandMasterKeyOptions): MasterKey {
  const { id, wrap, unwrap, timeoutMs } = options
  if (!isMasterId(id)) throw new TypeError('the id of a master key is a text of 1 to 200 characters')
  for (const command of [wrap, unwrap]) requireCommand(command, timeoutMs)
  async function asked(command: readonly string[], input: Uint8Array, name: string): Promise<Uint8Array> {
    const about = { name: `${name} command`, outputBytesMax: OUTPUT_BYTES_MAX, wanted: 'key', timeoutMs }
    const { output, complaint } = await runCommand(command, input, about)
    const bytes = parseBase64(output.toString('latin1').replace(/\r?\n$/, ''))
    if (bytes !== null && bytes.length > 0) return bytes
    throw new LedgerError(
      'key_error',
      `the ${name} command ${JSON.stringify(command[0])} gave no base64 in one line: that is what it has to write${complaint}`,
      { command: command[0] },
    )
  }
  return {
    id,
    wrap: (key) => asked([...wrap], key, 'wrapping'),
    unwrap: (wrapped) => asked([...unwrap], wrapped, 'unwrapping'),
  }
}

/** The text of a master key's file. */
export function formatMasterKeyFile(bytes: Uint8Array): string {
  return `MASTER+KEY+${idOf(bytes)}+${Buffer.concat([Uint8Array.of(MASTER), bytes]).toString('base64')}\n`
}

/** `${XDG_CONFIG_HOME:-~/.config}/cortex-ledger/keys/master-<8 hex>.key` */
function defaultMasterKeyPath(id: string): string {
  return join(process.env['XDG_CONFIG_HOME'] || join(homedir(), '.config'), 'cortex-ledger', 'keys', `master-${id}.key`)
}

/**
 * Makes a master key in a new file, mode 0600, under a passphrase where one is given.
 * @param path in the folder of the signing keys unless said
 * @throws LedgerError `key_error` where the file is there already, or can't be made
 */
export async function createMasterKeyFile(
  path?: string | undefined,
  given?: Passphrase | undefined,
  random: Random = systemRandom(),
): Promise<{ readonly key: MasterKey; readonly path: string }> {
  const passphrase = await passphraseOf(given)
  const bytes = random.bytes(KEY_BYTES)
  const id = idOf(bytes)
  const file = path ?? defaultMasterKeyPath(id)
  const secret = Buffer.concat([Uint8Array.of(MASTER), bytes])
  await writePrivateFile(file, passphrase === null ? formatMasterKeyFile(bytes) : await sealKey(NAME, id, secret, passphrase, random))
  return { key: masterKeyFrom(bytes, random), path: file }
}

function masterOf(secret: Uint8Array, id: string, file: string): MasterKey {
  const key = masterKeyFrom(secret.subarray(1))
  if (key.id === id) return key
  throw keyError(file, 'is damaged: its key id is not that of its key. Restore it from a backup')
}

const COMMAND_MEMBERS = new Set(['master_id', 'wrap', 'unwrap', 'timeout_ms'])

/** The key of a file that names commands: `{"master_id":"…","wrap":["/path/to/program",…],"unwrap":[…]}`. */
function parseCommandFile(text: string, file: string): MasterKey {
  const wanted = '{"master_id": …, "wrap": [program, …arguments], "unwrap": […]}, maybe with "timeout_ms"'
  let said: { readonly [member: string]: unknown }
  try {
    said = JSON.parse(text) as typeof said
  } catch (error) {
    throw keyError(file, `begins like JSON and is none: it should be ${wanted}`, error)
  }
  const doubled = doubledKey(text)
  const unknown = Object.keys(said).find((member) => !COMMAND_MEMBERS.has(member))
  if (doubled !== null || unknown !== undefined) {
    const what = doubled === null ? `the member ${JSON.stringify(unknown)}, which is not known` : `a member twice (${doubled})`
    throw keyError(file, `has ${what}: it should be ${wanted}`)
  }
  const { master_id, wrap, unwrap, timeout_ms } = said as { master_id: string; wrap: string[]; unwrap: string[]; timeout_ms?: number }
  let key: MasterKey
  try {
    key = commandMasterKey({ id: master_id, wrap, unwrap, timeoutMs: timeout_ms })
  } catch (error) {
    throw keyError(file, `names no commands that wrap (${(error as Error).message}): it should be ${wanted}`, error)
  }
  // A relative path would name another program in each folder.
  const relative = [wrap[0], unwrap[0]].find((program = '') => /[/\\]/.test(program) && !isAbsolute(program))
  if (relative !== undefined)
    throw keyError(file, `names the program ${relative} by a relative path: give the whole path, or a name that PATH finds`)
  return key
}

/** The key that the text of a file means. @throws LedgerError `key_error` */
async function masterOfText(text: string, file: string, given: Passphrase | undefined): Promise<MasterKey> {
  if (/^\s*\{/.test(text)) return parseCommandFile(text, file)
  if (isSealedKey(text)) {
    const passphrase = await passphraseOf(given)
    if (passphrase === null)
      throw keyError(file, 'is under a passphrase: give it (passphrase, --passphrase-file or CORTEX_LEDGER_PASSPHRASE)')
    const { id, secret } = await openKey(text, file, passphrase)
    if (secret[0] !== MASTER) throw keyError(file, 'holds a key of another kind: give the file of a master key')
    return masterOf(secret, id, file)
  }
  const match = /^MASTER\+KEY\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})\n?$/.exec(text)
  const bytes = match === null ? null : parseBase64(match[2] as string)
  if (match === null || bytes === null || bytes.length !== 1 + KEY_BYTES || bytes[0] !== MASTER) {
    throw keyError(
      file,
      'is not the file of a master key (MASTER+KEY+<8 hex>+<base64>, or JSON that names commands): give one, or make one with "cortex-ledger keys new-master"',
    )
  }
  return masterOf(bytes, match[1] as string, file)
}

/**
 * The master key of a file: of a plain one, of one under a passphrase, or of one that names commands.
 * @throws LedgerError `key_error`
 */
export async function readMasterKeyFile(path: string, options: { readonly passphrase?: Passphrase | undefined } = {}): Promise<MasterKey> {
  const text = await keyFileText(path)
  if (text === null)
    throw new LedgerError(
      'key_error',
      `there is no master key ${path}: check the path, or make one with "cortex-ledger keys new-master". Without the key that it was, what was encrypted under it is lost`,
      { file: path },
    )
  return masterOfText(text, path, options.passphrase)
}
