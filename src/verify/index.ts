/**
 * `cortex-ledger/verify`: the trusted base. Bytes in, report out; it needs nothing but ECMAScript and the platform's
 * UTF-8 coders, so the same code runs in Node and in a browser.
 */
export { LedgerVerifier } from './chain.ts'
export type { VerifierOptions } from './chain.ts'
export { canonicalize, CanonicalError, isCanonicalJson } from './canonical.ts'
export type { CanonicalLimits } from './canonical.ts'
export { headerHash, sha256 } from './hash.ts'
export type { Sha256 } from './hash.ts'
export { checkHeader, FORMAT_VERSION, formatHeader, GENESIS, HEADER_LIMITS, LEDGER_STREAM, OUTCOMES, RESERVED_TYPES } from './header.ts'
export type { Outcome, RecordHeader, ReservedType } from './header.ts'
export { parseHeader } from './header-scan.ts'
export type { HeaderProblem } from './header-scan.ts'
export type { TemporarySpace } from './id-log.ts'
export { LINE_BYTES_MAX, LineSplitter } from './lines.ts'
export type { LineTaker, UnendedLine } from './lines.ts'
export { isOrigin } from './origin.ts'
export { formatLine, isSalt, readLine, splitLine } from './record.ts'
export type { LineContent, LineParts, LineSlices } from './record.ts'
export { PROBLEM_CODES } from './report.ts'
export type { Note, Problem, ProblemCode, SubCheck, Verdict, Verdicts, VerificationReport, Where } from './report.ts'
export { scanJsonValue } from './scan.ts'
export { formatTime, formatTimeOfMs, isLedgerTime, normalizeTime, parseTime } from './time.ts'
