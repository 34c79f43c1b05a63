/** The first line of an error, for tables and sentences: what went wrong, without stack, advice and full stop. */
export function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.trim().split('\n')[0]!.replace(/\.$/, '');
}
