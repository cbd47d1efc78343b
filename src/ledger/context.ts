/** What surrounds an append: the task that it belongs to, what led to it, and who acts. Filled in where a caller says nothing. */
import { AsyncLocalStorage } from 'node:async_hooks'

export interface LedgerContext {
  /** The task, conversation or trace. */
  readonly correlation_id?: string | undefined
  /** `run_id` of the record that leads to what is recorded here. */
  readonly causation_id?: string | undefined
  /** Who causes events that name nobody. */
  readonly actor?: string | undefined
}

const contexts = new AsyncLocalStorage<LedgerContext>()
const NOTHING: LedgerContext = {}

/** Of the call that this code runs in, across everything that it awaits. */
export function currentContext(): LedgerContext {
  return contexts.getStore() ?? NOTHING
}

/** Runs `fn`, and all that it starts, with this context; what it leaves out stays as it is around it. */
export function runInContext<T>(context: LedgerContext, fn: () => T): T {
  const said = Object.entries(context).filter(([, value]) => value !== undefined)
  return contexts.run({ ...currentContext(), ...Object.fromEntries(said) }, fn)
}
