/** `--passphrase-file`: the passphrase of a key file, from a file or from stdin; never an argument, which others could see. */
import { readFile } from 'node:fs/promises'
import { Misuse } from './errors.ts'
import type { Terminal } from './terminal.ts'

export const PASSPHRASE_OPTION = '--passphrase-file <file>'
export const PASSPHRASE_HELP = "a file that holds the key's passphrase in one line; - for stdin (CORTEX_LEDGER_PASSPHRASE if absent)"

async function textOfStdin({ stdin }: Terminal): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of stdin) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8')
}

async function textOf(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    throw new Misuse(`--passphrase-file ${file} can't be read: ${(error as Error).message}`)
  }
}

/** The passphrase from the file or stdin, else from the environment. @throws Misuse where it can't be read, or is no passphrase */
export async function passphraseFrom(file: string | undefined, terminal: Terminal): Promise<string | undefined> {
  if (file === undefined) return process.env['CORTEX_LEDGER_PASSPHRASE'] || undefined
  return onlyLine(file === '-' ? await textOfStdin(terminal) : await textOf(file), file)
}

/** The passphrase from the file. @throws Misuse where it can't be read, or holds no passphrase */
export async function passphraseIn(file: string): Promise<string> {
  return onlyLine(await textOf(file), file)
}

function onlyLine(text: string, file: string): string {
  const [line = '', ...rest] = text.replace(/\r?\n$/, '').split(/\r?\n/)
  if (line === '' || rest.length > 0)
    throw new Misuse(`--passphrase-file ${file}: it should hold the passphrase in one line, and nothing else`)
  return line
}
