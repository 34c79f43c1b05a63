import { InvalidArgumentError, type WeightSource } from '@mezzotint/core';
import type { SingleFile, WeightFile } from '@mezzotint/weights';
import type { Prediction } from '../../options.js';

/** Models that are recognised in one file. */
export type ModelName = 'Stable Diffusion 1' | 'Stable Diffusion 2' | 'SDXL' | "SDXL's refiner";

/** What the weights of a model in one file are, and what follows from that. */
export interface RecognisedFile {
  readonly name: ModelName;
  readonly inpainting: boolean;
  readonly prediction: Prediction;
  /** Why the prediction is held to be that. */
  readonly because: string;
  /** Trained on a chain that ends in pure noise (Lin et al. 2024). */
  readonly zeroTerminalSnr: boolean;
}

/** A file that is taken apart, with what it says of itself. */
export interface OpenedFile {
  readonly file: SingleFile;
  /** The file's own tensors, of which some are only marks, and its notes. */
  readonly source: WeightFile;
}

/**
 * Recognises a model by the parts, names and shapes of its file.
 *
 * @throws InvalidArgumentError that says what the file holds, what is missing, and which flag helps
 */
export async function recogniseFile(opened: OpenedFile, asked: Prediction | undefined): Promise<RecognisedFile> {
  const { file, source } = opened;
  const name = nameOf(file);
  const mark = EDM_MARKS.find((tensor) => source.tensors.has(tensor));
  if (mark !== undefined) {
    throw new InvalidArgumentError(
      file.name,
      `is ${name} retrained by EDM (it has a tensor ${mark}), as Playground v2.5 and CosXL: its noise levels and its latent images are others, which one file does not say; open its folder of diffusers, or name that with the option parts`,
    );
  }
  const unet = file.components.get('unet')!.weights;
  const inpainting = unet.tensors.get('conv_in.weight')?.shape[1] === 9;
  const zeroTerminalSnr = source.tensors.has('ztsnr');
  const { prediction, because } = asked
    ? { prediction: asked, because: 'the option prediction says so' }
    : await predictionOf(opened, name, inpainting, unet);
  return { name, inpainting, prediction, because, zeroTerminalSnr };
}

/** Tensors that mark models of SDXL's size that were trained by EDM: Playground v2.5, CosXL. */
const EDM_MARKS = ['edm_mean', 'edm_std', 'edm_vpred.sigma_max'];

/** Parts that each family must have. */
const PARTS = {
  'Stable Diffusion 1': ['unet', 'vae', 'text_encoder'],
  'Stable Diffusion 2': ['unet', 'vae', 'text_encoder'],
  SDXL: ['unet', 'vae', 'text_encoder', 'text_encoder_2'],
  "SDXL's refiner": ['unet', 'vae', 'text_encoder_2'],
} as const satisfies Record<ModelName, readonly string[]>;

/** Width of the sinusoidal embedding of each of the numbers beside the pooled text: 6 of 256 channels in the base, 5 in the refiner. */
const NUMBER_WIDTH = 256;

function nameOf({ name: file, components }: SingleFile): ModelName {
  const held = [...components].map(([part, { model, layout }]) => `${part} (${model}, ${layout} layout)`).join(', ');
  const unet = components.get('unet');
  if (unet?.model !== 'sd-unet') {
    throw new InvalidArgumentError(
      file,
      `holds ${held}; expected a UNet of Stable Diffusion 1, 2 or XL, the models that we can sample from`,
    );
  }
  const { tensors } = unet.weights;
  const numbers = tensors.get('add_embedding.linear_1.weight')?.shape[1];
  const first = components.get('text_encoder');
  const second = components.get('text_encoder_2');
  const pooled = second?.weights.tensors.get('text_projection.weight')?.shape[0] ?? 0;
  const name: ModelName =
    numbers !== undefined
      ? first === undefined && numbers === pooled + 5 * NUMBER_WIDTH
        ? "SDXL's refiner"
        : 'SDXL'
      : first?.layout === 'openclip' || (first === undefined && isLinear(tensors))
        ? 'Stable Diffusion 2'
        : 'Stable Diffusion 1';
  const missing = PARTS[name].filter((part) => !components.has(part));
  if (missing.length > 0) {
    throw new InvalidArgumentError(
      file,
      `looks like ${name}, but has no ${missing.join(', no ')}; it holds ${held}. the option parts (a folder of diffusers) says where the rest is`,
    );
  }
  return name;
}

/** Transformers with matrices at both ends, as since Stable Diffusion 2. */
function isLinear(tensors: WeightSource['tensors']): boolean {
  return [...tensors].some(([name, { shape }]) => name.endsWith('.proj_in.weight') && shape.length === 2);
}

/**
 * Population deviation of the bias `output_blocks.11.1.transformer_blocks.0.norm1.bias` in a Stable Diffusion 2 that predicts v,
 * at least; it is smaller in one that predicts noise. The files differ in nothing else. Key and number are those of ComfyUI
 * (comfy/supported_models.py, class SD20, model_type), which is unsure of them itself, does so for 4 input channels only, and
 * takes the noise where the bias is missing; we ask there.
 */
const DEVIATION_OF_V = 0.09;

async function predictionOf(
  { file, source }: OpenedFile,
  name: ModelName,
  inpainting: boolean,
  unet: WeightSource,
): Promise<Pick<RecognisedFile, 'prediction' | 'because'>> {
  if (source.tensors.has('v_pred')) return { prediction: 'v', because: 'it has a tensor v_pred' };
  // The latter is ComfyUI's, of before the standard had a word.
  const said = source.metadata.get('modelspec.prediction_type') ?? source.metadata.get('modelspec.predict_key');
  if (said === 'v' || said === 'v_prediction') return { prediction: 'v', because: 'its metadata say so' };
  if (said === 'epsilon') return { prediction: 'epsilon', because: 'its metadata say so' };
  if (name !== 'Stable Diffusion 2') return { prediction: 'epsilon', because: `${name} does` };
  if (inpainting) return { prediction: 'epsilon', because: 'Stable Diffusion 2 for inpainting does' };
  const key = lastAttention(unet);
  if (key === undefined) {
    throw new InvalidArgumentError(
      file.name,
      'is Stable Diffusion 2, but nothing in it says whether it predicts the noise or v: say it with the option prediction: epsilon or v',
    );
  }
  const spread = deviation((await unet.read(key)).data);
  const because = `${key} deviates by ${spread.toFixed(3)}, ${spread > DEVIATION_OF_V ? 'above' : 'not above'} ${DEVIATION_OF_V}`;
  return { prediction: spread > DEVIATION_OF_V ? 'v' : 'epsilon', because };
}

/** The first norm of the last transformer on the way up at full resolution (`output_blocks.11.1` in the original). */
function lastAttention({ tensors }: WeightSource): string | undefined {
  return [...tensors.keys()]
    .filter((name) => /^up_blocks\.\d+\.attentions\.\d+\.transformer_blocks\.0\.norm1\.bias$/.test(name))
    .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
    .at(-1);
}

function deviation(data: ArrayLike<number>): number {
  const values = Array.from(data);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
}
