import { randomUUID } from 'node:crypto'

/**
 * Why the text is no origin, or null. An origin has 1 to 255 bytes, no white space, no control character, no `+`,
 * and does not start with `cortex-ledger/`. Source: docs/format.md, "The chain".
 */
export function whyNoOrigin(origin: string): string | null {
  const bytes = Buffer.byteLength(origin)
  if (bytes === 0 || bytes > 255) return 'an origin has 1 to 255 bytes'
  if (!origin.isWellFormed()) return 'an origin is well-formed text'
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/[\s\u0000-\u001f\u007f-\u009f+]/u.test(origin)) return 'an origin has no white space, no control character and no +'
  if (origin.startsWith('cortex-ledger/')) return 'origins that start with cortex-ledger/ are reserved'
  return null
}

/** The origin of a ledger that was given none: unlike any other. */
export function localOrigin(): string {
  return `localhost/${randomUUID()}`
}
