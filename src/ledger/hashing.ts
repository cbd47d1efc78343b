/** What src/verify is handed in Node: the native hash and the native UTF-8 check. */
import { isUtf8 } from 'node:buffer'
import { hash } from 'node:crypto'

export const nodeHashing = {
  sha256: (bytes: Uint8Array): string => hash('sha256', bytes, 'hex'),
  isUtf8: (bytes: Uint8Array): boolean => isUtf8(bytes),
} as const
