import { architectureOfClass, architectureOfKind } from '@mezzotint/architectures';
import { InvalidFileError, type Module, readNetworkConfig, textOf, type WeightSource } from '@mezzotint/core';
import { openComponent } from '@mezzotint/weights';
import { checked } from './checked.js';
import type { LatentAutoencoder } from './codec.js';
import type { ModelFiles } from './family.js';
import { autoencoderConfigSchema } from './model-config.js';

/** An autoencoder as classes of @mezzotint/autoencoders are. */
export type OwnAutoencoder = LatentAutoencoder & {
  readonly config: { readonly latentChannels: number; readonly inChannels: number; readonly outChannels: number };
};

/** An autoencoder of a folder, without weights, and where they are. */
export interface OpenedCodec {
  readonly model: OwnAutoencoder & Module;
  readonly weights: WeightSource;
  close(): void;
}

/**
 * Opens the autoencoder in a folder: one that `train` made (`mezzotint/autoencoder@1`), or of diffusers. Reads configurations and headers
 * only.
 *
 * @param place the folder among the files, '' for the files themselves
 * @throws InvalidFileError when there is none
 */
export async function openCodec(files: ModelFiles, place: string): Promise<OpenedCodec> {
  const name = place === '' ? files.name : `${files.name}/${place}`;
  const at = (file: string) => (place === '' ? file : `${place}/${file}`);
  if (!files.has(at('config.json'))) {
    throw new InvalidFileError(name, 'is not there: expected the folder of an autoencoder, with config.json');
  }
  const json = (await files.json(at('config.json'))) as Readonly<Record<string, unknown>> | null;
  const own = typeof json?.format === 'string';
  const module = own ? autoencoderOfOurs(name, json) : autoencoderOfDiffusers(name, json);
  const file = await files.weights(own ? at('model.safetensors') : place);
  try {
    const weights = own ? file : openComponent(file).weights;
    return { model: module as OpenedCodec['model'], weights, close: () => file.close() };
  } catch (error) {
    file.close();
    throw error;
  }
}

function autoencoderOfOurs(name: string, json: unknown): Module {
  const config = checked(`${name}/config.json`, json, autoencoderConfigSchema);
  const architecture = architectureOfKind('autoencoder', config.architecture);
  return architecture.build(readNetworkConfig(architecture, config.network));
}

function autoencoderOfDiffusers(name: string, json: Readonly<Record<string, unknown>> | null): Module {
  const className = textOf(json?._class_name);
  const architecture = architectureOfClass(className);
  if (architecture?.kind !== 'autoencoder') {
    throw new InvalidFileError(
      `${name}/config.json`,
      `expected an autoencoder of train or of diffusers, got ${className}`,
    );
  }
  const reference = architecture.references!.find((known) => known.className === className)!;
  return architecture.build(reference.config(json));
}
