/** What commands that write are told about signing: whose key, or none. */
import type { Command } from 'commander'
import type { OpenOptions } from '../index.ts'

export interface SigningOptions {
  readonly key?: string
}

export function addSigningOptions(command: Command): Command {
  return command.option(
    '--key <file>',
    "the ledger's key, where it is not in its default place (CORTEX_LEDGER_KEY does the same); none: go on without signing checkpoints",
  )
}

export function signingOf({ key }: SigningOptions): Pick<OpenOptions, 'key'> {
  return key === undefined ? {} : { key }
}
