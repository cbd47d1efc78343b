/** What test/programs.ts has built. */
import { join } from 'node:path'

/** Its file, by its path in src or test/helpers, without what it ends in. */
export function built(name: string): string {
  const folder = process.env['CORTEX_LEDGER_BUILT']
  if (folder === undefined) throw new Error('nothing is built: vitest.config.ts names test/programs.ts as its globalSetup')
  return join(folder, `${name}.js`)
}
