/** A network between a client and a server that fails as it is told to. */
import { createServer, connect, type AddressInfo, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'

export interface TcpProxy {
  readonly port: number
  /** From now on nothing goes through in these directions, and nobody is told; new connections are taken, too. */
  swallow(direction: 'both' | 'requests' | 'answers'): void
  /** What was swallowed goes on, late, also what its client has given up on; and so does all that is new. */
  deliver(): void
  /**
   * Of the next request that has the text in it, forwards so many bytes and cuts the connection; of its answer, forwards
   * so many. Resolves when it has done so.
   */
  cutNext(text: string, where: { readonly request: number } | { readonly answer: number }): Promise<void>
  /** Bytes of the answer to the next request that has the text in it. */
  answerBytes(text: string): Promise<number>
  /** Nobody can connect, and who is connected is cut off. */
  close(): Promise<void>
}

interface Rule {
  readonly text: string
  readonly request: number
  readonly answer: number
  readonly done: (bytes: number) => void
  /** The answer is counted to the end, and nothing is cut. */
  readonly counts: boolean
}

/** ReadyForQuery: the answer to an extended query is over. */
const READY = Buffer.from([0x5a, 0, 0, 0, 5])

class Link {
  readonly #client: Socket
  readonly #server: Socket
  readonly #late: (() => void)[] = []
  #answering: { readonly rule: Rule; bytes: number } | null = null

  constructor(client: Socket, port: number, proxy: { swallowed: string | null; rule: Rule | null }) {
    this.#client = client
    this.#server = connect(port, '127.0.0.1')
    for (const socket of [this.#client, this.#server]) socket.setNoDelay(true).on('error', () => {})
    client.on('data', (chunk: Buffer) => {
      const { rule } = proxy
      const isTheOne = rule !== null && chunk.includes(rule.text)
      if (isTheOne) proxy.rule = null
      if (isTheOne && rule.request < chunk.length) {
        this.#server.end(chunk.subarray(0, rule.request))
        this.cut()
        rule.done(rule.request)
        return
      }
      if (isTheOne) this.#answering = { rule, bytes: 0 }
      const pass = (): void => void this.#server.write(chunk)
      if (proxy.swallowed === 'both' || proxy.swallowed === 'requests') this.#late.push(pass)
      else pass()
    })
    this.#server.on('data', (chunk: Buffer) => {
      if (this.#answering !== null) this.#answer(chunk, this.#answering)
      else if (proxy.swallowed === 'both' || proxy.swallowed === 'answers') this.#late.push(() => void client.write(chunk))
      else client.write(chunk)
    })
    // A client that gives up does not take back what is on its way.
    client.on('close', () => {
      if (this.#late.length === 0) this.#server.destroy()
    })
    this.#server.on('close', () => client.destroy())
  }

  #answer(chunk: Buffer, answering: { readonly rule: Rule; bytes: number }): void {
    const { rule } = answering
    const room = rule.answer - answering.bytes
    answering.bytes += chunk.length
    if (rule.counts) this.#client.write(chunk)
    if (rule.counts ? !chunk.includes(READY) : chunk.length < room) {
      if (!rule.counts) this.#client.write(chunk)
      return
    }
    this.#answering = null
    if (!rule.counts) {
      // All that is left of it arrives before the end does.
      if (room > 0) this.#client.end(chunk.subarray(0, room))
      else this.#client.destroy()
      this.#server.destroy()
    }
    rule.done(answering.bytes)
  }

  deliver(): void {
    for (const pass of this.#late.splice(0)) pass()
    if (this.#client.destroyed) this.#server.end()
  }

  cut(): void {
    this.#client.destroy()
    // What was given to it goes out first.
    this.#server.end()
  }
}

/** For the running test: closed when it has ended. */
export async function startProxy(port: number): Promise<TcpProxy> {
  const proxy: { swallowed: string | null; rule: Rule | null } = { swallowed: null, rule: null }
  const links = new Set<Link>()
  const server = createServer((client) => {
    const link = new Link(client, port, proxy)
    links.add(link)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const arm = (text: string, rule: Pick<Rule, 'request' | 'answer' | 'counts'>): Promise<number> =>
    new Promise((done) => {
      proxy.rule = { text, ...rule, done }
    })
  const close = async (): Promise<void> => {
    for (const link of links) link.cut()
    await new Promise<void>((resolve) => server.close(() => resolve()))
  }
  onTestFinished(close)
  return {
    port: (server.address() as AddressInfo).port,
    swallow: (direction) => void (proxy.swallowed = direction),
    deliver() {
      proxy.swallowed = null
      for (const link of links) link.deliver()
    },
    cutNext: async (text, where) => {
      await arm(text, { request: Infinity, answer: Infinity, ...where, counts: false })
    },
    answerBytes: (text) => arm(text, { request: Infinity, answer: Infinity, counts: true }),
    close,
  }
}
