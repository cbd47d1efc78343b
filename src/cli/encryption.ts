/** `--master-key`: what opens encrypted entries, and encrypts what is recorded. */
import type { Command } from 'commander'
import type { OpenOptions } from '../index.ts'
import { Misuse } from './errors.ts'

export interface MasterKeyOptions {
  readonly masterKey?: readonly string[]
}

/** In place of a file: record in clear. */
const NONE = 'none'

const several = (value: string, before: readonly string[] | undefined): readonly string[] => [...(before ?? []), value]

export function addMasterKeyOption(command: Command, what: string): Command {
  return command.option(
    '--master-key <file>',
    `${what} (CORTEX_LEDGER_MASTER_KEY does the same); can be given again, for keys from before`,
    several,
  )
}

/** The files that were given, else that of the environment; none where neither is. */
export function masterKeysOf({ masterKey }: MasterKeyOptions): readonly string[] {
  const fromEnvironment = process.env['CORTEX_LEDGER_MASTER_KEY'] || undefined
  return masterKey ?? (fromEnvironment === undefined ? [] : [fromEnvironment])
}

/** How to open a ledger to read or record what is encrypted. @throws Misuse */
export function encryptionOf(options: MasterKeyOptions): Pick<OpenOptions, 'encryption'> {
  const files = masterKeysOf(options)
  if (files.length === 0) return {}
  if (!files.includes(NONE)) return { encryption: { master: files } }
  if (files.length > 1) throw new Misuse(`--master-key ${NONE}: it stands alone, and says that what is recorded is not encrypted`)
  return { encryption: null }
}
