/**
 * A process that records behind on a disk that it has filled, and ends:
 *
 *     node full-disk-process.ts '{"location":"…","disk":"…","reserveBytes":1000000,"turns":0}'
 */
import { AuditLedger } from '../../src/index.ts'
import { closeSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as turnOfTheLoop } from 'node:timers/promises'

interface FullDiskPlan {
  readonly location: string
  readonly disk: string
  readonly reserveBytes: number
  /** Of the event loop, between the call and the exit. */
  readonly turns: number
}

const { location, disk, reserveBytes, turns } = JSON.parse(process.argv[2]!) as FullDiskPlan
const ledger = await AuditLedger.open(location, {
  signer: null,
  origin: 'example.com/full',
  tree: 'on-demand',
  disk: { reserveBytes, warnBelowBytes: 0 },
  onWarning: () => {},
})
await ledger.flush()
const fd = openSync(join(disk, 'filler'), 'w')
try {
  for (;;) writeSync(fd, Buffer.alloc(4096))
} catch {
  closeSync(fd)
}
await ledger.call({ agent_name: 'a', method_name: 'm', run_id: 'last', prompt: 'x'.repeat(100_000) }, () => 'done')
for (let turn = 0; turn < turns; turn++) await turnOfTheLoop()
process.exit(0)
