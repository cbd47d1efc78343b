/** `npm run bench`: see README.md beside this file. Writes results.md and results.json; `--quick` writes nothing. */
import { writeFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import { join } from 'node:path'
import { appendRows } from './append.ts'
import { derivingRows } from './deriving.ts'
import { diskRows } from './disk.ts'
import { encryptionRows } from './encryption.ts'
import { Fixtures } from './fixtures.ts'
import { loopRows } from './loop.ts'
import { maskingRows } from './masking.ts'
import { memoryRows } from './memory.ts'
import { openRows } from './open.ts'
import { readOptions, USAGE } from './options.ts'
import type { Options, Topic } from './options.ts'
import { peerRows } from './peers.ts'
import { postgresRows } from './postgres/index.ts'
import { proofsRows } from './proofs.ts'
import { queryRows } from './query.ts'
import { describeRun, machineReadable, markdown } from './report.ts'
import { retentionRows } from './retention.ts'
import { isRow } from './rows.ts'
import type { Result } from './rows.ts'
import { Session } from './session.ts'
import { verifyRows } from './verify.ts'

const MEASURE: Record<Topic, (session: Session, fixtures: Fixtures) => Promise<Result[]>> = {
  append: appendRows,
  disk: diskRows,
  masking: maskingRows,
  encryption: encryptionRows,
  verify: verifyRows,
  loop: loopRows,
  query: queryRows,
  open: openRows,
  proofs: proofsRows,
  deriving: derivingRows,
  retention: retentionRows,
  memory: memoryRows,
  peers: peerRows,
  postgres: postgresRows,
}

/** A topic that fails is a line of the results, and the others go on. */
async function measureAll(session: Session): Promise<Result[]> {
  const fixtures = new Fixtures(session)
  const results: Result[] = []
  for (const topic of session.options.topics) {
    try {
      results.push(...(await MEASURE[topic](session, fixtures)))
    } catch (error) {
      session.say(`${topic} failed: ${error instanceof Error ? error.stack : String(error)}`)
      results.push({ topic, what: 'all of it', absent: `failed: ${String(error)}`, isFailure: true })
    }
  }
  return results
}

async function main(options: Options): Promise<void> {
  const load = loadavg()[0] ?? 0
  const session = new Session(options)
  const results = await measureAll(session)
  const run = describeRun(options, load)
  console.log(options.json ? machineReadable(run, results) : markdown(run, results))
  if (results.some((result) => !isRow(result) && result.isFailure)) process.exitCode = 1
  if (options.quick || options.topics.length < Object.keys(MEASURE).length) return
  writeFileSync(join(import.meta.dirname, 'results.md'), markdown(run, results))
  writeFileSync(join(import.meta.dirname, 'results.json'), machineReadable(run, results))
}

let options: Options | null = null
try {
  options = readOptions(process.argv.slice(2))
} catch (error) {
  console.error(`${(error as Error).message}\n${USAGE}`)
  process.exitCode = 2
}
if (options !== null) await main(options)
