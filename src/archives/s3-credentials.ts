/**
 * Who asks: the usual chain. What is given, then the environment, then a profile of the files in ~/.aws, then what the
 * container or the machine is given by its host. Source: AWS SDKs and Tools Reference Guide, "Standardized credential
 * providers".
 */
import { readFile } from 'node:fs/promises'
import { LedgerError } from '../ledger/errors.ts'
import { runCommand } from '../ledger/run-command.ts'
import type { AwsProfile, Environment } from './s3-profile.ts'

export interface S3Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string | undefined
}

/** Credentials, and where they were found. */
export interface FoundCredentials extends S3Credentials {
  /** For messages, such as `the environment`. */
  readonly source: string
  /** When they end, ms since the epoch; null where they don't. */
  readonly expires_ms: number | null
}

export interface CredentialChain {
  readonly given: S3Credentials | undefined
  readonly environment: Environment
  readonly profile: AwsProfile
  readonly fetch: typeof globalThis.fetch
  /** ms; that many for each question to a host that may not be there. */
  readonly timeoutMs: number
}

const INSTANCE = 'http://169.254.169.254'
const CONTAINER = 'http://169.254.170.2'
/** Where a host hands out credentials over plain HTTP: ECS, EKS, and this machine. */
const PLAIN_HOSTS = ['169.254.170.2', '169.254.170.23', '[fd00:ec2::23]', 'localhost', '127.0.0.1', '[::1]']
const ANSWER_CHARACTERS_MAX = 64 * 1024
const HANDING_OUT = { name: 'credential_process', outputBytesMax: ANSWER_CHARACTERS_MAX, wanted: 'answer of one', timeoutMs: 60_000 }

const keyError = (message: string, cause?: unknown): LedgerError => new LedgerError('key_error', message, { cause })

function fromEnvironment({ environment }: CredentialChain): FoundCredentials | null {
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_SESSION_TOKEN: sessionToken } = environment
  if (!accessKeyId || !secretAccessKey) return null
  return { accessKeyId, secretAccessKey, sessionToken: sessionToken || undefined, source: 'the environment', expires_ms: null }
}

/** What a process or a host hands out. @throws LedgerError `key_error` */
function readHandedOut(text: string, source: string): FoundCredentials {
  let answer: { readonly [name: string]: unknown } | null
  try {
    answer = JSON.parse(text) as { readonly [name: string]: unknown } | null
  } catch (error) {
    throw keyError(`${source} gave no JSON where credentials were asked for`, error)
  }
  const { AccessKeyId: accessKeyId, SecretAccessKey: secretAccessKey, Token, SessionToken, Expiration } = answer ?? {}
  if (typeof accessKeyId !== 'string' || typeof secretAccessKey !== 'string')
    throw keyError(`${source} gave no AccessKeyId and SecretAccessKey where credentials were asked for`)
  const token = Token ?? SessionToken
  const expires = typeof Expiration === 'string' ? Date.parse(Expiration) : Number.NaN
  return {
    accessKeyId,
    secretAccessKey,
    sessionToken: typeof token === 'string' ? token : undefined,
    source,
    expires_ms: Number.isNaN(expires) ? null : expires,
  }
}

async function fromProfile({ profile }: CredentialChain): Promise<FoundCredentials | null> {
  const { name, values } = profile
  const source = `the profile ${name}`
  const [accessKeyId, secretAccessKey] = [values['aws_access_key_id'], values['aws_secret_access_key']]
  if (accessKeyId && secretAccessKey)
    return { accessKeyId, secretAccessKey, sessionToken: values['aws_session_token'] || undefined, source, expires_ms: null }
  const command = values['credential_process']
  if (command) {
    let output: string
    try {
      const shell = process.platform === 'win32' ? ['cmd.exe', '/c'] : ['/bin/sh', '-c']
      output = (await runCommand([...shell, command], new Uint8Array(0), HANDING_OUT)).output.toString()
    } catch (error) {
      // What it complained of may hold secrets, so it stands in the cause alone.
      throw keyError(`the credential_process of ${source} failed: run it by hand to see why`, error)
    }
    return readHandedOut(output, `the credential_process of ${source}`)
  }
  const other = ['role_arn', 'sso_session', 'sso_start_url', 'web_identity_token_file', 'login_session'].find((key) => values[key])
  if (other === undefined) return null
  throw keyError(
    `${source} gets its credentials by ${other}, which is not supported here: let "aws configure export-credentials --profile ${name}" be the credential_process of another profile, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY`,
  )
}

async function ask(chain: CredentialChain, url: string, init: RequestInit): Promise<string | null> {
  const response = await chain.fetch(url, { ...init, redirect: 'error', signal: AbortSignal.timeout(chain.timeoutMs) })
  const text = await response.text()
  return response.ok && text.length <= ANSWER_CHARACTERS_MAX ? text : null
}

async function fromContainer(chain: CredentialChain): Promise<FoundCredentials | null> {
  const {
    AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: relative,
    AWS_CONTAINER_CREDENTIALS_FULL_URI: full,
    AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: tokenFile,
    AWS_CONTAINER_AUTHORIZATION_TOKEN: plainToken,
  } = chain.environment
  if (!relative && !full) return null
  const source = 'the credentials endpoint of the container'
  try {
    const url = relative ? new URL(`${CONTAINER}${relative.startsWith('/') ? '' : '/'}${relative}`) : new URL(full as string)
    // Else a variable could send the token to anybody in the clear.
    if (url.protocol !== 'https:' && !PLAIN_HOSTS.includes(url.hostname)) throw keyError(`${source} must be https:, not ${url.origin}`)
    const token = tokenFile ? (await readFile(tokenFile, 'utf8')).trim() : plainToken
    const text = await ask(chain, url.href, token ? { headers: { authorization: token } } : {})
    if (text === null) throw keyError(`${source} refused to give credentials`)
    return readHandedOut(text, source)
  } catch (error) {
    if (error instanceof LedgerError) throw error
    throw keyError(`${source} can't be asked for credentials`, error)
  }
}

/** By a token that only a program on the machine gets (IMDSv2). */
async function fromInstance(chain: CredentialChain): Promise<FoundCredentials | null> {
  const { AWS_EC2_METADATA_DISABLED: disabled, AWS_EC2_METADATA_SERVICE_ENDPOINT: endpoint } = chain.environment
  if (disabled?.toLowerCase() === 'true') return null
  const base = endpoint ? endpoint.replace(/\/$/, '') : INSTANCE
  let role: string
  let headers: { readonly 'x-aws-ec2-metadata-token': string }
  const roles = `${base}/latest/meta-data/iam/security-credentials/`
  try {
    const token = await ask(chain, `${base}/latest/api/token`, {
      method: 'PUT',
      headers: { 'x-aws-ec2-metadata-token-ttl-seconds': '300' },
    })
    if (token === null) return null
    headers = { 'x-aws-ec2-metadata-token': token.trim() }
    role = (await ask(chain, roles, { headers }))?.split('\n', 1)[0]?.trim() ?? ''
  } catch {
    // No such host: this is no such machine.
    return null
  }
  if (!/^[\w+=,.@-]{1,64}$/.test(role)) return null
  const source = `the role ${role} of this machine`
  const text = await ask(chain, `${roles}${role}`, { headers }).catch(() => null)
  if (text === null) throw keyError(`${source} gave no credentials`)
  return readHandedOut(text, source)
}

/** @throws LedgerError `key_error` where there are none */
export async function findCredentials(chain: CredentialChain): Promise<FoundCredentials> {
  const { given, environment } = chain
  if (given !== undefined) return { ...given, source: 'the options', expires_ms: null }
  // Whoever names a profile means it, whatever else the environment has; as the AWS tools have it.
  const ways = environment['AWS_PROFILE'] ? [fromProfile, fromEnvironment] : [fromEnvironment, fromProfile]
  for (const way of [...ways, fromContainer, fromInstance]) {
    const found = await way(chain)
    if (found !== null) return found
  }
  throw keyError(
    'there are no credentials for the archive: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE to a profile of ~/.aws/credentials, or run where the host gives them',
  )
}
