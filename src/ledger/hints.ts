/** Hints that something may have changed, gathered while nobody asks: many of them are one. */

/**
 * @param start begins to listen, calls what it is given for each hint, and returns how to stop
 * Ends with the signal.
 */
export async function* hintsUntil(signal: AbortSignal, start: (hint: () => void) => () => void): AsyncGenerator<void, void, undefined> {
  if (signal.aborted) return
  let isPending = false
  let wake = (): void => {}
  const hint = (): void => {
    isPending = true
    wake()
  }
  const stop = start(hint)
  signal.addEventListener('abort', hint)
  try {
    for (;;) {
      if (!isPending) await new Promise<void>((resolve) => (wake = resolve))
      if (signal.aborted) return
      isPending = false
      yield
    }
  } finally {
    signal.removeEventListener('abort', hint)
    stop()
  }
}
