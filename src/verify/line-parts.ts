/** The fixed parts of a line (record.ts), to be compared eight bytes at a time, and how long the others are. */
import { Printable } from './bytes.ts'

export const HASH_OPEN = new Printable('{"hash":"')
export const HEADER_OPEN = new Printable('","header":{')
export const SIGNATURES_OPEN = new Printable(',"signatures":[')
export const SALT_OPEN = new Printable(',"salt":"')
export const ENTRY_OPEN = new Printable('","entry":{')
export const WITHHELD = new Printable(',"entry":null}')
/** Where the line's own hash begins. */
export const HASH_START = HASH_OPEN.length
export const HASH_LENGTH = 64
export const SALT_LENGTH = 22
