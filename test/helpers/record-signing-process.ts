/**
 * A process that records signed records without waiting, and ends:
 *
 *     node record-signing-process.ts '{"location":"…","pem":"…","count":20,"sync":true,"later":false}'
 */
import { AuditLedger, recordSignerFromKey } from '../../src/index.ts'

export interface SigningPlan {
  readonly location: string
  readonly pem: string
  readonly count: number
  /** Whether the signer can sign while the process is exiting. */
  readonly sync: boolean
  /** Exit while a batch is being signed. */
  readonly later: boolean
}

const { location, pem, count, sync, later } = JSON.parse(process.argv[2]!) as SigningPlan
const whole = recordSignerFromKey(pem)
const signer = sync ? whole : { key: whole.key, alg: whole.alg, publicKey: whole.publicKey, sign: whole.sign }
const ledger = await AuditLedger.open(location, { signer: null, signRecords: signer })
for (let i = 0; i < count; i++) void ledger.record({ agent_name: 'a', method_name: 'm', run_id: `r${i}` })
process.stdout.write('given\n')
if (later) for (let turns = 0; turns < 3; turns++) await new Promise((resolve) => setImmediate(resolve))
process.exit(0)
