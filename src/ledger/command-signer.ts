/** A signer that asks an external command, so that the key may lie in a KMS, an HSM or another program. */
import { spawn } from 'node:child_process'
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { parseBase64 } from '../verify/base64.ts'
import { ed25519Check } from './ed25519.ts'
import { LedgerError } from './errors.ts'
import { ed25519VerifierKey } from './signer.ts'
import type { Signer } from './signer.ts'

export interface CommandSignerOptions {
  /** The public key as `<name>+<8 hex key id>+<base64>`. */
  readonly verifierKey: string
  /** The program and its arguments, started as they are: no shell reads them. */
  readonly command: readonly string[]
  /** Milliseconds after which the command is killed; 30,000 unless said. */
  readonly timeoutMs?: number | undefined
}

const TIMEOUT_MS = 30_000
const TIMEOUT_MS_MAX = 3_600_000
const SIGNATURE_BYTES = 64
/** The base64 of a signature with a line end; whatever is longer is none. */
const OUTPUT_BYTES_MAX = 4096
/** Of what the command complains about, so much is passed on. */
const COMPLAINT_BYTES_MAX = 2000

interface Ended {
  readonly output: Buffer
  readonly complaint: string
}

/** Runs the command to its end. @throws LedgerError `key_error` */
function run(command: readonly string[], message: Uint8Array, timeoutMs: number): Promise<Ended> {
  const [program = '', ...args] = command
  // The passphrase is no business of another program.
  const { CORTEX_LEDGER_PASSPHRASE: _, ...env } = process.env
  return new Promise((resolve, reject) => {
    const fail = (what: string, cause?: unknown): void =>
      reject(new LedgerError('key_error', `the signing command ${JSON.stringify(program)} ${what}`, { command: program, cause }))
    let child: ChildProcessWithoutNullStreams
    try {
      child = spawn(program, args, { stdio: 'pipe', shell: false, windowsHide: true, env })
    } catch (error) {
      fail(`can't be run: ${String(error)}`, error)
      return
    }
    const output: Buffer[] = []
    let outputBytes = 0
    let complaint = ''
    const complained = (): string => (complaint.trim() === '' ? '' : `: ${complaint.trim()}`)
    const giveUp = (what: string): void => {
      clearTimeout(timer)
      child.kill('SIGKILL')
      // What it started itself may hold these open for ever.
      for (const stream of [child.stdin, child.stdout, child.stderr]) stream.destroy()
      fail(what)
    }
    const timer = setTimeout(() => giveUp(`did not answer within ${timeoutMs} ms and was killed${complained()}`), timeoutMs)
    child.stdout.on('data', (chunk: Buffer) => {
      outputBytes += chunk.length
      if (outputBytes <= OUTPUT_BYTES_MAX) output.push(chunk)
      else giveUp(`wrote more than ${OUTPUT_BYTES_MAX} bytes, which is no signature`)
    })
    child.stderr.on('data', (chunk: Buffer) => {
      if (complaint.length < COMPLAINT_BYTES_MAX) complaint += chunk.toString('utf8').slice(0, COMPLAINT_BYTES_MAX - complaint.length)
    })
    // One that does not read the message says what it has to say by its exit code and its output.
    for (const stream of [child.stdin, child.stdout, child.stderr]) stream.on('error', () => {})
    child.on('error', (error) => {
      clearTimeout(timer)
      fail(`can't be run: ${error.message}. Check the program's path and mode`, error)
    })
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      if (code === 0) resolve({ output: Buffer.concat(output), complaint: complained() })
      else fail(`${code === null ? `was killed by ${signal}` : `ended with ${code}`}${complained()}`)
    })
    child.stdin.end(message)
  })
}

/** The signature in the output: its 64 bytes, or their base64 in one line. */
function signatureIn(output: Buffer): Uint8Array | null {
  if (output.length === SIGNATURE_BYTES) return output
  const bytes = parseBase64(output.toString('latin1').replace(/\r?\n$/, ''))
  return bytes !== null && bytes.length === SIGNATURE_BYTES ? bytes : null
}

/**
 * The command gets the message on its stdin and gives the Ed25519 signature on its stdout: the 64 bytes, or their
 * base64. Each signature is checked under the verifier key before it is used.
 * @throws TypeError | RangeError
 */
export function commandSigner(options: CommandSignerOptions): Signer {
  const { verifierKey, command, timeoutMs = TIMEOUT_MS } = options
  const { name, id, publicKey } = ed25519VerifierKey(verifierKey)
  const isCommand = Array.isArray(command) && command.length > 0 && command[0] !== ''
  if (!isCommand || !command.every((part) => typeof part === 'string' && !part.includes('\0')))
    throw new TypeError('command must be an array of texts: a program and its arguments')
  if (!Number.isSafeInteger(timeoutMs) || timeoutMs < 1 || timeoutMs > TIMEOUT_MS_MAX)
    throw new RangeError(`timeoutMs must be a number of milliseconds from 1 to ${TIMEOUT_MS_MAX}`)
  const parts = [...command]
  return {
    verifierKey,
    sign: async (message) => {
      const { output, complaint } = await run(parts, message, timeoutMs)
      const said = `the signing command ${JSON.stringify(parts[0])}`
      const signature = signatureIn(output)
      if (signature === null) {
        throw new LedgerError(
          'key_error',
          `${said} gave ${output.length} bytes that are no signature: it has to write the 64 bytes, or their base64 in one line${complaint}`,
          { command: parts[0] },
        )
      }
      if (!ed25519Check(publicKey, message, signature)) {
        throw new LedgerError('key_error', `${said} gave a signature that is wrong under ${name}+${id}: check that it uses that key`, {
          command: parts[0],
        })
      }
      return signature
    },
  }
}
