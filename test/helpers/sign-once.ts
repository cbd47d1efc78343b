/**
 * A program that signs what comes on its stdin with the Ed25519 seed 00 01 … 1f, or does something else instead:
 *
 *     node sign-once.ts raw|base64|line|wrong|short|junk|long|fail|hang|deaf|silent|environment
 */
import { createPrivateKey, sign } from 'node:crypto'
import { readFileSync } from 'node:fs'

const seed = Uint8Array.from({ length: 32 }, (_, i) => i)
const prefix = Buffer.from('302e020100300506032b657004220420', 'hex')
const key = createPrivateKey({ key: Buffer.concat([prefix, seed]), format: 'der', type: 'pkcs8' })

const how = process.argv[2]
const message = how === 'deaf' || how === 'hang' ? Buffer.alloc(0) : readFileSync(0)
const signature = sign(null, message, key)

switch (how) {
  case 'raw':
    process.stdout.write(signature)
    break
  case 'base64':
    process.stdout.write(signature.toString('base64'))
    break
  case 'line':
    process.stdout.write(`${signature.toString('base64')}\n`)
    break
  case 'wrong':
    process.stdout.write(sign(null, Buffer.from('another message'), key))
    break
  case 'short':
    process.stdout.write(signature.subarray(1))
    break
  case 'junk':
    process.stdout.write('here you are: '.repeat(7))
    break
  case 'long':
    for (let i = 0; i < 100; i++) process.stdout.write(Buffer.alloc(1000))
    break
  case 'fail':
    process.stderr.write('the token is not there\n')
    process.exitCode = 3
    break
  case 'hang':
    setInterval(() => {}, 1000)
    break
  case 'environment':
    process.stderr.write(`passphrase ${process.env['CORTEX_LEDGER_PASSPHRASE'] ?? 'unknown'}\n`)
    process.exitCode = 1
    break
}
