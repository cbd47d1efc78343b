#!/usr/bin/env node
// The command's entry. Nothing is imported statically and nothing newer than ES2020 is written here: an old Node must
// get as far as the sentence below, and not stop at a syntax error or a missing built-in module somewhere behind it.
const oldest = [22, 15]
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)

if (major < oldest[0]! || (major === oldest[0] && minor < oldest[1]!)) {
  process.stderr.write(`cortex-ledger needs Node.js ${oldest.join('.')} or newer; this is ${process.version}\n`)
  process.exitCode = 2
} else {
  // Node calls its own SQLite experimental on stderr at every start; that is for whoever writes code, not for whoever types a command.
  process.removeAllListeners('warning')
  process.on('warning', (warning) => {
    if (warning.name !== 'ExperimentalWarning') process.stderr.write(`${warning.name}: ${warning.message}\n`)
  })
  // Node's own 1 would mean "verification found problems" to a script.
  process.on('uncaughtException', (error) => {
    process.stderr.write(
      `cortex-ledger failed; please report this: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    )
    process.exit(3)
  })
  import('./main.ts').then(
    ({ main }) =>
      main(process.argv.slice(2)).then((exitCode) => {
        process.exitCode = exitCode
      }),
    (error: unknown) => {
      process.stderr.write(`cortex-ledger can't start: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
      process.exitCode = 3
    },
  )
}
