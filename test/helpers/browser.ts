/** A real Chromium without a network, driven by the DevTools protocol over the WebSocket that Node.js has. */
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

export const CHROMIUM =
  ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => existsSync(path)) ?? null

type Answer = { readonly [member: string]: unknown }
interface Message {
  readonly id?: number
  readonly method?: string
  readonly params?: Answer
  readonly result?: Answer
  readonly error?: { readonly message: string }
  readonly sessionId?: string
}

/** The protocol's one connection. */
class Connection {
  readonly #socket: WebSocket
  readonly #waiting = new Map<number, { resolve: (answer: Answer) => void; reject: (error: Error) => void }>()
  readonly events: Message[] = []
  #next = 1

  private constructor(socket: WebSocket) {
    this.#socket = socket
    socket.addEventListener('message', ({ data }) => this.#take(JSON.parse(String(data)) as Message))
    socket.addEventListener('close', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('the browser has gone'))
    })
  }

  static async to(url: string): Promise<Connection> {
    const socket = new WebSocket(url)
    await new Promise((resolve, reject) => {
      socket.addEventListener('open', resolve)
      socket.addEventListener('error', () => reject(new Error(`no connection to ${url}`)))
    })
    return new Connection(socket)
  }

  #take(message: Message): void {
    if (message.id === undefined) return void this.events.push(message)
    const { resolve, reject } = this.#waiting.get(message.id)!
    this.#waiting.delete(message.id)
    if (message.error === undefined) resolve(message.result ?? {})
    else reject(new Error(message.error.message))
  }

  send(method: string, params: object = {}, sessionId?: string): Promise<Answer> {
    const id = this.#next++
    this.#socket.send(JSON.stringify({ id, method, params, ...(sessionId === undefined ? {} : { sessionId }) }))
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }))
  }

  close(): void {
    this.#socket.close()
  }
}

/** One page of the browser. */
export class Page {
  readonly #connection: Connection
  readonly #session: string

  constructor(connection: Connection, session: string) {
    this.#connection = connection
    this.#session = session
  }

  send(method: string, params: object = {}): Promise<Answer> {
    return this.#connection.send(method, params, this.#session)
  }

  async open(file: string): Promise<void> {
    await this.send('Page.navigate', { url: pathToFileURL(file).href })
    await this.until('document.readyState === "complete"')
  }

  /** What an expression of the page's language gives; promises are waited for. */
  async evaluate<Value>(expression: string): Promise<Value> {
    const answer = await this.send('Runtime.evaluate', { expression, returnByValue: true, awaitPromise: true })
    if (answer['exceptionDetails'] !== undefined) throw new Error(JSON.stringify(answer['exceptionDetails']))
    return (answer['result'] as { value: Value }).value
  }

  /** Waits until the expression is true; the test's own time limit ends it. */
  async until(expression: string): Promise<void> {
    while (!(await this.evaluate<boolean>(expression))) await new Promise((resolve) => setTimeout(resolve, 10))
  }

  /** Chooses a file, as somebody would by the button. */
  async choose(selector: string, file: string): Promise<void> {
    const { root } = (await this.send('DOM.getDocument')) as { root: { nodeId: number } }
    const { nodeId } = await this.send('DOM.querySelector', { nodeId: root.nodeId, selector })
    await this.send('DOM.setFileInputFiles', { nodeId, files: [file] })
  }

  async screenshot(): Promise<Buffer> {
    // A page behind another one is never drawn, and the picture of it never comes.
    await this.send('Page.bringToFront')
    const { data } = await this.send('Page.captureScreenshot', { captureBeyondViewport: true })
    return Buffer.from(data as string, 'base64')
  }

  /** Addresses that were asked for, and everything that the page complained of. */
  heard(): { readonly requests: string[]; readonly complaints: string[] } {
    const own = this.#connection.events.filter(({ sessionId }) => sessionId === this.#session)
    const of = (method: string): Answer[] => own.filter((event) => event.method === method).map(({ params }) => params!)
    return {
      requests: of('Network.requestWillBeSent').map(({ request }) => (request as { url: string }).url),
      complaints: [...of('Log.entryAdded'), ...of('Runtime.exceptionThrown'), ...of('Runtime.consoleAPICalled')].map((one) =>
        JSON.stringify(one),
      ),
    }
  }
}

export interface Browser {
  newPage(): Promise<Page>
  close(): Promise<void>
}

export async function startBrowser(): Promise<Browser> {
  const profile = mkdtempSync(join(tmpdir(), 'cortex-ledger-browser-'))
  const child = spawn(
    CHROMIUM!,
    [
      '--headless=new',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-dev-shm-usage',
      '--no-first-run',
      '--remote-debugging-port=0',
      `--user-data-dir=${profile}`,
      // No name has an address: whatever the page or the browser asks for is not there.
      '--host-resolver-rules=MAP * ~NOTFOUND',
      'about:blank',
    ],
    { stdio: 'ignore' },
  )
  const ended = new Promise((resolve) => child.on('close', resolve))
  const close = async (): Promise<void> => {
    child.kill('SIGKILL')
    await ended
    rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 })
  }
  try {
    const port = join(profile, 'DevToolsActivePort')
    while (!existsSync(port) || readFileSync(port, 'utf8').split('\n').length < 2) {
      if (child.exitCode !== null) throw new Error(`${CHROMIUM} ended with ${child.exitCode}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    const [number, path] = readFileSync(port, 'utf8').split('\n')
    const connection = await Connection.to(`ws://127.0.0.1:${number}${path}`)
    return {
      newPage: async () => {
        const { targetId } = await connection.send('Target.createTarget', { url: 'about:blank' })
        const { sessionId } = await connection.send('Target.attachToTarget', { targetId, flatten: true })
        const page = new Page(connection, sessionId as string)
        for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await page.send(`${domain}.enable`)
        await page.send('Network.emulateNetworkConditions', { offline: true, latency: 0, downloadThroughput: 0, uploadThroughput: 0 })
        return page
      },
      close: async () => {
        connection.close()
        await close()
      },
    }
  } catch (error) {
    await close()
    throw error
  }
}
