/** Where a store keeps the text that says that its ledger is a replica: in a file, or in memory. */
import { randomBytes } from 'node:crypto'
import { readText, removeText, replaceText } from './durable-file.ts'
import { LedgerError } from './errors.ts'
import type { ReplicaMark } from './store.ts'

function refuse(what: string): Promise<never> {
  return Promise.reject(new LedgerError('read_only', `${what} was opened for reading: whether it is a replica can't be changed`))
}

/** In a file of its own. Two processes may copy to the same place, until one of them is refused: each writes under another name. */
export function replicaFile(path: string, readOnly: boolean): ReplicaMark {
  return {
    read: () => readText(path),
    write: (text) =>
      readOnly
        ? refuse(path)
        : text === null
          ? removeText(path)
          : replaceText(path, text, `${path}.${randomBytes(6).toString('hex')}.next`),
  }
}

/** Of a ledger that is gone with its process, or has no place for a file. */
export function replicaInMemory(readOnly = false): ReplicaMark {
  let kept: string | null = null
  return {
    read: async () => kept,
    write: async (text) => (readOnly ? refuse('the ledger') : void (kept = text)),
  }
}
