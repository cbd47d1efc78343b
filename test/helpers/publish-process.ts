/**
 * A process that publishes, and kills itself before its n-th step on the file system:
 *
 *     node publish-process.ts '{"location":"…","note":"…","dir":"…","killAt":3}'
 *
 * It prints `done <steps>` where it came to its end.
 */
import fs from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'

const plan = JSON.parse(process.argv[2]!) as { location: string; note: string; dir: string; killAt: number }
let steps = 0

/** Each of these changes something, or opens what will be changed. */
for (const name of ['mkdir', 'open', 'rename', 'rm'] as const) {
  const real = fs[name] as (...args: unknown[]) => Promise<unknown>
  Object.assign(fs, {
    [name]: (...args: unknown[]) => {
      if (String(args[0]).startsWith(plan.dir) && steps++ === plan.killAt) process.kill(process.pid, 'SIGKILL')
      return real(...args)
    },
  })
}
syncBuiltinESMExports()

const { publishLog } = await import('../../src/ledger/publish.ts')
const { openStore } = await import('../../src/open-store.ts')
const store = await openStore(plan.location, { readOnly: true })
await publishLog(store, { note: plan.note }, plan.dir)
await store.close()
process.stdout.write(`done ${steps}\n`)
