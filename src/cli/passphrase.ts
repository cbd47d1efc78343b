/** `--passphrase-file`: the passphrase of a key file, from a file or from stdin; never an argument, which others could see. */
import { readFile } from 'node:fs/promises'
import { Misuse } from './errors.ts'

export const PASSPHRASE_OPTION = '--passphrase-file <file>'
export const PASSPHRASE_HELP = "a file that holds the key's passphrase in one line; - for stdin (CORTEX_LEDGER_PASSPHRASE if absent)"

async function textOf(file: string): Promise<string> {
  if (file !== '-') {
    try {
      return await readFile(file, 'utf8')
    } catch (error) {
      throw new Misuse(`--passphrase-file ${file} can't be read: ${(error as Error).message}`)
    }
  }
  const chunks: Buffer[] = []
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8')
}

/** The passphrase from the file, else from the environment. @throws Misuse where the file can't be read, or holds no passphrase */
export async function passphraseFrom(file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return process.env['CORTEX_LEDGER_PASSPHRASE'] || undefined
  const [line = '', ...rest] = (await textOf(file)).replace(/\r?\n$/, '').split(/\r?\n/)
  if (line === '' || rest.length > 0)
    throw new Misuse(`--passphrase-file ${file}: it should hold the passphrase in one line, and nothing else`)
  return line
}
