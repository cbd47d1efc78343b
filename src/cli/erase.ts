/** `cortex-ledger erase`: takes entries away for good, and proves which ones. */
import { open, rm } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import type { Command } from 'commander'
import type { Erasure } from '../index.ts'
import { formatCertificate } from '../ledger/retention/certificate.ts'
import { addArchiveOption, archiveOf } from './archive-option.ts'
import type { ArchiveOption } from './archive-option.ts'
import { addMasterKeyOption, encryptionOf } from './encryption.ts'
import type { MasterKeyOptions } from './encryption.ts'
import { Misuse } from './errors.ts'
import { addFilterOptions, criteriaOf, FILTER_HELP } from './filters.ts'
import type { FilterOptions } from './filters.ts'
import { LEDGER_ARGUMENT, locationOf, withLedger } from './location.ts'
import { leftText, withProgress } from './retention.ts'
import { addSigningOptions, signingOf } from './signing.ts'
import type { SigningOptions } from './signing.ts'
import type { Terminal } from './terminal.ts'
import { counted, printable } from './text.ts'

interface EraseFlags extends FilterOptions, ArchiveOption, SigningOptions, MasterKeyOptions {
  readonly subject?: string
  readonly reason?: string
  readonly right?: string
  readonly case?: string
  readonly certificate?: string
  readonly json?: boolean
}

export function addErase(program: Command, terminal: Terminal): void {
  const command = addSigningOptions(addArchiveOption(addFilterOptions(program.command('erase')), 'where cold entries lie'))
  addMasterKeyOption(command, 'the master key, which --subject needs')
    .summary('erase entries for good')
    .description(
      'Erases the entries of all records that fit, or of none where one is under legal hold: in the ledger, in its archive files, and in what was derived from them. Headers, hashes and proofs stay, and a record says what was erased and why. It can not be undone.',
    )
    .argument('[LEDGER]', LEDGER_ARGUMENT)
    .option('--subject <name>', 'all that is encrypted under the key of this person or thing, by destroying the key')
    .option('--reason <text>', 'why; it stays in the ledger for ever, so name nobody')
    .option('--right <name>', 'by what right, such as gdpr-17')
    .option('--case <reference>', 'the case or request that it answers')
    .option('--certificate <file>', 'write the certificate there: what was erased, and the proof that nothing else was')
    .option('--json', 'print one JSON object, with the certificate')
    .addHelpText(
      'after',
      `${FILTER_HELP}\n\nExample:\n  $ cortex-ledger erase ./audit --run-id 019ab3c4-… --reason "request of the data subject" --right gdpr-17 --certificate erased.json`,
    )
    .action(async (argument: string | undefined, flags: EraseFlags) => {
      const { reason, right, case: matter } = flags
      if (reason === undefined) throw new Misuse('--reason says why: it stays in the ledger for ever, so name nobody')
      const criteria = criteriaOf(flags)
      if (flags.subject === undefined && Object.keys(criteria).length === 0)
        throw new Misuse('which records? Give --run-id, --correlation-id, --subject, --actor or the like')
      const opening = { create: false, ...archiveOf(flags), ...signingOf(flags), ...encryptionOf(flags) }
      const location = locationOf(argument)
      await withFile(flags.certificate, async (file) =>
        withLedger(terminal, location, opening, async (ledger) => {
          const erased = await withProgress(terminal, (onProgress) =>
            ledger.retention.erase({ ...criteria, subject: flags.subject }, { reason, right, case: matter, onProgress }),
          )
          await file?.writeFile(formatCertificate(erased.certificate))
          return terminal.print(flags.json === true ? JSON.stringify(erased) : erasedText(erased, flags, terminal).join('\n'))
        }),
      )
    })
}

/** Made before anything is erased: what can't be written is told first. It is gone again where the work fails. */
async function withFile(path: string | undefined, work: (file: FileHandle | null) => Promise<void>): Promise<void> {
  if (path === undefined) return work(null)
  const file = await open(path, 'wx')
  try {
    await work(file)
  } catch (error) {
    await rm(path, { force: true })
    throw error
  } finally {
    await file.close()
  }
}

function erasedText({ records, already, certificate, left }: Erasure, flags: EraseFlags, { colours }: Terminal): string[] {
  const by = certificate.erased_by.join(', ')
  return [
    `erased the entries of ${counted(records, 'record')}${already === 0 ? '' : `; ${counted(already, 'record')} had been erased before`}`,
    colours.dim(`recorded at position ${by}`),
    ...(flags.certificate === undefined ? [] : [colours.dim(`certificate in ${printable(flags.certificate)}`)]),
    ...leftText(left, colours),
  ]
}
