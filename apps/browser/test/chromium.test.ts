import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import type { Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { useBackend } from '@mezzotint/backend';
import type { Request } from '@mezzotint/pipelines';
import { openPipeline } from '@mezzotint/pipelines/node';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bundlePage, installedChromium, listen, siteServer } from '../src/measuring.js';

const executablePath = installedChromium();
const why = executablePath === undefined ? ' (skipped: no Chromium on the path, nor in CHROMIUM)' : '';
const model = fileURLToPath(new URL('../../sample/test/fixtures/tiny-sd', import.meta.url));

describe.skipIf(executablePath === undefined)(`the page in Chromium${why}`, () => {
  let folder: string;
  let server: Server;
  let browser: Browser;
  let page: Page;
  const asked: string[] = [];
  const complaints: string[] = [];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'mezzotint-browser-'));
    await bundlePage(join(folder, 'page'));
    server = siteServer({ page: join(folder, 'page'), model });
    const address = await listen(server, 0);
    // No sandbox: tests run as root in containers, and the page is our own.
    browser = await chromium.launch({ executablePath: executablePath!, args: ['--no-sandbox'] });
    page = await browser.newPage();
    page.setDefaultTimeout(100_000);
    page.on('request', (request) => asked.push(request.url()));
    page.on('console', (message) => complaints.push(message.text()));
    page.on('pageerror', (error) => complaints.push(error.message));
    await page.goto(address);
    await page.locator('#make:enabled').waitFor();
  }, 120_000);

  afterAll(async () => {
    await browser?.close();
    server?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Types settings into the form. */
  async function type(settings: Readonly<Record<string, string>>): Promise<void> {
    for (const [name, value] of Object.entries(settings)) await page.fill(`[name=${name}]`, value);
  }

  test('shows the settings that the model takes, with its own values', async () => {
    expect(await page.textContent('#model')).toMatch(/^StableDiffusionPipeline · WebAssembly, cpu, simd/);
    expect(await page.isVisible('[name=prompt]')).toBe(true);
    expect(await page.isVisible('[name=labels]')).toBe(false);
    expect(await page.getAttribute('[name=guidance]', 'placeholder')).toBe('7.5');
    expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
  });

  test("pictures are those of Node's wasm, byte for byte", async () => {
    const request: Request = { prompt: 'a red cat', negative: 'blue', guidance: 3, steps: 3, seed: '7', count: 2 };
    const { count, guidance, steps, ...texts } = request;
    await type({ ...(texts as Record<string, string>), count: `${count}`, guidance: `${guidance}`, steps: `${steps}` });
    await page.click('#make');
    await page.getByText(/^Made in/).waitFor();
    const shown = await page.evaluate(() =>
      [...document.querySelectorAll<HTMLCanvasElement>('#pictures canvas')].map((canvas) => [
        ...canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height).data,
      ]),
    );
    await useBackend({ engine: 'wasm' });
    const pipeline = await openPipeline(model);
    const { images } = await pipeline.generate(request);
    pipeline.dispose();
    const opaque = images.map(({ data }) =>
      Array.from({ length: (data.length / 3) * 4 }, (_, i) => (i % 4 === 3 ? 255 : data[3 * (i >> 2) + (i % 4)]!)),
    );
    expect(shown.reverse()).toEqual(opaque); // the newest is shown first
    expect(await page.locator('figcaption').first().textContent()).toBe(
      'a red cat · not blue · guidance 3, 3 steps, seed 8 · save',
    );
  });

  test('a run is cancelled between two steps, and the next one runs', async () => {
    await type({ steps: '900', count: '1' });
    await page.click('#make');
    await page.getByText(/^Step \d+ of 90\d, .* left$/).waitFor();
    await page.click('#cancel');
    await page.getByText('Cancelled').waitFor();
    await type({ steps: '1' });
    await page.click('#make');
    await page.getByText(/^Made in/).waitFor();
    expect(await page.locator('#pictures canvas').count()).toBe(3);
  });

  test('bad input is told in words, and the page goes on', async () => {
    await type({ seed: '99999999999999999999' });
    await page.click('#make');
    await page.getByRole('alert').waitFor();
    expect(await page.textContent('#error')).toMatch(/seed: expected a whole number from 0 to 2\^64 - 1/);
    expect(complaints).toEqual([]);
  });

  test('a folder that the reader chooses is opened in the place of the served one', async () => {
    const wrong = mkdtempSync(join(folder, 'wrong-'));
    writeFileSync(join(wrong, 'notes.txt'), 'no model');
    await page.setInputFiles('#folder', wrong);
    await page.getByText(/wrong-\w+: has neither model_index.json nor config.json/).waitFor();
    await page.setInputFiles('#folder', fileURLToPath(new URL('../../../models/digits', import.meta.url)));
    await page.locator('#make:enabled').waitFor();
    expect(await page.isVisible('[name=prompt]')).toBe(false);
    await type({ seed: '1', labels: '3', steps: '2' });
    await page.click('#make');
    await page.getByText(/^Made in/).waitFor();
    expect(await page.locator('figcaption').first().textContent()).toMatch(/^3 · guidance/);
  });

  test('asks no other host', () => {
    expect(asked.length).toBeGreaterThan(readdirSync(model).length);
    const origin = new URL(page.url()).origin;
    expect(asked.filter((url) => !url.startsWith(`${origin}/`) && !url.startsWith(`blob:${origin}/`))).toEqual([]);
  });
});
