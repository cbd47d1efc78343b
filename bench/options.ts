/** What `npm run bench -- …` can be told. */
import { parseArgs } from 'node:util'

export const TOPICS = [
  'append',
  'disk',
  'masking',
  'encryption',
  'verify',
  'loop',
  'query',
  'open',
  'proofs',
  'deriving',
  'retention',
  'memory',
  'peers',
  'postgres',
] as const
export type Topic = (typeof TOPICS)[number]

export interface Options {
  /** Small counts, few rounds, and nothing is written. */
  readonly quick: boolean
  /** In the order of `TOPICS`, which puts what waits for disks and timers before what fills them. */
  readonly topics: readonly Topic[]
  /** What "1 million" stands for: the records of the large ledgers. */
  readonly records: number
  /** Print the rows as JSON in place of the report. */
  readonly json: boolean
}

export const USAGE = `npm run bench -- [--quick] [--only ${TOPICS.join(',')}] [--records N] [--json]`

/** Records of the ledger that a query's large one stands beside. */
export function smallRecords({ records }: Options): number {
  return Math.min(10_000, records / 2)
}

const isTopic = (name: string): name is Topic => TOPICS.some((topic) => topic === name)

/** @throws Error that says what is wrong with them */
export function readOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string' },
      records: { type: 'string' },
      json: { type: 'boolean', default: false },
    },
  })
  const wanted = (values.only ?? TOPICS.join(',')).split(',')
  const unknown = wanted.find((name) => !isTopic(name))
  if (unknown !== undefined) throw new Error(`--only ${unknown}: known are ${TOPICS.join(', ')}`)
  const records = Number(values.records ?? (values.quick ? 20_000 : 1_000_000))
  if (!Number.isSafeInteger(records) || records < 2000 || records % 1000 !== 0)
    throw new Error('--records is a number of thousands, from 2000')
  return { quick: values.quick, topics: TOPICS.filter((topic) => wanted.includes(topic)), records, json: values.json }
}
