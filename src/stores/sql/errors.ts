/** SQLite's result codes as the ledger's own. Source: https://www.sqlite.org/rescode.html */
import { accessSync, constants, statSync } from 'node:fs'
import { LedgerError } from '../../ledger/errors.ts'
import type { LedgerErrorCode } from '../../ledger/errors.ts'

/** Primary result codes that something is done about; every other one is `io_error`. */
const PRIMARY: Readonly<Record<number, { readonly name: string; readonly code: LedgerErrorCode; readonly advice: string }>> = {
  3: { name: 'SQLITE_PERM', code: 'read_only', advice: 'check the owner and mode of the file and of its folder' },
  5: { name: 'SQLITE_BUSY', code: 'locked', advice: 'another process is writing to it: wait, or find out which one does not finish' },
  6: { name: 'SQLITE_LOCKED', code: 'locked', advice: 'another connection of this process is using it: wait until it has finished' },
  8: {
    name: 'SQLITE_READONLY',
    code: 'read_only',
    advice: 'it was opened for reading, or the file, its folder or the file system does not allow writing',
  },
  10: { name: 'SQLITE_IOERR', code: 'io_error', advice: 'check the disk; recording goes on when it works again' },
  11: { name: 'SQLITE_CORRUPT', code: 'damaged', advice: 'run verify to see what is left, and take the rest from a backup' },
  13: { name: 'SQLITE_FULL', code: 'disk_full', advice: 'free some space; recording goes on by itself' },
  14: { name: 'SQLITE_CANTOPEN', code: 'io_error', advice: 'check that the path is a file that this user may read' },
  18: { name: 'SQLITE_TOOBIG', code: 'too_large', advice: 'split the entry, or refer to large content' },
  26: { name: 'SQLITE_NOTADB', code: 'not_a_ledger', advice: 'the file is not an SQLite database: check the path' },
}
const CODES: Readonly<Record<string, number>> = Object.fromEntries(Object.entries(PRIMARY).map(([code, { name }]) => [name, Number(code)]))

/**
 * A driver's error as a LedgerError; `details.sqlite` starts with the name of the primary result code where that is one
 * of the above. Misuse (TypeError, other RangeErrors) passes as it is. `doing` is the statement, or what was done otherwise.
 * node:sqlite gives the extended code as the number `errcode`, better-sqlite3 its name as `code`.
 */
export function asSqliteError(error: unknown, doing: string, path: string): unknown {
  if (error instanceof LedgerError || !(error instanceof Error)) return error
  const { errcode, code } = error as { errcode?: unknown; code?: unknown }
  let primary: number | undefined
  let name: string | undefined
  if (typeof errcode === 'number') {
    // Of a file whose header names a schema format that does not exist SQLite says only "logic error".
    primary = errcode === 1 && error.message === 'unsupported file format' ? 11 : errcode & 0xff
    name = PRIMARY[primary]?.name ?? `SQLite result ${errcode}`
  } else if (typeof code === 'string' && code.startsWith('SQLITE_')) {
    name = code
    primary = CODES[code.split('_', 2).join('_')]
  } else if (error instanceof RangeError && /too large to be represented/.test(error.message)) {
    // node:sqlite, of an integer read that no number can hold. We write none such, so another hand, or damage, did.
    primary = 11
    name = 'SQLITE_CORRUPT'
  } else return error

  const known = primary === undefined ? undefined : PRIMARY[primary]
  // A folder can be opened for reading, and fails when it is read.
  const ledgerCode = primary === 14 || (primary === 10 && isFolder(path)) ? whyNotOpened(path) : (known?.code ?? 'io_error')
  const advice = known === undefined ? '' : `: ${known.advice}`
  return new LedgerError(ledgerCode, `${error.message} (${name} from ${doing} in ${path})${advice}`, {
    sqlite: name,
    file: path,
    cause: error,
  })
}

/** "unable to open database file" has many causes; the file system tells them apart. */
function whyNotOpened(path: string): LedgerErrorCode {
  try {
    if (isFolder(path)) return 'not_a_ledger'
    accessSync(path, constants.R_OK)
    return 'io_error'
  } catch (error) {
    const { code } = error as { code?: unknown }
    if (code === 'ENOENT' || code === 'ENOTDIR') return 'not_found'
    return code === 'EACCES' || code === 'EPERM' ? 'read_only' : 'io_error'
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
}
