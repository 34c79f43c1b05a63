import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { realNumber, runCommand, startProgress, wholeNumber } from '@mezzotint/app';
import { EngineWorker } from '@mezzotint/backend/worker';
import { bundlePage, installedChromium, listen, siteServer } from '@mezzotint/browser/measuring';
import { MezzotintError } from '@mezzotint/core';
import { Command } from 'commander';
import { type Browser, chromium, type Page } from 'playwright-core';
import type { jobs } from './browser-jobs.js';
import { circumstances } from './page.js';
import { timing } from './statistics.js';

interface Flags {
  readonly model: string;
  readonly prompt: string;
  readonly guidance: number;
  readonly steps: number;
  readonly runs: number;
}

/** A way to make the picture; it gives the bytes of its pixels, RGB. */
interface Way {
  readonly name: string;
  picture(): Promise<Uint8Array>;
  /** Seconds of processor time so far, of all threads. */
  processor(): Promise<number>;
}

const command = new Command('bench:browser')
  .description('Times one picture in Chromium and in Node with the same engine (wasm) and with onnxruntime, in turns.')
  .option('--model <folder>', 'model of prompts', 'models/emoji')
  .option('--prompt <text>', 'prompt', 'a red heart')
  .option('--guidance <scale>', 'guidance scale', realNumber('--guidance', 0, 1000), 3)
  .option('--steps <n>', 'steps', wholeNumber('--steps', 1), 20)
  .option('--runs <n>', 'counted pictures of each, after one', wholeNumber('--runs', 1), 5);

await runCommand<Flags>(command, async ({ model, prompt, guidance, steps, runs }, { say, result, signal }) => {
  const executablePath = installedChromium();
  if (executablePath === undefined) {
    const text = 'bench:browser needs a Chromium: none is on the path, nor in the environment variable CHROMIUM';
    throw new MezzotintError('MEZZOTINT_NO_BROWSER', text);
  }
  const request = { prompt, guidance, steps, seed: '0', count: 1 };
  const folder = mkdtempSync(join(tmpdir(), 'mezzotint-bench-'));
  await bundlePage(folder);
  const server = siteServer({ page: folder, model });
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
  const engines = await Promise.all(
    ['wasm', 'onnxruntime'].map((engine) =>
      EngineWorker.start<typeof jobs>(new URL('./browser-jobs.ts', import.meta.url), { engine }),
    ),
  );
  const progress = startProgress('Making pictures', (runs + 1) * (engines.length + 1));
  try {
    const inNode = engines.map((worker): Way => {
      const picture = () => worker.run('picture', { model, request }, { signal });
      return { name: `Node, ${worker.engine.name} (${worker.engine.device})`, picture, processor: ofThisProcess };
    });
    const ways = [await inChromium(browser, await listen(server, 0), request), ...inNode];
    const seconds = ways.map((): number[] => []);
    const processor = ways.map((): number[] => []);
    const pictures: Uint8Array[] = [];
    for (let round = 0; round <= runs; round++) {
      for (const [i, way] of ways.entries()) {
        signal.throwIfAborted();
        const [before, from] = [await way.processor(), performance.now()];
        pictures[i] = await way.picture();
        if (round > 0) seconds[i]!.push((performance.now() - from) / 1000);
        if (round > 0) processor[i]!.push((await way.processor()) - before);
        progress.update(round * ways.length + i + 1);
      }
    }
    progress.stop();
    const rows = ways.map(({ name }, i) => {
      const wall = timing(seconds[i]!);
      return { name, ...wall, processor: timing(processor[i]!).median, ...difference(pictures[i]!, pictures[1]!) };
    });
    for (const { name, median, min, max, processor: used, differ, most } of rows) {
      const same = differ === 0 ? "the bytes of Node's wasm" : `${differ} bytes differ from Node's wasm, by ${most}`;
      const range = `${median.toFixed(2)} s (${min.toFixed(2)}-${max.toFixed(2)})`;
      say(`${name.padEnd(48)} ${range}, ${used.toFixed(2)} s of processor time; ${same}`);
    }
    const where = circumstances(`pnpm bench:browser --model ${model} --steps ${steps} --runs ${runs}`);
    say(where.machine);
    result({ ...where, request, runs, rows });
  } finally {
    progress.stop();
    await browser.close();
    await Promise.all(engines.map((worker) => worker.close()));
    server.close();
    rmSync(folder, { recursive: true, force: true });
  }
});

async function ofThisProcess(): Promise<number> {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** The page, with the model open and the form filled in. */
async function inChromium(
  browser: Browser,
  address: string,
  request: Readonly<Record<string, string | number>>,
): Promise<Way> {
  const page = await browser.newPage();
  page.setDefaultTimeout(300_000);
  await page.goto(address);
  await page.locator('#make:enabled').waitFor();
  for (const [name, value] of Object.entries(request)) await page.fill(`[name=${name}]`, String(value));
  await page.uncheck('#previews');
  const session = await browser.newBrowserCDPSession();
  return {
    name: `Chromium ${browser.version()}, ${((await page.textContent('#model')) ?? '').split(' · ').at(-1)}`,
    async picture() {
      await page.click('#make');
      await page.locator('#make:enabled').waitFor(); // The click disables it.
      if (await page.isVisible('#error')) throw new Error((await page.textContent('#error')) ?? '');
      return newest(page);
    },
    async processor() {
      const { processInfo } = await session.send('SystemInfo.getProcessInfo');
      return processInfo.reduce((sum, { cpuTime }) => sum + cpuTime, 0);
    },
  };
}

/** RGB of the picture that the page shows first. */
async function newest(page: Page): Promise<Uint8Array> {
  const rgba = await page.evaluate<number[]>(`
    const canvas = document.querySelector('#pictures canvas');
    [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data];
  `);
  return Uint8Array.from(rgba.filter((_, i) => i % 4 !== 3));
}

/** How many bytes differ, and the largest difference. */
function difference(a: Uint8Array, b: Uint8Array): { differ: number; most: number } {
  const apart = [...a].map((value, i) => Math.abs(value - b[i]!));
  return { differ: apart.filter((d) => d > 0).length, most: Math.max(...apart) };
}
