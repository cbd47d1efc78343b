/** What keeps a process alive, or a ledger locked: to be the same after some work as it was before. */
import { readdirSync, readlinkSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

/** How often each thing is open: files by their paths, the rest by its kind. */
export type Open = ReadonlyMap<string, number>

/** What is closed in the background takes no longer. */
const PATIENCE_MS = 5_000

function openFiles(): string[] {
  let names: string[]
  try {
    names = readdirSync('/proc/self/fd')
  } catch {
    return []
  }
  return names.flatMap((name) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${name}`)
      return /^\/(?!dev\/|proc\/)/.test(path) ? [path] : []
    } catch {
      // The one that listed the folder.
      return []
    }
  })
}

export function whatIsOpen(): Open {
  const listening = (['SIGINT', 'SIGTERM', 'uncaughtException', 'unhandledRejection'] as const).flatMap((name) =>
    process.listeners(name as 'SIGINT').map(() => `a listener for ${name}`),
  )
  const open = new Map<string, number>()
  for (const name of [...process.getActiveResourcesInfo(), ...openFiles(), ...listening]) open.set(name, (open.get(name) ?? 0) + 1)
  return open
}

/** @throws Error where there is still more open than before */
export async function untilClosed(before: Open, what: string): Promise<void> {
  for (const since = performance.now(); ; await sleep(5)) {
    const more = [...whatIsOpen()].filter(([name, count]) => count > (before.get(name) ?? 0)).map(([name]) => name)
    if (more.length === 0) return
    if (performance.now() - since > PATIENCE_MS) throw new Error(`${what} left open: ${more.join(', ')}`)
  }
}
