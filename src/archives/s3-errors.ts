/** What an S3-protocol server refuses, as errors that say what to do. */
import { LedgerError } from '../ledger/errors.ts'
import { childText, parseXml } from './s3-xml.ts'

/** What the server said. Its own words, cut, without control characters. */
export interface S3Refusal {
  readonly status: number
  /** Such as `NoSuchKey`; empty where the answer had no body of the kind, as to HEAD. */
  readonly code: string
  readonly message: string
  /** By the server's clock; null where it did not say. */
  readonly server_time: string | null
  /** Where the bucket is, if the server says so. */
  readonly region: string | null
}

/** Who asked for what. */
export interface S3Asking {
  /** Such as `writing calls.jsonl.zst to s3://bucket/prefix`. */
  readonly doing: string
  readonly bucket: string
  readonly endpoint: string
  readonly region: string
  readonly access_key_id: string
  /** Where the key was found. */
  readonly key_source: string
}

const plain = (text: string | null): string => (text ?? '').replace(/[\p{Cc}\p{Cf}]/gu, ' ').slice(0, 300)

export function readRefusal(status: number, headers: Headers, text: string): S3Refusal {
  const root = parseXml(text)
  const error = root?.name === 'Error' ? root : null
  const of = (name: string): string => plain(error === null ? null : childText(error, name))
  return {
    status,
    code: of('Code') || plain(headers.get('x-amz-error-code')),
    message: of('Message') || plain(headers.get('x-amz-error-message')),
    server_time: of('ServerTime') || headers.get('date'),
    region: headers.get('x-amz-bucket-region') ?? (of('Region') || null),
  }
}

/** What the next attempt may get through. */
export function isTransient({ status, code }: S3Refusal): boolean {
  if (['SlowDown', 'InternalError', 'RequestTimeout', 'ServiceUnavailable', 'Throttling', 'ThrottlingException'].includes(code)) return true
  if (code === 'ConditionalRequestConflict' || code === 'OperationAborted') return true
  return status === 408 || status === 429 || status === 500 || status === 502 || status === 503 || status === 504
}

/** The credentials were good for a time that is over. */
export function isExpired({ code }: S3Refusal): boolean {
  return code === 'ExpiredToken' || code === 'TokenRefreshRequired' || code === 'RequestExpired'
}

const KEY_ADVICE: { readonly [code: string]: string } = {
  InvalidAccessKeyId: 'the server does not know it: check which account or server it belongs to',
  SignatureDoesNotMatch:
    'the secret key is not the one of this id, or a proxy changes requests: check AWS_SECRET_ACCESS_KEY and the endpoint',
  InvalidToken: 'its session token is wrong or of other credentials: check AWS_SESSION_TOKEN',
  ExpiredToken: 'its session is over: get new credentials',
  AccessDenied:
    'it may not do this: it needs s3:GetObject, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload on the names, and s3:ListBucket on the bucket',
}

function keyError(refusal: S3Refusal, { doing, access_key_id: id, key_source: source }: S3Asking, said: string): LedgerError {
  const { code, server_time } = refusal
  const evidence = { status: refusal.status, s3_code: code, access_key_id: id, key_source: source, server_time }
  if (code === 'RequestTimeTooSkewed') {
    return new LedgerError(
      'key_error',
      `refused while ${doing}: this machine's clock is wrong, it says ${new Date().toISOString()} and the server ${server_time ?? 'another time'}. Set it (access key ${id}, from ${source}${said})`,
      evidence,
    )
  }
  const advice = KEY_ADVICE[code] ?? 'check the key, what it may do, and the clock of this machine'
  return new LedgerError('key_error', `refused while ${doing} with the access key ${id}, from ${source}: ${advice}${said}`, evidence)
}

const KEY_CODES = ['AuthorizationHeaderMalformed', 'InvalidToken', 'ExpiredToken', 'TokenRefreshRequired', 'RequestExpired']
const FULL_CODES = ['QuotaExceeded', 'XMinioStorageFull', 'InsufficientStorage', 'EntityTooLargeForQuota']

export function s3Error(refusal: S3Refusal, asking: S3Asking): LedgerError {
  const { status, code, message, region } = refusal
  const { doing, bucket, endpoint } = asking
  const said = ` (${status}${code === '' ? '' : ` ${code}`}${message === '' ? '' : `: ${message}`})`
  const evidence = { status, s3_code: code }
  // A wrong region comes as one of several; each is settled by naming the right one.
  if (status === 301 || status === 307 || code === 'AuthorizationHeaderMalformed' || code === 'PermanentRedirect')
    return new LedgerError(
      'not_found',
      `the bucket ${bucket} is not in the region ${asking.region} of ${endpoint}: ${region === null ? 'give its region or endpoint' : `give region=${region}`}, while ${doing}${said}`,
      { ...evidence, region },
    )
  if (code === 'InvalidObjectState')
    return new LedgerError(
      'io_error',
      `it is in a storage class from which it must be restored first, ${doing}: do that by the server's own means${said}`,
      evidence,
    )
  if (status === 401 || status === 403 || KEY_CODES.includes(code)) return keyError(refusal, asking, said)
  if (code === 'NoSuchBucket')
    return new LedgerError(
      'not_found',
      `there is no bucket ${bucket} at ${endpoint}: make it, or check the name, while ${doing}${said}`,
      evidence,
    )
  if (status === 404) return new LedgerError('not_found', `no such file while ${doing}${said}`, evidence)
  if (status === 507 || FULL_CODES.includes(code))
    return new LedgerError('disk_full', `the server has no space left while ${doing}: free some and do it again${said}`, evidence)
  if (code === 'BadDigest' || code === 'XAmzContentSHA256Mismatch' || code === 'InvalidDigest')
    return new LedgerError('io_error', `the bytes were changed on their way while ${doing}: do it again${said}`, evidence)
  return new LedgerError('io_error', `the server at ${endpoint} refused while ${doing}${said}`, evidence)
}
