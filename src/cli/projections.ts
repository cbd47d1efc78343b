/** Projections that a user's own module exports, for commands that need to know how a state follows from events. */
import { pathToFileURL } from 'node:url'
import { resolve } from 'node:path'
import type { Projection } from '../index.ts'
import { Misuse } from './errors.ts'

function isProjection(value: unknown): value is Projection {
  if (typeof value !== 'object' || value === null) return false
  const { name, version, types, start, apply } = value as Partial<Projection>
  const isNamed = typeof name === 'string' && typeof version === 'number' && Array.isArray(types)
  return isNamed && typeof start === 'function' && typeof apply === 'function'
}

/** Runs the module. @throws Misuse where it can't be loaded, or exports none */
export async function projectionsIn(file: string): Promise<Projection[]> {
  let exported: object
  try {
    exported = (await import(pathToFileURL(resolve(file)).href)) as object
  } catch (error) {
    throw new Misuse(`--projections ${file} can't be loaded: ${error instanceof Error ? error.message : String(error)}`)
  }
  const projections = Object.values(exported).filter(isProjection)
  if (projections.length === 0) throw new Misuse(`--projections ${file} exports no projection: export what defineProjection gives`)
  return projections
}
