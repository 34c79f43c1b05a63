import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';

const temporary = mkdtempSync(join(tmpdir(), 'mezzotint-pipelines-'));
afterAll(() => rmSync(temporary, { recursive: true, force: true }));

/** A path for a file of a test. */
export const temporaryFile = (name: string): string => join(mkdtempSync(join(temporary, 'file-')), name);

/** A copy of a folder with other parts, and settings of JSON files changed. */
export function variant(
  base: string,
  parts: Readonly<Record<string, string>> = {},
  changes: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {},
): string {
  const folder = mkdtempSync(join(temporary, 'model-'));
  cpSync(base, folder, { recursive: true });
  for (const [part, from] of Object.entries(parts)) {
    rmSync(join(folder, part), { recursive: true, force: true });
    cpSync(from, join(folder, part), { recursive: true });
  }
  for (const [file, values] of Object.entries(changes)) {
    const json = JSON.parse(readFileSync(join(folder, file), 'utf8')) as object;
    writeFileSync(join(folder, file), JSON.stringify({ ...json, ...values }));
  }
  return folder;
}

/** A copy of a folder with the scheduler of a golden. */
export function withScheduler(
  base: string,
  scheduler: Readonly<Record<string, unknown>>,
  parts: Readonly<Record<string, string>> = {},
): string {
  const folder = variant(base, parts, { 'model_index.json': { scheduler: ['diffusers', scheduler._class_name] } });
  writeFileSync(join(folder, 'scheduler', 'scheduler_config.json'), JSON.stringify(scheduler));
  return folder;
}
