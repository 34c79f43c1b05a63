import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type CommandContext, wholeNumber } from '@mezzotint/app/terminal';
import { InvalidArgumentError } from '@mezzotint/core';
import { Command } from 'commander';
import { listen, modelFiles, modelListing, type Site, siteServer } from './serve.js';

/** The flags of `browser`. */
export interface BrowserFlags {
  readonly model?: string;
  readonly port: number;
  readonly out?: string;
}

/** The model that is taken when none is named. */
const USUAL_MODEL = 'models/emoji';

export function browserCommand(): Command {
  return new Command('browser')
    .description(
      'Serves a page that makes pictures in the browser, by WebAssembly, on this machine and for this machine alone.',
    )
    .option('--model <folder>', `model or run that the page opens (default: ${USUAL_MODEL} where there is one)`)
    .option('--port <n>', 'port; 0 is any that is free', wholeNumber('--port', 0), 8017)
    .option('--out <folder>', 'write the page and the model into a new folder, for a web server of your own')
    .addHelpText(
      'after',
      '\nExample:\n  pnpm browser\n  pnpm browser --model runs/mine\n  pnpm browser --model runs/mine --out site',
    );
}

/** Serves the page until it is stopped, or writes it into a folder. */
export async function runBrowser(
  { model = existsSync(USUAL_MODEL) ? USUAL_MODEL : undefined, port, out }: BrowserFlags,
  page: string,
  { signal, say, result }: Pick<CommandContext, 'signal' | 'say' | 'result'>,
): Promise<void> {
  const site: Site = { page, model: model ?? null };
  if (out !== undefined) {
    const files = await writeSite(site, out);
    say(`${out}: ${files} files; serve them with any web server (more than one thread needs its headers: README)`);
    result({ out, files });
    return;
  }
  const server = siteServer(site);
  const address = await listen(server, port);
  say(`${address} makes pictures with ${model ?? 'the model folder that you choose there'}; Ctrl-C stops`);
  result({ address, model: site.model });
  if (!signal.aborted) await once(signal, 'abort');
  server.closeAllConnections();
  server.close();
}

/** Copies page and model, and says how many files there are. */
async function writeSite({ page, model }: Site, out: string): Promise<number> {
  if (existsSync(out) && readdirSync(out).length > 0)
    throw new InvalidArgumentError('--out', `${out} is there already; expected a new or empty folder`);
  const models = model === null ? [] : modelFiles(model);
  await mkdir(out, { recursive: true });
  const pages = readdirSync(page);
  for (const name of pages) await cp(join(page, name), join(out, name));
  for (const { path, file } of models) {
    const to = join(out, 'model', path);
    await mkdir(dirname(to), { recursive: true });
    await cp(file, to);
  }
  if (model === null) return pages.length;
  await writeFile(join(out, 'model', 'files.json'), modelListing(model));
  return pages.length + models.length + 1;
}
