/** Where an optional package is looked for: beside this package, then in the program that runs. */
async function folders(): Promise<string[]> {
  const { pathToFileURL } = await import('node:url');
  const program = process.argv[1] === undefined ? [] : [pathToFileURL(process.argv[1]).href];
  return [import.meta.url, ...program, pathToFileURL(`${process.cwd()}/package.json`).href];
}

/** The file that `name` resolves to, or undefined when the package is not installed. */
export async function resolveInstalled(name: string): Promise<string | undefined> {
  const { createRequire } = await import('node:module');
  for (const folder of await folders()) {
    try {
      return createRequire(folder).resolve(name);
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }
  return undefined;
}

/** Imports an optional ES module package. Throws an Error that says so when it is not installed. */
export async function importInstalled(name: string): Promise<unknown> {
  try {
    return await import(/* @vite-ignore */ name);
  } catch (error) {
    // Its own dependency may be what is missing.
    if (!isMissing(error) || !String(error).includes(`'${name}'`)) throw error;
  }
  const { pathToFileURL } = await import('node:url');
  const file = await resolveInstalled(name);
  if (file === undefined) throw new Error(`${name} is not installed`);
  return import(/* @vite-ignore */ pathToFileURL(file).href);
}

function isMissing(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code;
  return code === 'MODULE_NOT_FOUND' || code === 'ERR_MODULE_NOT_FOUND';
}
