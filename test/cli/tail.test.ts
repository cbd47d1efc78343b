import { join } from 'node:path'
import { expect, test } from 'vitest'
import { tempDir } from '../helpers/temp.ts'
import { ended, entryLines, jsonLines, ok, start } from './cli.ts'

interface Line {
  readonly header: { readonly seq: number; readonly actor: string }
}

const seqs = (text: string): number[] => (jsonLines(text) as Line[]).map(({ header }) => header.seq)
const calls = (count: number, agent_name = 'a'): string =>
  entryLines(Array.from({ length: count }, () => ({ agent_name, method_name: 'm' })))

/** Waits until the child has printed so many lines. */
function lines(child: ReturnType<typeof start>, count: number): Promise<void> {
  let seen = 0
  return new Promise((resolve) => {
    child.stdout?.on('data', (chunk: Buffer) => {
      seen += chunk.toString().split('\n').length - 1
      if (seen >= count) resolve()
    })
  })
}

test.each(['audit', 'audit.db'])('the last records of %s, oldest first, with filters', async (name) => {
  const ledger = join(tempDir(), name)
  await ok(['record', ledger], { input: calls(20) + calls(1, 'b') })
  expect(seqs(await ok(['tail', ledger, '--json']))).toEqual([12, 13, 14, 15, 16, 17, 18, 19, 20, 21])
  expect(seqs(await ok(['tail', ledger, '--json', '-n', '2']))).toEqual([20, 21])
  expect(seqs(await ok(['tail', ledger, '--json', '-n', '2', '--actor', 'a']))).toEqual([19, 20])
  expect(await ok(['tail', ledger, '-n', '0'])).toBe('')
  expect((await ok(['tail', ledger, '-n', '1'])).trim()).toMatch(/^21 .* success +b +m +/)
})

test.each(['audit', 'audit.db'])('-f on %s picks up what other processes record, once and in order, and ends with 0', async (name) => {
  const ledger = join(tempDir(), name)
  await ok(['record', ledger], { input: calls(3) })
  const all = start(['tail', ledger, '-f', '-n', '2', '--json'])
  const some = start(['tail', ledger, '-f', '-n', '100', '--json', '--actor', 'b'])
  const ends = [ended(all), ended(some)]
  const seen = [lines(all, 2 + 400 + 50 + 1), lines(some, 51)]
  await lines(all, 2)
  await ok(['record', ledger], { input: calls(400) })
  await ok(['record', ledger], { input: calls(50, 'b') })
  await ok(['record', ledger], { input: calls(1, 'b') })
  await Promise.all(seen)
  all.kill('SIGINT')
  some.kill('SIGTERM')
  const [first, second] = await Promise.all(ends)
  expect([first?.code, first?.stderr]).toEqual([0, ''])
  expect(seqs(first?.stdout ?? '')).toEqual(Array.from({ length: 453 }, (_, i) => i + 2))
  expect([second?.code, second?.stderr]).toEqual([0, ''])
  expect((jsonLines(second?.stdout ?? '') as Line[]).every(({ header }) => header.actor === 'b')).toBe(true)
  // Some were there when it began or all came later, depending on which process was faster: each is shown once.
  const positions = seqs(second?.stdout ?? '')
  expect(positions).toEqual(Array.from({ length: 51 }, (_, i) => i + 404))
})
