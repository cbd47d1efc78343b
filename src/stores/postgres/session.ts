/** One connection, as the rest of this store uses it: rows of texts, errors of the ledger, and a server's clock. */
import type { Socket } from 'node:net'
import { LedgerError } from '../../ledger/errors.ts'
import { BindMessage } from './bind-message.ts'
import { askBound } from './bound-query.ts'
import type { NamedStatement, Row } from './bound-query.ts'
import type { PostgresConnection } from './connect.ts'
import { asPostgresError } from './errors.ts'

/** A statement with a name is parsed once a connection. */
export interface Statement {
  readonly name?: string
  readonly text: string
  /** It goes over all records, and takes the time that it takes. That the server is gone TCP finds out. */
  readonly isUnhurried?: true
}

export type Parameter = string | number | Buffer | null
/** The server's clock, as far as it was heard. µs since the epoch. */
export class ServerClock {
  #offset_us: number | null = null

  heard(now_us: number): void {
    this.#offset_us = now_us - performance.now() * 1000
  }

  /** Null where nobody has asked it yet. */
  now(): number | null {
    return this.#offset_us === null ? null : Math.round(performance.now() * 1000 + this.#offset_us)
  }
}

export interface SessionOptions {
  /** The URL without password, for messages. */
  readonly display: string
  readonly clock: ServerClock
  /** How long a statement may take before the connection is taken for lost, ms. */
  readonly timeout_ms: number
}

export class Session {
  readonly connection: PostgresConnection
  readonly clock: ServerClock
  readonly #options: SessionOptions
  /** Those that no statement is under way with. */
  readonly #messages: BindMessage[] = []
  #isOver = false
  #warnings = 0
  #asking = 0

  constructor(connection: PostgresConnection, options: SessionOptions) {
    this.connection = connection
    this.clock = options.clock
    this.#options = options
    // By its code: the word WARNING is translated. 00 is success, of which nothing is sent anyway.
    connection.client.on('notice', ({ code }) => {
      if (code?.startsWith('00') !== true) this.#warnings++
    })
    socketOf(connection).unref()
  }

  get isLost(): boolean {
    return this.#isOver || this.connection.lost !== null
  }

  /** Warnings that the server has sent so far: a commit that was not waited for on a standby is one. */
  get warnings(): number {
    return this.#warnings
  }

  /** @throws LedgerError */
  query(statement: Statement, values: readonly Parameter[] = []): Promise<readonly Row[]> {
    return this.#ask(statement, values, { rowMode: 'array', types: TEXTS })
  }

  /** As objects, with numbers, booleans and JSON as JavaScript has them, and all else as texts. @throws LedgerError */
  rows(text: string, values: readonly (Parameter | boolean)[] = []): Promise<readonly { readonly [column: string]: unknown }[]> {
    return this.#ask({ text }, values, { types: VALUES })
  }

  /**
   * A prepared statement whose parameters `bind` writes into a message that the connection keeps. What `bind` throws comes
   * at once, with nothing sent.
   * @returns what rejects with a LedgerError
   */
  bound(statement: NamedStatement, bind: (message: BindMessage) => Buffer): Promise<readonly Row[]> {
    const message = this.#messages.pop() ?? new BindMessage()
    const bytes = bind(message)
    return this.#answered(statement, ({ client }) => askBound(client, statement, bytes)).then((rows) => {
      // Only now are its bytes surely gone over.
      this.#messages.push(message)
      return rows
    })
  }

  async #ask<Each>(statement: Statement, values: readonly unknown[], manner: object): Promise<readonly Each[]> {
    const { isUnhurried: _, ...said } = statement
    return this.#answered(statement, async ({ client }) => {
      // Without parameters it may be several statements, of which the last one's rows count.
      const result = await client.query({ ...said, ...(values.length === 0 ? {} : { values: [...values] }), ...manner })
      return (Array.isArray(result) ? (result.at(-1) as typeof result) : result).rows as Each[]
    })
  }

  async #answered<Each>(
    { isUnhurried, name }: Statement,
    ask: (connection: PostgresConnection) => Promise<readonly Each[]>,
  ): Promise<readonly Each[]> {
    if (this.isLost) throw this.connection.lost ?? this.#lost()
    const timer = isUnhurried === true ? undefined : setTimeout(() => this.destroy(), this.#options.timeout_ms)
    this.hold()
    try {
      return await ask(this.connection)
    } catch (error) {
      throw asPostgresError(error, name ?? 'asking', this.#options)
    } finally {
      this.letGo()
      clearTimeout(timer)
    }
  }

  /** A process with nothing else to do ends, also with connections open; but not while an answer is waited for. */
  hold(): void {
    if (this.#asking++ === 0) socketOf(this.connection).ref()
  }

  letGo(): void {
    if (--this.#asking === 0) socketOf(this.connection).unref()
  }

  /** `work` in one transaction, which is rolled back where it fails. */
  async transaction<T>(work: () => Promise<T>): Promise<T> {
    const begun = this.query({ text: 'BEGIN' })
    begun.catch(() => {})
    try {
      const result = await work()
      await begun
      await this.query({ text: 'COMMIT' })
      return result
    } catch (error) {
      await this.query({ text: 'ROLLBACK' }).catch(() => this.destroy())
      throw error
    }
  }

  /** Whatever waits for an answer hears that the connection is lost. */
  destroy(): void {
    this.#isOver = true
    this.connection.destroy()
  }

  async end(): Promise<void> {
    this.#isOver = true
    if (this.connection.lost === null) await this.connection.close()
  }

  #lost(): LedgerError {
    return new LedgerError('io_error', `the connection to ${this.#options.display} is lost; it is made again by itself`, {
      connection_lost: true,
    })
  }
}

function socketOf({ client }: PostgresConnection): Socket {
  return client.connection.stream as Socket
}

const asIs = (value: unknown): unknown => value
const TEXTS = { getTypeParser: () => asIs } as never

const asNumber = (text: string): number => Number(text)
const asBoolean = (text: string): boolean => text === 't'
const asJson = (text: string): unknown => JSON.parse(text)
/** By the type's OID: bool; int8, int2, int4, float4, float8, numeric; json, jsonb. */
const PARSERS: { readonly [oid: number]: (text: string) => unknown } = {
  16: asBoolean,
  20: asNumber,
  21: asNumber,
  23: asNumber,
  700: asNumber,
  701: asNumber,
  1700: asNumber,
  114: asJson,
  3802: asJson,
}
const VALUES = { getTypeParser: (oid: number) => PARSERS[oid] ?? asIs } as never
