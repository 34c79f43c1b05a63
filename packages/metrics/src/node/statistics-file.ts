import { InvalidFileError, parseJson, quoted, readingBudget } from '@mezzotint/core';
import { encodeNpz, type NumericArray } from '@mezzotint/weights';
import { readNpz, writeFileAtomically } from '@mezzotint/weights/node';
import { type Collected, Collector, type CollectorState, referenceStatistics } from '../collector.js';

/** What is stored beside a collector. */
export type Notes = Readonly<Record<string, unknown>>;

/**
 * Writes what was collected as an `.npz`: `mu` and `sigma` as other tools read them (where there are two pictures), and all that is needed to
 * go on, merge or compare rows. Whole or not at all.
 */
export async function writeStatistics(path: string, collector: Collector, notes: Notes = {}): Promise<void> {
  const { json, arrays } = collector.state();
  const { dim } = collector.plan;
  const published: Record<string, NumericArray> = {};
  if (collector.gaussian !== undefined && collector.count > 1) {
    published.mu = { shape: [dim], data: collector.gaussian.mean };
    published.sigma = { shape: [dim, dim], data: collector.gaussian.covariance };
  }
  const text = new TextEncoder().encode(JSON.stringify({ format: 'mezzotint/statistics@1', ...json, notes }));
  const own = Object.entries(arrays).map(([name, data]): [string, NumericArray] => [
    name,
    { shape: [data.length], data },
  ]);
  const bytes = encodeNpz({
    ...published,
    mezzotint: { shape: [text.length], data: text },
    ...Object.fromEntries(own),
  });
  await writeFileAtomically(path, (append) => append(bytes), { overwrite: true });
}

/**
 * Reads statistics: ours, or the published `mu` and `sigma`.
 *
 * @throws InvalidFileError when the file is neither
 */
export async function readStatistics(path: string): Promise<{ collected: Collected; notes: Notes }> {
  const file = await readNpz(path);
  try {
    if (file.tensors.has('mezzotint')) {
      const { collector, notes } = await readCollector(path, file);
      return { collected: collector, notes };
    }
    if (!file.tensors.has('mu') || !file.tensors.has('sigma')) {
      const names = [...file.tensors.keys()].slice(0, 10).join(', ');
      throw new InvalidFileError(path, `expected the arrays mu and sigma of published statistics, got ${names}`);
    }
    const [mu, sigma] = [await file.readFloat64('mu'), await file.readFloat64('sigma')];
    return { collected: referenceStatistics(mu, sigma), notes: {} };
  } finally {
    file.close();
  }
}

/** Reads a collector that {@link writeStatistics} wrote. @throws InvalidFileError when it is no such file */
export async function readCheckpoint(path: string): Promise<{ collector: Collector; notes: Notes }> {
  const file = await readNpz(path);
  try {
    if (!file.tensors.has('mezzotint')) throw new InvalidFileError(path, 'holds no statistics of evaluate');
    return await readCollector(path, file);
  } finally {
    file.close();
  }
}

async function readCollector(path: string, file: Awaited<ReturnType<typeof readNpz>>) {
  if (file.tensors.get('mezzotint')!.shape[0]! > readingBudget.configBytes)
    throw new InvalidFileError(path, 'its settings are too large');
  const codes = await file.readFloat64('mezzotint');
  let json: ({ format?: unknown; notes?: Notes } & CollectorState['json']) | null;
  try {
    json = parseJson(new TextDecoder().decode(Uint8Array.from(codes.data))) as typeof json;
  } catch (error) {
    throw new InvalidFileError(path, `its settings are damaged: ${(error as Error).message}`);
  }
  if (json?.format !== 'mezzotint/statistics@1')
    throw new InvalidFileError(path, `is of another format: ${quoted(json?.format)}`);
  const arrays: Record<string, Float64Array | Float32Array> = {};
  for (const name of file.tensors.keys()) {
    if (['mu', 'sigma', 'mezzotint'].includes(name)) continue;
    const { data } = await file.readFloat64(name);
    arrays[name] = ['rows', 'textRows', 'textIds'].includes(name) ? Float32Array.from(data) : data;
  }
  return { collector: Collector.fromState({ json, arrays }), notes: json.notes ?? {} };
}
