/** What commands that write are told about signing: whose key, or none. */
import type { Command } from 'commander'
import type { OpenOptions } from '../index.ts'
import { Misuse } from './errors.ts'
import { PASSPHRASE_OPTION, passphraseIn } from './passphrase.ts'

export interface SigningOptions {
  readonly key?: string
  readonly policy?: string
  readonly passphraseFile?: string
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
    .option(PASSPHRASE_OPTION, "a file that holds the key's passphrase in one line (CORTEX_LEDGER_PASSPHRASE does the same)")
}

export function signingOf({ key, policy, passphraseFile }: SigningOptions): Pick<OpenOptions, 'key' | 'policy' | 'passphrase'> {
  // stdin is for what is recorded.
  if (passphraseFile === '-') throw new Misuse('--passphrase-file: give a file, or set CORTEX_LEDGER_PASSPHRASE')
  const passphrase = passphraseFile === undefined ? undefined : (): Promise<string> => passphraseIn(passphraseFile)
  return { key, policy, passphrase }
}
