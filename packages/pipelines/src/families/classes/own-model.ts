import { architectureOfKind } from '@mezzotint/architectures';
import {
  type DenoiserArchitecture,
  type DenoisingNetwork,
  InvalidArgumentError,
  InvalidFileError,
  listed,
  readNetworkConfig,
} from '@mezzotint/core';
import { type ProcessConfig, type SolverName, samplerFromProcess, solvers } from '@mezzotint/schedulers';
import { type CaptionEncoder, captionShape } from '@mezzotint/text-encoders';
import { cascadeOf } from '../../cascade.js';
import { checked } from '../../checked.js';
import { standardizedCodec } from '../../codec.js';
import { type OwnAutoencoder, openCodec } from '../../codec-folder.js';
import type { Family, ModelFiles } from '../../family.js';
import { type DiffusionConfig, diffusionConfigSchema } from '../../model-config.js';
import { createPipeline, type Pipeline } from '../../pipeline.js';
import { limitOf } from '../../run-stage.js';
import type { Codec, Part, PipelineDefinition } from '../../stage.js';
import { type OpenedTextEncoder, openTextEncoder } from '../../text-encoder-folder.js';
import { textSettings, textStage } from '../text-stage.js';
import { type OpenedClassifier, openGuide } from './classifier.js';
import { type GuidingModel, guidingProblems, withGuidingModel } from './guiding-model.js';
import { classSettings, classStage, shownLabels } from './stage.js';
import { lowResolutionOf, superResolutionStage } from './super-resolution.js';

/** Where a folder has a model that the train app made: in itself, or in the `model/` of a run. */
function placeOf(files: ModelFiles, config: Readonly<Record<string, unknown>> | null): string | undefined {
  if (typeof config?.format === 'string' && config.format.startsWith('mezzotint/')) return '';
  return files.has('model/config.json') && files.has('model/model.safetensors') ? 'model/' : undefined;
}

/**
 * Models that `train` made, of any registered architecture: `config.json` and `model.safetensors`, or a run's folder. A model of
 * latent images has its autoencoder in `codec/` beside them.
 */
export const ownModel: Family = {
  name: 'models of train',
  recognise: ({ files, config }) => files.kind === 'folder' && placeOf(files, config) !== undefined,
  async open(candidate, context) {
    const { files } = candidate;
    const place = placeOf(files, candidate.config)!;
    const file = `${place}config.json`;
    const config = checked(`${files.name}/${file}`, await files.json(file), diffusionConfigSchema);
    const { module, signature } = buildNetwork(config);
    const problems = problemsOf(config);
    if (problems.length > 0) throw new InvalidFileError(`${files.name}/${file}`, problems.join('; '));
    const open: { close(): void }[] = [];
    const close = () => {
      for (const opened of open) opened.close();
    };
    try {
      const weights = await files.weights(`${place}model.safetensors`);
      open.push(weights);
      const guide = await openGuide(context, signature.inChannels);
      if (guide) open.push(guide);
      checkGuide(config, guide);
      if (config.latents && !files.has(`${place}codec/config.json`)) {
        throw new InvalidFileError(
          `${files.name}/${place}codec`,
          'is not there: a model of latent images needs its autoencoder in codec/',
        );
      }
      const codec = config.latents && (await openCodec(files, `${place}codec`));
      if (codec) open.push(codec);
      const texts: (OpenedTextEncoder & { readonly name: string })[] = [];
      for (const { folder } of config.text?.encoders ?? []) {
        const opened = await openTextEncoder(files, `${place}${folder}`);
        open.push(opened);
        texts.push({ ...opened, name: folder });
      }
      const parts: Part[] = [
        { name: 'model', module, weights },
        ...(codec ? [{ name: 'codec', module: codec.model, weights: codec.weights }] : []),
        ...texts.map(({ name, encoder, weights: stored }) => ({ name, module: encoder, weights: stored })),
        ...(guide ? [guide.part] : []),
      ];
      const plain = ownDefinition(config, { network: module, autoencoder: codec?.model, texts, guide, parts, close });
      const { guidingModel } = context.options;
      const guiding =
        guidingModel === undefined ? undefined : await openGuidingModel(context.files(guidingModel), config);
      if (guiding) open.push(guiding);
      const definition = guiding ? withGuidingModel(plain, guiding) : plain;
      const upsamplers = [context.options.upsampler ?? []].flat();
      if (upsamplers.length === 0) return definition;
      const { upsampler: _, guidingModel: __, ...options } = context.options;
      const later = new Map<string, PipelineDefinition>();
      for (const path of upsamplers) later.set(path, await context.open(context.files(path), options));
      return { ...cascadeOf(definition, later), close: definition.close };
    } catch (error) {
      close();
      throw error;
    }
  },
};

/** Throws an InvalidArgumentError for a classifier of other pictures or of other classes than the model makes. */
function checkGuide({ latents, classes }: DiffusionConfig, guide: OpenedClassifier | undefined): void {
  if (guide === undefined) return;
  const problems: string[] = [];
  if (latents) problems.push('judges pictures, and the model makes latent images');
  if (classes.length > 0 && String(classes) !== String(guide.classes)) {
    problems.push(`expected the classes of the model (${listed(classes, 10)}), got ${listed(guide.classes, 10)}`);
  }
  if (problems.length > 0) throw new InvalidArgumentError('classifier', problems);
}

/** Another model of `train` for the same task, which guides. */
async function openGuidingModel(files: ModelFiles, main: DiffusionConfig): Promise<GuidingModel> {
  const given = files.has('config.json') ? await files.json('config.json') : null;
  const place = files.kind === 'folder' ? placeOf(files, given as Readonly<Record<string, unknown>> | null) : undefined;
  if (place === undefined) {
    throw new InvalidArgumentError('guidingModel', `${files.name}: expected a model or run folder of train`);
  }
  const config = checked(
    `${files.name}/${place}config.json`,
    await files.json(`${place}config.json`),
    diffusionConfigSchema,
  );
  const { architecture, module } = buildNetwork(config);
  const problems = guidingProblems(files.name, config, main);
  if (architecture.startRun) problems.push(`${config.architecture} goes on from step to step, and cannot guide`);
  if (problems.length > 0) throw new InvalidArgumentError('guidingModel', problems);
  const weights = await files.weights(`${place}model.safetensors`);
  return { network: module, part: { name: 'guiding model', module, weights }, close: () => weights.close() };
}

/** Networks of a configuration, and where their weights are. */
interface OwnParts {
  readonly network: DenoisingNetwork;
  readonly autoencoder?: OwnAutoencoder | undefined;
  /** In the order of the configuration. */
  readonly texts?: readonly Pick<CaptionEncoder, 'encoder' | 'tokenizer'>[] | undefined;
  readonly guide?: OpenedClassifier | undefined;
  readonly parts: readonly Part[];
  close(): void;
}

/** Settings of a run that starts from a picture. */
const START_SETTINGS = ['image', 'mask', 'pasteBack', 'strength'] as const;

/** Throws an InvalidFileError unless the autoencoder is one of the latent images of the configuration. */
function ownDefinition(
  config: DiffusionConfig,
  { network, autoencoder, texts = [], guide, parts, close }: OwnParts,
): PipelineDefinition {
  const { image, classes, sampling, latents } = config;
  const encoders = captionEncodersOf(config, texts);
  const { architecture, signature } = networkOf(config);
  const named = (name: string) => parts.filter((part) => part.name === name).map((part) => part.name);
  const codec = codecOf(config, autoencoder, named('codec'));
  const downscale = codec?.downscale ?? 1;
  const { sizeMultiple, maxImageSize } = signature;
  const enlarging = lowResolutionOf(config, architecture.time, signature);
  const plain =
    encoders.length > 0
      ? textStage({
          ...{ network, signature, codec, encoders, sampler: samplerOf(config) },
          parts: {
            encode: (config.text?.encoders ?? []).flatMap(({ folder }) => named(folder)),
            sample: named('model'),
          },
        })
      : classStage({
          ...{ name: 'model', network, signature, codec },
          sampler: samplerOf(config),
          parts: named('model'),
          startRun: architecture.startRun && ((options) => architecture.startRun!(network, options)),
          classifier: guide?.classifier,
        });
  if (enlarging !== undefined) {
    const { factor } = enlarging;
    return {
      family: ownModel.name,
      description: `${config.architecture} that enlarges pictures ${factor} times, trained with ${image.size} x ${image.size} pixels, ${classes.length} classes`,
      stages: [superResolutionStage(plain, enlarging)],
      parts,
      takes: [
        ...(encoders.length > 0
          ? textSettings({ ...signature, sizeMultiple: null })
          : classSettings({ ...signature, sizeMultiple: null }, guide)),
        ...(['image', 'threshold'] as const),
        ...(signature.conditions.lowResTime === undefined ? [] : (['noiseLevel'] as const)),
      ],
      imageIs: 'condition',
      enlarges: factor,
      sizeUnit: enlarging.unit,
      defaults: {
        ...{ height: image.size, width: image.size, steps: sampling.steps, guidance: sampling.guidance },
        ...(sampling.threshold !== undefined && { threshold: sampling.threshold }),
        noiseLevel: config.superResolution!.noiseLevel,
        ...shownLabels(signature.classes),
      },
      classes: classes.length > 0 ? classes : (guide?.classes ?? []),
      close,
    };
  }
  return {
    family: ownModel.name,
    description: `${config.architecture} for ${image.size} x ${image.size} pixels${latents ? ' by latent images' : ''}, ${encoders.length > 0 ? 'texts' : `${classes.length} classes`}`,
    stages: [plain],
    parts,
    takes: [
      ...(encoders.length > 0 ? [...textSettings(signature), ...START_SETTINGS] : classSettings(signature, guide)),
      ...(codec === null ? (['threshold'] as const) : []),
    ],
    sizeUnit: sizeMultiple === null ? image.size : sizeMultiple * downscale,
    ...(maxImageSize !== undefined && { maxSize: maxImageSize * downscale }),
    defaults: {
      ...{ height: image.size, width: image.size, steps: sampling.steps, guidance: sampling.guidance },
      ...(sampling.threshold !== undefined && { threshold: sampling.threshold }),
      ...shownLabels(signature.classes),
    },
    classes: classes.length > 0 ? classes : (guide?.classes ?? []),
    close,
  };
}

/**
 * The pipeline of a model that is in memory, for example one in training. Its weights stay the caller's.
 *
 * @param config its `config.json`
 * @param autoencoder of a model of latent images
 * @param texts the text encoders of a model of texts, in the order of the configuration
 * @throws InvalidArgumentError when the configuration does not fit the network or the solver, with everything that does not fit
 */
export function pipelineOfNetwork(
  config: DiffusionConfig,
  network: DenoisingNetwork,
  autoencoder?: OwnAutoencoder,
  texts?: readonly Pick<CaptionEncoder, 'encoder' | 'tokenizer'>[],
): Pipeline {
  const problems = problemsOf(config);
  if (problems.length > 0) throw new InvalidArgumentError('pipelineOfNetwork', problems);
  return createPipeline(ownDefinition(config, { network, autoencoder, texts, parts: [], close: () => {} }));
}

/** What a configuration that is known to be right says of its network. */
function networkOf({ architecture: name, network: given }: DiffusionConfig) {
  const architecture: DenoiserArchitecture = architectureOfKind('denoiser', name);
  const network = readNetworkConfig(architecture, given);
  return { architecture, signature: architecture.signature(network) };
}

/** The network of a configuration out of a file. Building checks the configuration, which the signature takes for granted. */
function buildNetwork(config: DiffusionConfig) {
  const architecture: DenoiserArchitecture = architectureOfKind('denoiser', config.architecture);
  const module = architecture.build(readNetworkConfig(architecture, config.network));
  return { architecture, module, signature: networkOf(config).signature };
}

/** What does not fit in a configuration; each a line. */
function problemsOf(config: DiffusionConfig): string[] {
  const { image, classes, sampling, latents, superResolution } = config;
  const { signature } = networkOf(config);
  const problems: string[] = [];
  if ((signature.conditions.lowRes !== undefined) !== (superResolution !== undefined)) {
    problems.push(
      superResolution === undefined
        ? 'superResolution: missing, and the network sees a smaller picture'
        : `superResolution: ${config.architecture} with this network sees no smaller picture`,
    );
  }
  if (latents === undefined && signature.inChannels !== image.channels) {
    problems.push(`image.channels is ${image.channels}, the network takes ${signature.inChannels}`);
  }
  if (latents !== undefined && signature.inChannels !== latents.mean.length) {
    problems.push(`latents: ${latents.mean.length} means of channels, the network takes ${signature.inChannels}`);
  }
  if (signature.classes !== (classes.length === 0 ? null : classes.length)) {
    problems.push(`there are ${classes.length} names of classes, the network has ${signature.classes ?? 'none'}`);
  }
  const readsTexts = signature.conditions.context !== undefined;
  if (readsTexts !== (config.text !== undefined)) {
    problems.push(
      readsTexts ? 'text: the network reads texts, expected its encoders' : 'text: the network reads no texts',
    );
  }
  if (!Object.hasOwn(solvers, sampling.solver)) problems.push(`sampling.solver: unknown solver '${sampling.solver}'`);
  return problems;
}

/** Throws an InvalidArgumentError unless the text encoders are those that the network was trained with. */
function captionEncodersOf(
  { text, architecture, network }: DiffusionConfig,
  texts: NonNullable<OwnParts['texts']>,
): CaptionEncoder[] {
  const wanted = text?.encoders ?? [];
  if (wanted.length !== texts.length) {
    throw new InvalidArgumentError('text', `expected ${wanted.length} text encoders, got ${texts.length}`);
  }
  const encoders = wanted.map(({ length, skip }, i) => ({ ...texts[i]!, length, skip }));
  if (encoders.length === 0) return [];
  const record = architectureOfKind('denoiser', architecture);
  const { context, pooled } = record.signature(readNetworkConfig(record, network)).conditions;
  const { width, pooledWidth } = captionShape(encoders);
  const problems: string[] = [];
  if (context?.shape[1] !== width) problems.push(`tokens are ${width} wide, the network takes ${context?.shape[1]}`);
  if (pooled !== undefined && pooled.shape[0] !== pooledWidth)
    problems.push(`the pooled text is ${pooledWidth} wide, the network takes ${pooled.shape[0]}`);
  if (problems.length > 0) throw new InvalidArgumentError('text', problems);
  return encoders;
}

/** Estimates of pixels are clipped, those of latent images have no bounds. */
function samplerOf({ process, sampling, latents }: DiffusionConfig) {
  return samplerFromProcess(process as ProcessConfig, {
    solver: sampling.solver as SolverName,
    limit: latents ? null : limitOf(sampling.threshold ?? 0),
  });
}

/** Throws an InvalidArgumentError unless configuration, network and autoencoder fit. */
function codecOf(
  config: DiffusionConfig,
  autoencoder: OwnAutoencoder | undefined,
  parts: readonly string[],
): Codec | null {
  const { latents, image } = config;
  if (latents === undefined) return null;
  if (autoencoder === undefined)
    throw new InvalidArgumentError('latents', 'the model makes latent images: expected its autoencoder');
  const { latentChannels, outChannels } = autoencoder.config;
  const problems: string[] = [];
  if (latentChannels !== latents.mean.length)
    problems.push(
      `codec: its latent images have ${latentChannels} channels, the configuration says ${latents.mean.length}`,
    );
  if (outChannels !== image.channels)
    problems.push(`codec: its pictures have ${outChannels} channels, the configuration says ${image.channels}`);
  const { imageSize, sizeMultiple } = networkOf(config).signature;
  const side = image.size / autoencoder.downscale;
  if (!Number.isInteger(side) || (sizeMultiple === null && imageSize !== null && imageSize !== side))
    problems.push(
      `codec: its latent images of ${image.size} pixels a side have ${side}, the network takes ${imageSize ?? 'whole numbers'}`,
    );
  if (problems.length > 0) throw new InvalidArgumentError('latents', problems);
  const codec = standardizedCodec(autoencoder, latents, parts);
  return { ...codec, pictureChannels: image.channels, preview: codec.decode }; // Autoencoders of one's own are small.
}
