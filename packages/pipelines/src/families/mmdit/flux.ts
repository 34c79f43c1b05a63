import type { AutoencoderKL } from '@mezzotint/autoencoders';
import { InvalidFileError, textOf } from '@mezzotint/core';
import { Flux, fluxFromDiffusers, fluxFromShapes } from '@mezzotint/mmdit';
import { flowMatchSampler } from '@mezzotint/schedulers';
import {
  type ClipTextModel,
  encodeFluxPrompts,
  type FluxTextEncoders,
  type T5EncoderModel,
} from '@mezzotint/text-encoders';
import * as tf from '@tensorflow/tfjs-core';
import { klCodec, type LatentRgb } from '../../codec.js';
import type { Candidate, Family, OpenContext } from '../../family.js';
import type { Note } from '../../long-prompts.js';
import type { RequestKey } from '../../request.js';
import type { Batch, EncodedBatch, PipelineDefinition, Stage } from '../../stage.js';
import { partsOf } from '../stable-diffusion/folder.js';
import { isRelative, refuseRelative } from './flux-relatives.js';
import { type MmditPlan, openParts, T5_FILES } from './parts.js';
import { encoderOf, noteCutOfClip, noteCutOfT5, textOptions } from './sd3.js';

/** What FLUX is given beside image and time. */
type FluxConditions = {
  readonly context: tf.Tensor3D;
  readonly pooled: tf.Tensor2D;
  /** dev: the guidance scale of each image. */
  readonly guidance?: tf.Tensor1D;
};

const PLAN: MmditPlan = {
  pipelines: ['FluxPipeline', 'FluxImg2ImgPipeline', 'FluxInpaintPipeline'],
  transformerClass: 'FluxTransformer2DModel',
  transformer: (given) => new Flux('config' in given ? fluxFromDiffusers(given.config) : fluxFromShapes(given.tensors)),
  latents: { scalingFactor: 0.3611, shiftFactor: 0.1159 },
  parts: [
    { name: 'transformer', kind: 'transformer', about: 'FLUX', lora: 'denoiser', files: [] },
    { name: 'vae', kind: 'vae', about: 'the autoencoder', files: ['ae.safetensors', 'ae.sft', 'vae.safetensors'] },
    {
      ...{ name: 'text_encoder', kind: 'clip', about: 'CLIP-L', tokenizer: 'tokenizer', lora: 'text_encoder' },
      files: ['clip_l.safetensors'],
    },
    {
      ...{ name: 'text_encoder_2', kind: 't5', about: 'T5-XXL', tokenizer: 'tokenizer_2' },
      // kohya's files call T5 the third text encoder, as in Stable Diffusion 3.
      ...{ lora: 'text_encoder_3', component: 'text_encoder_3' },
      files: T5_FILES,
    },
  ],
} as const;

/** FLUX.1 dev and schnell: folders of diffusers and single files. Black Forest Labs 2024. */
export const flux: Family = {
  name: 'FLUX.1',
  recognise: (candidate) =>
    partsOf(candidate).get('transformer') === PLAN.transformerClass ||
    candidate.single?.components.get('transformer')?.model === 'flux' ||
    isRelative(candidate),
  open: openFlux,
};

const TAKES: readonly RequestKey[] = [
  ...(['prompt', 'negative', 'secondPrompt', 'secondNegative', 'height', 'width', 'trueGuidance'] as const),
  ...(['textLength', 'promptSyntax', 'longPrompts', 'image', 'mask', 'pasteBack', 'strength'] as const),
];

/** The schedulers of the published folders. */
const SCHEDULERS = {
  dev: {
    ...{ _class_name: 'FlowMatchEulerDiscreteScheduler', shift: 3, use_dynamic_shifting: true },
    ...{ base_shift: 0.5, max_shift: 1.15, base_image_seq_len: 256, max_image_seq_len: 4096 },
  },
  schnell: { _class_name: 'FlowMatchEulerDiscreteScheduler', shift: 1 },
} as const;

async function openFlux(candidate: Candidate, context: OpenContext): Promise<PipelineDefinition> {
  refuseRelative(candidate);
  const { index, files } = candidate;
  const className = index === null ? undefined : textOf(index._class_name);
  if (className !== undefined && !PLAN.pipelines.includes(className)) {
    throw new InvalidFileError(
      files.name,
      `is a folder of ${className}, which is not built; known are ${PLAN.pipelines.join(', ')}`,
    );
  }
  const model = await openParts(candidate, context, PLAN);
  const transformer = model.opened.get('transformer')!.module as Flux;
  const vae = model.opened.get('vae')!.module as AutoencoderKL;
  const texts: FluxTextEncoders = {
    clipL: encoderOf<ClipTextModel>(model.opened.get('text_encoder')!),
    t5: encoderOf<T5EncoderModel>(model.opened.get('text_encoder_2')!),
  };
  const { patchSize, channels, contextWidth, pooledWidth, guidanceEmbed } = transformer.config;
  const problems = [
    ...(texts.t5.encoder.config.width === contextWidth
      ? []
      : [`T5 gives ${texts.t5.encoder.config.width} channels, FLUX takes ${contextWidth}`]),
    ...(texts.clipL.encoder.config.width === pooledWidth
      ? []
      : [`CLIP gives ${texts.clipL.encoder.config.width} channels, FLUX takes ${pooledWidth}`]),
    ...(vae.config.latentChannels === channels
      ? []
      : [`the VAE has ${vae.config.latentChannels} channels, FLUX ${channels}`]),
  ];
  if (problems.length > 0) {
    model.close();
    throw new InvalidFileError(files.name, problems.join('; '));
  }
  const kind = guidanceEmbed ? 'dev' : 'schnell';
  const sampler = flowMatchSampler(model.scheduler ?? SCHEDULERS[kind], { levels: 'uniform', timeScale: 1 });
  const codec = klCodec(vae, RGB);
  const unit = codec.downscale * patchSize;
  const stage: Stage<FluxConditions> = {
    name: 'transformer',
    sampler,
    codec,
    parts: { encode: ['text_encoder', 'text_encoder_2'], sample: ['transformer'] },
    start: 'noise',
    strengthRounds: 'ceil',
    shape: ({ height, width }) => [height / codec.downscale, width / codec.downscale, codec.channels],
    tokens: ({ height, width }) => (height / unit) * (width / unit),
    encode: (batch, { note }) => encode(texts, batch, guidanceEmbed, note),
    encodesTextOnly: true,
    network: () => (x, time, conditions) => transformer.forward(x, time, conditions),
    module: transformer,
    guidanceScale: ({ trueGuidance = 1 }) => trueGuidance,
  };
  return {
    family: flux.name,
    description: [
      `FLUX.1 ${kind} (${guidanceEmbed ? 'it is told' : 'it has no place for'} the guidance scale)`,
      model.origin,
    ]
      .filter(Boolean)
      .join('; '),
    stages: [stage],
    parts: model.parts,
    takes: guidanceEmbed ? [...TAKES, 'guidance'] : TAKES,
    sizeUnit: unit,
    defaults: guidanceEmbed
      ? { height: 1024, width: 1024, steps: 28, guidance: 3.5, textLength: 512 }
      : { height: 1024, width: 1024, steps: 4, textLength: 256 },
    check: ({ trueGuidance = 1, negative, secondNegative }) => {
      if (trueGuidance > 1)
        return negative === undefined ? ['trueGuidance: needs a negative prompt to guide away from'] : [];
      return Object.entries({ negative, secondNegative }).flatMap(([name, prompt]) =>
        prompt === undefined ? [] : [`${name}: FLUX guides away from nothing unless trueGuidance is above 1`],
      );
    },
    close: model.close,
  };
}

/** Prompts, and dev's guidance scale; negative prompts where true guidance asks for them. Tells what is cut. */
function encode(
  texts: FluxTextEncoders,
  { images, settings }: Batch,
  told: boolean,
  note: Note,
): EncodedBatch<FluxConditions> {
  const options = textOptions(settings);
  const read = (prompts: string[], secondPrompts: string[]): FluxConditions => {
    noteCutOfClip(texts.clipL.tokenizer, prompts, note);
    noteCutOfT5(texts.t5.tokenizer, secondPrompts, settings, note);
    return {
      ...encodeFluxPrompts(texts, prompts, { ...options, secondPrompts }),
      ...(told && { guidance: tf.fill([images.length], settings.guidance) as tf.Tensor1D }),
    };
  };
  const positive = read(
    images.map(({ prompt }) => prompt),
    images.map(({ prompt, secondPrompt }) => secondPrompt ?? prompt),
  );
  if ((settings.trueGuidance ?? 1) <= 1) return { positive, negative: null };
  const negative = read(
    images.map(({ negative }) => negative ?? ''),
    images.map(({ negative, secondNegative }) => secondNegative ?? negative ?? ''),
  );
  return { positive, negative };
}

/** Colours of the latent channels, as ComfyUI has them (comfy/latent_formats.py). */
const RGB: LatentRgb = {
  rows: [
    [-0.0346, 0.0244, 0.0681],
    [0.0034, 0.021, 0.0687],
    [0.0275, -0.0668, -0.0433],
    [-0.0174, 0.016, 0.0617],
    [0.0859, 0.0721, 0.0329],
    [0.0004, 0.0383, 0.0115],
    [0.0405, 0.0861, 0.0915],
    [-0.0236, -0.0185, -0.0259],
    [-0.0245, 0.025, 0.118],
    [0.1008, 0.0755, -0.0421],
    [-0.0515, 0.0201, 0.0011],
    [0.0428, -0.0012, -0.0036],
    [0.0817, 0.0765, 0.0749],
    [-0.1264, -0.0522, -0.1103],
    [-0.028, -0.0881, -0.0499],
    [-0.1262, -0.0982, -0.0778],
  ],
  bias: [-0.0329, -0.0718, -0.0851],
};
