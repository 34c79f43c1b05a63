import { existsSync, statSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import {
  Autoencoder,
  AutoencoderKL,
  type AutoencoderKLConfig,
  AutoencoderTiny,
  type AutoencoderTinyConfig,
  type CoderConfig,
  VQModel,
  type VQModelConfig,
} from '@mezzotint/autoencoders';
import { InvalidArgumentError, InvalidFileError, type Module, parseJson, readingBudget } from '@mezzotint/core';
import { readPlainText } from '@mezzotint/core/node';
import { type ClassifierConfig, NoisyClassifier, UNet, type UNetConfig } from '@mezzotint/unet';
import { readSafetensors, writeFileAtomically, writeSafetensors } from '@mezzotint/weights/node';
import type { z } from 'zod';
import { readConfig } from './config-file.js';
import {
  type AutoencoderModelConfig,
  autoencoderConfigSchema,
  type ClassifierModelConfig,
  classifierConfigSchema,
  type DiffusionConfig,
  diffusionConfigSchema,
  type ModelConfig,
} from './model-config.js';

/** A folder with a model: `config.json` and `model.safetensors`. */
export interface ModelFolder<Config, Model> {
  readonly path: string;
  readonly config: Config;
  readonly model: Model;
}

/** Opens a diffusion model: a model folder, or a run folder of the train app (whose model is in `model/`). */
export async function openDiffusionModel(path: string): Promise<ModelFolder<DiffusionConfig, UNet>> {
  const opened = describeDiffusionModel(path);
  await loadWeights(opened.path, opened.model);
  return opened;
}

/** A diffusion model as its configuration says, without its weights. */
export function describeDiffusionModel(path: string): ModelFolder<DiffusionConfig, UNet> {
  const { folder, config } = openConfig(path, diffusionConfigSchema);
  const model = new UNet(config.network as unknown as UNetConfig);
  checkNetwork(folder, config, model.config.inChannels, model.config.classes, 1);
  return { path: folder, config, model };
}

/** Opens a classifier. */
export async function openClassifier(path: string): Promise<ModelFolder<ClassifierModelConfig, NoisyClassifier>> {
  const { folder, config } = openConfig(path, classifierConfigSchema);
  const model = new NoisyClassifier(config.network as unknown as ClassifierConfig);
  checkNetwork(folder, config, model.config.inChannels, model.config.classes, 0);
  await loadWeights(folder, model);
  return { path: folder, config, model };
}

/** An autoencoder of any kind. */
export type AnyAutoencoder = AutoencoderKL | Autoencoder | VQModel | AutoencoderTiny;

/** The autoencoder of a configuration, without weights. */
export function autoencoderOf({
  architecture,
  network,
}: Pick<AutoencoderModelConfig, 'architecture' | 'network'>): AnyAutoencoder {
  // Each class checks its own configuration.
  const config: unknown = network;
  switch (architecture) {
    case 'AutoencoderKL':
      return new AutoencoderKL(config as AutoencoderKLConfig);
    case 'Autoencoder':
      return new Autoencoder(config as CoderConfig);
    case 'VQModel':
      return new VQModel(config as VQModelConfig);
    case 'AutoencoderTiny':
      return new AutoencoderTiny(config as AutoencoderTinyConfig);
  }
}

/** Opens an autoencoder that the train app made. */
export async function openAutoencoder(path: string): Promise<ModelFolder<AutoencoderModelConfig, AnyAutoencoder>> {
  const { folder, config } = openConfig(path, autoencoderConfigSchema);
  const model = autoencoderOf(config);
  await loadWeights(folder, model);
  return { path: folder, config, model };
}

/** Writes a model folder; weights in half precision when `half`. An existing model is replaced only with `overwrite`. */
export async function saveModel(
  folder: string,
  config: ModelConfig,
  model: Module,
  { half = false, overwrite = false }: { half?: boolean; overwrite?: boolean } = {},
): Promise<void> {
  await mkdir(folder, { recursive: true });
  const dtype = half ? 'F16' : 'F32';
  await writeSafetensors(join(folder, 'model.safetensors'), await model.save(), { dtype, overwrite });
  const text = `${JSON.stringify(config, null, 2)}\n`;
  await writeFileAtomically(join(folder, 'config.json'), (append) => append(Buffer.from(text)), { overwrite });
}

/** Finds and reads `config.json` in a folder or in its `model/`. */
function openConfig<S extends z.ZodType>(path: string, schema: S): { folder: string; config: z.infer<S> } {
  if (!existsSync(path))
    throw new InvalidArgumentError(path, 'no such folder; expected one with config.json and model.safetensors');
  if (!statSync(path).isDirectory())
    throw new InvalidArgumentError(path, 'expected a folder with config.json and model.safetensors, got a file');
  const folder = [path, join(path, 'model')].find((candidate) => {
    const file = join(candidate, 'config.json');
    return (
      existsSync(file) && existsSync(join(candidate, 'model.safetensors')) && formatOf(file).startsWith('mezzotint/')
    );
  });
  if (folder === undefined) {
    throw new InvalidArgumentError(
      path,
      'holds no model: expected config.json (of mezzotint) and model.safetensors in it or in its model/',
    );
  }
  return { folder, config: readConfig(join(folder, 'config.json'), schema) };
}

/** The format that a config.json says it has; '' when it says none. */
function formatOf(file: string): string {
  try {
    const json = parseJson(readPlainText(file, readingBudget.configBytes)) as { format?: unknown } | null;
    return typeof json?.format === 'string' ? json.format : '';
  } catch {
    return 'mezzotint/unreadable'; // readConfig says what is wrong with it.
  }
}

async function loadWeights(folder: string, model: Module): Promise<void> {
  const file = join(folder, 'model.safetensors');
  const source = readSafetensors(file);
  try {
    await model.load(source);
  } finally {
    source.close();
  }
}

/** Image channels and classes of the configuration against those of its network. */
function checkNetwork(
  folder: string,
  { image, classes }: { image: { channels: number }; classes: readonly string[] },
  channels: number,
  rows: number | null,
  nullLabels: number,
): void {
  const problems = [];
  if (channels !== image.channels) problems.push(`image.channels is ${image.channels}, the network takes ${channels}`);
  const expected = classes.length === 0 ? null : classes.length + nullLabels;
  if (rows !== expected) problems.push(`${classes.length} classes need network.classes ${expected}, it is ${rows}`);
  if (problems.length > 0) throw new InvalidFileError(join(folder, 'config.json'), problems.join('; '));
}
