/**
 * A row's line, put together by SQLite: one value comes over instead of five, and its bytes are what is stored, not what
 * a decoding would make of them (an embedded NUL, bytes that are no UTF-8, put in by SQL). Where salt and entry do not fit
 * together, the line shows it and verifies as malformed. So does a damaged page's NULL where none can be.
 */
const LINE_TEXT_SQL = `'{"hash":"' || coalesce(records.hash, '') || '","header":' || coalesce(records.header, '')
  || coalesce(',"signatures":' || records.signatures, '')
  || coalesce(',"salt":"' || records.salt || '"', '')
  || ',"entry":' || coalesce(records.entry, 'null') || '}'`
export const LINE_SQL = `CAST(${LINE_TEXT_SQL} AS BLOB)`

/** A row with a header or an entry of more than this is read by itself, so that a block of rows stays small. Bytes. */
const BLOCK_ROW_BYTES_MAX = 16 * 1024
/** The line for a block of lines; an empty text where it is too long for one. How long a column is, SQLite knows without reading it. */
export const BLOCK_LINE_SQL = `CASE WHEN coalesce(octet_length(records.entry), 0) <= ${BLOCK_ROW_BYTES_MAX}
  AND coalesce(octet_length(records.header), 0) <= ${BLOCK_ROW_BYTES_MAX} THEN ${LINE_TEXT_SQL} ELSE '' END`
