import { openSingleFile, recognise, translate, unetKeyMap, vaeKeyMap } from '@mezzotint/weights';
import { describe, expect, test } from 'vitest';
import { manifest } from './manifests.js';
import { numbered } from './synthetic.js';

type Shapes = Readonly<Record<string, readonly number[]>>;
const without = (shapes: Shapes, pattern: RegExp): Shapes =>
  Object.fromEntries(Object.entries(shapes).filter(([name]) => !pattern.test(name)));
const shapesOf = (source: { tensors: ReadonlyMap<string, { shape: readonly number[] }> }): Shapes =>
  Object.fromEntries([...source.tensors].map(([name, { shape }]) => [name, shape]));
/** The same model as its authors named it. */
const original = (shapes: Shapes, map: typeof unetKeyMap): Shapes => {
  const source = numbered(shapes);
  return shapesOf(translate(source, map(source.tensors.keys(), 'right'), 'right'));
};

const unets = ['sd15-unet-diffusers', 'sdxl-unet-diffusers'];
const cuts: [string, RegExp][] = [
  ['no middle', /^mid_block\./],
  ['a middle without attention', /^mid_block\.attentions\./],
];

describe.each(unets)('%s', (name) => {
  test.each(cuts)('with %s is recognised in both layouts, and comes out of one file whole', (_, pattern) => {
    const pruned = without(manifest(name), pattern);
    expect(Object.keys(pruned).length).toBeLessThan(Object.keys(manifest(name)).length);
    expect(recognise(Object.keys(pruned))).toEqual({ model: 'sd-unet', layout: 'diffusers' });
    const theirs = original(pruned, unetKeyMap);
    expect(recognise(Object.keys(theirs))).toEqual({ model: 'sd-unet', layout: 'original' });
    const file = Object.fromEntries(
      Object.entries(theirs).map(([key, shape]) => [`model.diffusion_model.${key}`, shape]),
    );
    const unet = openSingleFile(numbered(file)).components.get('unet')!;
    expect(shapesOf(unet.weights)).toEqual(pruned);
  });
});

test('a VAE without attention in the middle is recognised in both layouts', () => {
  const pruned = without(manifest('vae-diffusers'), /mid_block\.attentions\./);
  expect(recognise(Object.keys(pruned))).toEqual({ model: 'kl-vae', layout: 'diffusers' });
  const theirs = original(pruned, vaeKeyMap);
  expect(recognise(Object.keys(theirs))).toEqual({ model: 'kl-vae', layout: 'original' });
  expect(shapesOf(openSingleFile(numbered(theirs)).components.get('vae')!.weights)).toEqual(pruned);
});
