import { describe, expect, test } from 'vitest'
import { AuditLedger } from '../../src/index.ts'
import type { LedgerWarning } from '../../src/index.ts'
import { openMemoryStore } from '../../src/stores/memory.ts'
import { faultyStore } from '../../src/testing/index.ts'

const INFO = { agent_name: 'analyst', method_name: 'summarise', prompt: 'hello', correlation_id: 'task-1' }

async function calls(ledger: AuditLedger) {
  await ledger.flush()
  return (await ledger.query({ actor: 'analyst' })).records
}

describe('call', () => {
  test('passes the result on unchanged and records text as raw output', async () => {
    const ledger = await AuditLedger.open('memory:')
    expect(await ledger.call(INFO, () => 'the answer')).toBe('the answer')
    const [record] = await calls(ledger)
    expect(record?.header).toMatchObject({ type: 'AgentCallCompleted', outcome: 'success', stream: 'task-1', action: 'summarise' })
    expect(record?.entry).toMatchObject({ prompt: 'hello', raw_output: 'the answer', parsed_data: null })
  })

  test('records an object as data, and the same object is returned', async () => {
    const ledger = await AuditLedger.open('memory:')
    const result = { items: [1, 2] }
    expect(await ledger.call(INFO, async () => result)).toBe(result)
    expect((await calls(ledger))[0]?.entry).toMatchObject({ parsed_data: { items: [1, 2] }, raw_output: '' })
  })

  test('what is known only later can be set, and the output mapped', async () => {
    const ledger = await AuditLedger.open('memory:')
    await ledger.call(
      INFO,
      (call) => {
        call.set({ model_name: 'm1', usage: { output_tokens: 3 }, policy_decisions: [{ decision: 'deny', policy: 'p' }] })
        return { text: 'hi' }
      },
      { output: (result) => ({ raw_output: result.text }) },
    )
    const [record] = await calls(ledger)
    expect(record?.header.outcome).toBe('denied')
    expect(record?.entry).toMatchObject({ model_name: 'm1', usage: { output_tokens: 3 }, raw_output: 'hi', parsed_data: null })
  })

  test.each([
    ['failure', () => new RangeError('no'), undefined],
    ['cancelled', () => Object.assign(new Error('stop'), { name: 'AbortError' }), undefined],
    ['timeout', () => Object.assign(new Error('late'), { name: 'TimeoutError' }), undefined],
    ['cancelled', (signal: AbortSignal) => signal.reason, () => AbortSignal.abort()],
    ['cancelled', (signal: AbortSignal) => signal.reason, () => AbortSignal.abort(new Error('user left'))],
    [
      'timeout',
      () => Object.assign(new Error('stop'), { name: 'AbortError' }),
      () => AbortSignal.abort(Object.assign(new Error(), { name: 'TimeoutError' })),
    ],
  ])('an error is passed on unchanged and recorded as %s', async (outcome, makeError, makeSignal) => {
    const ledger = await AuditLedger.open('memory:')
    const signal = makeSignal?.()
    const thrown = makeError(signal as AbortSignal)
    const info = signal === undefined ? INFO : { ...INFO, signal }
    await expect(ledger.call(info, () => Promise.reject(thrown))).rejects.toBe(thrown)
    const [record] = await calls(ledger)
    expect(record?.header.outcome).toBe(outcome)
    expect(record?.entry?.['parsed_data']).toMatchObject({ error: { message: (thrown as Error).message } })
  })

  test('start-and-end leaves a trace before the function runs', async () => {
    const ledger = await AuditLedger.open('memory:')
    let during: string[] = []
    await ledger.call(
      INFO,
      async () => {
        during = (await ledger.query({ actor: 'analyst' })).records.map((record) => record.header.type)
      },
      { capture: 'start-and-end' },
    )
    expect(during).toEqual(['AgentCallStarted'])
    const [started, completed] = await calls(ledger)
    expect(completed?.header).toMatchObject({ type: 'AgentCallCompleted', causation_id: started?.run_id, stream: started?.header.stream })
  })

  test('a result that canonical JSON can not carry is repaired, not lost, and it says so', async () => {
    const ledger = await AuditLedger.open('memory:')
    const result = { map: new Map([['a', NaN]]), big: 10n, text: 'a\ud800' }
    expect(await ledger.call({ ...INFO, input_metadata: { source: 'test' } }, () => result)).toBe(result)
    const [record] = await calls(ledger)
    expect(record?.entry?.['parsed_data']).toEqual({ map: [['a', 'NaN']], big: '10', text: 'a\ufffd' })
    const metadata = record?.entry?.['input_metadata'] as { source: string; capture_repairs: string[] }
    expect(metadata.source).toBe('test')
    expect(metadata.capture_repairs).toHaveLength(4)
  })

  test('a member of a wrong kind is left out, not the call', async () => {
    const ledger = await AuditLedger.open('memory:')
    await ledger.call(INFO, (call) => call.set({ usage: 'many' as never, nonsense: 1 } as never))
    const [record] = await calls(ledger)
    expect(record?.entry).toMatchObject({ usage: {}, prompt: 'hello' })
    expect((record?.entry?.['input_metadata'] as { capture_repairs: string[] }).capture_repairs).toHaveLength(2)
  })

  test('a missing name is misuse, told before the function runs', async () => {
    const ledger = await AuditLedger.open('memory:')
    let ran = false
    await expect(ledger.call({ agent_name: 'a' } as never, () => (ran = true))).rejects.toThrow(TypeError)
    expect(ran).toBe(false)
  })

  test('calls that could not be recorded are told, counted, and named when recording works again', async () => {
    const store = faultyStore(openMemoryStore())
    const warnings: LedgerWarning[] = []
    const ledger = await AuditLedger.open('memory:', { store, onWarning: (warning) => warnings.push(warning) })
    store.always('append', { kind: 'refuse', code: 'disk_full' })
    expect(await ledger.call(INFO, () => 1)).toBe(1)
    expect(await ledger.call(INFO, () => 2)).toBe(2)
    await ledger.flush()
    expect(warnings.map((warning) => warning.error?.code)).toEqual(['disk_full', 'disk_full'])
    expect((await ledger.stats()).unrecorded).toBe(2)
    store.heal()
    expect(await ledger.call(INFO, () => 3)).toBe(3)
    await ledger.flush()
    const { records } = await ledger.query({ type: 'RecordingGapDetected' })
    expect(records.map((record) => record.entry)).toMatchObject([{ reason: 'recording_failed', records_lost: 2 }])
    expect((await ledger.stats()).unrecorded).toBe(0)
  })
})
