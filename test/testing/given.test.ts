/** Given, when, then: what the kit accepts, and what it finds wrong. */
import { describe, expect, test } from 'vitest'
import { defineEvent, LedgerError, type EventInput, type LedgerRecord, type StandardSchema } from '../../src/index.ts'
import { given } from '../../src/testing/index.ts'

/** The data's `seat` must be a number from 1. */
const SEAT: StandardSchema<{ seat: number }> = {
  '~standard': {
    version: 1,
    vendor: 'test',
    validate: (value) =>
      (value as { seat?: number }).seat! >= 1
        ? { value: value as { seat: number } }
        : { issues: [{ message: 'must be from 1', path: ['seat'] }] },
  },
}
const SeatReserved = defineEvent('SeatReserved', SEAT)
const SeatReleased = defineEvent('SeatReleased', SEAT)

class SeatTaken extends Error {
  readonly code = 'seat_taken'
}

const seats = {
  start: (): number[] => [],
  apply: (taken: number[], record: LedgerRecord): number[] => {
    if (SeatReserved.is(record)) return [...taken, SeatReserved.read(record).seat]
    return SeatReleased.is(record) ? taken.filter((seat) => seat !== SeatReleased.read(record).seat) : taken
  },
}

function reserve(taken: readonly number[], seat: number): EventInput {
  if (taken.includes(seat)) throw new SeatTaken(`seat ${seat} is taken`)
  return SeatReserved({ seat }, { tags: [`seat:${seat}`] })
}

function failing(doing: PromiseLike<unknown>, message: RegExp): Promise<void> {
  return expect(doing).rejects.toThrow(message)
}

describe('decisions', () => {
  test('on the records, or on the state of a projection', async () => {
    await given()
      .when(() => SeatReserved({ seat: 1 }))
      .then(SeatReserved({ seat: 1 }))
    await given(SeatReserved({ seat: 1 }))
      .when((history) => {
        expect(history.map(({ seq, header }) => [seq, header.type, header.stream_version])).toEqual([[0, 'SeatReserved', 0]])
        return [SeatReleased({ seat: 1 }), SeatReserved({ seat: 2 })]
      })
      .then([SeatReleased({ seat: 1 }), SeatReserved({ seat: 2 })])
    const reserved = given(SeatReserved({ seat: 1 }), [SeatReserved({ seat: 2 }), SeatReleased({ seat: 1 })]).project(seats)
    await reserved.then([2])
    await reserved.when((taken) => reserve(taken, 1)).then(SeatReserved({ seat: 1 }))
    await reserved.when(async (taken) => reserve(taken, 1)).then(SeatReserved({ seat: 1 }, { tags: ['seat:1'] }))
    await reserved.when(() => undefined).then([])
  })

  test('that are refused: by class, code, or message', async () => {
    const reserved = given(SeatReserved({ seat: 1 })).project(seats)
    const again = reserved.when((taken) => reserve(taken, 1))
    await again.then(SeatTaken)
    await again.then(Error)
    await again.then({ code: 'seat_taken' })
    await again.then(/seat 1 is taken/)
    await failing(again.then(TypeError), /expected was a TypeError/)
    await failing(again.then({ code: 'other' }), /seat 1 is taken/)
    await failing(again.then(/seat 2/), /seat 1 is taken/)
    await failing(again.then([]), /seat 1 is taken/)
    await failing(reserved.when((taken) => reserve(taken, 2)).then(SeatTaken), /it was decided \(SeatReserved\)/)
  })

  test('what differs is told', async () => {
    const decided = given().when(() => SeatReserved({ seat: 1 }, { tags: ['seat:1'] }))
    await failing(decided.then(SeatReserved({ seat: 2 })), /deep/)
    await failing(decided.then(SeatReleased({ seat: 1 })), /deep/)
    await failing(decided.then([]), /deep/)
    await failing(decided.then([SeatReserved({ seat: 1 }), SeatReserved({ seat: 1 })]), /deep/)
    await failing(decided.then(SeatReserved({ seat: 1 }, { tags: ['seat:2'] })), /deep/)
    await failing(decided.then({ ...SeatReserved({ seat: 1 }), schema: 2 }), /deep/)
    await failing(
      given(SeatReserved({ seat: 1 }))
        .project(seats)
        .then([2]),
      /deep/,
    )
  })

  test('events are checked by their definitions: those that are given, and those that are decided', async () => {
    const wrong = SeatReserved({ seat: 0 })
    for (const outcome of [given(wrong).when(() => []), given().when(() => wrong)]) {
      const error = await outcome.then([]).then(
        () => null,
        (reason: unknown) => reason,
      )
      expect(error).toBeInstanceOf(LedgerError)
      expect((error as LedgerError).code).toBe('invalid_entry')
    }
  })

  test('awaited without saying what is expected, it says so', async () => {
    await failing(given().when(() => []) as unknown as Promise<void>, /say what is expected/)
    await failing(given().project(seats) as unknown as Promise<void>, /say what is expected/)
  })
})
