/** A signer that asks an external command, so that the key may lie in a KMS, an HSM or another program. */
import { parseBase64 } from '../verify/base64.ts'
import { ed25519Check } from './ed25519.ts'
import { LedgerError } from './errors.ts'
import { requireCommand, runCommand } from './run-command.ts'
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

const SIGNATURE_BYTES = 64
/** The base64 of a signature with a line end; whatever is longer is none. */
const OUTPUT_BYTES_MAX = 4096

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
  const { verifierKey, command, timeoutMs } = options
  const { name, id, publicKey } = ed25519VerifierKey(verifierKey)
  requireCommand(command, timeoutMs)
  const parts = [...command]
  return {
    verifierKey,
    sign: async (message) => {
      const { output, complaint } = await runCommand(parts, message, {
        name: 'signing command',
        outputBytesMax: OUTPUT_BYTES_MAX,
        wanted: 'signature',
        timeoutMs,
      })
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
