/**
 * Encryption of a connection, as libpq's `sslmode` means it.
 * Source: https://www.postgresql.org/docs/current/libpq-ssl.html, 34.19.1 to 34.19.3. Two things differ on purpose: it
 * is on, with everything verified, for each host that is not on this machine; and nothing in `~/.postgresql` is read.
 */
import { readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { getCACertificates } from 'node:tls'
import type { ConnectionOptions } from 'node:tls'
import { LedgerError } from '../../ledger/errors.ts'
import { isLocal } from './target.ts'
import type { PostgresHost, PostgresTarget, SslMode } from './target.ts'

/** What counts for this host. A Unix socket is never encrypted, as in libpq. */
export function sslModeOf(target: PostgresTarget, host: PostgresHost): SslMode {
  if (host.host.startsWith('/')) return 'disable'
  if (target.sslmode !== null) return target.sslmode
  // Whoever names certificates wants them used.
  return isLocal(host) && target.sslrootcert === null && target.sslcert === null ? 'disable' : 'verify-full'
}

/** Options for the handshake; false for none. @throws LedgerError `io_error` where a file of the URL can't be read */
export async function tlsOptions(target: PostgresTarget, host: PostgresHost): Promise<ConnectionOptions | false> {
  const mode = sslModeOf(target, host)
  if (mode === 'disable') return false
  const { sslrootcert, sslcert, sslkey } = target
  const [ca, cert, key] = await Promise.all([readRoots(sslrootcert), readPem('sslcert', sslcert), readPem('sslkey', sslkey)])
  const name = isIP(host.host) === 0 ? { servername: host.host } : {}
  return {
    ...name,
    ...(ca === null ? {} : { ca }),
    ...(cert === null ? {} : { cert }),
    ...(key === null ? {} : { key }),
    minVersion: 'TLSv1.2',
    // `require` promises nothing about who is at the other end, unless a root certificate is given.
    rejectUnauthorized: mode !== 'require' || sslrootcert !== null,
    ...(mode === 'verify-full' ? {} : { checkServerIdentity: () => undefined }),
  }
}

async function readRoots(sslrootcert: string | null): Promise<string[] | string | null> {
  return sslrootcert === 'system' ? getCACertificates('system') : readPem('sslrootcert', sslrootcert)
}

async function readPem(parameter: string, path: string | null): Promise<string | null> {
  if (path === null) return null
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    throw new LedgerError(
      'io_error',
      `the file that ${parameter} names can't be read: check the path, and that this user may read it (${String(error)})`,
      { file: path, cause: error },
    )
  }
}

/** Codes of OpenSSL's verification, and of Node.js for the name: the certificate is not one that this side trusts. */
const UNTRUSTED =
  /^(UNABLE_TO_|CERT_|DEPTH_ZERO_|SELF_SIGNED_|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH_|HOSTNAME_MISMATCH|CRL_|ERROR_IN_CERT_|ERR_TLS_CERT_ALTNAME_INVALID)/

/** What failed in the handshake, as an error that says what to do; null where it was something else. */
export function asTlsError(error: Error, target: PostgresTarget, host: PostgresHost): LedgerError | null {
  const { code = '' } = error as { code?: string }
  const place = `${host.host}:${host.port}`
  const details = { cause: error, host: place }
  if (error.message === 'The server does not support SSL connections') {
    const reason = isLocal(host) ? 'since certificates are named' : 'the default for a host that is not on this machine'
    const isDefault = target.sslmode === null ? ` (${reason})` : ''
    return new LedgerError(
      'unsupported',
      `${place} offers no TLS, and sslmode=${sslModeOf(target, host)}${isDefault} asks for it: set ssl=on with a certificate on the server; ` +
        'or, where nobody else can reach the network between, write sslmode=disable into the URL',
      details,
    )
  }
  if (UNTRUSTED.test(code)) {
    const isName = code === 'ERR_TLS_CERT_ALTNAME_INVALID' || code === 'HOSTNAME_MISMATCH'
    const advice = isName
      ? 'connect by a name that the certificate has, or have one made for this name'
      : 'give the certificate of whoever signed it as sslrootcert=FILE'
    return new LedgerError('io_error', `the certificate of ${place} is not trusted (${code}: ${error.message}): ${advice}`, details)
  }
  if (code.startsWith('ERR_SSL_') || code.startsWith('ERR_OSSL_') || code === 'EPROTO') {
    return new LedgerError(
      'io_error',
      `no TLS connection to ${place} (${code}: ${error.message}): check sslcert, sslkey and sslrootcert, and the server's log`,
      details,
    )
  }
  return null
}
