import { InvalidArgumentError, InvalidFileError } from '@mezzotint/core';
import { ADMUNet, adm, admFromShapes, admUpsampler, publishedADM, SuperResolutionUNet } from '@mezzotint/unet';
import { recognise, type WeightFile } from '@mezzotint/weights';
import * as tf from '@tensorflow/tfjs-core';
import type { Family, OpenContext } from '../../family.js';
import { ofRequest } from '../../low-resolution.js';
import type { PipelineDefinition, Stage } from '../../stage.js';
import { openGuide } from './classifier.js';
import { chainOf, guidedDiffusionSampler } from './guided-diffusion-sampler.js';
import { classSettings, classStage, lowResolution, numbered, shownLabels } from './stage.js';

/** What the models were published with: 1000 steps, 250 of them taken. */
const STEPS = 250;

/**
 * ADM (Dhariwal and Nichol 2021) and Improved DDPM from guided-diffusion's `.pt` files, class-conditional or not, alone, guided by a
 * classifier (`classifier`), or enlarged by an upsampler (`upsampler`) as in the cascades from 64 to 256 and 128 to 512 pixels.
 */
export const admFamily: Family = {
  name: 'ADM',
  recognise: ({ source }) => source !== null && recognise(source.tensors.keys())?.model === 'adm-unet',
  async open({ files, source }, context) {
    const { options } = context;
    const { config, upsampler } = admFromShapes(source!.tensors, options.network);
    if (upsampler) return aloneAsUpscaler(config, files.name, source!);
    const signature = adm.signature(config);
    const module = new ADMUNet(config);
    const learnedVariance = config.outChannels === 2 * config.inChannels;
    if (options.betas === 'scaled-linear') {
      throw new InvalidArgumentError(
        'betas',
        "expected linear or cosine for guided-diffusion's files, got scaled-linear",
      );
    }
    const chain = chainOf(publishedADM(source!.tensors), options.betas);
    const sampler = guidedDiffusionSampler({ chain, learnedVariance, limit: { kind: 'clip', range: 1 } });
    const guide = await openGuide(context, config.inChannels);
    const enlarged = await openUpsampler(context, config).catch((error: unknown) => {
      guide?.close();
      throw error;
    });
    const names = signature.classes === null ? (guide?.classes ?? []) : numbered(signature.classes);
    const stage = classStage({
      ...{ name: 'base', network: module, signature, sampler, codec: null, parts: ['unet'] },
      classifier: guide?.classifier,
    });
    const side = config.imageSize;
    return {
      family: admFamily.name,
      description: `ADM for ${side} x ${side} pixels, ${signature.classes ?? 'without'} classes${enlarged ? `, enlarged to ${enlarged.size}` : ''}`,
      stages: [stage, ...(enlarged?.stages ?? [])],
      parts: [{ name: 'unet', module, weights: source! }, ...(guide ? [guide.part] : []), ...(enlarged?.parts ?? [])],
      takes: classSettings({ ...signature, sizeMultiple: enlarged ? null : signature.sizeMultiple }, guide),
      sizeUnit: signature.sizeMultiple ?? side,
      defaults: { height: side, width: side, steps: STEPS, guidance: 1, batch: 4, ...shownLabels(signature.classes) },
      ...(names.length > 0 && { classes: names }),
      close() {
        guide?.close();
        enlarged?.close();
      },
    };
  },
};

/** The published upsamplers go from 64 to 256 and from 128 to 512 pixels; the network takes any other factor too. */
const FACTOR = 4;

/** An upsampler for a picture of the user's own. */
function aloneAsUpscaler(
  config: ReturnType<typeof admFromShapes>['config'],
  name: string,
  weights: WeightFile,
): PipelineDefinition {
  const { stages, parts } = upsamplerStage(config, weights);
  const signature = admUpsampler.signature(config);
  const unit = Math.max(1, (signature.sizeMultiple ?? config.imageSize) / FACTOR);
  const stage: Stage = {
    ...stages[0]!,
    shape: ({ height, width }) => [height, width, config.inChannels],
    async encode(batch, context) {
      const { images, settings } = batch;
      const labels = images.map((image) => image.label ?? 0);
      return {
        positive: {
          ...(config.classes !== null && { labels: tf.tensor1d(labels, 'int32') }),
          lowRes: context.previous
            ? lowResolution(context)
            : ofRequest(settings.image, images.length, config.inChannels as 1 | 3, unit),
        },
        negative: null,
      };
    },
  };
  return {
    family: admFamily.name,
    description: `${name}: ADM's upsampler, which enlarges pictures ${FACTOR} times, ${config.classes ?? 'without'} classes`,
    stages: [stage],
    parts,
    takes: [...classSettings({ ...signature, nullLabel: false, sizeMultiple: null }), 'image', 'threshold'],
    imageIs: 'condition',
    enlarges: FACTOR,
    sizeUnit: unit,
    defaults: {
      ...{ height: config.imageSize, width: config.imageSize, steps: STEPS },
      ...shownLabels(config.classes),
    },
    ...(config.classes !== null && { classes: numbered(config.classes) }),
    close: () => {},
  };
}

/** The upsampler of the options as a second stage. */
async function openUpsampler(
  { options, files }: OpenContext,
  base: { readonly imageSize: number; readonly inChannels: number; readonly classes: number | null },
): Promise<(Pick<PipelineDefinition, 'stages' | 'parts' | 'close'> & { readonly size: number }) | undefined> {
  if (options.upsampler === undefined) return undefined;
  const [path, more] = [options.upsampler].flat();
  if (more !== undefined) {
    throw new InvalidArgumentError('upsampler', `ADM takes one, got ${[options.upsampler].flat().length}`);
  }
  const weights = await files(path!).weights('');
  try {
    const { config, upsampler } = admFromShapes(weights.tensors);
    const problems = [];
    if (!upsampler) problems.push('is no upsampler: its network does not see a low-resolution image');
    if (config.inChannels !== base.inChannels) {
      problems.push(`enlarges images of ${config.inChannels} channels, the model makes ${base.inChannels}`);
    }
    if (config.classes !== null && config.classes !== base.classes) {
      problems.push(`knows ${config.classes} classes, the model ${base.classes ?? 'none'}`);
    }
    if (problems.length > 0) throw new InvalidFileError(path!, problems.join('; '));
    return upsamplerStage(config, weights);
  } catch (error) {
    weights.close();
    throw error;
  }
}

function upsamplerStage(config: ReturnType<typeof admFromShapes>['config'], weights: WeightFile) {
  const module = new SuperResolutionUNet(config);
  const learnedVariance = config.outChannels === 2 * config.inChannels;
  const plain = classStage({
    ...{ name: 'upsampler', network: module, signature: admUpsampler.signature(config), codec: null },
    sampler: guidedDiffusionSampler({
      ...{ chain: chainOf(publishedADM(weights.tensors)), learnedVariance, limit: { kind: 'clip', range: 1 } },
    }),
    parts: ['upsampler'],
  });
  const stage: Stage = {
    ...plain,
    shape: () => [config.imageSize, config.imageSize, config.inChannels],
    async encode(batch, context) {
      const { positive } = await plain.encode(batch, context);
      return { positive: { ...positive, lowRes: lowResolution(context) }, negative: null };
    },
  };
  return {
    size: config.imageSize,
    stages: [stage],
    parts: [{ name: 'upsampler', module, weights }],
    close: () => weights.close(),
  };
}
