import { existsSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { readingBudget } from '@mezzotint/core';
import { readPlainText } from '@mezzotint/core/node';
import { NOTES_KEY, withAdapterNotes } from '../lora/notes.js';
import type { WeightFile } from '../weight-file.js';
import { readWeights } from './weights.js';

/**
 * Opens a LoRA for `mergeLora`: any weight file; beside peft's `adapter_model.safetensors` (or `.bin`) the alphas of its
 * `adapter_config.json` too. Throws an InvalidFileError as `readWeights` does.
 */
export async function readLora(path: string): Promise<WeightFile> {
  const file = await readWeights(path);
  const config = join(dirname(path), 'adapter_config.json');
  const isAdapter = /^adapter_model\.(?:safetensors|bin)$/.test(basename(path));
  if (!isAdapter || file.metadata.has(NOTES_KEY) || !existsSync(config)) return file;
  try {
    return withAdapterNotes(file, readPlainText(config, readingBudget.configBytes));
  } catch (error) {
    file.close();
    throw error;
  }
}
