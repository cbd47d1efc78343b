/** Where an archive lies, from what somebody wrote down. */
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { LedgerError } from '../ledger/errors.ts'

export interface S3Target {
  readonly kind: 's3'
  readonly bucket: string
  /** Before each name: nothing, or parts that end with `/`. */
  readonly prefix: string
  /** From the URL, else null. */
  readonly endpoint: string | null
  readonly region: string | null
}

export type ArchiveTarget = { readonly kind: 'directory'; readonly path: string } | S3Target

/** What AWS lets a bucket be named, and what old ones and other servers have. */
const BUCKET = /^[A-Za-z0-9][A-Za-z0-9._-]{1,254}$/
const REGION = /^[a-z0-9-]{1,64}$/

/** The address of an S3-protocol server, without what stands behind the host. @throws TypeError */
export function requireEndpoint(text: string): string {
  let url: URL
  try {
    url = new URL(text)
  } catch {
    throw new TypeError(`the endpoint ${JSON.stringify(text)} is no URL: give one such as https://s3.example.com`)
  }
  if (url.username !== '' || url.password !== '') throw new TypeError('an endpoint holds no credentials: give them by the environment')
  if (url.protocol !== 'https:' && url.protocol !== 'http:') throw new TypeError(`the endpoint ${url.href} must be http: or https:`)
  if (url.search !== '' || url.hash !== '' || (url.pathname !== '/' && url.pathname !== ''))
    throw new TypeError(`the endpoint ${url.href} must end behind its host and port`)
  return url.origin
}

/** @throws TypeError */
export function requireRegion(region: string): string {
  if (!REGION.test(region)) throw new TypeError(`${JSON.stringify(region)} is no region: one is such as eu-central-1`)
  return region
}

function s3Target(url: URL): S3Target {
  // Refused without being quoted: the text may hold a secret.
  if (url.username !== '' || url.password !== '')
    throw new TypeError('an s3: URL holds no credentials, since it is recorded: give them by the environment or a profile')
  const bucket = decodeURIComponent(url.host)
  if (!BUCKET.test(bucket)) throw new TypeError(`${JSON.stringify(bucket)} is no bucket: write s3://BUCKET/PREFIX`)
  const parts = decodeURIComponent(url.pathname)
    .split('/')
    .filter((part) => part !== '')
  if (parts.some((part) => part === '.' || part === '..' || !/^[\w .!*'()&$@=;:+,-]+$/.test(part)))
    throw new TypeError(`${JSON.stringify(url.pathname)} is no prefix of names in a bucket`)
  for (const key of url.searchParams.keys()) {
    if (key !== 'endpoint' && key !== 'region')
      throw new TypeError(`an s3: URL has endpoint= and region= behind its "?", not ${JSON.stringify(key)}`)
  }
  const [endpoint, region] = [url.searchParams.get('endpoint'), url.searchParams.get('region')]
  return {
    kind: 's3',
    bucket,
    prefix: parts.length === 0 ? '' : `${parts.join('/')}/`,
    endpoint: endpoint === null ? null : requireEndpoint(endpoint),
    region: region === null ? null : requireRegion(region),
  }
}

/**
 * `/path`, `file:///path` or `s3://bucket/prefix?endpoint=…&region=…`.
 * @throws TypeError for what names no place; LedgerError `unsupported` for another scheme
 */
export function parseArchiveTarget(location: string | URL): ArchiveTarget {
  const text = location instanceof URL ? location.href : location
  if (typeof text !== 'string' || text === '') throw new TypeError('the place of an archive must be a path or a URL')
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(text)?.[1]?.toLowerCase()
  if (scheme === 's3') {
    let url: URL
    try {
      url = new URL(text)
    } catch {
      throw new TypeError('that is no s3: URL: write s3://BUCKET/PREFIX?endpoint=…&region=…')
    }
    return s3Target(url)
  }
  if (scheme === 'file') return { kind: 'directory', path: fileURLToPath(text) }
  if (scheme !== undefined && text.includes('://'))
    throw new LedgerError('unsupported', `no archive can lie at ${scheme}: — give a directory or an s3: URL`)
  return { kind: 'directory', path: resolve(text) }
}
