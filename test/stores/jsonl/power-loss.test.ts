/** The power fails: at every step of creating, appending, beginning a segment and recovering, and in random lives. */
import { describe, expect, test } from 'vitest'
import { SYNC_SITES } from '../../../src/stores/jsonl/index.ts'
import type { SyncSite } from '../../../src/stores/jsonl/index.ts'
import { SimulatedDisk } from '../../helpers/jsonl-disk.ts'
import type { Loss } from '../../helpers/jsonl-disk.ts'
import { isPowerLoss, Model } from '../../helpers/jsonl-model.ts'
import { scale } from '../../helpers/scale.ts'
import { tempDir } from '../../helpers/temp.ts'

const LOSSES: readonly Loss[] = ['drop', 'tear', 'keep']

/** Creates, appends, begins two segments, and goes on. */
async function life(model: Model): Promise<void> {
  await model.open()
  await model.append()
  await model.append()
  await model.append(true)
  await model.append()
  await model.append(true)
  await model.letGo()
  await model.open()
  await model.append()
}

/** Runs `act` until the power fails in it, or it ends. */
async function untilPowerLoss(act: () => Promise<unknown>): Promise<boolean> {
  try {
    await act()
    return false
  } catch (error) {
    if (isPowerLoss(error)) return true
    throw error
  }
}

async function stepsOf(act: (model: Model) => Promise<unknown>, seed: number): Promise<number> {
  const model = new Model(tempDir(), seed)
  await act(model)
  await model.letGo()
  return model.disk.operations
}

describe.each(LOSSES)('power loss, %s', (loss) => {
  test('at every step of a life, and again at a step of the recovery', async () => {
    const steps = await stepsOf(life, 1)
    expect(steps).toBeGreaterThan(30)
    for (let at = 1; at <= steps; at++) {
      for (const kind of ['power-before', 'power-after'] as const) {
        for (let again = 0; again < scale(1, 12); again++) {
          const model = new Model(tempDir(), 1)
          model.disk.meet({ at, kind })
          const wasCut = await untilPowerLoss(() => life(model))
          expect(wasCut || at > model.disk.operations, `step ${at} of ${steps}`).toBe(true)
          await model.powerLoss(loss)
          // The recovery is cut short as well, somewhere; what it has done so far may be lost in another way.
          model.disk.meet({
            at: scale(1 + model.random.below(12), 1 + again),
            kind: model.random.pick(['power-before', 'power-after'] as const),
          })
          if (await untilPowerLoss(() => model.open())) await model.powerLoss(model.random.pick(LOSSES))
          model.disk.heal()
          if (model.store !== null) await model.letGo()
          await model.open()
          expect(await model.append()).toBe(null)
          await model.powerLoss('drop')
          await model.open()
          await model.letGo()
        }
      }
    }
  })
})

/** One ledger through several lives that end in every way; the checks are in the model. */
async function lives(seed: number, ignored: SyncSite | null = null, losses: readonly Loss[] = LOSSES): Promise<void> {
  const model = new Model(tempDir(), seed)
  const { disk, random } = model
  disk.ignoredSync = ignored
  for (let left = 6; left > 0; left--) {
    await untilPowerLoss(async () => {
      disk.meet({ at: 1 + random.below(60), kind: random.pick(['power-before', 'power-after'] as const) })
      await model.open()
      for (let batches = random.below(5); batches > 0; batches--) {
        // A disk that says a sync failed although all of it arrived, and that can be written again at once.
        if (random.chance(0.2)) disk.meet({ at: 2, kind: 'fail', code: 'EIO', isDone: true })
        const error = await model.append(random.chance(0.25))
        if (error !== null) await model.settle()
      }
    })
    disk.heal()
    // Killed in the middle of a step, or between two: what it wrote is there, synced or not.
    if (random.chance(0.3)) await model.kill()
    else await model.powerLoss(random.pick(losses))
  }
  await model.open()
  await model.powerLoss('drop')
  await model.open()
  await model.letGo()
}

test('random lives: power losses, kills, failed syncs', async () => {
  for (let seed = 1; seed <= scale(60, 3000); seed++) {
    await lives(seed).catch((error: unknown) => {
      throw new Error(`seed ${seed}: ${String(error)}`, { cause: error })
    })
  }
})

/** The suite above is worth something: without any one of the syncs it fails. */
test.each(SYNC_SITES)('without the sync "%s" records, or what was moved aside, are lost', async (site) => {
  let found: unknown = null
  let seed = 0
  // What is torn is what recovery works on.
  const losses: readonly Loss[] = site.startsWith('torn') ? ['tear', 'tear', 'drop'] : LOSSES
  while (seed < 400 && found === null) {
    seed++
    found = await lives(seed, site, losses).then(
      () => null,
      (error: unknown) => error,
    )
  }
  expect(found, 'leaving this sync out makes no difference').not.toBe(null)
  expect(String(found)).toMatch(
    /every acknowledged record is there|beyond it was given|no append is there in part|\.bin is there|moved aside is there/,
  )
})

test('the simulated disk keeps what was synced and nothing else', async () => {
  const disk = new SimulatedDisk('/a')
  const file = await disk.open('/a/f', 'create')
  await file.write(Buffer.from('one'), 0)
  await file.sync('append')
  await file.write(Buffer.from('two'), 3)
  expect(disk.peek('/a/f')?.toString()).toBe('onetwo')
  await disk.syncFolder('/a', 'new-segment')
  disk.cutPower()
  disk.reboot('drop', new Model(tempDir(), 1).random)
  expect(disk.peek('/a/f')?.toString()).toBe('one')
  await expect(file.write(Buffer.from('x'), 0)).rejects.toThrow('EBADF')
})
