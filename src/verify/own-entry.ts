/** The entries of the ledger's own records, as far as they say something of other records or of keys. */
import { textStandsAt } from './bytes.ts'
import { KEY } from './header-grammar.ts'
import { LEDGER_STREAM } from './header.ts'
import type { LineCheck } from './line-check.ts'
import { OWN_TYPES } from './record-checks.ts'
import type { OwnEntry } from './record-checks.ts'
import { decodeText } from './text.ts'

/** That of the line that was just checked, which has no fault; null where it is no such record. */
export function readOwnEntry(check: LineCheck, bytes: Uint8Array): OwnEntry | null {
  const { header, headerStart, entryStart, entryEnd, withheld } = check
  const { starts, ends } = header
  // Nearly every record is of another stream: that is asked first.
  if (ends[KEY.stream]! - starts[KEY.stream]! !== LEDGER_STREAM.length || withheld || entryStart === -1) return null
  if (!textStandsAt(bytes, headerStart + starts[KEY.stream]!, LEDGER_STREAM)) return null
  const [start, end] = [headerStart + starts[KEY.type]!, headerStart + ends[KEY.type]!]
  const type = OWN_TYPES.find((each) => each.length === end - start && textStandsAt(bytes, start, each))
  if (type === undefined) return null
  // The scan found one JSON object and valid UTF-8, so this can't fail.
  return { type, entry: JSON.parse(decodeText(bytes.subarray(entryStart, entryEnd))) }
}
