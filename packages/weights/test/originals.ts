import { fileURLToPath } from 'node:url';
import { translate, unetKeyMap, vaeKeyMap } from '@mezzotint/weights';
import { clipKeyMap } from '../src/key-maps/clip.js';
import { manifest } from './manifests.js';
import { numbered, shapesOf } from './synthetic.js';

type Shapes = Readonly<Record<string, readonly number[]>>;

/** A published model with 1/64 of its widths and nothing else longer than 3, which keeps all relations of its shapes. */
function scaled(name: string): Shapes {
  return Object.fromEntries(
    Object.entries(manifest(name)).map(([key, shape]) => [
      key,
      shape.map((d) => (d % 64 === 0 ? d / 64 : Math.min(d, 3))),
    ]),
  );
}

const prefixed = (prefix: string, shapes: Shapes): Shapes =>
  Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [prefix + name, shape]));

/** The original layout of a model, by our key map from right to left. */
function original(shapes: Shapes, map: typeof unetKeyMap): Shapes {
  const source = numbered(shapes);
  return shapesOf(translate(source, map(source.tensors.keys(), 'right'), 'right'));
}

const without = (shapes: Shapes, pattern: RegExp): Shapes =>
  Object.fromEntries(Object.entries(shapes).filter(([name]) => !pattern.test(name)));

/** Names and shapes of single files as published, with fewer rows and columns. */
export function singleFiles(): Record<string, Shapes> {
  const unet = (shapes: Shapes) => prefixed('model.diffusion_model.', original(shapes, unetKeyMap));
  const sd15 = scaled('sd15-unet-diffusers');
  const flat = (name: string, shape: readonly number[]) =>
    /proj_(?:in|out)\.weight$/.test(name) ? shape.slice(0, 2) : shape;
  const sd2 = Object.fromEntries(Object.entries(sd15).map(([name, shape]) => [name, flat(name, shape)]));
  const vae = prefixed('first_stage_model.', original(scaled('vae-diffusers'), vaeKeyMap));
  const clipL = prefixed('text_model.', scaled('clip-l-transformers-5'));
  const bigG = original(scaled('clip-g-transformers'), clipKeyMap);
  // OpenCLIP's ViT-H has bigG's names for 24 layers.
  const h = without(bigG, /resblocks\.(?:2[4-9]|3\d)\./);
  const sd1 = unet(sd15);
  const ema = Object.fromEntries(
    Object.entries(sd1).map(([name, shape]) => [`model_ema.${name.slice('model.'.length).replaceAll('.', '')}`, shape]),
  );
  return {
    sd1: { ...sd1, ...ema, ...vae, ...prefixed('cond_stage_model.transformer.', clipL) },
    'sd1-inpainting': { ...sd1, 'model.diffusion_model.input_blocks.0.0.weight': [5, 9, 3, 3] },
    sd2: { ...unet(sd2), ...vae, ...prefixed('cond_stage_model.model.', h) },
    'sd2-upscaler': unet({ ...sd2, 'class_embedding.weight': [1000, 20] }),
    'sd2-unclip': unet({
      ...sd2,
      'class_embedding.linear_1.weight': [20, 32],
      'class_embedding.linear_1.bias': [20],
      'class_embedding.linear_2.weight': [20, 20],
      'class_embedding.linear_2.bias': [20],
    }),
    sdxl: {
      ...unet(scaled('sdxl-unet-diffusers')),
      ...vae,
      ...prefixed('conditioner.embedders.0.transformer.', clipL),
      ...prefixed('conditioner.embedders.1.model.', bigG),
    },
    'sdxl-refiner': {
      ...unet(scaled('sdxl-refiner-unet-diffusers')),
      ...vae,
      ...prefixed('conditioner.embedders.0.model.', bigG),
    },
  };
}

/** Where each file is run as a program: what make-conversions.py reads. */
if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(JSON.stringify(singleFiles()));
