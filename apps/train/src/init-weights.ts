import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { checkConfig } from '@mezzotint/app';
import { architectureOfClass } from '@mezzotint/architectures';
import { InvalidArgumentError, listed, type Module, type WeightSource, WeightsMismatchError } from '@mezzotint/core';
import { textSchema } from '@mezzotint/pipelines';
import { type InitReport, initFrom } from '@mezzotint/training';
import { openComponent, recognise } from '@mezzotint/weights';
import { findWeights, readJson, readWeights } from '@mezzotint/weights/node';
import { z } from 'zod';

/** What is read of the configuration of any model of ours. */
const ownSchema = z.looseObject({
  architecture: z.string(),
  network: z.record(z.string(), z.unknown()),
  classes: z.array(z.string()).default([]),
  process: z.unknown().optional(),
  image: z.looseObject({ size: z.int().min(1), channels: z.int().min(1) }),
  text: textSchema.optional(),
});

/** What a model to begin with is, by its folder or file. */
export interface InitSource {
  /** The file of weights. */
  readonly file: string;
  /** Of a model of ours: its configuration. */
  readonly own?: z.infer<typeof ownSchema>;
  /** Of a diffusers folder: our architecture and its configuration. */
  readonly foreign?: {
    readonly architecture: string;
    readonly network: unknown;
    readonly config: string;
    /** Its scheduler_config.json, where there is one. */
    readonly scheduler?: string;
  };
}

/** Folders of a diffusers pipeline that hold the network. */
const NETWORK_FOLDERS = ['transformer', 'unet'];

/**
 * Finds the weights of a run or model folder of ours, of a diffusers folder (a pipeline or one model), or of a file.
 *
 * @throws InvalidArgumentError when it is none of these
 */
export function findInit(path: string): InitSource {
  if (!existsSync(path)) throw new InvalidArgumentError('init', `${path}: no such folder or file`);
  if (!statSync(path).isDirectory()) return { file: path };
  for (const folder of [path, join(path, 'model'), ...NETWORK_FOLDERS.map((name) => join(path, name))]) {
    const file = join(folder, 'config.json');
    if (!existsSync(file)) continue;
    const json = readJson(file) as Record<string, unknown>;
    if (typeof json.format === 'string' && json.format.startsWith('mezzotint/')) {
      return { file: join(folder, 'model.safetensors'), own: checkConfig(file, json, ownSchema) };
    }
    if (typeof json._class_name === 'string') {
      const architecture = architectureOfClass(json._class_name);
      const reference = architecture?.references?.find(({ className }) => className === json._class_name);
      if (architecture === undefined || reference === undefined) {
        throw new InvalidArgumentError('init', `${folder}: ${json._class_name} is no architecture that is known here`);
      }
      // Beside the network's folder, in it, or in the folder of a pipeline that is one model.
      const scheduler = [join(folder, '..', 'scheduler'), join(folder, 'scheduler'), folder]
        .map((place) => join(place, 'scheduler_config.json'))
        .find((place) => existsSync(place));
      return {
        file: findWeights(folder),
        foreign: {
          ...{ architecture: architecture.name, network: reference.config(json), config: file },
          ...(scheduler !== undefined && { scheduler }),
        },
      };
    }
  }
  throw new InvalidArgumentError(
    'init',
    `${path}: expected a run or model folder of ours, a diffusers folder, or a file of weights`,
  );
}

/** Gives a model the weights that a configuration names; says what became of each. */
export async function initWeights(
  model: Module,
  { from, strict }: { readonly from: string; readonly strict: boolean },
  classes: readonly string[],
): Promise<InitReport> {
  const found = findInit(from);
  const source = await readWeights(found.file);
  try {
    const weights: WeightSource =
      found.own === undefined && recognise(source.tensors.keys()) !== undefined
        ? openComponent(source, { report: () => undefined }).weights
        : source;
    if (strict) {
      const { missing, unexpected, mismatched } = model.compare(weights);
      if (missing.length + unexpected.length + mismatched.length > 0) {
        throw new WeightsMismatchError(model.constructor.name, missing, unexpected, mismatched);
      }
    }
    const old = found.own?.classes;
    // A row for each class that the old model had by the same name, and the null label's, which is the last of each.
    const rows = old && [...classes.map((name) => (old.includes(name) ? old.indexOf(name) : null)), old.length];
    return await initFrom(model, weights, rows === undefined ? {} : { rows });
  } finally {
    source.close();
  }
}

/**
 * Throws unless an adapter would have all weights of the model that it changes: what is new is neither trained nor saved with it.
 *
 * @throws InvalidArgumentError that names the parameters which are new, in whole or in part
 */
export function checkWhole(model: Module, { adapted, fresh }: InitReport): void {
  const params = model.params();
  const missing = [
    ...fresh.filter(({ name }) => params.get(name)!.trainable).map(({ name, why }) => `${name} ${why}`),
    ...adapted.filter(({ whole }) => !whole).map(({ name, how }) => `${name}: ${how}`),
  ];
  if (missing.length === 0) return;
  throw new InvalidArgumentError(
    'lora',
    `an adapter alone is trained, and what is new in the model would stay random (${listed(missing, 5)}): name the classes of the data as the model's, or train the model itself, without lora`,
  );
}

/** What became of the weights, for people. */
export function describeInit(from: string, { loaded, adapted, fresh, unused }: InitReport): string[] {
  return [
    `Weights of ${from}: ${loaded.length} tensors as they are, ${adapted.length} adapted, ${fresh.length} new, ${unused.length} not used`,
    ...adapted.map(({ name, how }) => `  ${name}: ${how}`),
    ...fresh.slice(0, 20).map(({ name, why }) => `  ${name} ${why}`),
    ...(fresh.length > 20 ? [`  … and ${fresh.length - 20} more new ones`] : []),
    ...(unused.length > 0 ? [`  not used: ${listed(unused, 10)}`] : []),
  ];
}
