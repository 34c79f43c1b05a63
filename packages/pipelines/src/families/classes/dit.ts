import { AutoencoderKL, autoencoderKLFromDiffusers } from '@mezzotint/autoencoders';
import { InvalidArgumentError, InvalidFileError, type WeightSource } from '@mezzotint/core';
import { DiT, type DiTConfig, dit, ditFromDiffusers, ditFromShapes } from '@mezzotint/dit';
import { type Sampler, samplerFromDiffusers } from '@mezzotint/schedulers';
import { openComponent, recognise, type WeightFile } from '@mezzotint/weights';
import { klCodec } from '../../codec.js';
import type { Candidate, Family, ModelFiles, OpenContext } from '../../family.js';
import type { PipelineDefinition } from '../../stage.js';
import { RGB_SD } from '../stable-diffusion/stage.js';
import { classOf } from './ddpm.js';
import { guidedDiffusionSampler } from './guided-diffusion-sampler.js';
import { classSettings, classStage, numbered, shownLabels } from './stage.js';

/**
 * DiT (Peebles and Xie 2022): folders of diffusers (`DiTPipeline`), and the original `.pt` files together with Stable Diffusion's
 * autoencoder from the folder of the option `parts`.
 */
export const ditFamily: Family = {
  name: 'DiT',
  recognise: ({ index, source }) =>
    index?._class_name === 'DiTPipeline' || (source !== null && recognise(source.tensors.keys())?.model === 'dit'),
  open: (candidate, context) =>
    candidate.index === null ? openFile(candidate, context) : openFolder(candidate, context.options),
};

async function openFolder(
  candidate: Candidate,
  { variant }: { readonly variant?: string | undefined },
): Promise<PipelineDefinition> {
  const { files, index } = candidate;
  const open = [await files.weights('transformer', { variant })];
  const close = () => {
    for (const file of open) file.close();
  };
  try {
    const [file] = open as [WeightFile];
    const shared = ditFromDiffusers(await files.json('transformer/config.json'));
    const config: DiTConfig = { ...shared, embedders: await embeddersOf(file) };
    const { imageSize, patchSize, width, embedders } = config;
    const { weights } = openComponent(file, { grid: { side: imageSize / patchSize, width }, embedders });
    const vae = await openVae(files, 'vae', variant);
    open.push(vae.file);
    const scheduler = {
      ...((await files.json('scheduler/scheduler_config.json')) as object),
      _class_name: classOf(candidate, 'scheduler'),
    };
    return definition({
      ...{
        name: files.name,
        config,
        weights,
        vae,
        close,
        steps: 50,
        classes: classNames(index!.id2label, config.classes),
      },
      // The pipeline leaves a learned variance out, and guides every channel of the prediction.
      sampler: samplerFromDiffusers(scheduler),
      predictionChannels: vae.module.config.latentChannels,
    });
  } catch (error) {
    close();
    throw error;
  }
}

async function openFile(
  { files, source }: Candidate,
  { options, files: filesAt }: OpenContext,
): Promise<PipelineDefinition> {
  const config = ditFromShapes(source!.tensors, options.network);
  const place = options.parts === undefined ? files.beside?.() : filesAt(options.parts);
  if (!place?.has('vae/config.json') && !place?.has('config.json')) {
    throw new InvalidArgumentError(
      'parts',
      `${files.name} makes latent images, and there is no autoencoder: name a folder that has one (vae/config.json)`,
    );
  }
  const vae = await openVae(place, place.has('vae/config.json') ? 'vae' : '', undefined);
  return definition({
    ...{ name: files.name, config, weights: source!, vae, close: () => vae.file.close(), steps: 250 },
    classes: numbered(config.classes),
    sampler: guidedDiffusionSampler({
      learnedVariance: config.outChannels === 2 * config.inChannels,
      limit: null,
    }),
    // As the published samples are guided.
    guidedChannels: 3,
  });
}

interface Parts {
  readonly name: string;
  readonly config: DiTConfig;
  readonly weights: WeightSource;
  readonly vae: Awaited<ReturnType<typeof openVae>>;
  readonly sampler: Sampler;
  readonly classes: readonly string[];
  readonly steps: number;
  readonly guidedChannels?: number;
  readonly predictionChannels?: number;
  close(): void;
}

function definition({
  name,
  config,
  weights,
  vae,
  sampler,
  classes,
  steps,
  close,
  ...channels
}: Parts): PipelineDefinition {
  const signature = dit.signature(config);
  const { latentChannels } = vae.module.config;
  if (config.inChannels !== latentChannels) {
    throw new InvalidFileError(
      name,
      `takes latent images of ${config.inChannels} channels, the autoencoder has ${latentChannels}`,
    );
  }
  const module = new DiT(config);
  const codec = klCodec(vae.module, RGB_SD);
  const side = config.imageSize * codec.downscale;
  return {
    family: ditFamily.name,
    description: `DiT for ${side} x ${side} pixels, ${config.classes ?? 'without'} classes`,
    stages: [
      classStage({
        ...{ name: 'transformer', network: module, signature, sampler, codec, parts: ['transformer'] },
        ...channels,
      }),
    ],
    parts: [
      { name: 'transformer', module, weights },
      { name: 'vae', module: vae.module, weights: vae.weights },
    ],
    takes: classSettings(signature),
    sizeUnit: signature.sizeMultiple === null ? side : signature.sizeMultiple * codec.downscale,
    defaults: { height: side, width: side, steps, guidance: 4, ...shownLabels(config.classes) },
    ...(classes.length > 0 && { classes }),
    close,
  };
}

async function openVae(files: ModelFiles, at: string, variant: string | undefined) {
  const where = at === '' ? 'config.json' : `${at}/config.json`;
  const module = new AutoencoderKL(autoencoderKLFromDiffusers(await files.json(where)));
  const file = await files.weights(at, { variant });
  try {
    return { module, file, weights: openComponent(file).weights };
  } catch (error) {
    file.close();
    throw error;
  }
}

/** diffusers has the embedders of time and label in every block: copies in published files, of their own after its training. */
async function embeddersOf(file: WeightFile): Promise<DiTConfig['embedders']> {
  const name = (block: number) => `transformer_blocks.${block}.norm1.emb.timestep_embedder.linear_1.bias`;
  if (!file.tensors.has(name(1))) return 'shared';
  const [first, second] = [await file.read(name(0)), await file.read(name(1))];
  return first.data.every((value, i) => value === second.data[i]) ? 'shared' : 'per-block';
}

/** Names of the classes: the first of the synonyms that `id2label` has for each; indices where there are none. */
function classNames(id2label: unknown, classes: number | null): readonly string[] {
  const names = (id2label ?? {}) as Readonly<Record<string, unknown>>;
  return numbered(classes).map((number) => {
    const label = names[number];
    return typeof label === 'string' ? label.split(',')[0]!.trim() : number;
  });
}
