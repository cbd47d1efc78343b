/** Many processes write one ledger in PostgreSQL and many read its end: each position is seen once, in order, and every receipt is true. */
import { describe, expect, test } from 'vitest'
import { AuditLedger } from '../../src/index.ts'
import { nodeParent } from '../../src/ledger/tree.ts'
import { hashBytes, TreeEdge } from '../../src/verify/tree.ts'
import { acknowledgedIn, assertKept } from '../helpers/acknowledged.ts'
import { startChild } from '../helpers/child.ts'
import { pause, sql, until } from '../helpers/postgres-cluster.ts'
import { postgresMissing, useDatabases } from '../helpers/postgres.ts'
import { scale } from '../helpers/scale.ts'
import pg from 'pg'

const OPEN = { signer: null, origin: 'example.com/crash' } as const
const WRITERS = scale(4, 8)
const READERS = scale(2, 4)
/** Each makes 2.4 records on average. */
const APPENDS = scale(12, 660)

/** Reads on from where it is, until it is told the size to end at. */
class Tail {
  readonly hashes: string[] = []
  size = Infinity
  readonly done: Promise<void>

  constructor(url: string) {
    this.done = this.#run(url)
  }

  async #run(url: string): Promise<void> {
    const ledger = await AuditLedger.open(url, { readOnly: true })
    while (this.hashes.length < this.size) {
      const before = this.hashes.length
      for await (const { seq, hash, header } of ledger.read({ from: before })) {
        expect(seq).toBe(this.hashes.length)
        expect(header.previous_hash).toBe(this.hashes.at(-1) ?? 'GENESIS')
        this.hashes.push(hash)
      }
      if (this.hashes.length === before) await pause(5)
    }
    await ledger.close()
  }
}

describe.skipIf(postgresMissing !== null)('PostgreSQL', () => {
  const { newDatabase } = useDatabases()

  test(`${WRITERS} processes write at once, ${READERS} readers follow`, async () => {
    const location = await newDatabase()
    const writers = Array.from({ length: WRITERS }, (_, i) =>
      startChild('writer-process', {
        location,
        name: `p${i}`,
        callers: 8,
        appends: APPENDS,
        seed: i,
        waitForStart: true,
        textMax: 20_000,
        open: { tree: 'on-demand' },
      }),
    )
    for (const child of writers) await child.waitFor(/^waiting/)
    // All of them find no tables and no ledger there: one makes them, and the others join.
    for (const child of writers) child.tell('go')
    await Promise.race(writers.map((child) => child.waitFor(/^ready/)))
    const tails = Array.from({ length: READERS }, () => new Tail(location))
    for (const child of writers) await child.waitFor(/^done/)
    const acknowledged = writers.flatMap(({ lines }) => acknowledgedIn(lines))
    for (const tail of tails) tail.size = 1 + acknowledged.length
    await Promise.all(tails.map(({ done }) => done))
    const ledger = await AuditLedger.open(location, OPEN)
    expect(await assertKept(ledger, acknowledged)).toBe(1 + acknowledged.length)
    for (const { hashes } of tails) expect(hashes).toEqual(tails[0]!.hashes)
    const edge = new TreeEdge(nodeParent)
    for (const hash of tails[0]!.hashes) edge.append(hashBytes(hash))
    await ledger.tree.catchUp()
    expect(await ledger.tree.root(1 + acknowledged.length)).toEqual(edge.root())
    await ledger.close()
  })

  test('a row that was inserted and is held back holds back all that come after it', async () => {
    const location = await newDatabase()
    const holder = await AuditLedger.open(location, OPEN)
    const others = [await AuditLedger.open(location, OPEN), await AuditLedger.open(location, OPEN)]
    const KEY = 4711
    await sql(
      location,
      `CREATE FUNCTION public.hold_back() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          IF NEW.run_id LIKE 'held-%' THEN PERFORM pg_advisory_xact_lock(${KEY}); END IF;
          RETURN NULL;
        END $$;
        CREATE TRIGGER hold_back AFTER INSERT ON cortex_ledger.run_keys FOR EACH ROW EXECUTE FUNCTION public.hold_back()`,
    )
    const tails = Array.from({ length: READERS }, () => new Tail(location))
    const client = new pg.Client({ connectionString: location })
    await client.connect()
    let told = 0
    const rounds = scale(3, 30)
    for (let round = 0; round < rounds; round++) {
      await client.query(`SELECT pg_advisory_lock(${KEY})`)
      const size = await holder.count()
      const held = holder.record({ run_id: `held-${round}`, agent_name: 'a', method_name: 'm' })
      const waits = `SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`
      await until('the row is inserted and held back', async () => (await sql(location, waits)).length > 0)
      const rest = others.map((ledger) => ledger.record({ agent_name: 'b', method_name: 'm' }).finally(() => told++))
      await pause(100)
      expect(told).toBe(2 * round)
      expect(await holder.count()).toBe(size)
      for (const tail of tails) expect(tail.hashes.length).toBeLessThanOrEqual(size)
      await client.query(`SELECT pg_advisory_unlock(${KEY})`)
      expect((await held).seq).toBe(size)
      expect((await Promise.all(rest)).map(({ seq }) => seq).toSorted((a, b) => a - b)).toEqual([size + 1, size + 2])
    }
    for (const tail of tails) tail.size = 1 + 3 * rounds
    await Promise.all(tails.map(({ done }) => done))
    expect(await assertKept(holder, [])).toBe(1 + 3 * rounds)
    await client.end()
    for (const ledger of [holder, ...others]) await ledger.close()
  })
})
