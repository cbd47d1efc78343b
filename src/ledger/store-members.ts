/** A store of which some members are others. */
import type { Store } from './store.ts'

/**
 * The store with these members in place of its own, or beside them. A proxy and not a list of members: whatever the port
 * has, optional or new, is there as the store has it.
 */
export function withMembers<Members extends Partial<Store>>(store: Store, members: Members): Store & Members {
  return new Proxy(store, {
    get(target, name) {
      if (Object.hasOwn(members, name)) return members[name as keyof Members]
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value
    },
  }) as Store & Members
}
