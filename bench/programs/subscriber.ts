/** Follows a ledger from its end on, and sends `[position, ms since the epoch]` for each record as it is seen. */
import { AuditLedger } from '../../src/index.ts'

const ledger = await AuditLedger.open(process.argv[2] ?? '', { readOnly: true })
const { size } = await ledger.head()
process.send?.('ready')
for await (const { seq } of ledger.subscribe({ from: size })) process.send?.([seq, performance.timeOrigin + performance.now()])
