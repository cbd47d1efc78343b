/** Profiles of ~/.aws/credentials and ~/.aws/config. Source: AWS SDKs and Tools Reference Guide, "Shared config and credentials files". */
import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { asStorageError, isMissing, LedgerError } from '../ledger/errors.ts'

export type Environment = { readonly [name: string]: string | undefined }

export interface AwsProfile {
  readonly name: string
  readonly values: { readonly [key: string]: string }
}

/** Sections by their names, keys in lower case. Nested settings, which are indented, are left out. */
export function parseProfiles(text: string): Map<string, { [key: string]: string }> {
  const sections = new Map<string, { [key: string]: string }>()
  let section: { [key: string]: string } | null = null
  for (const line of text.split('\n')) {
    const trimmed = line.trim()
    if (trimmed === '' || trimmed.startsWith('#') || trimmed.startsWith(';')) continue
    if (trimmed.startsWith('[')) {
      const end = trimmed.indexOf(']')
      const name = trimmed.slice(1, end === -1 ? undefined : end).trim()
      section = sections.get(name) ?? (Object.create(null) as { [key: string]: string })
      sections.set(name, section)
      continue
    }
    const equals = trimmed.indexOf('=')
    if (section === null || equals < 1 || line.startsWith(' ') || line.startsWith('\t')) continue
    // A comment behind a value begins with white space.
    const value = trimmed.slice(equals + 1).split(/\s[#;]/, 1)[0] as string
    section[trimmed.slice(0, equals).trim().toLowerCase()] = value.trim()
  }
  return sections
}

async function profilesOf(path: string): Promise<Map<string, { [key: string]: string }>> {
  try {
    return parseProfiles(await readFile(path, 'utf8'))
  } catch (error) {
    if (isMissing(error)) return new Map()
    throw asStorageError(error, `reading ${path}`)
  }
}

/** The profile of AWS_PROFILE, else `default`. @throws LedgerError `key_error` where one is named that is not there; `io_error` */
export async function readProfile(environment: Environment): Promise<AwsProfile> {
  const named = environment['AWS_PROFILE'] || null
  const name = named ?? 'default'
  const home = environment['HOME'] || environment['USERPROFILE'] || homedir()
  const credentials = environment['AWS_SHARED_CREDENTIALS_FILE'] || join(home, '.aws', 'credentials')
  const config = environment['AWS_CONFIG_FILE'] || join(home, '.aws', 'config')
  const [secrets, settings] = await Promise.all([profilesOf(credentials), profilesOf(config)])
  const [secret, setting] = [secrets.get(name), settings.get(`profile ${name}`) ?? (name === 'default' ? settings.get(name) : undefined)]
  if (named !== null && secret === undefined && setting === undefined)
    throw new LedgerError('key_error', `there is no profile ${name} in ${credentials} or ${config}, which AWS_PROFILE names`)
  return { name, values: { ...setting, ...secret } }
}
