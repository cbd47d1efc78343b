/** A witness that serves on this machine until the test ends. */
import { onTestFinished } from 'vitest'
import { ed25519Check } from '../../src/ledger/ed25519.ts'
import { nodeHashing } from '../../src/ledger/hashing.ts'
import { systemClock } from '../../src/ledger/clock.ts'
import type { Clock } from '../../src/ledger/clock.ts'
import { formatAddCheckpoint } from '../../src/ledger/add-checkpoint.ts'
import { Witness } from '../../src/witness/protocol.ts'
import { serveWitness } from '../../src/witness/server.ts'
import type { WitnessServerOptions } from '../../src/witness/server.ts'
import { WitnessState } from '../../src/witness/state.ts'
import { tempDir } from '../helpers/temp.ts'
import type { TestLog } from '../helpers/test-log.ts'

export interface Serving {
  readonly url: string
  readonly witness: Witness
  readonly dir: string
  readonly errors: readonly Error[]
  stop(): Promise<void>
}

export async function serving(
  logs: readonly Pick<TestLog, 'key'>[],
  options: Partial<WitnessServerOptions> & { readonly dir?: string; readonly name?: string; readonly clock?: Clock } = {},
): Promise<Serving> {
  const { dir = tempDir(), name, clock = systemClock, ...server } = options
  const state = await WitnessState.open(dir, { name })
  const { sha256 } = nodeHashing
  const witness = new Witness({
    signer: state.signer,
    logs: logs.map(({ key }) => key),
    store: state,
    clock,
    sha256,
    check: ed25519Check,
  })
  const errors: Error[] = []
  const { url, close } = await serveWitness(witness, { host: '127.0.0.1', port: 0, onError: (error) => errors.push(error), ...server })
  const stop = async (): Promise<void> => {
    await close()
    state.close()
  }
  onTestFinished(stop)
  return { url, witness, dir, errors, stop }
}

export interface HttpAnswer {
  readonly status: number
  readonly type: string | null
  readonly body: string
}

export async function post(url: string, body: string | Uint8Array): Promise<HttpAnswer> {
  const response = await fetch(`${url}/add-checkpoint`, { method: 'POST', body: body as string })
  return { status: response.status, type: response.headers.get('content-type'), body: await response.text() }
}

export async function submit(url: string, log: TestLog, oldSize: bigint, size = log.size): Promise<HttpAnswer> {
  return post(url, formatAddCheckpoint(oldSize, await log.prove(oldSize, size), await log.note(size)))
}
