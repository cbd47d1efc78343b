/**
 * Typed events: a name, a version, what their data must be, and how older data becomes that. The ledger keeps what was
 * appended as it was; what a reader gets is brought up to the version that its program knows.
 */
import type { EventInput } from './draft.ts'
import type { JsonObject } from './entry.ts'
import { LedgerError } from './errors.ts'
import { readsAsFact } from './event-name.ts'
import type { LedgerRecord } from './record.ts'
import { withheldError } from './withheld-entry.ts'

/** What a schema library has to be: https://standardschema.dev, version 1. zod, valibot, arktype and others are. */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => StandardResult<Output> | Promise<StandardResult<Output>>
    readonly types?: { readonly input: Input; readonly output: Output } | undefined
  }
}

type StandardResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | {
      readonly issues: readonly {
        readonly message: string
        readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined
      }[]
    }

/** Brings data of one version to the next. Pure: it is called at each reading. */
export type Upcaster = (data: JsonObject) => object

/** What may stand beside an event's data. */
export type EventMeta = Omit<EventInput, 'type' | 'data' | 'schema'>

/** An event that is ready to be appended. */
export interface TypedEvent<Type extends string = string> extends EventInput {
  readonly type: Type
  readonly data: object
  readonly schema: number
  readonly [DEFINITION]: object
}

export const DEFINITION: unique symbol = Symbol('cortex-ledger event definition')

export interface EventDefinition<Type extends string = string, Data = unknown, Input = Data> {
  /** An event of this type; its data are checked when it is appended. */
  (data: Input, meta?: EventMeta): TypedEvent<Type>
  readonly type: Type
  /** Version of the data, from 1. */
  readonly version: number
  /** True for a record of this type. */
  is(record: LedgerRecord): boolean
  /**
   * The record's data at this version.
   * @throws LedgerError `newer_format` for data of a version that this program does not know; `not_found` where they are withheld; `key_error`
   *   or `damaged` where they are encrypted and do not open
   * @throws TypeError for a record of another type
   */
  read(record: LedgerRecord): Data
  /** Data of an older version at this one. For tests of upcasters. */
  upcast(data: JsonObject, version: number): Data
}

export interface EventOptions {
  /** Version of the data, from 1. 1 unless said. */
  readonly version?: number | undefined
  /** For each version before this one, what makes the next of it: `{ 1: (v1) => v2, 2: (v2) => v3 }`. */
  readonly upcast?: { readonly [version: number]: Upcaster } | undefined
  /** Take a name that does not read as a fact. */
  readonly anyName?: boolean | undefined
}

interface Kept {
  readonly schema: StandardSchema | null
}

const schemas = new WeakMap<object, Kept>()

function requireUpcasters(type: string, version: number, upcast: EventOptions['upcast'] = {}): void {
  if (!Number.isSafeInteger(version) || version < 1) throw new RangeError(`${type}: version must be an integer from 1, not ${version}`)
  for (let from = 1; from < version; from++) {
    if (typeof upcast[from] !== 'function')
      throw new TypeError(`${type}: version ${version} needs upcast[${from}], which makes version ${from + 1} of version ${from}`)
  }
  for (const from of Object.keys(upcast)) {
    if (!(Number(from) >= 1 && Number(from) < version))
      throw new RangeError(`${type}: upcast[${from}] leads to no version up to ${version}`)
  }
}

/**
 * Defines an event type. With a schema (any Standard Schema) its data are checked at append and typed at read.
 * @throws RangeError for a name that reads as a command (`RunAgent`); TypeError where an upcaster is missing
 */
export function defineEvent<const Type extends string, Output = JsonObject, Input = Output>(
  type: Type,
  schema?: StandardSchema<Input, Output> | null,
  options: EventOptions = {},
): EventDefinition<Type, Output, Input> {
  const { version = 1, upcast: upcasters = {} } = options
  requireUpcasters(type, version, upcasters)
  if (options.anyName !== true && !readsAsFact(type)) {
    throw new RangeError(
      `${JSON.stringify(type)} reads as a command: an event is a fact that has happened, so name it in the past (TaskCompleted, AgentStarted), or say { anyName: true }`,
    )
  }

  const upcast = (data: JsonObject, from: number): Output => {
    if (from > version) {
      throw new LedgerError('newer_format', `${type} of version ${from} is newer than the ${version} that this program knows: update it`, {
        type,
        version: from,
      })
    }
    let current: object = data
    for (let at = from; at < version; at++) current = (upcasters[at] as Upcaster)(current as JsonObject)
    return current as Output
  }

  const make = (data: Input, meta: EventMeta = {}): TypedEvent<Type> => ({
    ...meta,
    type,
    data: data as object,
    schema: version,
    [DEFINITION]: definition,
  })
  const definition: EventDefinition<Type, Output, Input> = Object.assign(make, {
    type,
    version,
    is: (record: LedgerRecord) => record.header.type === type,
    read: (record: LedgerRecord): Output => {
      if (record.header.type !== type) throw new TypeError(`the record at position ${record.seq} is a ${record.header.type}, not a ${type}`)
      const { entry } = record
      if (record.locked !== null) throw record.locked
      if (entry === null) throw withheldError(record.seq, record.withheld)
      return upcast(entry, record.header.schema)
    },
    upcast,
  })
  schemas.set(definition, { schema: (schema as StandardSchema | null | undefined) ?? null })
  return definition
}

function pathOf(path: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined): string {
  return (path ?? []).map((part) => `/${String(typeof part === 'object' ? part.key : part)}`).join('')
}

function accepted(event: EventInput, result: StandardResult<unknown>): EventInput {
  if (result.issues === undefined) {
    const { [DEFINITION]: _, ...plain } = event as EventInput & { [DEFINITION]?: object }
    return { ...plain, data: result.value as object }
  }
  const [first] = result.issues
  const path = pathOf(first?.path)
  const more = result.issues.length > 1 ? ` (and ${result.issues.length - 1} more)` : ''
  throw new LedgerError(
    'invalid_entry',
    `${event.type}: ${path === '' ? '' : `${path}: `}${first?.message ?? 'refused by its schema'}${more}. Nothing was recorded`,
    {
      path: path === '' ? '/' : path,
      issues: result.issues.map(({ message, path: at }) => ({ path: pathOf(at), message })),
    },
  )
}

/**
 * The events as they are recorded: those with a schema checked, and as it returns them. At once, unless a schema takes its
 * time, so that who appends without awaiting keeps the order.
 * @throws LedgerError `invalid_entry`, with the path
 */
export function checkedEvents(events: readonly EventInput[]): readonly EventInput[] | Promise<readonly EventInput[]> {
  let isSlow = false
  const results = events.map((event) => {
    const definition = (event as Partial<TypedEvent>)?.[DEFINITION]
    if (definition === undefined) return event
    const schema = schemas.get(definition)?.schema ?? null
    if (schema === null) return accepted(event, { value: event.data })
    const result = schema['~standard'].validate(event.data)
    if (!(result instanceof Promise)) return accepted(event, result)
    isSlow = true
    return result.then((settled) => accepted(event, settled))
  })
  return isSlow ? Promise.all(results) : (results as readonly EventInput[])
}
