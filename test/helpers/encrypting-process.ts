/** A process that records under a list of subjects, when it is told to, and prints when it is done. */
import { AuditLedger, masterKeyFrom } from '../../src/index.ts'

export interface EncryptingArgument {
  readonly location: string
  readonly subjects: readonly string[]
  /** `exit`: ends with records that nobody awaited. */
  readonly end: 'close' | 'exit'
}

const { location, subjects, end } = JSON.parse(process.argv[2] as string) as EncryptingArgument
const master = masterKeyFrom(new Uint8Array(32).fill(9))
const ledger = await AuditLedger.open(location, { origin: 'example.com/two', signer: null, encryption: { master }, fullText: 'off' })
if (end === 'exit') {
  await ledger.record({ agent_name: 'a', method_name: 'm', run_id: 'first' }, { subject: 'known' })
  for (const n of [1, 2, 3])
    void ledger.record({ agent_name: 'a', method_name: 'm', run_id: `last ${n}`, raw_output: 'said' }, { subject: 'known' })
  process.exit(0)
}
console.log('ready')
process.stdin.once('data', () => {
  void (async () => {
    await Promise.all(subjects.map((subject) => ledger.record({ agent_name: 'a', method_name: 'm', raw_output: subject }, { subject })))
    await ledger.close()
    console.log('done')
    process.exit(0)
  })()
})
