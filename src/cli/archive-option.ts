/** Where cold entries lie, for commands that move or read them. */
import type { Command } from 'commander'
import { parseArchiveTarget } from '../archives/target.ts'
import type { OpenOptions } from '../index.ts'
import { Misuse } from './errors.ts'

export interface ArchiveOption {
  readonly archive?: string
}

const WHERE = 'a directory or s3://BUCKET/PREFIX?endpoint=…&region=…; CORTEX_LEDGER_ARCHIVE if absent'

/** @param what it is for */
export function addArchiveOption(command: Command, what: string): Command {
  return command.option('--archive <location>', `${what}: ${WHERE}`)
}

/** @throws Misuse where it names no place; LedgerError `unsupported` */
export function archiveOf({ archive }: ArchiveOption): { readonly archive?: string } {
  const location = archive ?? (process.env['CORTEX_LEDGER_ARCHIVE'] || undefined)
  if (location === undefined) return {}
  try {
    parseArchiveTarget(location)
  } catch (error) {
    if (error instanceof TypeError) throw new Misuse(`--archive: ${error.message}`)
    throw error
  }
  return { archive: location }
}

/** For commands that only read: who names the archive wants its entries. */
export function readingFrom(option: ArchiveOption): Pick<OpenOptions, 'archive' | 'readThrough'> {
  const opened = archiveOf(option)
  return opened.archive === undefined ? {} : { ...opened, readThrough: true }
}
