/** The parts of the guard: when it tells, what the reserve does where it is not alone, what it does with an unknown outcome. */
import { existsSync, statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { LedgerError } from '../../../src/ledger/errors.ts'
import type { Store } from '../../../src/ledger/store.ts'
import type { LedgerWarning } from '../../../src/ledger/warning.ts'
import { guardedStore } from '../../../src/stores/disk/guarded-store.ts'
import { Reserve } from '../../../src/stores/disk/reserve.ts'
import { DiskWatch } from '../../../src/stores/disk/space.ts'
import { openMemoryStore } from '../../../src/stores/memory.ts'
import { LEDGER_CREATED, SampleChain } from '../../../src/testing/sample-chain.ts'
import { fill, NOT_MOUNTED, smallDisk } from '../../helpers/small-disk.ts'
import { tempDir } from '../../helpers/temp.ts'
import { wrapped } from '../../helpers/wrapped-store.ts'

const MIB = 1024 * 1024

test('told once, and again when there was more in between; two paths on one file system are one', async (context) => {
  const disk = smallDisk(4)
  if (disk === null) return context.skip(NOT_MOUNTED)
  const told: LedgerWarning[] = []
  const watch = new DiskWatch([disk, join(disk, '.'), join(disk, 'not-there')], MIB, (warning) => told.push(warning))
  expect(await watch.look()).toBe(3 * MIB)
  const free = fill(disk, 3.5 * MIB)
  expect(await watch.look()).toBe(0)
  await watch.look()
  expect(told.map(({ disk: about }) => about)).toEqual([{ path: disk, available_bytes: 0.5 * MIB, warn_below_bytes: MIB }])
  free()
  await watch.look()
  fill(disk)
  await watch.look()
  expect(told.map(({ code, disk: about }) => [code, about?.available_bytes])).toEqual([
    ['disk_nearly_full', 0.5 * MIB],
    ['disk_nearly_full', 0],
  ])
})

test('a small file system is told of at a tenth of it unless the owner says otherwise, and never at 0', async (context) => {
  const disk = smallDisk(10)
  if (disk === null) return context.skip(NOT_MOUNTED)
  const told: LedgerWarning[] = []
  expect(await new DiskWatch([disk], null, (warning) => told.push(warning)).look()).toBe(9 * MIB)
  fill(disk)
  await new DiskWatch([disk], 0, (warning) => told.push(warning)).look()
  expect(told).toEqual([])
  await new DiskWatch([disk], null, (warning) => told.push(warning)).look()
  expect(told.map(({ disk: about }) => about?.warn_below_bytes)).toEqual([MIB])
})

test('a reserve for which there is no room takes none', async (context) => {
  const disk = smallDisk(2)
  if (disk === null) return context.skip(NOT_MOUNTED)
  const reserve = new Reserve(join(disk, 'reserve'), 3 * MIB)
  expect([await reserve.make(), reserve.isUsed, existsSync(reserve.path)]).toEqual([false, false, false])
  // One that was given up stays so.
  const small = new Reserve(reserve.path, MIB)
  expect([await small.make(), await small.giveUp(), small.isUsed]).toEqual([true, true, true])
  fill(disk)
  expect([await small.make(), small.isUsed, statSync(small.path).size]).toEqual([false, true, 0])
})

test('a reserve really takes its room', async (context) => {
  const disk = smallDisk(4)
  if (disk === null) return context.skip(NOT_MOUNTED)
  const reserve = new Reserve(join(disk, 'reserve'), 2 * MIB)
  await reserve.make()
  const { size, blocks } = statSync(reserve.path)
  expect([size, blocks * 512]).toEqual([2 * MIB, 2 * MIB])
})

test('given up while it is being made, by another process, or removed by hand', async () => {
  const path = join(tempDir(), 'reserve')
  const reserve = new Reserve(path, 8 * MIB)
  const making = reserve.make()
  await new Promise((resolve) => setTimeout(resolve, 1))
  const hadSome = await reserve.giveUp()
  await making
  expect([reserve.isUsed, existsSync(path) ? statSync(path).size : 0]).toEqual([hadSome, 0])

  expect([await reserve.make(), reserve.isUsed, statSync(path).size]).toEqual([true, false, 8 * MIB])
  truncateSync(path, 0)
  expect([await reserve.giveUp(), reserve.isUsed]).toEqual([false, true])
  expect(await new Reserve(path, 8 * MIB).look()).toBe(0)
})

/** A store over memory whose first append fails after it was said what for, and counts what is asked of it. */
function failing(error: LedgerError, more: Partial<Store> = {}): { store: Store; calls: string[] } {
  const memory = openMemoryStore()
  const calls: string[] = []
  const store = wrapped(memory)
  const counted: Store = Object.assign(store, {
    state: (request: Parameters<Store['state']>[0]) => (calls.push('state'), memory.state(request)),
    append: (...given: Parameters<Store['append']>) => {
      calls.push('append')
      return calls.filter((name) => name === 'append').length === 1 ? Promise.reject(error) : memory.append(...given)
    },
    ...more,
  } satisfies Partial<Store>)
  return { store: counted, calls }
}

async function guardOver(store: Store): Promise<Store> {
  const folder = tempDir()
  return guardedStore(store, { folder, reserve: join(folder, 'reserve'), others: [] }, { reserveBytes: 4096, warnBelowBytes: 0 }, () => {})
}

test('what could not be taken back is taken back before it is written once more', async () => {
  const { store, calls } = failing(new LedgerError('disk_full', 'full', { outcome_unknown: true }))
  const guarded = await guardOver(store)
  const chain = new SampleChain()
  await guarded.append(chain.seal([LEDGER_CREATED]), chain.head)
  expect(calls).toEqual(['append', 'state', 'append'])
  await guarded.close()
})

test('where that fails too, nothing is written, and the outcome stays unknown', async () => {
  const unknown = new LedgerError('disk_full', 'full', { outcome_unknown: true })
  const { store, calls } = failing(unknown, { state: () => Promise.reject(new LedgerError('io_error', 'broken')) })
  const guarded = await guardOver(store)
  const chain = new SampleChain()
  await expect(guarded.append(chain.seal([LEDGER_CREATED]), chain.head)).rejects.toBe(unknown)
  expect(calls).toEqual(['append'])
  await guarded.close()
})

test('another failure is no full disk: the reserve stays', async () => {
  const { store, calls } = failing(new LedgerError('io_error', 'broken'))
  const guarded = await guardOver(store)
  const chain = new SampleChain()
  await expect(guarded.append(chain.seal([LEDGER_CREATED]), chain.head)).rejects.toMatchObject({ code: 'io_error' })
  expect([calls, (await guarded.describe())['disk_reserve_bytes']]).toEqual([['append'], 4096])
  await guarded.close()
})
