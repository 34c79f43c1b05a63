import { AutoencoderKL, autoencoderKLFromDiffusers } from '@mezzotint/autoencoders';
import { InvalidArgumentError, InvalidFileError, type Module } from '@mezzotint/core';
import { autoguidance } from '@mezzotint/guidance';
import { samplerFromProcess } from '@mezzotint/schedulers';
import { EDM, type EDM2, edm2, edm2FromOriginal, edmFromOriginal } from '@mezzotint/unet';
import { type Json, type ModuleRecord, modulesOf, openComponent, type WeightFile } from '@mezzotint/weights';
import * as tf from '@tensorflow/tfjs-core';
import { standardizedCodec } from '../codec.js';
import type { Candidate, Family, OpenContext } from '../family.js';
import { lookAt } from '../family.js';
import type { Part, PipelineDefinition, Stage } from '../stage.js';
import { numbered } from './classes/stage.js';

/**
 * Snapshots of EDM (`edm-imagenet-64x64-cond-adm.pkl`), and what `pnpm convert` makes of them. Karras et al. 2022 (arXiv
 * 2206.00364).
 */
export const edmFamily: Family = {
  name: 'EDM',
  recognise: ({ source }) => recordOf(source)?.className === 'EDMPrecond',
  open: (candidate, context) => openSnapshot('EDM', candidate, context),
};

/**
 * Snapshots of EDM2 (`edm2-img512-s-2147483-0.130.pkl`), and what `pnpm convert` makes of them. Those of latent images need an
 * autoencoder: the option `parts` names a folder with it. Karras et al. 2024 (arXiv 2312.02696); autoguidance: arXiv 2406.02507.
 */
export const edm2Family: Family = {
  name: 'EDM2',
  recognise: ({ source }) => recordOf(source)?.className === 'Precond',
  open: (candidate, context) => openSnapshot('EDM2', candidate, context),
};

/** How the averaged network of a snapshot was constructed; undefined for other files. */
function recordOf(source: WeightFile | null): ModuleRecord | undefined {
  try {
    return source === null ? undefined : modulesOf(source).get('ema');
  } catch {
    return undefined;
  }
}

/** Steps of the published results: EDM, table 2 and appendix F.3; EDM2, section 5. */
const stepsOf = (family: 'EDM' | 'EDM2', size: number) => (family === 'EDM2' ? 32 : size <= 32 ? 18 : 40);

/** Class indices `[N]`, for models that have classes. */
type Labels = { readonly labels?: tf.Tensor1D };

async function openSnapshot(
  family: 'EDM' | 'EDM2',
  candidate: Candidate,
  context: OpenContext,
): Promise<PipelineDefinition> {
  const source = candidate.source!;
  const { options } = context;
  const main = networkOf(family, source);
  const open: { close(): void }[] = [];
  const close = () => {
    for (const file of open) file.close();
  };
  try {
    const guiding =
      options.guidingModel === undefined ? undefined : await guidingOf(main, options.guidingModel, context, open);
    const latent = main.channels === 4;
    const autoencoder = latent ? await autoencoderOf(candidate, context, open) : undefined;
    const size = main.imageSize * (autoencoder?.codec.downscale ?? 1);
    const parts: Part[] = [
      { name: 'network', module: main.module, weights: source },
      ...(guiding ? [{ name: 'guiding network', module: guiding.network.module, weights: guiding.source }] : []),
      ...(autoencoder ? [autoencoder.part] : []),
    ];
    const stage: Stage<Labels> = {
      name: 'network',
      sampler: samplerFromProcess(
        { kind: 'edm', sigmaData: main.sigmaData, sigmaMin: 0.002, sigmaMax: 80 },
        { solver: 'heun', limit: null },
      ),
      codec: autoencoder?.codec ?? null,
      parts: { encode: [], sample: parts.map(({ name }) => name).filter((name) => name !== 'vae') },
      start: 'noise',
      shape: ({ height, width }) => {
        const factor = autoencoder?.codec.downscale ?? 1;
        return [height / factor, width / factor, main.channels];
      },
      encode: ({ images }) => ({
        positive:
          main.classes === null
            ? {}
            : {
                labels: tf.tensor1d(
                  images.map(({ label }) => label ?? main.classes!),
                  'int32',
                ),
              },
        negative: null,
      }),
      module: main.module,
      negatives: false,
      network: () => (x, time, cond) => main.forward(x, time, cond),
      guide({ settings: { guidance: scale }, sampler }) {
        if (guiding === undefined || scale <= 1) return undefined;
        const weaker = sampler.denoiser<Labels>((x, time, cond) => guiding.network.forward(x, time, cond));
        return (plain) => autoguidance(plain, { weaker, scale });
      },
    };
    return {
      family,
      description: `${main.description}${guiding ? `, guided by ${guiding.network.description}` : ''}`,
      stages: [stage],
      parts,
      takes: [...(main.classes === null ? [] : (['labels'] as const)), 'guidance', 'guidanceInterval'],
      defaults: { height: size, width: size, steps: stepsOf(family, main.imageSize), guidance: 1 },
      ...(main.classes !== null && { classes: numbered(main.classes) }),
      check: ({ guidance, guidanceInterval }) =>
        guiding === undefined && (guidance > 1 || guidanceInterval !== undefined)
          ? [
              `guidance: ${family} is guided by another network, a smaller or less trained one: name it with guidingModel`,
            ]
          : [],
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

/** A snapshot's network, whichever of the two it is. */
interface SnapshotNetwork {
  readonly module: Module;
  readonly description: string;
  readonly sigmaData: number;
  readonly imageSize: number;
  readonly channels: number;
  readonly classes: number | null;
  /** The network inside of the preconditioning; a network without classes passes labels over. */
  forward(x: tf.Tensor4D, noise: tf.Tensor1D, cond: Labels): tf.Tensor4D;
}

/** @throws InvalidFileError when the snapshot does not say a configuration that we build */
function networkOf(family: 'EDM' | 'EDM2', source: WeightFile): SnapshotNetwork {
  const { args, kwargs } = recordOf(source)!;
  if (args.length > 0) {
    throw new InvalidFileError(source.name, `its network was constructed with ${args.length} arguments without names`);
  }
  try {
    const model = family === 'EDM' ? new EDM(edmFromOriginal(kwargs)) : edm2(edm2FromOriginal(kwargs));
    const unet = family === 'EDM' ? (model as EDM).model : (model as EDM2).unet;
    const { imageSize, inChannels, classes } = unet.config;
    return {
      module: model,
      description: `${source.name}: ${family}, ${imageSize} x ${imageSize} x ${inChannels}, ${classes === null ? 'unconditional' : `${classes} classes`}`,
      sigmaData: family === 'EDM' ? (model as EDM).config.sigmaData : (model as EDM2).sigmaData,
      imageSize,
      channels: inChannels,
      classes,
      forward: (x, noise, { labels }) => unet.forward(x, noise, classes === null || !labels ? {} : { labels }),
    };
  } catch (cause) {
    if (!InvalidArgumentError.isInstance(cause)) throw cause;
    throw new InvalidFileError(source.name, cause.message, { cause });
  }
}

/** The network that guides, of either family, for the same images. */
async function guidingOf(main: SnapshotNetwork, path: string, context: OpenContext, open: { close(): void }[]) {
  const { source } = await lookAt(context.files(path));
  if (source !== null) open.push(source);
  const family = { EDMPrecond: 'EDM', Precond: 'EDM2' }[recordOf(source)?.className ?? ''] as
    | 'EDM'
    | 'EDM2'
    | undefined;
  if (source === null || family === undefined) {
    throw new InvalidArgumentError('guidingModel', `${path} is no snapshot of EDM or EDM2`);
  }
  const network = networkOf(family, source);
  const problems: string[] = [];
  for (const [name, [got, expected]] of Object.entries({
    'image size': [network.imageSize, main.imageSize],
    channels: [network.channels, main.channels],
    sigma_data: [network.sigmaData, main.sigmaData],
    classes: [network.classes ?? main.classes, main.classes],
  })) {
    if (got !== expected) problems.push(`${path} has ${name} ${got}, the model ${expected}`);
  }
  if (problems.length > 0) throw new InvalidArgumentError('guidingModel', problems);
  return { network, source };
}

/** Mean and deviation of the latent images of Stable Diffusion's autoencoder, before any scaling. EDM2, appendix B.1. */
const latentMean = [5.81, 3.25, 0.12, -2.15];
const latentStd = [4.17, 4.62, 3.71, 3.28];

/** The autoencoder of a model of latent images, from a folder of diffusers (`vae/`) or the autoencoder's own. */
async function autoencoderOf({ files, source }: Candidate, context: OpenContext, open: { close(): void }[]) {
  const { parts, variant } = context.options;
  if (parts === undefined) {
    throw new InvalidArgumentError(
      files.name,
      'makes latent images: name a folder with their autoencoder (stabilityai/sd-vae-ft-mse, or a Stable Diffusion 1) with the option parts',
    );
  }
  const folder = context.files(parts);
  const place = folder.has('vae/config.json') ? 'vae' : '';
  const vae = new AutoencoderKL(
    autoencoderKLFromDiffusers(await folder.json(place === '' ? 'config.json' : `${place}/config.json`)),
  );
  if (vae.config.latentChannels !== 4) {
    throw new InvalidArgumentError('parts', `the autoencoder has ${vae.config.latentChannels} latent channels, not 4`);
  }
  const weights = await folder.weights(place, { variant });
  open.push(weights);
  const encoder = modulesOf(source!).get('encoder')?.kwargs ?? {};
  const numbers = (value: Json | undefined, otherwise: readonly number[]) =>
    Array.isArray(value) && value.length === 4 && value.every((v) => typeof v === 'number')
      ? (value as number[])
      : otherwise;
  const mean = numbers(encoder.raw_mean, latentMean);
  const std = numbers(encoder.raw_std, latentStd);
  return {
    codec: standardizedCodec(vae, { mean, deviation: std, finalDeviation: 0.5 }),
    part: { name: 'vae', module: vae, weights: openComponent(weights).weights },
  };
}
