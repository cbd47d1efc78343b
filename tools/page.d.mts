/** The whole of verify.html. */
export function pageText(): Promise<string>
