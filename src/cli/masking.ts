/** What commands that record are told about masking. */
import type { Command } from 'commander'
import type { Mask, MaskPattern } from '../index.ts'
import { asked } from './errors.ts'

export interface MaskingOptions {
  readonly mask?: string
}

export function addMaskOption(command: Command): Command {
  return command.option(
    '--mask <rules>',
    'what is masked before it is recorded: a comma between names such as email,card,token or JSON pointers such as /parsed_data/customer; default for all patterns but phone',
  )
}

/** @throws Misuse for a rule that is none */
export async function maskOf({ mask }: MaskingOptions): Promise<Mask | undefined> {
  if (mask === undefined) return undefined
  // Loaded where it is wanted: most who record have no need of it.
  const { DEFAULT_MASK_PATTERNS, maskRules } = await import('../ledger/masking/rules.ts')
  const rules = mask.split(',').map((rule) => rule.trim())
  const pointers = rules.filter((rule) => rule.startsWith('/'))
  const names = rules.filter((rule) => !rule.startsWith('/')).flatMap((name) => (name === 'default' ? [...DEFAULT_MASK_PATTERNS] : [name]))
  return asked(async () => maskRules({ patterns: names as MaskPattern[], pointers }))
}
