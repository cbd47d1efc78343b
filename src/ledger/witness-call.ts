/** One exchange with one witness over HTTP. Whatever comes back is read with a limit and believed to be nothing yet. */
import { TREE_SIZE_MAX } from '../verify/proof.ts'
import { decodeText } from '../verify/text.ts'
import { formatAddCheckpoint, SIZE_TYPE } from './add-checkpoint.ts'

/** `fetch` of the platform, or one that goes by another way. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>

/** A checkpoint with as many signatures as a note may have fits. */
const ANSWER_BYTES_MAX = 64 * 1024

export type AddCheckpointAnswer =
  /** 200: what should be lines of cosignatures. */
  | { readonly kind: 'cosigned'; readonly lines: string }
  /** 409: the size of the last checkpoint that it cosigned. */
  | { readonly kind: 'size'; readonly size: bigint }
  | { readonly kind: 'refused'; readonly status: number; readonly why: string }

/** Where a witness is, without a slash at its end. @throws RangeError for what is no http or https URL */
export function witnessUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:') || url.search !== '' || url.hash !== '')
    throw new RangeError(`a witness is at an http or https URL without ? and #, not at ${JSON.stringify(text)}`)
  return url.href.replace(/\/+$/, '')
}

/** POST add-checkpoint. @throws Error where there is no answer, or one that is none */
export async function postCheckpoint(
  fetch: Fetch,
  url: string,
  request: { readonly oldSize: bigint; readonly proof: readonly Uint8Array[]; readonly note: string },
  signal: AbortSignal,
): Promise<AddCheckpointAnswer> {
  const body = formatAddCheckpoint(request.oldSize, request.proof, request.note)
  // A redirect could make us post to anybody.
  const response = await fetch(`${url}/add-checkpoint`, { method: 'POST', body, redirect: 'error', signal })
  const text = await textOf(response)
  if (response.status === 200) return { kind: 'cosigned', lines: text }
  const type = response.headers.get('content-type')?.split(';')[0]?.trim()
  if (response.status === 409 && type === SIZE_TYPE) {
    const decimal = /^(0|[1-9][0-9]{0,18})\n$/.exec(text)?.[1]
    if (decimal === undefined || BigInt(decimal) > TREE_SIZE_MAX) throw new Error('it answered 409 with a size that is none')
    return { kind: 'size', size: BigInt(decimal) }
  }
  return { kind: 'refused', status: response.status, why: firstLine(text) }
}

/** GET <hex sha256(origin)>/checkpoint: the checkpoint that the witness cosigned last; null where it shows none. */
export async function getCheckpoint(fetch: Fetch, url: string, originHash: string, signal: AbortSignal): Promise<string | null> {
  try {
    const response = await fetch(`${url}/${originHash}/checkpoint`, { method: 'GET', redirect: 'error', signal })
    const text = await textOf(response)
    return response.status === 200 ? text : null
  } catch {
    return null
  }
}

/** @throws Error for more than the limit, and for what is not UTF-8 */
async function textOf(response: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    size += chunk.length
    // Leaving the loop cancels the rest.
    if (size > ANSWER_BYTES_MAX) throw new Error(`it answered with more than ${ANSWER_BYTES_MAX} bytes`)
    chunks.push(chunk)
  }
  try {
    return decodeText(Buffer.concat(chunks))
  } catch {
    throw new Error('it answered with bytes that are not UTF-8')
  }
}

/** What a stranger says, short enough for a message. */
function firstLine(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what is taken out
  return (text.split('\n')[0] ?? '').replace(/[\u0000-\u001f\u007f-\u009f]/g, '?').slice(0, 200)
}
