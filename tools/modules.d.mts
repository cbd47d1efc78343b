/**
 * Writes the package's modules.
 * @param folder where to
 * @param more other programs, with the names of their files there: `{ 'folder/name': path }`
 */
export function writeModules(folder: string, more?: { readonly [name: string]: string }): Promise<void>
