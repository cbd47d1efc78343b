/** What commands that write are told about signing: whose key, or none. */
import type { Command } from 'commander'
import type { OpenOptions } from '../index.ts'

export interface SigningOptions {
  readonly key?: string
  readonly policy?: string
}

export function addSigningOptions(command: Command): Command {
  return command
    .option(
      '--key <file>',
      "the ledger's key, where it is not in its default place (CORTEX_LEDGER_KEY does the same); none: go on without signing checkpoints",
    )
    .option(
      '--policy <file>',
      'whose witnesses are asked to cosign each checkpoint: a tlog-policy file (CORTEX_LEDGER_POLICY does the same)',
    )
}

export function signingOf({ key, policy }: SigningOptions): Pick<OpenOptions, 'key' | 'policy'> {
  return { ...(key !== undefined && { key }), ...(policy !== undefined && { policy }) }
}
