import { existsSync, statSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { architectureOfKind } from '@mezzotint/architectures';
import type { Autoencoder, AutoencoderKL, AutoencoderTiny, VQModel } from '@mezzotint/autoencoders';
import {
  type ClassifierNetwork,
  type DenoiserArchitecture,
  type DenoisingNetwork,
  InvalidArgumentError,
  InvalidFileError,
  type Module,
  type NetworkSignature,
  parseJson,
  readingBudget,
  readNetworkConfig,
} from '@mezzotint/core';
import { readPlainText } from '@mezzotint/core/node';
import {
  type AutoencoderModelConfig,
  autoencoderConfigSchema,
  type ClassifierModelConfig,
  classifierConfigSchema,
  type DiffusionConfig,
  diffusionConfigSchema,
  type ModelConfig,
} from '@mezzotint/pipelines';
import { readWeights, writeFileAtomically, writeSafetensors } from '@mezzotint/weights/node';
import type { z } from 'zod';
import { readConfig } from './config-file.js';

/** A folder with a model: `config.json` and `model.safetensors`. */
export interface ModelFolder<Config, Model> {
  readonly path: string;
  readonly config: Config;
  readonly model: Model;
}

/** A diffusion model with what its architecture says of it. */
export interface DiffusionModel extends ModelFolder<DiffusionConfig, DenoisingNetwork> {
  readonly architecture: DenoiserArchitecture;
  readonly signature: NetworkSignature;
}

/** Opens a diffusion model: a model folder, or a run folder of the train app (whose model is in `model/`). */
export async function openDiffusionModel(path: string): Promise<DiffusionModel> {
  const opened = describeDiffusionModel(path);
  await loadWeights(opened.path, opened.model);
  return opened;
}

/** A diffusion model as its configuration says, without its weights. */
export function describeDiffusionModel(path: string): DiffusionModel {
  const { folder, config } = openConfig(path, diffusionConfigSchema);
  const architecture = architectureOfKind('denoiser', config.architecture);
  const network = readNetworkConfig(architecture, config.network) as Record<string, unknown>;
  const model = architecture.build(network);
  const signature = architecture.signature(network);
  checkNetwork(folder, config, signature);
  return {
    path: folder,
    config: { ...config, architecture: architecture.name, network },
    model,
    architecture,
    signature,
  };
}

/** Opens a classifier. */
export async function openClassifier(path: string): Promise<ModelFolder<ClassifierModelConfig, ClassifierNetwork>> {
  const { folder, config } = openConfig(path, classifierConfigSchema);
  const architecture = architectureOfKind('classifier', config.architecture);
  const network = readNetworkConfig(architecture, config.network) as Record<string, unknown>;
  const model = architecture.build(network);
  checkNetwork(folder, config, architecture.signature(network));
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
  const record = architectureOfKind('autoencoder', architecture);
  return record.build(readNetworkConfig(record, network)) as AnyAutoencoder;
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
  const source = await readWeights(file);
  try {
    await model.load(source);
  } finally {
    source.close();
  }
}

/** Image channels and classes of the configuration against those of its network. */
function checkNetwork(
  folder: string,
  {
    image,
    classes,
    latents,
  }: { image: { channels: number }; classes: readonly string[]; latents?: { mean: readonly number[] } | undefined },
  network: { readonly inChannels: number; readonly classes: number | null },
): void {
  const problems = [];
  const channels = latents?.mean.length ?? image.channels;
  if (network.inChannels !== channels) {
    const what = latents ? 'latents have' : 'image.channels is';
    problems.push(`${what} ${channels}, the network takes ${network.inChannels}`);
  }
  const expected = classes.length === 0 ? null : classes.length;
  if (network.classes !== expected) {
    problems.push(`${classes.length} classes need network.classes ${expected}, it is ${network.classes}`);
  }
  if (problems.length > 0) throw new InvalidFileError(join(folder, 'config.json'), problems.join('; '));
}
