import { type HostTensor, InvalidFileError, readingBudget, type WeightSource } from '@mezzotint/core';
import { parseStrictJson, type StrictJson } from '../json/strict-json.js';

/** How one weight is stored in several tensors. */
export interface Scheme {
  /** What it is called in reports. */
  readonly kind: string;
  /** Shape of the weight itself. */
  readonly shape: readonly number[];
  /** The weight, dequantised. */
  read(): Promise<HostTensor>;
}

/** The JSON object in a U8 tensor. Throws an InvalidFileError when it is none. */
export async function readJsonTensor(source: WeightSource, name: string): Promise<ReadonlyMap<string, StrictJson>> {
  const { shape, dtype } = source.tensors.get(name)!;
  const fail = (problem: string, cause?: unknown): never => {
    throw new InvalidFileError(source.name, `${name}: ${problem}`, { cause });
  };
  const length = shape.reduce((n, d) => n * d, 1);
  if (dtype !== 'U8' || length > readingBudget.tensorJsonBytes) {
    return fail(`expected JSON in at most ${readingBudget.tensorJsonBytes} bytes, got ${dtype} of shape [${shape}]`);
  }
  const bytes = Uint8Array.from((await source.read(name)).data);
  try {
    const json = parseStrictJson(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    return json instanceof Map ? json : fail('expected a JSON object');
  } catch (cause) {
    if (InvalidFileError.isInstance(cause)) throw cause;
    return fail(`is not JSON (${cause instanceof Error ? cause.message : String(cause)})`, cause);
  }
}
