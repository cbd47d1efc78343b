/**
 * A row's line, put together by SQLite: one value comes over instead of five, and its bytes are what is stored, not what
 * a decoding would make of them (an embedded NUL, bytes that are no UTF-8, put in by SQL). Where salt and entry do not fit
 * together, the line shows it and verifies as malformed. So does a damaged page's NULL where none can be.
 */
export const LINE_SQL = `CAST('{"hash":"' || coalesce(records.hash, '') || '","header":' || coalesce(records.header, '')
  || coalesce(',"signatures":' || records.signatures, '')
  || coalesce(',"salt":"' || records.salt || '"', '')
  || ',"entry":' || coalesce(records.entry, 'null') || '}' AS BLOB)`
