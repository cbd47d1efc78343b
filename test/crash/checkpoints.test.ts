/** kill -9 of processes that sign: whatever they had signed stays true, and nobody is kept from going on. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { AuditLedger, signerFromSeed } from '../../src/index.ts'
import { readRemembered } from '../../src/ledger/remembered.ts'
import { nodeParent } from '../../src/ledger/tree.ts'
import { seededRandom } from '../../src/testing/index.ts'
import { hashBytes, hashHex, TreeEdge } from '../../src/verify/tree.ts'
import { startChild } from '../helpers/child.ts'
import { scale } from '../helpers/scale.ts'
import { tempDir } from '../helpers/temp.ts'

const ORIGIN = 'example.com/crash'
const KILLS = scale(6, 100)
const SEED = 20261125

test.each([
  ['ledger', 1],
  ['ledger.db', 2],
])(`%s: ${KILLS} × kill -9 of %i that sign (seed ${SEED})`, async (name, processes) => {
  const location = join(tempDir(), name)
  const stateFolder = join(tempDir(), 'state')
  const open = {
    origin: ORIGIN,
    signer: signerFromSeed(ORIGIN, new Uint8Array(32).fill(3)),
    stateFolder,
    checkpoints: false,
    index: 'off',
  } as const
  const random = seededRandom(SEED)
  const signed: [size: number, root: string][] = []
  for (let life = 0; life < KILLS; life++) {
    const children = Array.from({ length: processes }, () => startChild('signing-process', { location, origin: ORIGIN, stateFolder }))
    await Promise.all(children.map((child) => child.waitFor(/^ready/)))
    await children[0]!.waitForCount(2 + random.below(20))
    await new Promise((resolve) => setTimeout(resolve, random.below(20)))
    await Promise.all(children.map((child) => child.kill()))
    for (const { lines, stderr } of children) {
      expect(stderr()).toBe('')
      for (const line of lines) {
        const [, size, root] = /^signed (\d+) ([0-9a-f]{64})$/.exec(line) ?? []
        if (size !== undefined && root !== undefined) signed.push([Number(size), root])
      }
    }
    const ledger = await AuditLedger.open(location, { ...open, onWarning: () => {} })
    const last = Math.max(...signed.map(([size]) => size))
    expect((await readRemembered(ORIGIN, stateFolder))?.size, 'what was told is remembered').toBeGreaterThanOrEqual(last)
    await ledger.checkpoint()
    await ledger.close()
  }
  expect(signed.length).toBeGreaterThan(KILLS)
  const ledger = await AuditLedger.open(location, { readOnly: true })
  const edge = new TreeEdge(nodeParent)
  const roots = ['']
  for await (const { hash } of ledger.read()) {
    edge.append(hashBytes(hash))
    roots.push(hashHex(edge.root()!))
  }
  for (const [size, root] of signed) expect(root).toBe(roots[size])
  await ledger.close()
})
