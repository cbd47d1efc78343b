/** `cortex-ledger export --format training-chat`: examples for chat fine-tuning, and the manifest that binds them to the ledger. */
import type { FileHandle } from 'node:fs/promises'
import type { AuditLedger } from '../index.ts'
import { trainingFile } from '../derive/training-file.ts'
import type { WriteText } from '../derive/training-file.ts'
import { trainingExamples } from '../derive/training.ts'
import type { LeftOut } from '../derive/training.ts'
import type { Criteria } from '../ledger/query.ts'
import { Misuse } from './errors.ts'
import { refuseLedgerAsOutput, replaceFile } from './output-file.ts'
import type { Terminal } from './terminal.ts'
import { counted, printable } from './text.ts'

/** `file.jsonl` → `file.manifest.json`. */
export function manifestOf(file: string): string {
  return `${file.replace(/\.jsonl?$/, '')}.manifest.json`
}

/** What can't be is told before anything is opened. @throws Misuse */
export async function checkTrainingOutput(location: string, file: string | null, { type }: Criteria): Promise<string> {
  if (file === null) throw new Misuse('--format training-chat writes two files: name the first by --output FILE.jsonl')
  if (type !== undefined) throw new Misuse('--type does not go with --format training-chat, which takes agent calls: leave it out')
  await refuseLedgerAsOutput(location, manifestOf(file))
  return file
}

/** Hands text over in larger pieces. */
function gathering(handle: FileHandle): { readonly write: WriteText; readonly end: () => Promise<void> } {
  let gathered = ''
  const end = async (): Promise<void> => {
    const text = gathered
    gathered = ''
    await handle.writeFile(text)
  }
  return {
    write: async (text) => {
      gathered += text
      if (gathered.length >= 64 * 1024) await end()
    },
    end,
  }
}

function leftOutText({ withheld, no_output, not_chat }: LeftOut): string {
  const parts = [
    ...(withheld > 0 ? [`${withheld} withheld`] : []),
    ...(no_output > 0 ? [`${no_output} without output`] : []),
    ...(not_chat > 0 ? [`${not_chat} not in the form of chat`] : []),
  ]
  return parts.length === 0 ? '' : `; left out: ${parts.join(', ')}`
}

/** Both files are whole, or what they were before; the manifest is there first. */
export async function exportTraining(
  terminal: Terminal,
  ledger: AuditLedger,
  criteria: Criteria,
  file: string,
  corrected: boolean,
): Promise<void> {
  const { type: _, ...rest } = criteria
  const set = await trainingExamples(ledger, { ...rest, corrected })
  const written = await replaceFile(file, (examples) =>
    replaceFile(manifestOf(file), async (manifest) => {
      const [lines, about] = [gathering(examples), gathering(manifest)]
      const result = await trainingFile(set, lines.write, about.write)
      await lines.end()
      await about.end()
      return result
    }),
  )
  terminal.say(
    `${counted(written.examples, 'example')} written to ${printable(file)}, and their sources to ${printable(manifestOf(file))}${leftOutText(set.leftOut)}`,
  )
}
