/** True in `npm run soak`: the same tests with the big counts. */
export const soaking = process.env['SOAK'] === '1'

/** `small` in `npm test`, `big` in `npm run soak`. */
export function scale(small: number, big: number): number {
  return soaking ? big : small
}
