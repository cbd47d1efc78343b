/** Preloaded (`node --import`): when the process ends, writes the most memory that it had, in bytes, into the file of BENCH_MEMORY. */
import { readFileSync, writeFileSync } from 'node:fs'

/** Linux counts it anew for each program; `maxRSS` would also count the process that started this one, as it was then. */
function peakBytes() {
  try {
    const kib = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]
    if (kib !== undefined) return Number(kib) * 1024
  } catch {
    // Not Linux.
  }
  return process.resourceUsage().maxRSS * 1024
}

process.on('exit', () => writeFileSync(process.env.BENCH_MEMORY, String(peakBytes())))
