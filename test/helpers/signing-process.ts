/** A process that records and signs as fast as it can, and prints every checkpoint that it signed, until it is killed. */
import { AuditLedger, signerFromSeed } from '../../src/index.ts'

export interface SigningArgument {
  readonly location: string
  readonly origin: string
  readonly stateFolder: string
}

const { location, origin, stateFolder } = JSON.parse(process.argv[2] as string) as SigningArgument
const signer = signerFromSeed(origin, new Uint8Array(32).fill(3))
const ledger = await AuditLedger.open(location, { origin, signer, stateFolder, checkpoints: false, index: 'off' })
console.log('ready')
for (;;) {
  await Promise.all(Array.from({ length: 5 }, () => ledger.record({ agent_name: 'a', method_name: 'm' })))
  const { size, root } = await ledger.checkpoint()
  console.log(`signed ${size} ${root}`)
}
