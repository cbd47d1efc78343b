/** Which ledger a command is about: its argument, else CORTEX_LEDGER. */
import { AuditLedger } from '../open.ts'
import type { OpenOptions } from '../open.ts'
import { isArchivedFile } from '../open-packed.ts'
import { locate, shownLocation } from '../open-store.ts'
import { encryptionOf } from './encryption.ts'
import { Misuse } from './errors.ts'
import type { Terminal } from './terminal.ts'

export const LEDGER_ARGUMENT = 'a directory (JSONL), a file ending in .db (SQLite), or postgres://HOST/DATABASE; CORTEX_LEDGER if absent'

/** @throws Misuse where neither names a ledger, or the URL is none; LedgerError `unsupported` */
export function locationOf(
  argument: string | undefined,
  environment: { readonly [name: string]: string | undefined } = process.env,
): string {
  const location = argument ?? environment['CORTEX_LEDGER']
  if (location === undefined || location === '') {
    throw new Misuse('which ledger? Give its path or URL, or set CORTEX_LEDGER')
  }
  try {
    locate(location)
  } catch (error) {
    if (error instanceof TypeError) throw new Misuse(`${shownLocation(location)} names no place: ${error.message}`)
    throw error
  }
  return location
}

/** As `locationOf`, or the http(s) address of a published log or the s3: URL of an archived file, which no store keeps. @throws Misuse | LedgerError `unsupported` */
export function placeToVerify(argument: string | undefined): string {
  const address = argument ?? process.env['CORTEX_LEDGER'] ?? ''
  return /^https?:\/\//i.test(address) || isArchivedFile(address) ? address : locationOf(argument)
}

/** Opens, works, and closes however the work ends. */
export async function withLedger<T>(
  terminal: Terminal,
  location: string,
  options: OpenOptions,
  work: (ledger: AuditLedger) => Promise<T>,
): Promise<T> {
  const ledger = await AuditLedger.open(location, {
    // Whoever only reads may; whoever writes says so, since it would be encrypted.
    ...(options.readOnly === true ? encryptionOf({}) : {}),
    ...options,
    onWarning: (warning) => terminal.say(terminal.stderrColours.yellow(`warning: ${warning.message}`)),
  })
  try {
    return await work(ledger)
  } finally {
    await ledger.close()
  }
}
