import { zstdCompressSync, constants } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ZstdFrames } from '../../src/ledger/zstd-frames.ts'

const skippable = (bytes: Uint8Array, kind: number): Buffer => {
  const head = Buffer.alloc(8)
  head.writeUInt32LE(0x184d2a50 + kind)
  head.writeUInt32LE(bytes.length, 4)
  return Buffer.concat([head, bytes])
}

const frame = fc.oneof(
  fc.record({ bytes: fc.uint8Array({ maxLength: 40 }), kind: fc.nat(15) }).map(({ bytes, kind }) => skippable(bytes, kind)),
  fc
    .record({ bytes: fc.uint8Array({ maxLength: 600 }), times: fc.constantFrom(1, 1, 3, 700), checksum: fc.nat(1), size: fc.nat(1) })
    .map(({ bytes, times, checksum, size }) =>
      zstdCompressSync(Buffer.concat(Array<Uint8Array>(times).fill(bytes)), {
        params: { [constants.ZSTD_c_checksumFlag]: checksum, [constants.ZSTD_c_contentSizeFlag]: size },
      }),
    ),
)

describe('frames of zstd', () => {
  test('end where they end, in whatever chunks they come', () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 5 }), fc.integer({ min: 1, max: 5000 }), (frames, size) => {
        const stream = Buffer.concat(frames)
        const follower = new ZstdFrames()
        const ends = new Set<number>()
        let length = 0
        for (let at = 0; at < stream.length; at += size)
          for (const piece of follower.pieces(stream.subarray(at, at + size))) {
            expect(stream.subarray(length, length + piece.length)).toEqual(Buffer.from(piece))
            length += piece.length
            ends.add(length)
          }
        expect(length).toBe(stream.length)
        expect(follower.isBetween).toBe(true)
        let end = 0
        for (const { length: bytes } of frames) expect(ends.has((end += bytes))).toBe(true)
      }),
    )
  })

  test('a stream that was cut ends in the middle of one', () => {
    const stream = Buffer.concat([zstdCompressSync('one\n'), skippable(Buffer.from('two'), 3), zstdCompressSync('three\n'.repeat(9))])
    const whole = [0, zstdCompressSync('one\n').length, zstdCompressSync('one\n').length + 11, stream.length]
    for (let length = 0; length <= stream.length; length++) {
      const follower = new ZstdFrames()
      for (const piece of follower.pieces(stream.subarray(0, length))) expect(piece.length).toBeGreaterThan(0)
      expect(follower.isBetween).toBe(whole.includes(length))
    }
  })

  test('what is none is refused', () => {
    expect(() => [...new ZstdFrames().pieces(Buffer.from('{"seq":0}'))]).toThrow('no zstd frame begins')
    expect(() => [...new ZstdFrames().pieces(Buffer.concat([zstdCompressSync('a'), Buffer.alloc(4)]))]).toThrow('no zstd frame begins')
  })
})
