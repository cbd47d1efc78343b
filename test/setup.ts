import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

// No test touches the keys and the memory of checkpoints of whoever runs it.
const home = mkdtempSync(join(tmpdir(), 'cortex-ledger-home-'))
process.env['XDG_CONFIG_HOME'] = join(home, 'config')
process.env['XDG_STATE_HOME'] = join(home, 'state')
delete process.env['CORTEX_LEDGER']
delete process.env['CORTEX_LEDGER_KEY']
