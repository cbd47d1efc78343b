/** A ledger on a real file system that fills up: told ahead, closed in order, and gone on with when there is room. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { AuditLedger, type LedgerError, type LedgerWarning, type OpenOptions } from '../../../src/index.ts'
import { assertKept } from '../../helpers/acknowledged.ts'
import { built } from '../../helpers/built.ts'
import { fill, NOT_MOUNTED, smallDisk } from '../../helpers/small-disk.ts'
import { soaking } from '../../helpers/scale.ts'
import { tempDir } from '../../helpers/temp.ts'

const MIB = 1024 * 1024
const DISK = { warnBelowBytes: 4 * MIB, reserveBytes: 2 * MIB }
const KINDS = { jsonl: ['ledger', 'ledger/reserve'], sqlite: ['ledger.db', 'ledger.db-reserve'] } as const

const call = (run_id: string, bytes = 100_000) => ({ agent_name: 'a', method_name: 'm', run_id, raw_output: 'x'.repeat(bytes) })

async function refusal(work: Promise<unknown>): Promise<LedgerError> {
  return work.then(
    () => {
      throw new Error('it was not refused')
    },
    (error: LedgerError) => error,
  )
}

/** Records until it is refused. */
async function recordUntilRefused(ledger: AuditLedger, name: string) {
  const receipts = []
  for (let i = 0; i < 1000; i++) {
    try {
      receipts.push(await ledger.record(call(`${name}${i}`)))
    } catch (error) {
      return { receipts, error: error as LedgerError }
    }
  }
  throw new Error('the disk did not fill up')
}

describe.each(Object.entries(KINDS))('%s', (_, [name, reserveName]) => {
  function place(mebibytes: number) {
    const disk = smallDisk(mebibytes)
    if (disk === null) return null
    const [location, reserve] = [join(disk, name), join(disk, reserveName)]
    const [keys, warnings] = [tempDir(), [] as LedgerWarning[]]
    const open = async (more: OpenOptions = {}): Promise<AuditLedger> => {
      const ledger = await AuditLedger.open(location, {
        origin: 'example.com/full',
        actor: 'tester',
        key: join(keys, 'key'),
        stateFolder: keys,
        disk: DISK,
        onWarning: (warning) => warnings.push(warning),
        ...more,
      })
      onTestFinished(() => ledger.close().catch(() => {}))
      return ledger
    }
    return { disk, location, reserve, warnings, open }
  }

  test('a warning ahead, the reserve for the last records, and then recording goes on', async (context) => {
    const there = place(12)
    if (there === null) return context.skip(NOT_MOUNTED)
    const { disk, location, reserve, warnings, open } = there
    const makeRoom = fill(disk, 4 * MIB)
    let ledger = await open()
    expect(statSync(reserve).size).toBe(DISK.reserveBytes)
    expect((await ledger.stats()).store).toMatchObject({ disk_reserve_bytes: DISK.reserveBytes, disk_free_bytes: expect.any(Number) })
    const { receipts, error } = await recordUntilRefused(ledger, 'a')

    const told = warnings.filter(({ code }) => code.startsWith('disk_'))
    expect(told.map(({ code }) => code)).toEqual(['disk_nearly_full', 'disk_reserve_used'])
    const { path, available_bytes, warn_below_bytes } = told[0]!.disk!
    expect([disk, location]).toContain(path)
    expect(warn_below_bytes).toBe(DISK.warnBelowBytes)
    expect(available_bytes).toBeLessThan(DISK.warnBelowBytes)
    expect(available_bytes, 'ahead, not when it was too late').toBeGreaterThan(0)
    expect(error).toMatchObject({ code: 'disk_full', details: { reserve, needed_bytes: 2 * DISK.reserveBytes } })
    expect(statSync(reserve).size).toBe(0)

    // Refused at once: what the reserve left is not for them.
    const free = (await ledger.stats()).store['disk_free_bytes']
    expect(free).toBeGreaterThan(0)
    expect(
      (
        await refusal(
          ledger.append('s', [
            { type: 'StepTaken', data: {} },
            { type: 'StepTaken', data: {} },
          ]),
        )
      ).code,
    ).toBe('disk_full')
    await ledger.call({ agent_name: 'a', method_name: 'm' }, () => 'passed on')
    await ledger.flush()
    expect(warnings.at(-1)).toMatchObject({ code: 'recording_failed', error: { code: 'disk_full' } })
    await ledger.close()

    // Closing said so in the ledger, and signed it; the next process knows that the disk is full.
    ledger = await open()
    expect((await refusal(ledger.record(call('late', 10)))).details['reserve']).toBe(reserve)
    const [gap] = (await ledger.query({ type: 'RecordingGapDetected' })).records
    expect(gap?.entry).toMatchObject({ reason: 'disk_full', records_lost: 1, records_refused: 3 })
    expect((await ledger.latestCheckpoint())?.size).toBe(gap!.seq + 1)
    await assertKept(ledger, receipts)

    makeRoom()
    // It looks now and then only, not at each append.
    let refused = 1
    const recordAgain = () =>
      ledger.record(call('again')).catch((error: unknown) => void ((refused += 1), expect(error).toMatchObject({ code: 'disk_full' })))
    const again = await vi.waitUntil(recordAgain, { timeout: 10_000, interval: 50 })
    expect(statSync(reserve).size).toBe(DISK.reserveBytes)
    await ledger.flush()
    const gaps = (await ledger.query({ type: 'RecordingGapDetected' })).records
    expect(gaps.at(-1)?.entry).toMatchObject({ reason: 'disk_full', records_lost: 0, records_refused: refused })
    const report = await ledger.verifyIntegrity()
    expect([report.ok, report.problems]).toEqual([true, []])
    await assertKept(ledger, [...receipts, again])
    expect(await ledger.get('late')).toBeUndefined()
  })

  test('many who record at once: each is there or was refused', async (context) => {
    const there = place(12)
    if (there === null) return context.skip(NOT_MOUNTED)
    const ledger = await there.open({ batch: { bytes_max: 500_000 } })
    const outcomes = await Promise.allSettled(Array.from({ length: 300 }, (_, i) => ledger.record(call(`r${i}`, 50_000))))
    const receipts = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []))
    const reasons = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [(outcome.reason as LedgerError).code] : []))
    expect(new Set(reasons)).toEqual(new Set(['disk_full']))
    await ledger.close()
    const reading = await there.open({ readOnly: true })
    await assertKept(reading, receipts)
    expect(await reading.count({ action: 'm' })).toBe(receipts.length)
    const [gap] = (await reading.query({ type: 'RecordingGapDetected' })).records
    expect(gap?.entry).toMatchObject({ reason: 'disk_full', records_refused: reasons.length })
    expect((await reading.verifyIntegrity()).problems).toEqual([])
  })

  test('without a reserve it is refused as before, and one that is there goes', async (context) => {
    const there = place(10)
    if (there === null) return context.skip(NOT_MOUNTED)
    await (await there.open()).close()
    expect(existsSync(there.reserve)).toBe(true)
    const ledger = await there.open({ disk: { reserveBytes: 0, warnBelowBytes: 0 } })
    expect(existsSync(there.reserve)).toBe(false)
    const { error } = await recordUntilRefused(ledger, 'a')
    expect([error.code, error.details['reserve']]).toEqual(['disk_full', undefined])
    expect(there.warnings.map(({ code }) => code).filter((code) => code.startsWith('disk_'))).toEqual([])
  })

  // Later, the write is under way, or taken back, or the reserve is being given up.
  test.for(soaking ? [0, 1, 2, 3, 4, 5, 6, 8, 10] : [0, 3])(
    'what is recorded behind is written at exit %i turns later',
    async (turns, context) => {
      const disk = smallDisk(10)
      if (disk === null) return context.skip(NOT_MOUNTED)
      const plan = JSON.stringify({ location: join(disk, name), disk, reserveBytes: MIB, turns })
      const { status, stderr } = spawnSync(process.execPath, [built('programs/full-disk-process'), plan])
      expect([status, stderr.toString()]).toEqual([0, ''])
      const ledger = await AuditLedger.open(join(disk, name), { readOnly: true })
      onTestFinished(() => ledger.close())
      expect((await ledger.get('last'))?.entry?.['raw_output']).toBe('done')
      expect(statSync(join(disk, reserveName)).size).toBe(0)
    },
  )
})

test('a reserve that a process left half made is counted, and made whole by the next one', async () => {
  const location = join(tempDir(), 'ledger')
  mkdirSync(location)
  writeFileSync(join(location, 'reserve'), Buffer.alloc(5000, 7))
  const ledger = await AuditLedger.open(location, { signer: null, disk: { reserveBytes: 100_000 } })
  await ledger.close()
  const bytes = readFileSync(join(location, 'reserve'))
  expect(bytes.length).toBe(100_000)
  expect(bytes.subarray(0, 5000)).toEqual(Buffer.alloc(5000, 7))
})

test('the directory of an archive is watched too', async (context) => {
  const disk = smallDisk(4)
  if (disk === null) return context.skip(NOT_MOUNTED)
  fill(disk)
  const warnings: LedgerWarning[] = []
  const options = {
    signer: null,
    archive: disk,
    disk: { warnBelowBytes: MIB },
    onWarning: (warning: LedgerWarning) => warnings.push(warning),
  }
  const ledger = await AuditLedger.open(join(tempDir(), 'ledger'), options)
  await expect.poll(() => warnings.map(({ disk: about }) => about?.path)).toEqual([disk])
  await ledger.close()
})

test.each([{ reserveBytes: -1 }, { reserveBytes: 0.5 }, { warnBelowBytes: Infinity }, { warnBelowBytes: '1' as unknown as number }])(
  'misuse is told before anything is made: %j',
  async (disk) => {
    const location = join(tempDir(), 'ledger')
    await expect(AuditLedger.open(location, { disk })).rejects.toThrow(RangeError)
    expect(existsSync(location)).toBe(false)
  },
)
