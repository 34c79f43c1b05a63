import { InvalidArgumentError, InvalidFileError } from '@mezzotint/core';
import type { Candidate, Family, OpenContext } from '../../family.js';
import { lookAt } from '../../family.js';
import type { RequestKey } from '../../request.js';
import type { PipelineDefinition } from '../../stage.js';
import { type OpenedSd, openSdFolder, partsOf } from './folder.js';
import { openSdFile } from './single-file.js';
import { sdStage } from './stage.js';

/**
 * Stable Diffusion 1, 2 and XL and XL's refiner, also for inpainting: folders of diffusers and single files. Rombach et al. 2022
 * (arXiv 2112.10752); Podell et al. 2023 (arXiv 2307.01952).
 */
export const stableDiffusion: Family = {
  name: 'Stable Diffusion 1, 2, XL',
  recognise: ({ index, single, ...candidate }) =>
    (index !== null && partsOf({ index, single, ...candidate }).get('unet') === 'UNet2DConditionModel') ||
    single?.components.get('unet')?.model === 'sd-unet',
  open: openStableDiffusion,
};

const TAKES: readonly RequestKey[] = [
  ...(['prompt', 'negative', 'height', 'width', 'guidance', 'guidanceRescale', 'guidanceInterval'] as const),
  ...(['clipSkip', 'promptSyntax', 'longPrompts', 'image', 'mask', 'pasteBack', 'strength'] as const),
];
/** What says where to guide away from; a distilled UNet is told the scale and is called once. */
const NEGATIVE: readonly RequestKey[] = [
  ...(['negative', 'secondNegative', 'guidanceRescale', 'guidanceInterval'] as const),
  ...(['negativeOriginalSize', 'negativeCropTopLeft', 'negativeTargetSize'] as const),
];
const TAKES_UPSCALER: readonly RequestKey[] = [
  ...(['prompt', 'negative', 'guidance', 'guidanceRescale', 'clipSkip', 'promptSyntax', 'longPrompts'] as const),
  ...(['image', 'noiseLevel'] as const),
];
const TAKES_XL: readonly RequestKey[] = [
  ...(['originalSize', 'cropTopLeft', 'targetSize'] as const),
  ...(['negativeOriginalSize', 'negativeCropTopLeft', 'negativeTargetSize'] as const),
];

async function openStableDiffusion(candidate: Candidate, context: OpenContext): Promise<PipelineDefinition> {
  const { options } = context;
  const base = await openModel(candidate, context, '');
  const refiner =
    options.refiner === undefined
      ? undefined
      : await openRefiner(options.refiner, candidate.files.name, base, context).catch(closing(base));
  const xl = base.model.texts.second !== undefined;
  const upscales = base.model.lowResolution !== undefined;
  const distilled = base.model.unet.config.timeCondProjDim !== null;
  const scored = [base, refiner].some((opened) => opened?.model.texts.numbers === 5);
  return {
    family: stableDiffusion.name,
    description: base.description,
    stages: [
      { ...sdStage(refiner ? 'base' : 'unet', base.model), ...(upscales && { maxNoiseLevel: base.maxNoiseLevel }) },
      ...(refiner ? [sdStage('refiner', refiner.model, 'previous')] : []),
    ],
    parts: [...base.parts, ...(refiner?.parts ?? [])],
    takes: [
      ...(upscales ? TAKES_UPSCALER : TAKES),
      ...(xl ? TAKES_XL : []),
      ...(xl && base.model.texts.first !== undefined ? (['secondPrompt', 'secondNegative'] as const) : []),
      ...(scored ? (['aestheticScore', 'negativeAestheticScore'] as const) : []),
      ...(refiner ? (['denoisingEnd'] as const) : []),
    ].filter((key) => !distilled || !NEGATIVE.includes(key)),
    defaults: {
      ...base.size,
      ...(upscales
        ? { steps: 75, guidance: 9 }
        : distilled
          ? { steps: 4, guidance: 8.5 }
          : { steps: 50, guidance: xl ? 5 : 7.5 }),
    },
    ...(upscales && { imageIs: 'condition' as const, enlarges: base.model.vae.downscale }),
    check: (settings) => {
      const { negativeOriginalSize, negativeTargetSize, negativeCropTopLeft } = settings;
      const { negative, secondNegative } = settings;
      const sizes = [negativeOriginalSize, negativeTargetSize].filter((size) => size !== undefined).length;
      return [
        ...(secondNegative !== undefined && negative === undefined && base.model.texts.forceZerosForEmptyPrompt
          ? [
              'secondNegative: needs a negative prompt; without one this model is given zeros (force_zeros_for_empty_prompt)',
            ]
          : []),
        ...(sizes === 1 || (sizes === 0 && negativeCropTopLeft !== undefined)
          ? ['negativeOriginalSize and negativeTargetSize go together, and negativeCropTopLeft needs both']
          : []),
      ];
    },
    dropped: base.dropped,
    close() {
      base.close();
      refiner?.close();
    },
  };
}

async function openModel(candidate: Candidate, context: OpenContext, prefix: string): Promise<OpenedSd> {
  const { parts, tokenizer, prediction, variant } = context.options;
  const single = candidate.files.kind === 'file';
  const problems: string[] = [];
  if (!single && parts !== undefined) problems.push('parts: is for a model in one file');
  for (const [key, value] of Object.entries({ tokenizer, prediction })) {
    if (value === undefined) continue;
    if (!single) problems.push(`${key}: is for a model in one file; a folder has its own`);
    else if (parts !== undefined) problems.push(`${key}: the folder of parts says it`);
  }
  if (single && parts === undefined && variant !== undefined)
    problems.push('variant: is for folders, whose files have such names');
  if (problems.length > 0) throw new InvalidArgumentError('options', problems);
  if (candidate.files.kind === 'folder') return openSdFolder(candidate, context, prefix);
  if (parts === undefined) return openSdFile(candidate, context, prefix);
  if (candidate.single === null)
    throw new InvalidFileError(candidate.files.name, candidate.singleError ?? 'is no model');
  return openSdFolder(await lookAt(context.files(parts)), context, prefix, candidate.single);
}

/** The refiner; it is an SDXL, whose prediction and vocabulary are those of the base. */
async function openRefiner(path: string, origin: string, base: OpenedSd, context: OpenContext): Promise<OpenedSd> {
  const candidate = await lookAt(context.files(path));
  // The refiner is a folder or a file of its own; a variant is of folders only.
  const { parts: _, variant, textualInversion: __, tokenizer, prediction, ...rest } = context.options;
  const options =
    candidate.files.kind === 'folder'
      ? { ...rest, ...(variant !== undefined && { variant }) }
      : { ...rest, ...(tokenizer !== undefined && { tokenizer }), ...(prediction !== undefined && { prediction }) };
  const close = () => candidate.source?.close();
  try {
    const refiner = await openModel(candidate, { ...context, options }, 'refiner/');
    const [a, b] = [base.model.vae, refiner.model.vae];
    const same = a.downscale === b.downscale && a.config.latentChannels === b.config.latentChannels;
    if (!same || a.config.scalingFactor !== b.config.scalingFactor) {
      refiner.close();
      throw new InvalidArgumentError('refiner', `${path} has other latent images than ${origin}`);
    }
    return {
      ...refiner,
      close: () => {
        refiner.close();
        close();
      },
    };
  } catch (error) {
    close();
    throw error;
  }
}

/** Closes what is open and throws again. */
function closing(opened: { close(): void }) {
  return (error: unknown): never => {
    opened.close();
    throw error;
  };
}
