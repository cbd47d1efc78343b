/** `cortex-ledger snapshot`: takes snapshots of projections, and lists those that the ledger names. */
import type { Command } from 'commander'
import type { SnapshotListing } from '../index.ts'
import { LEDGER_ARGUMENT, locationOf, withLedger } from './location.ts'
import { projectionsIn } from './projections.ts'
import { addMasterKeyOption, encryptionOf } from './encryption.ts'
import type { MasterKeyOptions } from './encryption.ts'
import { addSigningOptions, signingOf } from './signing.ts'
import type { SigningOptions } from './signing.ts'
import type { Terminal } from './terminal.ts'
import { printable, table } from './text.ts'

interface Flags extends SigningOptions, MasterKeyOptions {
  readonly projections?: string
  readonly stream?: string
  readonly json?: boolean
}

function listing(snapshots: readonly SnapshotListing[], { colours, width }: Terminal): string[] {
  if (snapshots.length === 0) return ['the ledger names no snapshot']
  return table(
    snapshots,
    [
      { title: 'position', text: ({ position }) => String(position), align: 'right' },
      { title: 'projection', text: ({ projection, version }) => printable(`${projection} v${version}`) },
      { title: 'taken', text: ({ taken_at }) => printable(taken_at) },
      { title: 'kept', text: ({ kept }) => (kept ? 'yes' : 'no') },
      { title: 'id', text: ({ id }) => printable(id) },
    ],
    { width, title: colours.bold },
  )
}

export function addSnapshot(program: Command, terminal: Terminal): void {
  addMasterKeyOption(addSigningOptions(program.command('snapshot')), 'the master key that opens encrypted entries')
    .summary('take snapshots of projections, or list them')
    .description(
      'Lists the snapshots that the ledger names. With a module that exports projections, takes one of each, and prints its id: a record commits to the state, which is kept beside the ledger. The module is run.',
    )
    .argument('[LEDGER]', LEDGER_ARGUMENT)
    .option('--projections <module>', 'a JavaScript module that exports projections (defineProjection)')
    .option('--stream <name>', 'only events of this stream')
    .option('--json', 'print one JSON object a line')
    .addHelpText(
      'after',
      '\nExample:\n  $ cortex-ledger snapshot ./audit --projections ./projections.mjs\n  $ cortex-ledger snapshot ./audit',
    )
    .action(async (argument: string | undefined, flags: Flags) => {
      const location = locationOf(argument)
      if (flags.projections === undefined) {
        const snapshots = await withLedger(terminal, location, { readOnly: true }, (ledger) => ledger.snapshots())
        const lines = flags.json === true ? snapshots.map((each) => JSON.stringify(each)) : listing(snapshots, terminal)
        for (const line of lines) await terminal.print(line)
        return
      }
      const projections = await projectionsIn(flags.projections)
      await withLedger(terminal, location, { create: false, ...signingOf(flags), ...encryptionOf(flags) }, async (ledger) => {
        for (const projection of projections) {
          const id = await ledger.createSnapshot(projection, { stream: flags.stream })
          const { name, version } = projection
          await terminal.print(flags.json === true ? JSON.stringify({ id, projection: name, version }) : id)
        }
      })
    })
}
