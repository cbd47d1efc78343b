/** Signature version 4, by an optional package: whoever archives elsewhere needs none of it. */
import { LedgerError } from '../ledger/errors.ts'
import type { S3Credentials } from './s3-credentials.ts'

/** As much of aws4fetch as is used. */
interface SignerConstructor {
  new (request: {
    readonly method: string
    readonly url: string
    readonly headers: { readonly [name: string]: string }
    readonly accessKeyId: string
    readonly secretAccessKey: string
    readonly sessionToken?: string
    readonly service: string
    readonly region: string
  }): { sign(): Promise<{ readonly url: URL; readonly headers: Headers }> }
}

// The name is kept from the type checker and from bundlers: the package is optional.
const AWS4FETCH: string = 'aws4fetch'

/** Returns the headers with which the request is to be sent. */
export type Sign = (
  request: { readonly method: string; readonly url: string; readonly headers: { readonly [name: string]: string } },
  credentials: S3Credentials,
  region: string,
) => Promise<Headers>

/** @throws LedgerError `unsupported` where the package is not installed */
export async function loadSigner(): Promise<Sign> {
  let Signer: SignerConstructor
  try {
    Signer = ((await import(AWS4FETCH)) as { readonly AwsV4Signer: SignerConstructor }).AwsV4Signer
  } catch (error) {
    throw new LedgerError(
      'unsupported',
      `the package ${AWS4FETCH} can't be loaded: for archives at s3: install it beside cortex-ledger with "npm install ${AWS4FETCH}@1"`,
      { package: AWS4FETCH, cause: error },
    )
  }
  return async ({ method, url, headers }, { accessKeyId, secretAccessKey, sessionToken }, region) => {
    const keys = { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) }
    const signed = await new Signer({ method, url, headers, ...keys, service: 's3', region }).sign()
    return signed.headers
  }
}
