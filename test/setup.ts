import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach } from 'vitest'

// No test touches the keys and the memory of checkpoints of whoever runs it.
const home = mkdtempSync(join(tmpdir(), 'cortex-ledger-home-'))
process.env['XDG_CONFIG_HOME'] = join(home, 'config')
process.env['XDG_STATE_HOME'] = join(home, 'state')
delete process.env['CORTEX_LEDGER']
delete process.env['CORTEX_LEDGER_KEY']

// Tests make ledgers of the same origin, which on one machine would be forks of each other.
let tests = 0
beforeEach(() => {
  process.env['XDG_STATE_HOME'] = join(home, `state-${++tests}`)
})
