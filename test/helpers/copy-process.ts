/**
 * A process that copies, and kills itself at its n-th moment:
 *
 *     node copy-process.ts '{"from":"…","to":"…","killAt":3}'
 *
 * What it does to the target has three moments each: before, while it is under way, behind it. It prints `done` where it
 * came to its end.
 */
import { copyLedger } from '../../src/ledger/copy.ts'
import { openStore } from '../../src/open-store.ts'
import type { Store } from '../../src/ledger/store.ts'
import { wrapped } from './wrapped-store.ts'

export interface CopyPlan {
  readonly from: string
  readonly to: string
  readonly killAt: number
}

const { from, to, killAt } = JSON.parse(process.argv[2]!) as CopyPlan
let moments = 0

function moment(isNow: (die: () => void) => void): void {
  if (moments++ === killAt) isNow(() => process.kill(process.pid, 'SIGKILL'))
}

async function killing<Result>(act: () => Promise<Result>): Promise<Result> {
  moment((die) => die())
  // A write that is on its way to the disk by then.
  moment((die) => setImmediate(die))
  const result = await act()
  moment((die) => die())
  return result
}

const source = await openStore(from, { readOnly: true, index: 'off' })
const store = await openStore(to, {})
const target: Store = {
  ...wrapped(store),
  append: (records, expected, options) => killing(() => store.append(records, expected, options)),
  replica: { read: () => store.replica.read(), write: (text) => killing(() => store.replica.write(text)) },
  tree: { ...store.tree, writeText: (name, text) => killing(() => store.tree.writeText(name, text)) },
}
await copyLedger(source, target)
await store.close()
await source.close()
process.stdout.write('done\n')
