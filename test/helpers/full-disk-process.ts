/**
 * A process that records behind on a disk that it has filled, and ends:
 *
 *     node full-disk-process.ts '{"location":"…","disk":"…","reserveBytes":1000000}'
 */
import { AuditLedger } from '../../src/index.ts'
import { closeSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'

const { location, disk, reserveBytes } = JSON.parse(process.argv[2]!) as { location: string; disk: string; reserveBytes: number }
const ledger = await AuditLedger.open(location, {
  signer: null,
  origin: 'example.com/full',
  tree: 'on-demand',
  disk: { reserveBytes, warnBelowBytes: 0 },
})
await ledger.flush()
const fd = openSync(join(disk, 'filler'), 'w')
try {
  for (;;) writeSync(fd, Buffer.alloc(4096))
} catch {
  closeSync(fd)
}
await ledger.call({ agent_name: 'a', method_name: 'm', run_id: 'last', input_data: { text: 'x'.repeat(100_000) } }, () => 'done')
process.exit(0)
