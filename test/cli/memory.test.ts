/**
 * Verifying and exporting in bounded memory, measured on real processes. Stripping types takes some 30 MB that the
 * installed package does not need, so each command runs on a small ledger first: then they come from the compile cache.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { AuditLedger } from '../../src/index.ts'
import { scale, soaking } from '../helpers/scale.ts'
import { tempDir } from '../helpers/temp.ts'
import { BIN, environment } from './cli.ts'

const RECORDS = scale(6_000, 1_000_000)
const PEAK_MIB_MAX = 200
/** Says the peak of the process when it ends, KiB. The peak that Linux counts with its use of the processor is that of whoever started it, too. */
const TELL = `data:text/javascript,import{readFileSync as read}from'node:fs';const peak=()=>{try{return/VmHWM:\\s*(\\d+)/.exec(read('/proc/self/status','utf8'))[1]}catch{return process.resourceUsage().maxRSS}};process.on('exit',()=>process.stderr.write('peak '+peak()))`

function peakMib(args: readonly string[], temporary: string): number {
  const ran = spawnSync(process.execPath, ['--import', TELL, BIN, ...args], {
    env: { ...environment({ TMPDIR: temporary }) },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const told = /peak (\d+)$/.exec(ran.stderr.toString())
  if (ran.status !== 0 || told === null) throw new Error(`${args.join(' ')} ended with ${ran.status}: ${ran.stderr.toString()}`)
  return Number(told[1]) / 1024
}

/** Events of 200 bytes of content, a hundred in a stream. */
async function makeLedger(path: string, records: number): Promise<void> {
  const ledger = await AuditLedger.open(path, { origin: `example.com/large/${records}`, actor: 'shop', index: 'off' })
  const note = 'paid by card, delivered to the door, signed for; '.repeat(3)
  for (let made = 0; made < records; made += 1000) {
    const streams = Array.from({ length: 10 }, (_, i) => made / 100 + i)
    await Promise.all(
      streams.map((stream) =>
        ledger.append(
          `order-${stream}`,
          Array.from({ length: 100 }, (_, i) => ({ type: 'OrderNoted', data: { amount_cents: i, currency: 'EUR', note } })),
        ),
      ),
    )
  }
  await ledger.close()
}

test.each(['audit', 'audit.db'])(
  '%s: to verify and to export takes memory that has a bound',
  async (name) => {
    const folder = tempDir()
    const temporary = join(folder, 'temporary')
    mkdirSync(temporary)
    const [few, many] = [join(folder, `few-${name}`), join(folder, name)]
    await makeLedger(few, 1000)
    await makeLedger(many, RECORDS)
    const output = join(folder, 'exported')
    const peaks: { [command: string]: number } = Object.fromEntries(
      [['verify'], ['verify', '--canonical'], ['export', '--output', output], ['export', '--output', output, '--format', 'csv']].map(
        ([command, ...options]) => {
          peakMib([command!, few, ...options], temporary)
          return [
            [command, ...options.filter((each) => each !== output)].join(' '),
            Math.round(peakMib([command!, many, ...options], temporary)),
          ]
        },
      ),
    )
    if (soaking) {
      const published = join(folder, 'published')
      peakMib(['publish', few, `${published}-few`], temporary)
      peaks['publish'] = Math.round(peakMib(['publish', many, published], temporary))
      peaks['verify published'] = Math.round(peakMib(['verify', published], temporary))
    }
    console.log(`${name}, ${RECORDS} records, peaks in MiB: ${JSON.stringify(peaks)}`)
    expect(statSync(output).size).toBeGreaterThan(RECORDS * 200)
    for (const [command, peak] of Object.entries(peaks)) expect(peak, command).toBeLessThan(PEAK_MIB_MAX)
  },
  scale(120_000, 3_600_000),
)
